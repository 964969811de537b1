//! The head and its loss in chunks of rows: logits = x wteᵀ, cross-entropy, and at once their gradients. No (N,V) buffer.

use crate::matmul::{Epilogue, Mat, matmul, matmul_gradient};
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, exp, load, load_or, simd_fn, store};
use crate::sums::zero;

/// Target of a token that carries no loss, as PyTorch has it.
pub const IGNORE_INDEX: i32 = -100;

/// Rows of logits that exist at a time: 51 MB at V = 50257. It decides the bits of the head's gradient.
const ROWS: usize = 256;

/// Floats of scratch memory that the head's loss needs for `n` rows.
pub fn head_loss_scratch(n: usize, vocab: usize) -> usize {
    n.min(ROWS) * vocab
}

/// Loss of each row, and the gradients of their scaled sum: x (N,d) becomes its own, `dweight` (V,d) is
/// overwritten, and not made where none is given: a head that does not learn.
///
/// `losses[n] = ln sum_v exp(logits[n,v]) - logits[n, target]`, 0 where the target is [`IGNORE_INDEX`];
/// `dx = dlogits wte`, `dweight = dlogitsᵀ x`, where `dlogits = scale (softmax(logits) - onehot(target))`.
///
/// Rows without a target have a gradient of zero and meet no product: of a conversation whose answers alone are learned, most.
///
/// weight (V,d), targets (N), scratch of [`head_loss_scratch`] floats. Flops `6 M V d` for M rows with a target, or `4 M V d` without
/// `dweight`. Error against f64 below
/// `2e-7 (1 + |value|)` for each root of the terms of the longest sum: N, d or V.
///
/// # Panics
/// Where shapes differ or a target is not below V.
pub fn head_loss_backward(
    pool: &Pool,
    losses: &mut [f32],
    x: &mut [f32],
    mut dweight: Option<&mut [f32]>,
    weight: &[f32],
    targets: &[i32],
    scale: f32,
    scratch: &mut [f32],
) {
    let (_, d, v) = shapes(losses, x, weight, targets);
    let sizes = dweight.as_ref().map_or(v * d, |dweight| dweight.len());
    assert_eq!(sizes, v * d, "the gradient has the weight's shape");
    let learned = Learned::gather(x, d, targets);
    let (m, targets) = (learned.rows.len(), &learned.targets);
    if m == 0
        && let Some(dweight) = &mut dweight
    {
        zero(pool, dweight);
    }
    for start in (0..m).step_by(ROWS) {
        let rows = ROWS.min(m - start);
        let (chunk, logits) = (&mut x[start * d..(start + rows) * d], &mut scratch[..rows * v]);
        matmul(
            pool,
            logits,
            Mat::new(chunk, rows, d),
            Mat::new(weight, v, d).t(),
            Epilogue::Store,
        );
        rows_of(
            pool,
            logits,
            v,
            &mut losses[start..start + rows],
            &targets[start..start + rows],
            Some(scale),
        );
        let dlogits = Mat::new(logits, rows, v);
        let epilogue = if start == 0 {
            Epilogue::Store
        } else {
            Epilogue::Accumulate
        };
        if let Some(dweight) = &mut dweight {
            matmul_gradient(pool, dweight, dlogits.t(), Mat::new(chunk, rows, d), epilogue);
        }
        matmul_gradient(pool, chunk, dlogits, Mat::new(weight, v, d), Epilogue::Store);
    }
    learned.spread(losses, 1);
    learned.spread(x, d);
}

/// The losses of [`head_loss_backward`] alone; x is lost. Flops `2 M V d`. Error against f64 below `2e-7 sqrt(d) (1 + loss)`.
///
/// # Panics
/// Where shapes differ or a target is not below V.
pub fn head_loss(pool: &Pool, losses: &mut [f32], x: &mut [f32], weight: &[f32], targets: &[i32], scratch: &mut [f32]) {
    let (_, d, v) = shapes(losses, x, weight, targets);
    let learned = Learned::gather(x, d, targets);
    let (m, targets) = (learned.rows.len(), &learned.targets);
    for start in (0..m).step_by(ROWS) {
        let rows = ROWS.min(m - start);
        let (chunk, logits) = (&x[start * d..(start + rows) * d], &mut scratch[..rows * v]);
        matmul(
            pool,
            logits,
            Mat::new(chunk, rows, d),
            Mat::new(weight, v, d).t(),
            Epilogue::Store,
        );
        rows_of(
            pool,
            logits,
            v,
            &mut losses[start..start + rows],
            &targets[start..start + rows],
            None,
        );
    }
    learned.spread(losses, 1);
}

/// The rows that have a target, while they lie together at the front.
struct Learned {
    /// Where each came from.
    rows: Vec<usize>,
    targets: Vec<i32>,
}

impl Learned {
    /// Moves the rows of x (N,d) that have a target to the front, in order.
    fn gather(x: &mut [f32], d: usize, targets: &[i32]) -> Self {
        let rows: Vec<usize> = (0..targets.len()).filter(|&n| targets[n] != IGNORE_INDEX).collect();
        for (to, &from) in rows.iter().enumerate().filter(|(to, from)| to != *from) {
            x.copy_within(from * d..(from + 1) * d, to * d);
        }
        let targets = rows.iter().map(|&n| targets[n]).collect();
        Self { rows, targets }
    }

    /// Moves rows (N,d) from the front to where they came from, and clears the others.
    fn spread(&self, x: &mut [f32], d: usize) {
        if x.len() == self.rows.len() * d {
            return;
        }
        let mut end = x.len();
        for (from, &to) in self.rows.iter().enumerate().rev() {
            x.copy_within(from * d..(from + 1) * d, to * d);
            x[(to + 1) * d..end].fill(0.0);
            end = to * d;
        }
        x[..end].fill(0.0);
    }
}

fn shapes(losses: &[f32], x: &[f32], weight: &[f32], targets: &[i32]) -> (usize, usize, usize) {
    let n = losses.len();
    let d = x.len() / n.max(1);
    let v = weight.len() / d.max(1);
    assert_eq!(
        (x.len(), weight.len(), targets.len()),
        (n * d, v * d, n),
        "x (N,d), weight (V,d), targets (N)"
    );
    let bad = targets
        .iter()
        .find(|&&t| t != IGNORE_INDEX && (t < 0 || t as usize >= v));
    assert!(bad.is_none(), "target {bad:?} of a vocabulary of {v}");
    (n, d, v)
}

/// Losses of rows of logits; with a scale, the logits become their gradients.
fn rows_of(pool: &Pool, logits: &mut [f32], v: usize, losses: &mut [f32], targets: &[i32], scale: Option<f32>) {
    // Logits are read, and replaced by their gradients; as many flops an element as `softmax_weights`, and one.
    let moved = if scale.is_some() { 8 } else { 4 };
    let _timed = pool.timed("cross_entropy", [targets.len(), v], |[n, v]| {
        (26 * n * v, moved * n * v)
    });
    let losses = Shards::new(losses);
    pool.run_chunks(logits, v, |row, logits| {
        // SAFETY: one row, one task.
        let loss = unsafe { losses.range(row, row + 1) };
        loss[0] = one_row(pool.isa(), logits, targets[row], scale);
    });
}

simd_fn! {
    fn one_row[S](logits: &mut [f32], target: i32, scale: Option<f32>) -> f32 {
        let (v, target) = (logits.len(), target as usize);
        let mut maxv = S::splat(f32::NEG_INFINITY);
        for i in (0..v).step_by(LANES) {
            maxv = S::max(maxv, load_or::<S>(&logits[i..], f32::NEG_INFINITY));
        }
        let max = S::max_lane(maxv);
        let (maxv, picked) = (S::splat(max), logits[target]);
        let mut sum = S::splat(0.0);
        for i in (0..v).step_by(LANES) {
            let e = exp::<S>(S::sub(load_or::<S>(&logits[i..], f32::NEG_INFINITY), maxv));
            if scale.is_some() {
                store::<S>(&mut logits[i..], e);
            }
            sum = S::add(sum, e);
        }
        let sum = S::sum(sum);
        if let Some(scale) = scale {
            let factor = S::splat(scale / sum);
            for i in (0..v).step_by(LANES) {
                let p = S::mul(load::<S>(&logits[i..]), factor);
                store::<S>(&mut logits[i..], p);
            }
            logits[target] -= scale;
        }
        // NaN logits (max ignores them) show in the sum, so that a poisoned step is seen.
        (f64::from(sum).ln() + f64::from(max) - f64::from(picked)) as f32
    }
}

/// Cross-entropy of one row of logits in f64 and its gradient, both zero at [`IGNORE_INDEX`]: the oracle.
///
/// # Panics
/// Where the target is neither [`IGNORE_INDEX`] nor the place of a logit.
pub fn cross_entropy_reference(logits: &[f64], target: i32) -> (f64, Vec<f64>) {
    if target == IGNORE_INDEX {
        return (0.0, vec![0.0; logits.len()]);
    }
    let target = usize::try_from(target).expect("a target is the place of a logit");
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = max + logits.iter().map(|l| (l - max).exp()).sum::<f64>().ln();
    let mut gradient: Vec<f64> = logits.iter().map(|l| (l - lse).exp()).collect();
    gradient[target] -= 1.0;
    (lse - logits[target], gradient)
}

/// [`head_loss_backward`] in f64: returns (losses, dx, dweight). The oracle.
pub fn head_loss_reference(x: &[f64], weight: &[f64], targets: &[i32], scale: f64) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let d = x.len() / targets.len().max(1);
    let mut losses = Vec::new();
    let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    for (n, &target) in targets.iter().enumerate() {
        let row = &x[n * d..(n + 1) * d];
        let logits: Vec<f64> = weight
            .chunks_exact(d)
            .map(|w| w.iter().zip(row).map(|(w, x)| w * x).sum())
            .collect();
        let (loss, dlogits) = cross_entropy_reference(&logits, target);
        losses.push(loss);
        for (v, dlogit) in dlogits.iter().enumerate() {
            for c in 0..d {
                dx[n * d + c] += scale * dlogit * weight[v * d + c];
                dweight[v * d + c] += scale * dlogit * row[c];
            }
        }
    }
    (losses, dx, dweight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn losses_and_gradients_agree_with_f64() {
        let (n, d, v) = (37, 9, 101);
        let x: Vec<f32> = (0..n * d).map(|i| (i as f32 * 0.7).sin()).collect();
        let w: Vec<f32> = (0..v * d).map(|i| (i as f32 * 0.3).cos()).collect();
        let targets: Vec<i32> = (0..n)
            .map(|i| if i % 3 == 0 { IGNORE_INDEX } else { (i * 29 % v) as i32 })
            .collect();
        let scale = 0.25;
        for isa in Isa::available() {
            let pool = Pool::with_isa(2, isa);
            let mut scratch = vec![0.0; head_loss_scratch(n, v)];
            let (mut losses, mut dx, mut dw) = (vec![0.0; n], x.clone(), vec![9.0; v * d]);
            head_loss_backward(
                &pool,
                &mut losses,
                &mut dx,
                Some(&mut dw),
                &w,
                &targets,
                scale,
                &mut scratch,
            );
            let mut alone = vec![0.0; n];
            head_loss(&pool, &mut alone, &mut x.clone(), &w, &targets, &mut scratch);
            assert_eq!(alone, losses);
            let mut want_dw = vec![0.0f64; v * d];
            for i in 0..n {
                let row = &x[i * d..(i + 1) * d];
                let dot = |j: usize| (0..d).map(|c| f64::from(row[c]) * f64::from(w[j * d + c])).sum::<f64>();
                let logits: Vec<f64> = (0..v).map(dot).collect();
                let (loss, gradient) = cross_entropy_reference(&logits, targets[i]);
                assert!((f64::from(losses[i]) - loss).abs() < 1e-5, "{isa:?} row {i}");
                for c in 0..d {
                    let want: f64 = (0..v).map(|j| 0.25 * gradient[j] * f64::from(w[j * d + c])).sum();
                    assert!((f64::from(dx[i * d + c]) - want).abs() < 1e-6, "{isa:?} dx {i} {c}");
                    (0..v).for_each(|j| want_dw[j * d + c] += 0.25 * gradient[j] * f64::from(row[c]));
                }
            }
            assert!(
                dw.iter().zip(&want_dw).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5),
                "{isa:?} dweight"
            );
        }
    }
}
