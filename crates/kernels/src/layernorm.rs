//! Layer normalisation over the last dimension: `y = (x - mean) / sqrt(var + eps) * weight + bias`, the variance taken
//! over d without correction (Ba, Kiros and Hinton, arXiv 1607.06450).

use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, load, simd_fn, store};
use crate::sums::{add_rows, add_rows_to};

/// Rows that one task normalises; in the backward also the rows whose weight gradients are summed before chunks are
/// added in order, so it is part of the bits.
const ROWS: usize = 64;

/// y (N,d) from x (N,d); keeps `mean` and `rstd` = 1/sqrt(var + eps), one a row, for the backward.
///
/// 8 bytes and 7 flops an element; two passes over a row that stays in cache. Error against f64 below
/// `3e-7 sqrt(d) (1 + |y|)`.
///
/// # Panics
/// Where shapes differ.
pub fn layernorm_forward(
    pool: &Pool,
    y: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
) {
    let d = weight.len();
    let n = mean.len();
    let _timed = pool.timed("layernorm_forward", [n, d], |[n, d]| (7 * n * d, 8 * n * d));
    assert_eq!(
        (x.len(), y.len(), rstd.len(), bias.len()),
        (n * d, n * d, n, d),
        "x and y are (N,d) = ({n},{d})"
    );
    let (y, mean, rstd) = (Shards::new(y), Shards::new(mean), Shards::new(rstd));
    pool.run(n.div_ceil(ROWS), |task| {
        let (start, end) = (task * ROWS, n.min((task + 1) * ROWS));
        // SAFETY: rows of a task are its own.
        let (y, mean, rstd) = unsafe {
            (
                y.range(start * d, end * d),
                mean.range(start, end),
                rstd.range(start, end),
            )
        };
        forward_rows(pool.isa(), y, mean, rstd, &x[start * d..end * d], weight, bias, eps);
    });
}

/// y (N,d) again, to the same bits, from x and what [`layernorm_forward`] kept of it: one pass, 8 bytes and 4 flops an
/// element. Error as the forward's.
///
/// # Panics
/// Where shapes differ.
pub fn layernorm_again(
    pool: &Pool,
    y: &mut [f32],
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    weight: &[f32],
    bias: &[f32],
) {
    let (n, d) = (mean.len(), weight.len());
    let _timed = pool.timed("layernorm_again", [n, d], |[n, d]| (4 * n * d, 8 * n * d));
    assert_eq!(
        (x.len(), y.len(), rstd.len(), bias.len()),
        (n * d, n * d, n, d),
        "x and y are (N,d) = ({n},{d})"
    );
    pool.run_chunks(y, ROWS * d.max(1), |task, y| {
        for (row, y) in y.chunks_exact_mut(d).enumerate() {
            let row = task * ROWS + row;
            normalize(
                pool.isa(),
                y,
                &x[row * d..(row + 1) * d],
                mean[row],
                rstd[row],
                weight,
                bias,
            );
        }
    });
}

/// dx_acc += gradient of x; dweight and dbias +=. `mean` and `rstd` are the forward's.
///
/// With `n = (x - mean) rstd` and `g = dy weight`: `dx = rstd (g - avg(g) - n avg(g n))`, `dweight = sum dy n`,
/// `dbias = sum dy`. 16 bytes and 18 flops an element. Error against f64 below `3e-7 (1 + |gradient|)` for each root of
/// the terms of the longest sum, N or d.
///
/// # Panics
/// Where shapes differ.
pub fn layernorm_backward(
    pool: &Pool,
    dx_acc: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
    dy: &[f32],
    x: &[f32],
    weight: &[f32],
    mean: &[f32],
    rstd: &[f32],
) {
    let d = weight.len();
    let n = mean.len();
    let _timed = pool.timed("layernorm_backward", [n, d], |[n, d]| (18 * n * d, 16 * n * d));
    assert_eq!(
        (x.len(), dy.len(), dx_acc.len()),
        (n * d, n * d, n * d),
        "x, dy and dx are (N,d) = ({n},{d})"
    );
    assert_eq!((rstd.len(), dweight.len(), dbias.len()), (n, d, d));
    let chunks = n.div_ceil(ROWS);
    let mut sums = pool.partial_sums();
    let partial = sums.at_least(layernorm_backward_scratch(n, d));
    let (dx, parts) = (Shards::new(dx_acc), Shards::new(partial));
    pool.run(chunks, |task| {
        let (start, end) = (task * ROWS, n.min((task + 1) * ROWS));
        // SAFETY: rows and partial sums of a task are its own.
        let (dx, part) = unsafe {
            (
                dx.range(start * d, end * d),
                parts.range(task * 2 * d, (task + 1) * 2 * d),
            )
        };
        part.fill(0.0);
        let (dw, db) = part.split_at_mut(d);
        let rows = start * d..end * d;
        let saved = (&mean[start..end], &rstd[start..end]);
        backward_rows(pool.isa(), dx, dw, db, &dy[rows.clone()], &x[rows], weight, saved);
    });
    if chunks > 0 {
        add_rows(pool, dweight, &partial[..(chunks * 2 - 1) * d], 2 * d);
        add_rows(pool, dbias, &partial[d..], 2 * d);
    }
}

/// Floats of partial sums that [`layernorm_backward`] of (N,d) takes; they lie in a buffer of the [`Pool`].
pub fn layernorm_backward_scratch(n: usize, d: usize) -> usize {
    n.div_ceil(ROWS) * 2 * d
}

/// dbias (n) += column sums of dy (N,n): the gradient of a bias added to every row. 4 bytes an element. Error against
/// f64 below `2e-7 sqrt(N) (1 + |dbias|)`.
///
/// # Panics
/// Where `dy` is not whole rows of `dbias.len()`.
pub fn bias_backward(pool: &Pool, dbias: &mut [f32], dy: &[f32]) {
    let width = dbias.len();
    assert_eq!(dy.len() % width, 0, "dy is rows of {width}");
    let n = dy.len() / width;
    let _timed = pool.timed("bias_backward", [n, width], |[n, width]| (n * width, 4 * n * width));
    let mut sums = pool.partial_sums();
    let partial = sums.at_least(bias_backward_scratch(n, width));
    pool.run_chunks(partial, width, |task, part| {
        part.fill(0.0);
        let count = ROWS.min(n - task * ROWS);
        add_rows_to(pool.isa(), part, &dy[task * ROWS * width..], width, count);
    });
    add_rows(pool, dbias, partial, width);
}

/// Floats of partial sums that [`bias_backward`] of (N,width) takes; they lie in a buffer of the
/// [`Pool`].
pub fn bias_backward_scratch(n: usize, width: usize) -> usize {
    n.div_ceil(ROWS) * width
}

/// Sum over a row of `f(lanes)`; lanes past the end are zero and must give zero.
macro_rules! row_sum {
    ($s:ident, $d:expr, |$i:ident| $value:expr) => {{
        let mut total = $s::splat(0.0);
        for $i in (0..$d).step_by(LANES) {
            total = $s::add(total, $value);
        }
        $s::sum(total)
    }};
}

simd_fn! {
    fn forward_rows[S](
        y: &mut [f32], mean: &mut [f32], rstd: &mut [f32], x: &[f32], weight: &[f32], bias: &[f32], eps: f32,
    ) {
        let d = weight.len();
        for (row, (x, y)) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).enumerate() {
            let m = row_sum!(S, d, |i| load::<S>(&x[i..])) / d as f32;
            let mv = S::splat(m);
            let full = d / LANES * LANES;
            let mut squares = S::splat(0.0);
            for i in (0..full).step_by(LANES) {
                let c = S::sub(load::<S>(&x[i..]), mv);
                squares = S::fma(c, c, squares);
            }
            if full < d {
                // Lanes past the end read the mean, so that they add nothing.
                let c = S::sub(crate::simd::load_or::<S>(&x[full..], m), mv);
                squares = S::fma(c, c, squares);
            }
            let r = 1.0 / (S::sum(squares) / d as f32 + eps).sqrt();
            normalize_row::<S>(y, x, (mv, S::splat(r)), weight, bias);
            mean[row] = m;
            rstd[row] = r;
        }
    }
}

/// y = (x - mean) rstd weight + bias.
#[inline(always)]
fn normalize_row<S: Simd>(y: &mut [f32], x: &[f32], (mean, rstd): (S::V, S::V), weight: &[f32], bias: &[f32]) {
    for i in (0..weight.len()).step_by(LANES) {
        let normed = S::mul(S::sub(load::<S>(&x[i..]), mean), rstd);
        store::<S>(
            &mut y[i..],
            S::fma(normed, load::<S>(&weight[i..]), load::<S>(&bias[i..])),
        );
    }
}

simd_fn! {
    fn normalize[S](y: &mut [f32], x: &[f32], mean: f32, rstd: f32, weight: &[f32], bias: &[f32]) {
        normalize_row::<S>(y, x, (S::splat(mean), S::splat(rstd)), weight, bias);
    }
}

simd_fn! {
    fn backward_rows[S](
        dx: &mut [f32], dw: &mut [f32], db: &mut [f32], dy: &[f32], x: &[f32], weight: &[f32], saved: (&[f32], &[f32]),
    ) {
        let d = weight.len();
        for (row, ((x, dy), dx)) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)).enumerate() {
            let (m, r) = (S::splat(saved.0[row]), S::splat(saved.1[row]));
            let mut g_sum = S::splat(0.0);
            let mut gn_sum = S::splat(0.0);
            for i in (0..d).step_by(LANES) {
                let dyv = load::<S>(&dy[i..]);
                let normed = S::mul(S::sub(load::<S>(&x[i..]), m), r);
                // Zero past the end, since dy and weight are.
                let g = S::mul(dyv, load::<S>(&weight[i..]));
                g_sum = S::add(g_sum, g);
                gn_sum = S::fma(g, normed, gn_sum);
                let w_total = S::fma(dyv, normed, load::<S>(&dw[i..]));
                store::<S>(&mut dw[i..], w_total);
                let b_total = S::add(dyv, load::<S>(&db[i..]));
                store::<S>(&mut db[i..], b_total);
            }
            let g_avg = S::splat(S::sum(g_sum) / d as f32);
            let gn_avg = S::splat(S::sum(gn_sum) / d as f32);
            for i in (0..d).step_by(LANES) {
                let normed = S::mul(S::sub(load::<S>(&x[i..]), m), r);
                let g = S::mul(load::<S>(&dy[i..]), load::<S>(&weight[i..]));
                let inner = S::sub(S::sub(g, g_avg), S::mul(normed, gn_avg));
                let total = S::fma(inner, r, load::<S>(&dx[i..]));
                store::<S>(&mut dx[i..], total);
            }
        }
    }
}

/// One row in f64: returns (y, mean, rstd). The oracle.
pub fn layernorm_reference(x: &[f64], weight: &[f64], bias: &[f64], eps: f64) -> (Vec<f64>, f64, f64) {
    let d = x.len() as f64;
    let mean = x.iter().sum::<f64>() / d;
    let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d;
    let rstd = 1.0 / (var + eps).sqrt();
    let y = x
        .iter()
        .zip(weight)
        .zip(bias)
        .map(|((x, w), b)| (x - mean) * rstd * w + b)
        .collect();
    (y, mean, rstd)
}

/// Gradients of one row in f64: returns (dx, dweight, dbias). The oracle.
///
/// `x` is the row that was normalised, `mean` and `rstd` what the forward kept of it.
pub fn layernorm_backward_reference(
    dy: &[f64],
    x: &[f64],
    weight: &[f64],
    mean: f64,
    rstd: f64,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let d = x.len() as f64;
    let normed: Vec<f64> = x.iter().map(|x| (x - mean) * rstd).collect();
    let g: Vec<f64> = dy.iter().zip(weight).map(|(dy, w)| dy * w).collect();
    let g_avg = g.iter().sum::<f64>() / d;
    let gn_avg = g.iter().zip(&normed).map(|(g, n)| g * n).sum::<f64>() / d;
    let dx = g
        .iter()
        .zip(&normed)
        .map(|(g, n)| rstd * (g - g_avg - n * gn_avg))
        .collect();
    let dweight = dy.iter().zip(&normed).map(|(dy, n)| dy * n).collect();
    (dx, dweight, dy.to_vec())
}

/// Column sums of rows of `width` in f64: the oracle of [`bias_backward`].
pub fn bias_backward_reference(dy: &[f64], width: usize) -> Vec<f64> {
    (0..width).map(|c| dy.iter().skip(c).step_by(width).sum()).collect()
}
