//! AdamW in one pass over parameters, gradients and both moments (Loshchilov and Hutter, arXiv 1711.05101), with moments in
//! f32 or bf16, and the gradient's norm before it.

use crate::bf16::{RUN, round, widen};
use crate::pool::{Pool, Shards};
use crate::random::Stream;
use crate::simd::{LANES, Simd, load, simd_fn, store};

/// Elements a task updates; a multiple of [`RUN`].
const CHUNK: usize = 16_384;
/// Elements ahead of which parameters are asked for: every core has read them, and a line is written only when the others have
/// let go of it.
const AHEAD: usize = 512;
/// Elements whose squares are summed in f32 before chunks are added in f64, in order: part of the norm's bits.
const NORM_CHUNK: usize = 4096;

/// What a step of AdamW needs beside the arrays. Plain numbers, PyTorch's names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Number of this step, from 1.
    pub step: u64,
    /// What the gradient is multiplied with first (clipping).
    pub grad_scale: f32,
}

/// One step: `g = grad_scale grad; p -= lr wd p; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g²;`
/// `p -= lr/(1-b1^s) m / (sqrt(v/(1-b2^s)) + eps)`.
///
/// 28 bytes and 16 flops a parameter; every element stands alone. Error against f64 below `3e-7 (1 + |new value|)`.
///
/// # Panics
/// Where lengths differ.
pub fn adamw(pool: &Pool, param: &mut [f32], m: &mut [f32], v: &mut [f32], grad: &[f32], options: &AdamW) {
    let n = param.len();
    let _timed = pool.timed("adamw", [n], |[n]| (16 * n, 28 * n));
    assert_eq!(
        (m.len(), v.len(), grad.len()),
        (n, n, n),
        "parameters, moments and gradient have one shape"
    );
    let (m, v) = (Shards::new(m), Shards::new(v));
    pool.run_chunks(param, CHUNK, |i, param| {
        let (start, end) = (i * CHUNK, i * CHUNK + param.len());
        // SAFETY: the chunk is this task's.
        let (m, v) = unsafe { (m.range(start, end), v.range(start, end)) };
        update(pool.isa(), param, m, v, &grad[start..end], options);
    });
}

/// The same step with moments in bf16 ([`crate::bf16_to_f32`]): half their memory, and 20 bytes a parameter to move. The
/// new moments are rounded stochastically, by the bits that `stream` has for each element ([`crate::round_to_bf16`]); the
/// parameters are updated from the moments as they were before that.
///
/// Why not to nearest: with decays near 1 a moment moves by less than half a bf16's last place a step, and would stand
/// still. Rounded stochastically it is right on average. Drawing the bits takes longer than the bytes that are spared: 24 ms
/// for 12.6 million parameters on a busy Zen 4, where f32 took 14. It is for where memory is short.
///
/// # Panics
/// Where lengths differ.
pub fn adamw_bf16(
    pool: &Pool,
    param: &mut [f32],
    m: &mut [u16],
    v: &mut [u16],
    grad: &[f32],
    options: &AdamW,
    stream: Stream,
) {
    let n = param.len();
    let _timed = pool.timed("adamw_bf16", [n], |[n]| (16 * n, 20 * n));
    assert_eq!(
        (m.len(), v.len(), grad.len()),
        (n, n, n),
        "parameters, moments and gradient have one shape"
    );
    let (m, v) = (Shards::new(m), Shards::new(v));
    pool.run_chunks(param, CHUNK, |i, param| {
        let (start, end) = (i * CHUNK, i * CHUNK + param.len());
        // SAFETY: the chunk is this task's.
        let (m, v) = unsafe { (m.range(start, end), v.range(start, end)) };
        update_bf16(
            pool.isa(),
            param,
            m,
            v,
            &grad[start..end],
            options,
            stream,
            start as u64,
        );
    });
}

/// The numbers of a step, in every lane.
struct Rates<S: Simd> {
    rate: S::V,
    root: S::V,
    keep: S::V,
    beta: [S::V; 2],
    rest: [S::V; 2],
    eps: S::V,
    scale: S::V,
}

impl<S: Simd> Rates<S> {
    #[inline(always)]
    fn new(options: &AdamW) -> Self {
        let (beta1, beta2) = (f64::from(options.beta1), f64::from(options.beta2));
        let step = options.step as f64;
        Self {
            rate: S::splat((f64::from(options.lr) / (1.0 - beta1.powf(step))) as f32),
            root: S::splat((1.0 / (1.0 - beta2.powf(step)).sqrt()) as f32),
            keep: S::splat((1.0 - f64::from(options.lr) * f64::from(options.weight_decay)) as f32),
            beta: [S::splat(options.beta1), S::splat(options.beta2)],
            rest: [S::splat((1.0 - beta1) as f32), S::splat((1.0 - beta2) as f32)],
            eps: S::splat(options.eps),
            scale: S::splat(options.grad_scale),
        }
    }

    /// Parameters and both moments after the step.
    #[inline(always)]
    fn update(&self, param: S::V, m: S::V, v: S::V, grad: S::V) -> [S::V; 3] {
        let g = S::mul(grad, self.scale);
        let m = S::fma(self.beta[0], m, S::mul(self.rest[0], g));
        let v = S::fma(self.beta[1], v, S::mul(S::mul(self.rest[1], g), g));
        let denominator = S::add(S::mul(S::sqrt(v), self.root), self.eps);
        let kept = S::mul(param, self.keep);
        [S::sub(kept, S::div(S::mul(self.rate, m), denominator)), m, v]
    }
}

simd_fn! {
    fn update[S](param: &mut [f32], m: &mut [f32], v: &mut [f32], grad: &[f32], options: &AdamW) {
        let rates = Rates::<S>::new(options);
        let n = param.len();
        for i in (0..n).step_by(LANES) {
            S::prefetch_write::<1>(param.as_ptr().wrapping_add(i + AHEAD));
            let before = (load::<S>(&param[i..n]), load::<S>(&m[i..n]), load::<S>(&v[i..n]));
            let [p, mi, vi] = rates.update(before.0, before.1, before.2, load::<S>(&grad[i..n]));
            store::<S>(&mut param[i..], p);
            store::<S>(&mut m[i..], mi);
            store::<S>(&mut v[i..], vi);
        }
    }
}

simd_fn! {
    fn update_bf16[S](
        param: &mut [f32], m: &mut [u16], v: &mut [u16], grad: &[f32], options: &AdamW, stream: Stream, first: u64,
    ) {
        let rates = Rates::<S>::new(options);
        let n = param.len();
        for start in (0..n).step_by(RUN) {
            let words = stream.blocks((first + start as u64) / 4);
            for (word, i) in (start..n.min(start + RUN)).step_by(LANES).enumerate() {
                let before = (load::<S>(&param[i..n]), widen::<S>(&m[i..n]), widen::<S>(&v[i..n]));
                let [p, mi, vi] = rates.update(before.0, before.1, before.2, load::<S>(&grad[i..n]));
                store::<S>(&mut param[i..], p);
                round::<S, 0>(&mut m[i..n], mi, &words[word]);
                round::<S, 16>(&mut v[i..n], vi, &words[word]);
            }
        }
    }
}

/// Sum of squares of all elements in a fixed order; not finite where any element is not. 4 bytes an element. Error
/// against f64 below `3e-7 (1 + sum)`.
pub fn sum_of_squares(pool: &Pool, x: &[f32]) -> f64 {
    let _timed = pool.timed("sum_of_squares", [x.len()], |[n]| (2 * n, 4 * n));
    let mut parts = vec![0.0f64; x.len().div_ceil(NORM_CHUNK)];
    let shards = Shards::new(&mut parts);
    // Sixteen chunks a task: the cut of tasks is not part of the bits, the chunks are.
    pool.run(shards_len(x.len()).div_ceil(16), |task| {
        let (start, end) = (task * 16, shards_len(x.len()).min((task + 1) * 16));
        // SAFETY: these chunks are this task's.
        for (part, chunk) in unsafe { shards.range(start, end) }
            .iter_mut()
            .zip(x[start * NORM_CHUNK..].chunks(NORM_CHUNK))
        {
            *part = f64::from(squares(pool.isa(), chunk));
        }
    });
    parts.iter().sum()
}

fn shards_len(n: usize) -> usize {
    n.div_ceil(NORM_CHUNK)
}

simd_fn! {
    fn squares[S](x: &[f32]) -> f32 {
        let mut sum = [S::splat(0.0); 4];
        for (i, chunk) in x.chunks(LANES).enumerate() {
            let v = load::<S>(chunk);
            sum[i % 4] = S::fma(v, v, sum[i % 4]);
        }
        S::sum(S::add(S::add(sum[0], sum[1]), S::add(sum[2], sum[3])))
    }
}

/// Sum of squares in f64: the oracle.
pub fn sum_of_squares_reference(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

/// One element of AdamW in f64: returns (p, m, v). The oracle.
pub fn adamw_reference(p: f64, m: f64, v: f64, grad: f64, o: &AdamW) -> (f64, f64, f64) {
    let (b1, b2, lr) = (f64::from(o.beta1), f64::from(o.beta2), f64::from(o.lr));
    let g = grad * f64::from(o.grad_scale);
    let (m, v) = (b1 * m + (1.0 - b1) * g, b2 * v + (1.0 - b2) * g * g);
    let (mh, vh) = (m / (1.0 - b1.powf(o.step as f64)), v / (1.0 - b2.powf(o.step as f64)));
    (
        p - lr * f64::from(o.weight_decay) * p - lr * mh / (vh.sqrt() + f64::from(o.eps)),
        m,
        v,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16::{bf16_to_f32, round_to_bf16, rounding_word};
    use crate::isa::Isa;

    #[test]
    fn agrees_with_f64_on_every_set() {
        let o = AdamW {
            lr: 1e-2,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 3,
            grad_scale: 0.5,
        };
        let n = 1037;
        let f = |k: f32| (0..n).map(|i| (i as f32 * k).sin()).collect::<Vec<f32>>();
        for isa in Isa::available() {
            let (mut p, mut m, mut v, g) = (f(0.1), f(0.2), f(0.3).iter().map(|x| x * x).collect::<Vec<_>>(), f(0.4));
            let before = (p.clone(), m.clone(), v.clone());
            adamw(&Pool::with_isa(2, isa), &mut p, &mut m, &mut v, &g, &o);
            for i in 0..n {
                let want = adamw_reference(
                    before.0[i].into(),
                    before.1[i].into(),
                    before.2[i].into(),
                    g[i].into(),
                    &o,
                );
                for (got, want) in [(p[i], want.0), (m[i], want.1), (v[i], want.2)] {
                    assert!(
                        (f64::from(got) - want).abs() < 1e-6 * (1.0 + want.abs()),
                        "{isa:?} {got} {want}"
                    );
                }
            }
        }
    }

    /// Parameters move as the f32 kernel moves them, and the moments are its own, rounded by the stream's bits.
    #[test]
    fn bf16_is_the_f32_step_with_rounded_moments() {
        let o = AdamW {
            lr: 1e-2,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 3,
            grad_scale: 0.5,
        };
        let stream = Stream {
            seed: 11,
            step: 3,
            purpose: 1,
        };
        let n = 2 * CHUNK + 77;
        let f = |k: f32| (0..n).map(|i| (i as f32 * k).sin()).collect::<Vec<f32>>();
        let halves = |x: Vec<f32>| x.iter().map(|x| (x.to_bits() >> 16) as u16).collect::<Vec<u16>>();
        let wide = |x: &[u16]| x.iter().map(|&x| bf16_to_f32(x)).collect::<Vec<f32>>();
        for isa in Isa::available() {
            let pool = Pool::with_isa(2, isa);
            let (m, v, g) = (halves(f(0.2)), halves(f(0.3).iter().map(|x| x * x).collect()), f(0.4));
            let (mut want_p, mut want_m, mut want_v) = (f(0.1), wide(&m), wide(&v));
            adamw(&pool, &mut want_p, &mut want_m, &mut want_v, &g, &o);
            let (mut p, mut m, mut v) = (f(0.1), m, v);
            adamw_bf16(&pool, &mut p, &mut m, &mut v, &g, &o, stream);
            assert!(
                p.iter().zip(&want_p).all(|(p, want)| p.to_bits() == want.to_bits()),
                "{isa:?}"
            );
            for i in 0..n {
                let word = rounding_word(&stream, i as u64);
                let want = [(want_m[i], word as u16), (want_v[i], (word >> 16) as u16)];
                let want = want.map(|(x, bits)| round_to_bf16(x, bits));
                assert_eq!([m[i], v[i]], want, "{isa:?} at {i}");
            }
        }
    }

    #[test]
    fn the_norm_is_the_same_on_any_threads_and_sees_nan() {
        let x: Vec<f32> = (0..100_003).map(|i| (i as f32 * 0.01).sin()).collect();
        let want: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        for isa in Isa::available() {
            let one = sum_of_squares(&Pool::with_isa(1, isa), &x);
            assert_eq!(one.to_bits(), sum_of_squares(&Pool::with_isa(3, isa), &x).to_bits());
            assert!((one - want).abs() < 1e-6 * want);
        }
        let mut bad = x;
        bad[77_777] = f32::NAN;
        assert!(!sum_of_squares(&Pool::with_isa(1, Isa::Portable), &bad).is_finite());
    }
}
