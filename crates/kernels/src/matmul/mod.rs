//! Matrix products in every orientation a GPT's layers need, forward and backward.
//!
//! ```text
//! y  (N,out) = x (N,in) W (in,out) + bias      matmul(y,  x,      W,      Bias)
//! dx (N,in)  = dy (N,out) Wᵀ                   matmul_gradient(dx, dy,    W.t(),  Store)
//! dW (in,out) += xᵀ dy                         matmul_gradient(dW, x.t(), dy,     Accumulate)
//! ```
//!
//! Flops `2 M N K`; bytes at least `4 (MK + KN + MN)`. Operands are read where they lie, or packed by the thread that uses
//! them (see `cut.rs`), in blocks that stay in cache, as Goto and van de Geijn have it (Anatomy of High-Performance Matrix
//! Multiplication, TOMS 34, 2008), and every product runs through one register tile (see `tile.rs`). Error: each element is
//! a sum of `K` products in blocks of at most [`DEPTH`]; |error| <= (DEPTH + K/DEPTH) eps sum|a||b|. On numbers from -1 to 1
//! it is held to `1e-6 sqrt(K) (1 + |c|)` against f64, for every use above.

mod ahead;
mod cut;
mod pack;
mod reference;
mod seven;
pub(crate) mod tile;

pub use reference::{linear_backward_reference, linear_reference, matmul_reference};

use crate::pool::{Pool, Shards};
use crate::simd::{LARGEST_CACHE, simd_fn};
use ahead::Place;
pub(crate) use cut::depth_of;
use cut::{Cut, MAX_SLOTS, panel_floats, row_floats};
use pack::{copy_columns, copy_rows, pack_panel};
use tile::{Finish, Output, Target, Tile};

/// Steps of the reduction in one block at most. It decides the bits, so it is a constant, never read from the host's
/// caches.
pub const DEPTH: usize = 384;

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

impl<'a> Mat<'a> {
    /// `count` columns from `first` on.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    #[track_caller]
    pub fn columns(self, first: usize, count: usize) -> Self {
        assert!(
            first + count <= self.cols,
            "columns {first} to {} of {}",
            first + count,
            self.cols
        );
        let data = &self.data[(first * self.col_stride).min(self.data.len())..];
        Self {
            cols: count,
            data,
            ..self
        }
    }
}

impl Mat<'_> {
    /// The data from an element on.
    #[inline(always)]
    fn from(&self, row: usize, col: usize) -> &[f32] {
        &self.data[(row * self.row_stride + col * self.col_stride).min(self.data.len())..]
    }

    /// The address of an element, which need not be there: to fetch, not to read.
    #[inline(always)]
    fn address(&self, row: usize, col: usize) -> *const f32 {
        let at = row * self.row_stride + col * self.col_stride;
        self.data.as_ptr().wrapping_add(at)
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
    /// C = residual + A B; `residual` has C's shape
    Residual(&'a [f32]),
    /// C = residual + (A B + bias); `residual` has C's shape
    BiasResidual {
        /// One a column.
        bias: &'a [f32],
        /// C's shape.
        residual: &'a [f32],
    },
    /// C = gelu(A B + bias); see [`matmul_bias_gelu`] for one that keeps what the backward needs
    BiasGelu {
        /// One a column.
        bias: &'a [f32],
    },
    /// C = (A B) * factor, element by element; `factor` has C's shape
    Multiply {
        /// C's shape.
        factor: &'a [f32],
    },
}

/// C (M,N) = epilogue(A (M,K) B (K,N)).
///
/// # Panics
/// Where shapes do not fit together.
#[track_caller]
pub fn matmul(pool: &Pool, c: &mut [f32], a: Mat<'_>, b: Mat<'_>, epilogue: Epilogue<'_>) {
    product(pool, c, None, a, b, (Finish::Plain(epilogue), Way::RowByRow));
}

/// [`matmul`] for a gradient: large products are made of seven half-sized ones instead of eight (Strassen 1969), in 0.89 to 0.99 of
/// the time at 4,096 tokens of GPT-2.
///
/// The same flops `2 M N K` are counted, of which those then do 7/8: their rate can pass the machine's peak. Error: twice
/// [`matmul`]'s, 7e-7 instead of 3.5e-7 of the result's size on numbers from -0.5 to 0.5; and where rows differ much in size, an
/// element's error follows the largest row and column that share its sums, not its own. A row of zeros in A gives a row
/// of such errors, not of zeros. The least sizes are M, N = 256 and K = 512; smaller products are [`matmul`]'s, bit by bit.
///
/// # Panics
/// Where shapes do not fit together.
#[track_caller]
pub fn matmul_gradient(pool: &Pool, c: &mut [f32], a: Mat<'_>, b: Mat<'_>, epilogue: Epilogue<'_>) {
    product(pool, c, None, a, b, (Finish::Plain(epilogue), Way::OfGradients));
}

/// The N columns of `c` (M,`width`) from `first` on = A (M,K) B (K,N); the others stay as they are.
///
/// # Panics
/// Where shapes do not fit together.
#[track_caller]
pub fn matmul_columns(pool: &Pool, c: &mut [f32], (first, width): (usize, usize), a: Mat<'_>, b: Mat<'_>) {
    let (m, n) = (a.rows, b.cols);
    assert!(
        c.len() == m * width && first + n <= width,
        "columns {first} to {} of rows of {width}, {m} rows in {} floats",
        first + n,
        c.len()
    );
    let c = &mut c[first.min(m * width)..];
    let finish = Finish::Plain(Epilogue::Store);
    product_in_rows(pool, c, width, None, a, b, (finish, Way::RowByRow));
}

/// `gelu` = gelu(pre), and `pre` becomes (A B) * gelu'(pre), the gradient of itself: both need the same exponential. The product
/// is that of [`matmul_gradient`].
///
/// # Panics
/// Where shapes do not fit together.
#[track_caller]
pub fn matmul_gelu_backward(pool: &Pool, gelu: &mut [f32], pre: &mut [f32], a: Mat<'_>, b: Mat<'_>) {
    assert_eq!(gelu.len(), pre.len(), "gelu and pre have one shape");
    product(pool, gelu, Some(pre), a, b, (Finish::GeluBackward, Way::OfGradients));
}

/// C = gelu(A B + bias), and `pre` = A B + bias beside it, which [`matmul_gelu_backward`] needs.
///
/// # Panics
/// Where shapes do not fit together.
#[track_caller]
pub fn matmul_bias_gelu(pool: &Pool, c: &mut [f32], pre: &mut [f32], a: Mat<'_>, b: Mat<'_>, bias: &[f32]) {
    assert_eq!(pre.len(), c.len(), "pre and C have one shape");
    let finish = Finish::Plain(Epilogue::BiasGelu { bias });
    product(pool, c, Some(pre), a, b, (finish, Way::RowByRow));
}

/// C = gelu(A B + bias), and `slope` = gelu'(A B + bias) beside it: where C is kept, the backward needs no more, and no
/// exponential; see [`Epilogue::Multiply`].
///
/// # Panics
/// Where shapes do not fit together.
#[track_caller]
pub fn matmul_bias_gelu_slope(pool: &Pool, c: &mut [f32], slope: &mut [f32], a: Mat<'_>, b: Mat<'_>, bias: &[f32]) {
    assert_eq!(slope.len(), c.len(), "slope and C have one shape");
    product(
        pool,
        c,
        Some(slope),
        a,
        b,
        (Finish::BiasGeluSlope { bias }, Way::RowByRow),
    );
}

/// How a product may be computed.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Each row of C from its own row of A, to the last bit.
    RowByRow,
    /// By seven where it pays.
    OfGradients,
}

#[track_caller]
fn product(
    pool: &Pool,
    c: &mut [f32],
    beside: Option<&mut [f32]>,
    a: Mat<'_>,
    b: Mat<'_>,
    (finish, way): (Finish<'_>, Way),
) {
    let (m, n) = (a.rows, b.cols);
    assert_eq!(c.len(), m * n, "C is {m}x{n}");
    match finish {
        Finish::Plain(Epilogue::Store | Epilogue::Accumulate) | Finish::GeluBackward => {}
        Finish::Plain(Epilogue::Bias(bias) | Epilogue::BiasGelu { bias }) | Finish::BiasGeluSlope { bias } => {
            assert_eq!(bias.len(), n, "one bias a column")
        }
        Finish::Plain(Epilogue::Residual(residual)) => assert_eq!(residual.len(), m * n, "residual has C's shape"),
        Finish::Plain(Epilogue::Multiply { factor }) => assert_eq!(factor.len(), m * n, "factor has C's shape"),
        Finish::Plain(Epilogue::BiasResidual { bias, residual }) => {
            assert_eq!((bias.len(), residual.len()), (n, m * n), "bias a column, residual as C");
        }
    }
    product_in_rows(pool, c, n, beside, a, b, (finish, way));
}

/// The product into rows of C that lie `stride` floats apart.
#[track_caller]
fn product_in_rows(
    pool: &Pool,
    c: &mut [f32],
    stride: usize,
    beside: Option<&mut [f32]>,
    a: Mat<'_>,
    b: Mat<'_>,
    (finish, way): (Finish<'_>, Way),
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let _timed = pool.timed(orientation(&a, &b), [m, k, n], |sizes| {
        work(sizes, beside.is_some(), &finish)
    });
    assert_eq!(k, b.rows, "A is {m}x{k}, B is {}x{n}", b.rows);
    if m == 0 || n == 0 {
        return;
    }
    let out = Output {
        c: Shards::new(c),
        beside: beside.map(Shards::new),
        stride,
        finish,
    };
    if way == Way::OfGradients && seven::pays(m, n, k) {
        seven::product(pool, &out, a, b);
        return;
    }
    let cut = Cut::new(&a, &b, tile_size(pool.isa()), pool.threads());
    let floats = cut.scratch();
    debug_assert!(floats <= matmul_scratch(m, n, k), "{m}x{n}x{k}");
    pool.run_on_threads(cut.tasks(), |worker, tasks| {
        let mut scratch = pool.scratch(worker);
        let mut held = Held {
            scratch: scratch.at_least(floats),
            blocks: [usize::MAX; MAX_SLOTS],
        };
        tasks.for_each(|task| multiply(pool.isa(), &out, a, b, &cut, task, &mut held));
    });
}

/// What a product is called in a profile, in the letters of BLAS.
fn orientation(a: &Mat<'_>, b: &Mat<'_>) -> &'static str {
    let transposed = |matrix: &Mat<'_>| matrix.col_stride != 1 || matrix.row_stride < matrix.cols;
    match (transposed(a), transposed(b)) {
        (false, false) => "matmul_nn",
        (false, true) => "matmul_nt",
        (true, false) => "matmul_tn",
        (true, true) => "matmul_tt",
    }
}

/// Flops and bytes of a product: A, B and what the epilogue reads in, C and what lies beside it out.
fn work([m, k, n]: [u64; 3], beside: bool, finish: &Finish<'_>) -> (u64, u64) {
    let read = match finish {
        Finish::Plain(Epilogue::Store) => 0,
        Finish::Plain(Epilogue::Accumulate | Epilogue::Residual(_) | Epilogue::Multiply { .. })
        | Finish::GeluBackward => m * n,
        Finish::Plain(Epilogue::Bias(_) | Epilogue::BiasGelu { .. }) | Finish::BiasGeluSlope { .. } => n,
        Finish::Plain(Epilogue::BiasResidual { .. }) => n + m * n,
    };
    let written = if beside { 2 * m * n } else { m * n };
    (2 * m * k * n, 4 * (m * k + k * n + read + written))
}

/// Floats past a packed operand that packing may overwrite.
const SLACK: usize = 16;

/// The tiles of AVX-512, of AVX2 and of the portable path, and the floats of their second-level caches.
const TILES: [(usize, usize, usize); 3] = [
    (14, 32, LARGEST_CACHE),
    (6, 16, LARGEST_CACHE / 2),
    (4, 16, LARGEST_CACHE / 2),
];

/// Floats of packed operands that C (M,N) = A (M,K) B (K,N) takes at most on each thread, on any instruction set.
pub fn matmul_scratch(m: usize, n: usize, k: usize) -> usize {
    let of = |(mr, nr, _)| Cut::sized((m, n, k), (mr, nr), 1, true, true).scratch();
    TILES.map(of).into_iter().max().unwrap_or(0)
}

/// [`matmul_scratch`] for [`matmul_gradient`].
pub fn matmul_gradient_scratch(m: usize, n: usize, k: usize) -> usize {
    if !seven::pays(m, n, k) {
        return matmul_scratch(m, n, k);
    }
    let of = |(mr, nr, cache)| seven::Cut::new((m, n, k), seven::Shape { mr, nr, cache }, 1).scratch();
    TILES.map(of).into_iter().max().unwrap_or(0)
}

/// What a thread holds from task to task.
struct Held<'a> {
    scratch: &'a mut [f32],
    /// Which block of B lies in each slot.
    blocks: [usize; MAX_SLOTS],
}

simd_fn! {
    fn tile_size[S]() -> (usize, usize) { (S::MR, S::NR) }
}

simd_fn! {
    /// All of a task: its block of C, every step of the reduction.
    fn multiply[S](out: &Output<'_>, a: Mat<'_>, b: Mat<'_>, cut: &Cut, task: usize, held: &mut Held<'_>) {
        let (rows, cols) = cut.block(task);
        let accumulate = matches!(out.finish, Finish::Plain(Epilogue::Accumulate));
        let (packed_b, packed_a) = held.scratch.split_at_mut(cut.slots * cut.slot_floats() + SLACK);
        for step in 0..cut.steps {
            let steps = cut.range(step);
            let depth = steps.len();
            let (slot, block) = cut.slot(task, step);
            let meets_b = held.blocks[slot] != block || !cut.pack_b;
            held.blocks[slot] = block;
            let next = cut.next(task, step);
            for row in rows.clone().step_by(S::MR) {
                let count = S::MR.min(rows.end - row);
                let from = a.from(row, steps.start);
                let (a_data, a_row, a_step) = if cut.pack_a && a.row_stride == 1 {
                    copy_columns::<S>(packed_a, from, a.col_stride, (count, depth));
                    (&*packed_a, 1, S::MR)
                } else if cut.pack_a {
                    copy_rows::<S>(packed_a, row_floats(depth), from, a.row_stride, (count, depth));
                    (&*packed_a, row_floats(depth), 1)
                } else {
                    (from, a.row_stride, a.col_stride)
                };
                for (panel, col) in cols.clone().step_by(S::NR).enumerate() {
                    let count_cols = S::NR.min(cols.end - col);
                    let (b_data, b_step) = if cut.pack_b {
                        let at = slot * cut.slot_floats() + panel * panel_floats(S::NR, depth);
                        let packed = &mut packed_b[at..];
                        if meets_b && row == rows.start {
                            let from = b.from(steps.start, col);
                            pack_panel::<S>(packed, from, S::NR, count_cols, depth, (b.col_stride, b.row_stride));
                        }
                        (&*packed, S::NR)
                    } else {
                        (b.from(steps.start, col), b.row_stride)
                    };
                    let place = Place {
                        rows: &rows,
                        cols: &cols,
                        steps: &steps,
                        row,
                        col,
                        meets_b,
                        next: &next,
                    };
                    let tile = Tile {
                        a: a_data,
                        a_row,
                        a_step,
                        b: b_data,
                        b_step,
                        depth,
                        rows: count,
                        ahead: place.ahead::<S>(&a, &b),
                    };
                    let target = Target {
                        row,
                        col,
                        rows: count,
                        cols: count_cols,
                        first: step == 0 && !accumulate,
                        last: step + 1 == cut.steps,
                    };
                    S::approach(&target, out);
                    let mut sums = S::no_sums();
                    S::tile::<false>(&tile, &mut sums);
                    S::finish(&target, out, &sums);
                }
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
                // Strides that crowd a cache: columns of A and rows of B, rows of A.
                (256, 256, 21),
                (9, 33, 1024),
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
                        Epilogue::Residual(&other),
                        Epilogue::BiasResidual {
                            bias: &bias,
                            residual: &other,
                        },
                        Epilogue::BiasGelu { bias: &bias },
                        Epilogue::Multiply { factor: &other },
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

    /// What the fused products of the MLP write beside C: the GELU's argument, the GELU.
    #[test]
    fn what_is_written_beside_the_product_agrees_with_f64() {
        for isa in Isa::available() {
            let pool = Pool::with_isa(2, isa);
            for (m, n, k) in [(5, 7, 9), (29, 70, 385), (64, 96, 48)] {
                let (a, b, bias, pre) = (
                    numbers(m * k, 0.0),
                    numbers(k * n, 5.0),
                    numbers(n, 9.0),
                    numbers(m * n, 2.0),
                );
                let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, k, n));
                let close = |got: &[f32], want: &[f32], what: &str| {
                    for (i, (got, want)) in got.iter().zip(want).enumerate() {
                        let bound = 4e-6 * (1.0 + want.abs()) * (k as f32).sqrt();
                        assert!(
                            (got - want).abs() <= bound,
                            "{isa:?} {m}x{n}x{k} {what} at {i}: {got}, want {want}"
                        );
                    }
                };
                let (mut c, mut beside, mut want) = (vec![9.0; m * n], vec![9.0; m * n], vec![0.0; m * n]);
                matmul_bias_gelu(&pool, &mut c, &mut beside, a, b, &bias);
                matmul_reference(&mut want, a, b, Epilogue::Bias(&bias));
                close(&beside, &want, "pre");
                matmul_reference(&mut want, a, b, Epilogue::BiasGelu { bias: &bias });
                close(&c, &want, "gelu(pre)");
                let plain = c.clone();
                matmul_bias_gelu_slope(&pool, &mut c, &mut beside, a, b, &bias);
                assert_eq!(c, plain, "the same bits, whatever is written beside");
                matmul_reference(&mut want, a, b, Epilogue::Bias(&bias));
                for want in &mut want {
                    *want = crate::gelu_derivative_reference(f64::from(*want)) as f32;
                }
                close(&beside, &want, "slope");
                beside.copy_from_slice(&pre);
                matmul_gelu_backward(&pool, &mut c, &mut beside, a, b);
                matmul_reference(&mut want, a, b, Epilogue::Store);
                for (want, &pre) in want.iter_mut().zip(&pre) {
                    *want *= crate::gelu_derivative_reference(pre.into()) as f32;
                }
                close(&beside, &want, "gradient");
                let gelu: Vec<f32> = pre.iter().map(|&x| crate::gelu_reference(x.into()) as f32).collect();
                close(&c, &gelu, "gelu");
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
