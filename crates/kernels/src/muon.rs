//! Muon: momentum whose matrices are orthogonalised before they become a step (Jordan et al., Muon: An optimizer for
//! hidden layers in neural networks, 2024), scaled as Moonlight has it (Liu et al., Muon is Scalable for LLM Training,
//! arXiv 2502.16982).
//!
//! ```text
//! m = 0.95 m + 0.05 g                 momentum
//! u = 0.05 g + 0.95 m                 Nesterov's: a step further
//! X = u / |u|                         Frobenius' norm: every singular value is at most 1
//! X = (a I + b G + c G²) X            five times, G = X Xᵀ: singular values are driven to about 1 (0.7 to 1.2)
//! W = (1 - lr wd) W - lr 0.2 sqrt(max(rows, cols)) X
//! ```
//!
//! The factor makes the root mean square of a step 0.2 lr, about that of AdamW, whose rate and weight decay serve both
//! then; Jordan's sqrt(max(1, rows/cols)) needs a rate of its own some twenty times larger. It does not depend on which
//! way round a matrix lies, either.
//!
//! A tensor may hold several matrices side by side, as GPT-2's (d,3d) holds those of queries, keys and values: each is
//! orthogonalised on its own, since they act on their own; as one matrix the largest of them would set the scale of all.
//!
//! Everything is in f32. PyTorch's `torch.optim.Muon` makes the products of the iteration in bf16, and differs from this by that.

use crate::bf16::{RUN, round, widen};
use crate::buffer::ALIGNMENT;
use crate::matmul::{Epilogue, Mat, matmul, matmul_scratch};
use crate::pool::{Pool, Shards};
use crate::random::Stream;
use crate::simd::{LANES, Simd, load, simd_fn, store};
use crate::sum_of_squares;

/// Decay of the momentum.
const MOMENTUM: f64 = 0.95;
/// The quintic's coefficients: as steep at zero as can be while all of [0, 1] stays near 1.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;
/// Root mean square of an update, in learning rates.
const UPDATE_RMS: f64 = 0.2;
/// The norm below which a gradient is no direction any more; PyTorch's.
const EPS: f64 = 1e-7;
/// Elements a task handles; a multiple of [`RUN`].
const CHUNK: usize = 16_384;

/// Sizes of a tensor that Muon updates: (rows, cols) of `blocks` matrices side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MuonShape {
    /// Rows.
    pub rows: usize,
    /// Columns of all matrices together.
    pub cols: usize,
    /// Matrices side by side, each of cols / blocks columns.
    pub blocks: usize,
}

impl MuonShape {
    /// Columns of a matrix.
    #[track_caller]
    fn width(&self) -> usize {
        let Self { rows, cols, blocks } = *self;
        assert!(
            blocks > 0 && cols % blocks == 0,
            "{rows}x{cols} in {blocks} equal blocks of columns"
        );
        cols / blocks
    }

    /// The shorter side of a matrix, which the iteration works on.
    fn side(&self) -> usize {
        self.rows.min(self.width())
    }

    /// Floats of scratch memory that [`muon`] takes: a matrix and the next, their products with themselves.
    pub fn scratch(&self) -> usize {
        2 * padded(self.rows * self.width()) + 2 * padded(self.side() * self.side())
    }

    /// Floats that the products of [`muon`] pack at most on each thread.
    pub fn thread_scratch(&self) -> usize {
        let (rows, width, side) = (self.rows, self.width(), self.side());
        let gram = matmul_scratch(side, side, rows.max(width));
        let products = [matmul_scratch(side, side, side), matmul_scratch(rows, width, side)];
        products.into_iter().fold(gram, usize::max)
    }

    /// Multiplications and additions of [`muon`]: `5 (4 s² l + 2 s³)` a matrix of sides s <= l.
    pub fn flops(&self) -> f64 {
        let (short, long) = (self.side() as f64, self.rows.max(self.width()) as f64);
        self.blocks as f64 * ITERATIONS as f64 * (4.0 * short * short * long + 2.0 * short.powi(3))
    }
}

/// So that every part of the scratch memory begins at a cache line.
fn padded(floats: usize) -> usize {
    floats.next_multiple_of(ALIGNMENT / 4)
}

/// `g = grad_scale grad; m = 0.95 m + 0.05 g`, and `grad = 0.05 g + 0.95 m`, what [`muon`] takes for its update.
///
/// 16 bytes an element. Error against f64 below `2e-7 (1 + |new value|)`.
///
/// # Panics
/// Where lengths differ.
pub fn muon_momentum(pool: &Pool, m: &mut [f32], grad: &mut [f32], grad_scale: f32) {
    let _timed = pool.timed("muon_momentum", [grad.len()], |[n]| (6 * n, 16 * n));
    assert_eq!(m.len(), grad.len(), "momentum and gradient have one shape");
    let m = Shards::new(m);
    pool.run_chunks(grad, CHUNK, |i, grad| {
        // SAFETY: the chunk is this task's.
        let m = unsafe { m.range(i * CHUNK, i * CHUNK + grad.len()) };
        momentum(pool.isa(), m, grad, grad_scale);
    });
}

/// [`muon_momentum`] with the momentum in bf16, rounded stochastically as [`crate::adamw_bf16`] rounds its first moment.
/// 12 bytes an element.
///
/// # Panics
/// Where lengths differ.
pub fn muon_momentum_bf16(pool: &Pool, m: &mut [u16], grad: &mut [f32], grad_scale: f32, stream: Stream) {
    let _timed = pool.timed("muon_momentum_bf16", [grad.len()], |[n]| (6 * n, 12 * n));
    assert_eq!(m.len(), grad.len(), "momentum and gradient have one shape");
    let m = Shards::new(m);
    pool.run_chunks(grad, CHUNK, |i, grad| {
        let start = i * CHUNK;
        // SAFETY: the chunk is this task's.
        let m = unsafe { m.range(start, start + grad.len()) };
        momentum_bf16(pool.isa(), m, grad, grad_scale, stream, start as u64);
    });
}

/// Momentum and update.
#[inline(always)]
fn nesterov<S: Simd>(m: S::V, grad: S::V, scale: S::V) -> [S::V; 2] {
    let (keep, rest) = (S::splat(MOMENTUM as f32), S::splat((1.0 - MOMENTUM) as f32));
    let new = S::mul(rest, S::mul(grad, scale));
    let m = S::fma(keep, m, new);
    [m, S::fma(keep, m, new)]
}

simd_fn! {
    fn momentum[S](m: &mut [f32], grad: &mut [f32], scale: f32) {
        let n = grad.len();
        for i in (0..n).step_by(LANES) {
            let [mi, update] = nesterov::<S>(load::<S>(&m[i..n]), load::<S>(&grad[i..n]), S::splat(scale));
            store::<S>(&mut m[i..], mi);
            store::<S>(&mut grad[i..], update);
        }
    }
}

simd_fn! {
    fn momentum_bf16[S](m: &mut [u16], grad: &mut [f32], scale: f32, stream: Stream, first: u64) {
        let n = grad.len();
        for start in (0..n).step_by(RUN) {
            let words = stream.blocks((first + start as u64) / 4);
            for (word, i) in (start..n.min(start + RUN)).step_by(LANES).enumerate() {
                let [mi, update] = nesterov::<S>(widen::<S>(&m[i..n]), load::<S>(&grad[i..n]), S::splat(scale));
                round::<S, 0>(&mut m[i..n], mi, &words[word]);
                store::<S>(&mut grad[i..], update);
            }
        }
    }
}

/// One step of a weight tensor: `W = (1 - lr wd) W - lr 0.2 sqrt(max(rows, cols)) orthogonalised(update)`, matrix by matrix.
///
/// [`MuonShape::flops`] of products and a few passes over memory; `scratch` holds [`MuonShape::scratch`] floats, contents
/// undefined. Where the update of a matrix is zero, its weights only decay. Error against f64 below `2e-5 lr` and a
/// rounding of W, for updates as [`muon_momentum`] makes them.
///
/// # Panics
/// Where lengths do not fit the shape, or the columns do not fall into the blocks.
#[track_caller]
pub fn muon(
    pool: &Pool,
    weight: &mut [f32],
    update: &[f32],
    shape: MuonShape,
    (lr, weight_decay): (f64, f64),
    scratch: &mut [f32],
) {
    let MuonShape { rows, cols, blocks } = shape;
    let (width, side) = (shape.width(), shape.side());
    assert_eq!(
        (weight.len(), update.len()),
        (rows * cols, rows * cols),
        "weights and update of {rows}x{cols}"
    );
    let wanted = shape.scratch();
    assert!(
        scratch.len() >= wanted,
        "{} of {wanted} floats of scratch",
        scratch.len()
    );
    if rows * cols == 0 {
        return;
    }
    let (x, rest) = scratch.split_at_mut(padded(rows * width));
    let (next, rest) = rest.split_at_mut(padded(rows * width));
    let (gram, rest) = rest.split_at_mut(padded(side * side));
    let (mut x, mut next) = (&mut x[..rows * width], &mut next[..rows * width]);
    let (gram, square) = (&mut gram[..side * side], &mut rest[..side * side]);
    let keep = (1.0 - lr * weight_decay) as f32;
    let rate = (lr * UPDATE_RMS * (rows.max(width) as f64).sqrt()) as f32;
    for block in 0..blocks {
        let from = block * width;
        let rows_a_task = (CHUNK / width).max(1);
        pool.run_chunks(x, rows_a_task * width, |task, x| {
            for (row, x) in x.chunks_mut(width).enumerate() {
                let at = (task * rows_a_task + row) * cols + from;
                x.copy_from_slice(&update[at..at + width]);
            }
        });
        let norm = sum_of_squares(pool, x).sqrt().max(EPS);
        let scale = (1.0 / norm) as f32;
        pool.run_chunks(x, CHUNK, |_, x| x.iter_mut().for_each(|x| *x *= scale));
        for _ in 0..ITERATIONS {
            iterate(pool, next, x, (rows, width), gram, square);
            (x, next) = (next, x);
        }
        let step = &*x;
        pool.run_chunks(weight, rows_a_task * cols, |task, weight| {
            for (row, weight) in weight.chunks_mut(cols).enumerate() {
                let at = (task * rows_a_task + row) * width;
                let weights = weight[from..from + width].iter_mut();
                weights
                    .zip(&step[at..at + width])
                    .for_each(|(w, x)| *w = *w * keep - rate * x);
            }
        });
    }
}

/// next = p(X Xᵀ) X, or X p(Xᵀ X) where X has more rows than columns: the same, on the shorter side.
fn iterate(
    pool: &Pool,
    next: &mut [f32],
    x: &[f32],
    (rows, width): (usize, usize),
    gram: &mut [f32],
    square: &mut [f32],
) {
    let [a, b, c] = COEFFICIENTS;
    let side = rows.min(width);
    let x = Mat::new(x, rows, width);
    let (left, right) = if rows <= width { (x, x.t()) } else { (x.t(), x) };
    matmul(pool, gram, left, right, Epilogue::Store);
    matmul(
        pool,
        square,
        Mat::new(gram, side, side),
        Mat::new(gram, side, side),
        Epilogue::Store,
    );
    // a on the diagonal spares a pass over X.
    let rows_a_task = (CHUNK / side).max(1);
    let gram = &*gram;
    pool.run_chunks(square, rows_a_task * side, |task, square| {
        let start = task * rows_a_task;
        let gram = &gram[start * side..];
        square.iter_mut().zip(gram).for_each(|(p, g)| *p = b * g + c * *p);
        square.iter_mut().skip(start).step_by(side + 1).for_each(|p| *p += a);
    });
    let polynomial = Mat::new(square, side, side);
    let (left, right) = if rows <= width {
        (polynomial, x)
    } else {
        (x, polynomial)
    };
    matmul(pool, next, left, right, Epilogue::Store);
}

/// One element of [`muon_momentum`] in f64: momentum and update. The oracle.
pub fn muon_momentum_reference(m: f64, grad: f64, grad_scale: f64) -> (f64, f64) {
    let g = grad * grad_scale;
    let m = MOMENTUM * m + (1.0 - MOMENTUM) * g;
    (m, (1.0 - MOMENTUM) * g + MOMENTUM * m)
}

/// The weights after [`muon`], in f64 and in the plainest way. The oracle.
pub fn muon_reference(weight: &[f64], update: &[f64], shape: MuonShape, (lr, weight_decay): (f64, f64)) -> Vec<f64> {
    let MuonShape { rows, cols, blocks } = shape;
    let width = shape.width();
    let [a, b, c] = COEFFICIENTS.map(f64::from);
    let mut out = weight.to_vec();
    for block in 0..blocks {
        let mut x: Vec<f64> = (0..rows * width)
            .map(|i| update[i / width * cols + block * width + i % width])
            .collect();
        let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(EPS);
        x.iter_mut().for_each(|x| *x /= norm);
        for _ in 0..ITERATIONS {
            let product = |p: &dyn Fn(usize, usize) -> f64, q: &dyn Fn(usize, usize) -> f64, (n, k, m)| -> Vec<f64> {
                (0..n * m)
                    .map(|i| (0..k).map(|j| p(i / m, j) * q(j, i % m)).sum())
                    .collect()
            };
            let x_at = |i: usize, j: usize| x[i * width + j];
            let gram = product(&x_at, &|i, j| x_at(j, i), (rows, width, rows));
            let cube = product(&|i, j| gram[i * rows + j], &x_at, (rows, rows, width));
            let fifth = product(
                &|i, j| gram[i * rows + j],
                &|i, j| cube[i * width + j],
                (rows, rows, width),
            );
            x = (0..rows * width)
                .map(|i| a * x[i] + b * cube[i] + c * fifth[i])
                .collect();
        }
        let rate = lr * UPDATE_RMS * (rows.max(width) as f64).sqrt();
        for (i, x) in x.iter().enumerate() {
            let at = i / width * cols + block * width + i % width;
            out[at] = (1.0 - lr * weight_decay) * weight[at] - rate * x;
        }
    }
    out
}

#[cfg(test)]
mod tests;
