//! GELU in its tanh form, as GPT-2 has it: `gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))`.
//!
//! Since `(1 + tanh u)/2 = 1/(1 + e^(-2u))`, one exp and one division do (Hendrycks and Gimpel, arXiv 1606.08415).

use crate::pool::Pool;
use crate::simd::{LANES, Simd, exp2, load, simd_fn, store};

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// Elements a task handles: the cut is part of no result, each element stands alone.
const CHUNK: usize = 16_384;

/// `1 / (1 + e^(-2u))` with `u = sqrt(2/pi) (x + 0.044715 x³)`; the exponent is counted in halvings.
#[inline(always)]
fn gate<S: Simd>(x: S::V) -> S::V {
    const HALVINGS: f32 = 2.0 * SQRT_2_OVER_PI * std::f32::consts::LOG2_E;
    let x2 = S::mul(x, x);
    let t = S::mul(x, S::fma(S::splat(-HALVINGS * CUBIC), x2, S::splat(-HALVINGS)));
    S::div(S::splat(1.0), S::add(S::splat(1.0), exp2::<S>(t)))
}

#[inline(always)]
pub(crate) fn gelu<S: Simd>(x: S::V) -> S::V {
    S::mul(x, gate::<S>(x))
}

/// gelu(x), and its derivative `s + x s (1 - s) 2u'` with the gate s.
#[inline(always)]
pub(crate) fn gelu_and_derivative<S: Simd>(x: S::V) -> (S::V, S::V) {
    let s = gate::<S>(x);
    let x2 = S::mul(x, x);
    let slope = S::fma(
        S::splat(6.0 * CUBIC * SQRT_2_OVER_PI),
        x2,
        S::splat(2.0 * SQRT_2_OVER_PI),
    );
    let xs = S::mul(x, s);
    (xs, S::fma(S::mul(xs, S::sub(S::splat(1.0), s)), slope, s))
}

/// y = gelu(x), element by element. 8 bytes and about 30 flops an element. Error against f64 below `2e-7 (1 + |y|)`.
///
/// # Panics
/// Where lengths differ.
pub fn gelu_forward(pool: &Pool, y: &mut [f32], x: &[f32]) {
    let _timed = pool.timed("gelu_forward", [x.len()], |[n]| (30 * n, 8 * n));
    assert_eq!(y.len(), x.len(), "y and x have one shape");
    pool.run_chunks(y, CHUNK, |i, y| forward_chunk(pool.isa(), y, &x[i * CHUNK..]));
}

/// dx = dy * gelu'(x), element by element. 12 bytes and about 40 flops an element. Error against f64 below
/// `2e-6 (1 + |dx|)`, the most where x is near -9.
///
/// # Panics
/// Where lengths differ.
pub fn gelu_backward(pool: &Pool, dx: &mut [f32], dy: &[f32], x: &[f32]) {
    let _timed = pool.timed("gelu_backward", [x.len()], |[n]| (40 * n, 12 * n));
    assert_eq!((dx.len(), dx.len()), (dy.len(), x.len()), "dx, dy and x have one shape");
    pool.run_chunks(dx, CHUNK, |i, dx| {
        backward_chunk(pool.isa(), dx, &dy[i * CHUNK..], &x[i * CHUNK..])
    });
}

simd_fn! {
    fn forward_chunk[S](y: &mut [f32], x: &[f32]) {
        let n = y.len();
        for i in (0..n).step_by(LANES) {
            store::<S>(&mut y[i..], gelu::<S>(load::<S>(&x[i..n])));
        }
    }
}

simd_fn! {
    fn backward_chunk[S](dx: &mut [f32], dy: &[f32], x: &[f32]) {
        let n = dx.len();
        for i in (0..n).step_by(LANES) {
            let (_, slope) = gelu_and_derivative::<S>(load::<S>(&x[i..n]));
            store::<S>(&mut dx[i..], S::mul(load::<S>(&dy[i..n]), slope));
        }
    }
}

/// gelu(x) in f64: the oracle.
pub fn gelu_reference(x: f64) -> f64 {
    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + u.tanh())
}

/// gelu'(x) in f64: the oracle.
pub fn gelu_derivative_reference(x: f64) -> f64 {
    let c = (2.0 / std::f64::consts::PI).sqrt();
    let t = (c * (x + 0.044_715 * x * x * x)).tanh();
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * c * (1.0 + 3.0 * 0.044_715 * x * x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn known_values() {
        assert_eq!(gelu_reference(0.0), 0.0);
        assert!((gelu_reference(1.0) - 0.841_191_990_6).abs() < 1e-9);
        assert!((gelu_reference(-1.0) + 0.158_808_009_4).abs() < 1e-9);
    }

    #[test]
    fn derivative_is_the_finite_difference() {
        for i in -80..80 {
            let x = f64::from(i) * 0.1;
            let h = 1e-5;
            let numeric = (gelu_reference(x + h) - gelu_reference(x - h)) / (2.0 * h);
            assert!((numeric - gelu_derivative_reference(x)).abs() < 1e-9, "at {x}");
        }
    }

    #[test]
    fn every_set_is_close_to_f64_at_every_tail() {
        for isa in Isa::available() {
            let pool = Pool::with_isa(2, isa);
            for n in (0..40).chain([20_000]) {
                let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.618).sin() * 9.0).collect();
                let dy: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).cos()).collect();
                let (mut y, mut dx) = (vec![0.0; n], vec![0.0; n]);
                gelu_forward(&pool, &mut y, &x);
                gelu_backward(&pool, &mut dx, &dy, &x);
                for i in 0..n {
                    let want = gelu_reference(f64::from(x[i]));
                    assert!(
                        (f64::from(y[i]) - want).abs() < 2e-6,
                        "{isa:?} gelu({}) = {}, want {want}",
                        x[i],
                        y[i]
                    );
                    let want = f64::from(dy[i]) * gelu_derivative_reference(f64::from(x[i]));
                    assert!((f64::from(dx[i]) - want).abs() < 4e-6, "{isa:?} gelu'({})", x[i]);
                }
            }
        }
    }
}
