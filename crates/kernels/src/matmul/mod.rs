//! Matrix products in every orientation a GPT's layers need, forward and backward.
//!
//! ```text
//! y  (N,out) = x (N,in) W (in,out) + bias      matmul(y,  x,      W,      Bias)
//! dx (N,in)  = dy (N,out) Wᵀ                   matmul(dx, dy,     W.t(),  Store)
//! dW (in,out) += xᵀ dy                         matmul(dW, x.t(),  dy,     Accumulate)
//! ```
//!
//! Flops `2 M N K`; bytes at least `4 (MK + KN + MN)`. Both operands are packed into panels that stay in cache, blocked
//! as Goto and van de Geijn do (Anatomy of High-Performance Matrix Multiplication, TOMS 34, 2008), and every product
//! runs through one register tile (see `tile.rs`). Error: each element is a sum of `K` products in blocks of
//! [`DEPTH`]; |error| <= (DEPTH + K/DEPTH) eps sum|a||b|. On numbers from -1 to 1 it is held to `1e-6 sqrt(K) (1 + |c|)` against f64,
//! for every use above.

mod pack;
mod reference;
pub(crate) mod tile;

pub use reference::{linear_backward_reference, linear_reference, matmul_reference};

use crate::pool::{Pool, Shards};
use crate::simd::simd_fn;
use tile::{Output, Tile};

/// Steps of the reduction in one block. It decides the bits, so it is a constant, never read from the host's caches.
pub const DEPTH: usize = 384;
/// Rows and columns packed at a time; they bound the packing buffer (about 11 MB) and never show in the bits.
const ROWS_PACKED: usize = 4096;
const COLS_PACKED: usize = 3072;

/// A matrix in memory, read as it lies or transposed.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// `rows` x `cols`, row after row.
    ///
    /// # Panics
    /// Where `data` does not hold exactly that many floats.
    #[track_caller]
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * cols,
            "a {rows}x{cols} matrix of {} floats",
            data.len()
        );
        Self {
            data,
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }

    /// The transpose, without moving anything.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            data: self.data,
        }
    }
}

/// What becomes of `A B` on its way to C.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Epilogue<'a> {
    /// C = A B
    Store,
    /// C += A B
    Accumulate,
    /// C = A B + bias (one a column)
    Bias(&'a [f32]),
    /// C = residual + (A B + bias); `residual` has C's shape
    BiasResidual {
        /// One a column.
        bias: &'a [f32],
        /// C's shape.
        residual: &'a [f32],
    },
    /// C = gelu(A B + bias); see [`matmul_bias_gelu`] for one that keeps the argument
    BiasGelu {
        /// One a column.
        bias: &'a [f32],
    },
    /// C = (A B) * gelu'(pre); `pre` has C's shape
    GeluBackward {
        /// What the GELU was applied to.
        pre: &'a [f32],
    },
}

/// C (M,N) = epilogue(A (M,K) B (K,N)).
///
/// # Panics
/// Where shapes do not fit together.
#[track_caller]
pub fn matmul(pool: &Pool, c: &mut [f32], a: Mat<'_>, b: Mat<'_>, epilogue: Epilogue<'_>) {
    product(pool, c, None, a, b, epilogue);
}

/// C = gelu(A B + bias), and `pre` = A B + bias beside it, which the backward needs.
///
/// # Panics
/// Where shapes do not fit together.
#[track_caller]
pub fn matmul_bias_gelu(pool: &Pool, c: &mut [f32], pre: &mut [f32], a: Mat<'_>, b: Mat<'_>, bias: &[f32]) {
    assert_eq!(pre.len(), c.len(), "pre and C have one shape");
    product(pool, c, Some(pre), a, b, Epilogue::BiasGelu { bias });
}

#[track_caller]
fn product(pool: &Pool, c: &mut [f32], pre: Option<&mut [f32]>, a: Mat<'_>, b: Mat<'_>, epilogue: Epilogue<'_>) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "A is {m}x{k}, B is {}x{n}", b.rows);
    assert_eq!(c.len(), m * n, "C is {m}x{n}");
    match epilogue {
        Epilogue::Store | Epilogue::Accumulate => {}
        Epilogue::Bias(bias) | Epilogue::BiasGelu { bias } => {
            assert_eq!(bias.len(), n, "one bias a column")
        }
        Epilogue::BiasResidual { bias, residual } => {
            assert_eq!((bias.len(), residual.len()), (n, m * n), "bias a column, residual as C");
        }
        Epilogue::GeluBackward { pre } => assert_eq!(pre.len(), m * n, "pre has C's shape"),
    }
    if m == 0 || n == 0 {
        return;
    }
    let out = Output {
        c: Shards::new(c),
        pre: pre.map(Shards::new),
        stride: n,
        epilogue: &epilogue,
    };
    let mut packing = pool.packing_buffer();
    let (mr, nr) = tile_shape(pool);
    for row in (0..m).step_by(ROWS_PACKED) {
        let rows = ROWS_PACKED.min(m - row);
        for col in (0..n).step_by(COLS_PACKED) {
            let cols = COLS_PACKED.min(n - col);
            let mut step = 0;
            // One round even for K = 0, so that the epilogue sees every element.
            loop {
                let depth = DEPTH.min(k - step);
                let block = Block {
                    row,
                    rows,
                    col,
                    cols,
                    step,
                    depth,
                    first: step == 0,
                    last: step + depth == k,
                };
                let a_floats = rows.div_ceil(mr) * mr * depth;
                let b_floats = cols.div_ceil(nr) * nr * depth;
                debug_assert!(
                    a_floats + b_floats + 2 * SLACK <= matmul_scratch(m, n, k),
                    "{m}x{n}x{k}"
                );
                let buffer = packing.at_least(a_floats + b_floats + 2 * SLACK);
                let (packed_a, packed_b) = buffer.split_at_mut((a_floats + SLACK).next_multiple_of(16));
                pack_block(pool, packed_a, packed_b, a, b, &block, (mr, nr));
                multiply_block(pool, &out, packed_a, packed_b, &block, (mr, nr));
                step += depth;
                if step >= k {
                    break;
                }
            }
        }
    }
}

/// Floats past a packed operand that packing may overwrite.
const SLACK: usize = 16;
/// Rows and columns of no instruction set's register tile exceed these.
const LARGEST_TILE: (usize, usize) = (14, 32);

/// Floats of packed operands that C (M,N) = A (M,K) B (K,N) takes at most, on any instruction set: about 2.8 million for
/// large matrices. Every kernel of a [`Pool`] packs into the same buffer, so a model takes the largest of its products.
pub fn matmul_scratch(m: usize, n: usize, k: usize) -> usize {
    let rows = m.min(ROWS_PACKED) + LARGEST_TILE.0 - 1;
    let cols = n.min(COLS_PACKED) + LARGEST_TILE.1 - 1;
    (rows + cols) * k.min(DEPTH) + 2 * SLACK
}

struct Block {
    row: usize,
    rows: usize,
    col: usize,
    cols: usize,
    step: usize,
    depth: usize,
    first: bool,
    last: bool,
}

fn tile_shape(pool: &Pool) -> (usize, usize) {
    tile_size(pool.isa())
}

simd_fn! {
    fn tile_size[S]() -> (usize, usize) { (S::MR, S::NR) }
}

fn pack_block(
    pool: &Pool,
    packed_a: &mut [f32],
    packed_b: &mut [f32],
    a: Mat<'_>,
    b: Mat<'_>,
    block: &Block,
    (mr, nr): (usize, usize),
) {
    // Groups of panels of about 64 KB: small enough to share out, large enough to be worth a hand-off.
    let per_task = |width: usize| (16_384 / (width * block.depth.max(1))).max(1);
    let (a_group, b_group) = (per_task(mr) * mr, per_task(nr) * nr);
    let a_tasks = block.rows.div_ceil(a_group);
    let b_tasks = block.cols.div_ceil(b_group);
    let (a_len, b_len) = (packed_a.len(), packed_b.len());
    let (a_shards, b_shards) = (Shards::new(packed_a), Shards::new(packed_b));
    let tasks = a_tasks + b_tasks;
    pool.run(tasks, |task| {
        // A and B take turns in proportion, so that a thread packs the rows that its share of the products reads.
        let (before, after) = (task * a_tasks / tasks, (task + 1) * a_tasks / tasks);
        let is_a = before < after;
        let (shards, len, mat_data, lines, group, width, strides, start) = if is_a {
            let start = a.row_stride * block.row + a.col_stride * block.step;
            (
                &a_shards,
                a_len,
                a.data,
                block.rows,
                a_group,
                mr,
                (a.row_stride, a.col_stride),
                start,
            )
        } else {
            let start = b.row_stride * block.step + b.col_stride * block.col;
            (
                &b_shards,
                b_len,
                b.data,
                block.cols,
                b_group,
                nr,
                (b.col_stride, b.row_stride),
                start,
            )
        };
        let line = (if is_a { before } else { task - before }) * group;
        let count = group.min(lines - line);
        let at = line * block.depth;
        let end = len.min(at + count.div_ceil(width) * width * block.depth);
        if block.depth > 0 {
            // SAFETY: groups of panels do not overlap.
            let dst = unsafe { shards.range(at, end) };
            pack::pack_panels(
                pool.isa(),
                dst,
                &mat_data[start + line * strides.0..],
                width,
                count,
                block.depth,
                strides,
            );
        }
    });
}

/// Cuts the block into a grid of tasks by its shape, each a few hundred microseconds of work, and runs them.
fn multiply_block(pool: &Pool, out: &Output<'_>, a: &[f32], b: &[f32], block: &Block, (mr, nr): (usize, usize)) {
    let (row_tiles, col_tiles) = (block.rows.div_ceil(mr), block.cols.div_ceil(nr));
    // 168 rows of A (258 KB at full depth) stay in a 512 KB second-level cache beside a stream of B.
    let mut high = row_tiles.div_ceil(row_tiles.div_ceil(168 / mr));
    let mut wide = col_tiles.min((512 / nr).max(1));
    while row_tiles.div_ceil(high) * col_tiles.div_ceil(wide) < 16 && high * wide > 4 {
        if wide > 2 && wide * nr >= high * mr {
            wide = wide.div_ceil(2)
        } else {
            high = high.div_ceil(2)
        }
    }
    let across = col_tiles.div_ceil(wide);
    pool.run(row_tiles.div_ceil(high) * across, |task| {
        let (i, j) = (task / across * high, task % across * wide);
        let grid = Grid {
            rows: i..(i + high).min(row_tiles),
            cols: j..(j + wide).min(col_tiles),
        };
        multiply_grid(pool.isa(), out, a, b, block, grid);
    });
}

struct Grid {
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
}

simd_fn! {
    fn multiply_grid[S](out: &Output<'_>, a: &[f32], b: &[f32], block: &Block, grid: Grid) {
        let depth = block.depth;
        for j in grid.cols.clone() {
            let panel_b = &b[j * S::NR * depth..(j + 1) * S::NR * depth];
            for i in grid.rows.clone() {
                let tile = Tile {
                    a: &a[i * S::MR * depth..(i + 1) * S::MR * depth],
                    b: panel_b,
                    depth,
                    rows: S::MR.min(block.rows - i * S::MR),
                    cols: S::NR.min(block.cols - j * S::NR),
                    row: block.row + i * S::MR,
                    col: block.col + j * S::NR,
                    first: block.first && !matches!(out.epilogue, super::matmul::Epilogue::Accumulate),
                    last: block.last,
                };
                S::tile(&tile, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    fn numbers(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + seed) * 0.731).sin()).collect()
    }

    /// Every orientation, epilogue and tail on every set, against f64.
    #[test]
    fn every_orientation_and_tail_agrees_with_f64() {
        for isa in Isa::available() {
            let pool = Pool::with_isa(2, isa);
            let shapes = [
                (1, 1, 1),
                (3, 5, 7),
                (14, 32, 9),
                (15, 33, 17),
                (29, 70, 385),
                (61, 101, 60),
                (100, 16, 800),
            ];
            for (m, n, k) in shapes {
                let (a, b) = (numbers(m * k, 0.0), numbers(k * n, 5.0));
                let (bias, other) = (numbers(n, 9.0), numbers(m * n, 2.0));
                for orientation in 0..4 {
                    let a = if orientation & 1 == 0 {
                        Mat::new(&a, m, k)
                    } else {
                        Mat::new(&a, k, m).t()
                    };
                    let b = if orientation & 2 == 0 {
                        Mat::new(&b, k, n)
                    } else {
                        Mat::new(&b, n, k).t()
                    };
                    for epilogue in [
                        Epilogue::Store,
                        Epilogue::Accumulate,
                        Epilogue::Bias(&bias),
                        Epilogue::BiasResidual {
                            bias: &bias,
                            residual: &other,
                        },
                        Epilogue::BiasGelu { bias: &bias },
                        Epilogue::GeluBackward { pre: &other },
                    ] {
                        let (mut c, mut want) = (other.clone(), other.clone());
                        matmul(&pool, &mut c, a, b, epilogue);
                        matmul_reference(&mut want, a, b, epilogue);
                        for (i, (c, want)) in c.iter().zip(&want).enumerate() {
                            let close = (c - want).abs() <= 4e-6 * (1.0 + want.abs()) * (k as f32).sqrt();
                            assert!(
                                close,
                                "{isa:?} {m}x{n}x{k} {orientation} {epilogue:?} at {i}: {c}, want {want}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads_nor_on_the_vector_set() {
        let (m, n, k) = (131, 203, 777);
        let (a, b) = (numbers(m * k, 1.0), numbers(k * n, 3.0));
        let run = |threads, isa| {
            let mut c = vec![0.0; m * n];
            matmul(
                &Pool::with_isa(threads, isa),
                &mut c,
                Mat::new(&a, m, k),
                Mat::new(&b, k, n),
                Epilogue::Store,
            );
            c.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        for isa in Isa::available() {
            assert_eq!(run(1, isa), run(3, isa), "{isa:?}");
        }
        let fused: Vec<_> = Isa::available()
            .into_iter()
            .filter(|&isa| isa != Isa::Portable)
            .collect();
        assert!(fused.windows(2).all(|w| run(1, w[0]) == run(1, w[1])));
    }
}
