//! What a thread reads next, asked for while it multiplies: a step of the register tile leaves room for two more loads.
//!
//! Without, every tile that meets an operand first waits for it: on GPT-2's products of 4,096 tokens the first tile of each
//! row took 1.2 times as long as the others, packing B 7% of the time and copying rows of A 9% (AVX-512, two threads). The
//! choice is made tile by tile; loads in the inner loop that decide for themselves what to fetch cost more than they save.

use super::Mat;
use crate::simd::{LANES, Simd};
use std::ops::Range;

/// Two lines to fetch at each step of a tile, as two pointers that walk.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    pub(crate) first: *const f32,
    /// Floats from step to step.
    pub(crate) first_step: usize,
    pub(crate) second: *const f32,
    pub(crate) second_step: usize,
}

/// First row, first column and steps of the reduction that a thread goes on to.
pub(super) type Next = (usize, usize, Range<usize>);

/// Where a thread is in its task.
pub(super) struct Place<'a> {
    pub(super) rows: &'a Range<usize>,
    pub(super) cols: &'a Range<usize>,
    pub(super) steps: &'a Range<usize>,
    /// First row and column of the tile.
    pub(super) row: usize,
    pub(super) col: usize,
    /// Whether these columns of B are read, or packed, for the first time.
    pub(super) meets_b: bool,
    pub(super) next: &'a Option<Next>,
}

impl Place<'_> {
    /// What the tile of this place asks for. B comes first: a panel of it is twice the rows of A that meet it.
    #[inline(always)]
    pub(super) fn ahead<S: Simd>(&self, a: &Mat<'_>, b: &Mat<'_>) -> Ahead {
        let panels_to_go = (self.cols.end - 1 - self.col) / S::NR;
        let tiles_to_go = (self.rows.end - 1 - self.row) / S::MR * self.cols.len().div_ceil(S::NR) + panels_to_go;
        let last_row = self.row + S::MR >= self.rows.end;
        let panel_of_b = |col: usize, steps: &Range<usize>| Ahead {
            first: b.address(steps.start, col),
            first_step: b.row_stride,
            second: b.address(steps.start, col + S::NR - LANES),
            second_step: b.row_stride,
        };
        // Lines along the reduction, two a tile; the last pair when there is no tile to go.
        let pair = |at: *const f32, stride: usize| Ahead {
            first: at,
            first_step: 1,
            second: at.wrapping_add(stride),
            second_step: 1,
        };
        let row_pairs = S::MR / 2;
        let rows_of_a = |row: usize, steps: &Range<usize>| {
            let row = row + 2 * (row_pairs - 1).saturating_sub(panels_to_go);
            pair(a.address(row, steps.start), a.row_stride)
        };
        if b.col_stride == 1 {
            if self.meets_b && self.row == self.rows.start && panels_to_go > 0 {
                return panel_of_b(self.col + S::NR, self.steps);
            }
            if let Some((_, col, steps)) = self.next {
                let first_panel = row_pairs.min(self.cols.len().div_ceil(S::NR) - 1);
                if last_row && panels_to_go == first_panel {
                    return panel_of_b(*col, steps);
                }
            }
        } else if let Some((_, col, steps)) = self.next
            && 2 * tiles_to_go < self.cols.len()
        {
            return pair(b.address(steps.start, col + 2 * tiles_to_go), b.col_stride);
        }
        match self.next {
            _ if a.col_stride != 1 || panels_to_go >= row_pairs => {}
            _ if !last_row => return rows_of_a(self.row + S::MR, self.steps),
            Some((row, _, steps)) => return rows_of_a(*row, steps),
            None => {}
        }
        // Nothing: what the tile reads itself.
        pair(a.address(self.row, self.steps.start), 0)
    }
}
