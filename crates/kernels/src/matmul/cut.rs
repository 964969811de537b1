//! How a product is cut into tasks, and which operands are read as they lie.
//!
//! Reading an operand where it lies costs nothing where the register tile's loads are aligned and its lines do not crowd
//! into few sets of a cache; else a thread copies the part it works on. On the shapes of a small model (768 x 128 x 512)
//! packing both operands for all threads gave 85% of the peak on one thread and 75% on two, reading them 95% and 92%.

use super::ahead::Next;
use super::{DEPTH, Mat};
use crate::simd::LANES;
use std::ops::Range;

/// Floats of B that a thread holds packed: 384 KB, in a 512 KB second-level cache beside the rows of A.
const HELD: usize = 96 * 1024;
/// Blocks of packed B that a thread tells apart.
pub(super) const MAX_SLOTS: usize = 64;
/// Columns of a block at most: `DEPTH` steps of them are what a thread holds.
const COLS: usize = 256;
/// Rows of a block at most. Each block packs its columns of B anew, so more is better; rows of A pass by, each once, and
/// need no room in a cache. With 336 of them c_fc dW packed for a tenth of its time.
const ROWS: usize = 1040;
/// Tasks a thread gets at least, where there is work enough for them: one that was held up is helped by the others. More
/// is more packing: on 256 tokens of GPT-2, dX ran at 80% of the peak with 8 tasks a thread, at 91% with 4.
const TASKS: usize = 4;
/// Multiplications worth a task of their own, about 2 us.
const WORTH_A_TASK: usize = 1 << 17;
/// Floats from line to line whose multiples share a set of a first-level cache.
const CROWDED: usize = 1024;

/// The cut of C (m,n) = A (m,k) B (k,n).
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    m: usize,
    n: usize,
    k: usize,
    /// Rows and columns of the register tile.
    pub(super) mr: usize,
    pub(super) nr: usize,
    row_blocks: usize,
    col_blocks: usize,
    /// Steps of the reduction that run through the tile at once, and how often.
    depth: usize,
    pub(super) steps: usize,
    /// Whether rows of A are copied to where they crowd no cache.
    pub(super) pack_a: bool,
    /// Whether B is copied into the tile's layout.
    pub(super) pack_b: bool,
    /// Blocks of packed B that a thread holds at a time.
    pub(super) slots: usize,
}

/// Steps of the reduction in one block: equal blocks of at most [`DEPTH`], multiples of 8. It decides the bits, so it
/// follows from K alone.
pub(crate) fn depth_of(k: usize) -> usize {
    k.div_ceil(k.div_ceil(DEPTH).max(1)).next_multiple_of(8)
}

/// Part `i` of `parts` of 0 to `size`, in whole units but for the last.
pub(super) fn part_of(i: usize, parts: usize, size: usize, unit: usize) -> Range<usize> {
    let units = size.div_ceil(unit);
    (i * units / parts * unit)..size.min((i + 1) * units / parts * unit)
}

/// Floats from one packed panel of B to the next: those of a step lie in different sets of a cache.
pub(super) fn panel_floats(nr: usize, depth: usize) -> usize {
    nr * depth + 2 * LANES
}

/// Floats from one copied row of A to the next.
pub(super) fn row_floats(depth: usize) -> usize {
    depth.next_multiple_of(LANES) + LANES
}

impl Cut {
    /// For `threads` threads: the cut is in no bit of the result.
    pub(super) fn new(a: &Mat<'_>, b: &Mat<'_>, tile: (usize, usize), threads: usize) -> Self {
        debug_assert!(a.row_stride == 1 || a.col_stride == 1, "one stride is 1");
        // A narrow tile is done with a step in six cycles: it cannot wait for the second-level cache.
        let narrow = tile.0 < 8;
        let crowded = if narrow { CROWDED / 4 } else { CROWDED };
        let pack_a = a.row_stride % CROWDED == 0 || (narrow && a.row_stride == 1 && a.col_stride % crowded == 0);
        let aligned = b.row_stride % LANES == 0 && b.data.as_ptr() as usize % (4 * LANES) == 0;
        let pack_b = b.col_stride != 1 || !aligned || b.cols % tile.1 != 0 || b.row_stride % crowded == 0;
        Self::sized((a.rows, b.cols, a.cols), tile, threads, pack_a, pack_b)
    }

    pub(super) fn sized(
        (m, n, k): (usize, usize, usize),
        (mr, nr): (usize, usize),
        threads: usize,
        pack_a: bool,
        pack_b: bool,
    ) -> Self {
        let depth = depth_of(k);
        let steps = k.div_ceil(depth.max(1)).max(1);
        let (tiles, panels) = (m.div_ceil(mr), n.div_ceil(nr));
        let worth = m.saturating_mul(n).saturating_mul(k).div_ceil(WORTH_A_TASK).max(1);
        let tasks = if threads == 1 { 1 } else { worth.min(TASKS * threads) };
        let mut row_blocks = (tiles * mr).div_ceil(ROWS);
        let mut col_blocks = (panels * nr).div_ceil(COLS);
        let width = |col_blocks: usize| panels.div_ceil(col_blocks) * nr;
        // What is packed once a thread, or stays in its cache, is free to be cut by rows; what every block packs, or fetches,
        // again is cut by columns first: the head's dX, 256 x 50257 x 768, went from 82% to 88%.
        let blocks = col_blocks * steps;
        let holds_all = pack_b && blocks <= MAX_SLOTS && blocks * width(col_blocks) * depth <= HELD;
        if !holds_all && (pack_b || n.saturating_mul(k) > HELD) {
            col_blocks = col_blocks.max(tasks.div_ceil(row_blocks)).min(panels);
        }
        row_blocks = row_blocks.max(tasks.div_ceil(col_blocks)).min(tiles);
        if !holds_all {
            col_blocks = col_blocks.max(tasks.div_ceil(row_blocks)).min(panels);
        }
        if !holds_all && row_blocks % threads != 0 {
            // Nine blocks for two threads would leave one of them idle for a tenth of the time.
            col_blocks = col_blocks.next_multiple_of(threads).min(panels.max(1));
        }
        let slots = if holds_all { blocks } else { 1 };
        Self {
            m,
            n,
            k,
            mr,
            nr,
            row_blocks,
            col_blocks,
            depth,
            steps,
            pack_a,
            pack_b,
            slots,
        }
    }

    pub(super) fn tasks(&self) -> usize {
        self.row_blocks * self.col_blocks
    }

    /// Rows and columns of a task. Tasks that follow each other share rows: a thread keeps to its own.
    pub(super) fn block(&self, task: usize) -> (Range<usize>, Range<usize>) {
        (
            part_of(task / self.col_blocks, self.row_blocks, self.m, self.mr),
            part_of(task % self.col_blocks, self.col_blocks, self.n, self.nr),
        )
    }

    /// The reduction's steps of block `step`.
    pub(super) fn range(&self, step: usize) -> Range<usize> {
        step * self.depth..self.k.min((step + 1) * self.depth)
    }

    /// Where a thread goes on after a task's step, if its tasks follow each other.
    pub(super) fn next(&self, task: usize, step: usize) -> Option<Next> {
        let (task, step) = if step + 1 < self.steps {
            (task, step + 1)
        } else {
            (task + 1, 0)
        };
        (task < self.tasks()).then(|| {
            let (rows, cols) = self.block(task);
            (rows.start, cols.start, self.range(step))
        })
    }

    /// Which of a thread's slots takes the packed columns of a task's step, and what tells them from others.
    pub(super) fn slot(&self, task: usize, step: usize) -> (usize, usize) {
        let block = task % self.col_blocks * self.steps + step;
        (block % self.slots, block)
    }

    /// Floats of a slot.
    pub(super) fn slot_floats(&self) -> usize {
        if self.pack_b {
            self.n.div_ceil(self.nr).div_ceil(self.col_blocks) * panel_floats(self.nr, self.depth)
        } else {
            0
        }
    }

    /// Floats of scratch memory on each thread.
    pub(super) fn scratch(&self) -> usize {
        let a = if self.pack_a {
            self.mr * row_floats(self.depth)
        } else {
            0
        };
        self.slots * self.slot_floats() + a + 2 * super::SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::matmul_scratch;

    /// Every element of C belongs to one task, every step to one block, and what is packed fits, whatever the shape.
    #[test]
    fn tasks_cover_the_product_once_and_slots_fit() {
        let sizes = [1, 5, 14, 33, 128, 257, 1000];
        for (i, m) in sizes.into_iter().enumerate() {
            for (j, n) in sizes.into_iter().enumerate() {
                for (tile, threads) in [((14, 32), 1), ((6, 16), 2), ((4, 16), 7)] {
                    let k = [0, 8, 385, 1000, 3072][(i + j) % 5];
                    for (pack_a, pack_b) in [(false, false), (false, true), (true, true)] {
                        check(Cut::sized((m, n, k), tile, threads, pack_a, pack_b));
                    }
                }
            }
        }
    }

    fn check(cut: Cut) {
        let mut owners = vec![0u8; cut.m * cut.n];
        for task in 0..cut.tasks() {
            let (rows, cols) = cut.block(task);
            assert!(rows.start % cut.mr == 0 && cols.start % cut.nr == 0, "{cut:?}");
            for row in rows {
                owners[row * cut.n..][cols.clone()]
                    .iter_mut()
                    .for_each(|owner| *owner += 1);
            }
            for step in 0..cut.steps {
                let (slot, _) = cut.slot(task, step);
                assert!(slot < cut.slots && cut.slots <= MAX_SLOTS, "{cut:?}");
                assert!(
                    cols.len().div_ceil(cut.nr) * panel_floats(cut.nr, cut.range(step).len()) <= cut.slot_floats()
                        || !cut.pack_b
                );
            }
        }
        assert!(owners.iter().all(|&owner| owner == 1), "{cut:?}");
        let steps: usize = (0..cut.steps).map(|step| cut.range(step).len()).sum();
        assert_eq!(steps, cut.k, "{cut:?}");
        assert!(cut.scratch() <= matmul_scratch(cut.m, cut.n, cut.k), "{cut:?}");
    }

    #[test]
    fn blocks_of_the_reduction_are_even_and_follow_from_k() {
        assert_eq!(
            [1, 384, 385, 512, 768, 1000, 3072].map(depth_of),
            [8, 384, 200, 256, 384, 336, 384]
        );
    }
}
