//! How a product by seven is cut: tasks are parts of a quarter of C, each of which computes its part of all four.

use crate::matmul::cut::{depth_of, panel_floats, part_of};
use crate::matmul::tile::Target;
use crate::matmul::{DEPTH, SLACK};
use crate::simd::LANES;
use std::ops::Range;

/// Steps of the reduction from which sums are worth their packing. With 256 of them (the gradient of the head's weight, a
/// chunk of logits at a time) C comes and goes too often: nothing was gained.
const LEAST_STEPS: usize = 512;
/// Rows and columns from which they are: GPT-2's products of 256 tokens take 0.89 to 1.01 of the time, of 4,096 0.89
/// to 0.99 (AVX-512; on AVX2 1.01 to 1.08 and 0.89 to 0.98).
const LEAST_LINES: usize = 256;
/// Rows of A, of full depth, whose sums a thread holds: 5 MB, which pass from the third-level cache. Twice as many were
/// slower (two threads, 32 MB), half as many packed B for 2% more of the time.
const ROWS: usize = 392;
/// Panels of B a task meets at least, where threads have work all the same: each task packs its rows of A.
const PANELS: usize = 6;
/// Tasks a thread gets at least where that leaves each [`PANELS`].
const TASKS: usize = 2;

/// Floats from one packed row of A to the next.
pub(in crate::matmul) const ROW: usize = DEPTH + LANES;

/// Floats from one packed column of A to the next, of a tile of `mr` rows: whole lines of a cache where it nearly fills them.
pub(in crate::matmul) const fn column(mr: usize) -> usize {
    if mr > 4 { mr.next_multiple_of(8) } else { mr }
}

/// Whether C (m,n) = A (m,k) B (k,n) is made of seven. It decides the bits, so it follows from the shape alone.
pub(in crate::matmul) fn pays(m: usize, n: usize, k: usize) -> bool {
    m >= LEAST_LINES && n >= LEAST_LINES && k >= LEAST_STEPS
}

/// A set's register tile, and what its cores' second-level caches hold.
#[derive(Clone, Copy, Debug)]
pub(in crate::matmul) struct Shape {
    pub(in crate::matmul) mr: usize,
    pub(in crate::matmul) nr: usize,
    pub(in crate::matmul) cache: usize,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::matmul) struct Cut {
    /// Rows and columns of C.
    size: (usize, usize),
    /// Rows, columns and steps of a quarter.
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    mr: usize,
    nr: usize,
    row_blocks: usize,
    col_blocks: usize,
    depth: usize,
    pub(super) steps: usize,
    /// Panels of B whose sums lie in the second-level cache together.
    pub(super) panels: usize,
}

impl Cut {
    /// For `threads` threads: neither they nor the set are in any bit of the result.
    pub(in crate::matmul) fn new((m, n, k): (usize, usize, usize), shape: Shape, threads: usize) -> Self {
        let Shape { mr, nr, cache } = shape;
        let size = (m, n);
        let (m, n, k) = (m.div_ceil(2), n.div_ceil(2), k.div_ceil(2));
        let depth = depth_of(k);
        let (tiles, panels) = (m.div_ceil(mr), n.div_ceil(nr));
        let at_once = cache * 3 / 4 / (7 * panel_floats(nr, depth));
        let row_blocks = tiles.div_ceil((ROWS * DEPTH / depth / mr).max(1));
        let col_blocks = if threads == 1 {
            1
        } else {
            let wanted = (TASKS * threads).div_ceil(row_blocks).min(panels.div_ceil(PANELS));
            let blocks = wanted.max(threads.div_ceil(row_blocks));
            // Three blocks of rows for two threads would leave one of them idle.
            let even = row_blocks % threads == 0;
            if even { blocks } else { blocks.next_multiple_of(threads) }.min(panels)
        };
        Self {
            size,
            m,
            n,
            k,
            mr,
            nr,
            row_blocks,
            col_blocks,
            depth,
            steps: k.div_ceil(depth),
            panels: at_once.clamp(1, panels),
        }
    }

    pub(super) fn tasks(&self) -> usize {
        self.row_blocks * self.col_blocks
    }

    /// Rows and columns of a task within a quarter.
    pub(super) fn block(&self, task: usize) -> (Range<usize>, Range<usize>) {
        (
            part_of(task / self.col_blocks, self.row_blocks, self.m, self.mr),
            part_of(task % self.col_blocks, self.col_blocks, self.n, self.nr),
        )
    }

    /// The steps of block `step` within a half of the reduction.
    pub(super) fn range(&self, step: usize) -> Range<usize> {
        step * self.depth..self.k.min((step + 1) * self.depth)
    }

    /// Where the tile at `row` and `col` of a quarter lies in C, and as much of it as is there.
    pub(super) fn target(&self, quarter: usize, (row, col): (usize, usize), (rows, cols): (usize, usize)) -> Target {
        let (row, col) = (row + quarter / 2 * self.m, col + quarter % 2 * self.n);
        Target {
            row,
            col,
            rows: rows.min(self.size.0.saturating_sub(row)),
            cols: cols.min(self.size.1.saturating_sub(col)),
            first: false,
            last: false,
        }
    }

    /// Floats of packed B.
    pub(super) fn floats_of_b(&self) -> usize {
        self.panels * 7 * panel_floats(self.nr, self.depth) + SLACK
    }

    /// Floats from one of a tile's seven sums of A to the next.
    pub(super) fn part_of_a(&self) -> usize {
        (self.mr * ROW).max(column(self.mr) * self.depth + LANES)
    }

    /// Floats of scratch memory on each thread.
    pub(in crate::matmul) fn scratch(&self) -> usize {
        let tiles = self.m.div_ceil(self.mr).div_ceil(self.row_blocks);
        self.floats_of_b() + tiles * 7 * self.part_of_a() + SLACK
    }
}
