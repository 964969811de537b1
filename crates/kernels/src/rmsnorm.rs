//! Root mean square normalisation over the last dimension: `y = x / sqrt(avg(x²) + eps) * weight` (Zhang and Sennrich, arXiv
//! 1910.07467).

use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, load, simd_fn, store};
use crate::sums::add_rows;

/// As in layernorm: rows of a task, whose weight gradients are summed before chunks are added in order.
const ROWS: usize = 64;

/// y (N,d) from x (N,d); keeps `rstd` = 1/sqrt(avg(x²) + eps), one a row, for the backward.
///
/// 8 bytes and 4 flops an element. Error against f64 below `3e-7 sqrt(d) (1 + |y|)`.
///
/// # Panics
/// Where shapes differ.
pub fn rmsnorm_forward(pool: &Pool, y: &mut [f32], rstd: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let (n, d) = (rstd.len(), weight.len());
    let _timed = pool.timed("rmsnorm_forward", [n, d], |[n, d]| (4 * n * d, 8 * n * d));
    assert_eq!((x.len(), y.len()), (n * d, n * d), "x and y are (N,d) = ({n},{d})");
    let rstd = Shards::new(rstd);
    pool.run_chunks(y, ROWS * d.max(1), |task, y| {
        let (start, rows) = (task * ROWS, y.len() / d);
        // SAFETY: rows of a task are its own.
        let rstd = unsafe { rstd.range(start, start + rows) };
        forward_rows(pool.isa(), y, rstd, &x[start * d..(start + rows) * d], weight, eps);
    });
}

/// y (N,d) again, to the same bits, from x and what [`rmsnorm_forward`] kept of it: 8 bytes and 2 flops an element.
///
/// # Panics
/// Where shapes differ.
pub fn rmsnorm_again(pool: &Pool, y: &mut [f32], x: &[f32], rstd: &[f32], weight: &[f32]) {
    let (n, d) = (rstd.len(), weight.len());
    let _timed = pool.timed("rmsnorm_again", [n, d], |[n, d]| (2 * n * d, 8 * n * d));
    assert_eq!((x.len(), y.len()), (n * d, n * d), "x and y are (N,d) = ({n},{d})");
    pool.run_chunks(y, ROWS * d.max(1), |task, y| {
        let start = task * ROWS;
        again_rows(
            pool.isa(),
            y,
            &x[start * d..start * d + y.len()],
            &rstd[start..],
            weight,
        );
    });
}

/// dx_acc += gradient of x; dweight +=. `rstd` is the forward's.
///
/// With `n = x rstd` and `g = dy weight`: `dx = rstd (g - n avg(g n))`, `dweight = sum dy n`. 16 bytes and 12 flops an
/// element. Error against f64 below `3e-7 (1 + |gradient|)` for each root of the terms of the longest sum, N or d.
///
/// # Panics
/// Where shapes differ.
pub fn rmsnorm_backward(
    pool: &Pool,
    dx_acc: &mut [f32],
    dweight: &mut [f32],
    dy: &[f32],
    x: &[f32],
    weight: &[f32],
    rstd: &[f32],
) {
    let (n, d) = (rstd.len(), weight.len());
    let _timed = pool.timed("rmsnorm_backward", [n, d], |[n, d]| (12 * n * d, 16 * n * d));
    assert_eq!(
        (x.len(), dy.len(), dx_acc.len(), dweight.len()),
        (n * d, n * d, n * d, d),
        "x, dy and dx are (N,d) = ({n},{d})"
    );
    let mut sums = pool.partial_sums();
    let partial = sums.at_least(rmsnorm_backward_scratch(n, d));
    let parts = Shards::new(partial);
    pool.run_chunks(dx_acc, ROWS * d.max(1), |task, dx| {
        // SAFETY: partial sums of a task are its own.
        let part = unsafe { parts.range(task * d, (task + 1) * d) };
        part.fill(0.0);
        let (start, rows) = (task * ROWS, task * ROWS * d..task * ROWS * d + dx.len());
        backward_rows(
            pool.isa(),
            dx,
            part,
            &dy[rows.clone()],
            &x[rows],
            weight,
            &rstd[start..],
        );
    });
    add_rows(pool, dweight, partial, d);
}

/// Floats of partial sums that [`rmsnorm_backward`] of (N,d) takes; they lie in a buffer of the [`Pool`].
pub fn rmsnorm_backward_scratch(n: usize, d: usize) -> usize {
    n.div_ceil(ROWS) * d
}

#[inline(always)]
fn scale_row<S: Simd>(y: &mut [f32], x: &[f32], rstd: f32, weight: &[f32]) {
    let r = S::splat(rstd);
    for i in (0..weight.len()).step_by(LANES) {
        store::<S>(
            &mut y[i..],
            S::mul(S::mul(load::<S>(&x[i..]), r), load::<S>(&weight[i..])),
        );
    }
}

simd_fn! {
    fn forward_rows[S](y: &mut [f32], rstd: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
        let d = weight.len();
        for ((x, y), rstd) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(rstd) {
            let mut squares = S::splat(0.0);
            for i in (0..d).step_by(LANES) {
                let x = load::<S>(&x[i..]);
                squares = S::fma(x, x, squares);
            }
            *rstd = 1.0 / (S::sum(squares) / d as f32 + eps).sqrt();
            scale_row::<S>(y, x, *rstd, weight);
        }
    }
}

simd_fn! {
    fn again_rows[S](y: &mut [f32], x: &[f32], rstd: &[f32], weight: &[f32]) {
        let d = weight.len();
        for ((x, y), rstd) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(rstd) {
            scale_row::<S>(y, x, *rstd, weight);
        }
    }
}

simd_fn! {
    fn backward_rows[S](dx: &mut [f32], dw: &mut [f32], dy: &[f32], x: &[f32], weight: &[f32], rstd: &[f32]) {
        let d = weight.len();
        let rows = x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)).zip(rstd);
        for (((x, dy), dx), &rstd) in rows {
            let r = S::splat(rstd);
            let mut gn_sum = S::splat(0.0);
            for i in (0..d).step_by(LANES) {
                let dyv = load::<S>(&dy[i..]);
                let normed = S::mul(load::<S>(&x[i..]), r);
                gn_sum = S::fma(S::mul(dyv, load::<S>(&weight[i..])), normed, gn_sum);
                let total = S::fma(dyv, normed, load::<S>(&dw[i..]));
                store::<S>(&mut dw[i..], total);
            }
            let gn_avg = S::splat(S::sum(gn_sum) / d as f32);
            for i in (0..d).step_by(LANES) {
                let normed = S::mul(load::<S>(&x[i..]), r);
                let g = S::mul(load::<S>(&dy[i..]), load::<S>(&weight[i..]));
                let inner = S::sub(g, S::mul(normed, gn_avg));
                let total = S::fma(inner, r, load::<S>(&dx[i..]));
                store::<S>(&mut dx[i..], total);
            }
        }
    }
}

/// One row in f64: returns (y, rstd). The oracle.
pub fn rmsnorm_reference(x: &[f64], weight: &[f64], eps: f64) -> (Vec<f64>, f64) {
    let rstd = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + eps).sqrt();
    (x.iter().zip(weight).map(|(x, w)| x * rstd * w).collect(), rstd)
}

/// Gradients of one row in f64: returns (dx, dweight). The oracle. `rstd` is what the forward kept.
pub fn rmsnorm_backward_reference(dy: &[f64], x: &[f64], weight: &[f64], rstd: f64) -> (Vec<f64>, Vec<f64>) {
    let normed: Vec<f64> = x.iter().map(|x| x * rstd).collect();
    let g: Vec<f64> = dy.iter().zip(weight).map(|(dy, w)| dy * w).collect();
    let gn_avg = g.iter().zip(&normed).map(|(g, n)| g * n).sum::<f64>() / x.len() as f64;
    let dx = g.iter().zip(&normed).map(|(g, n)| rstd * (g - n * gn_avg)).collect();
    (dx, dy.iter().zip(&normed).map(|(dy, n)| dy * n).collect())
}
