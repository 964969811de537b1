//! SwiGLU: `hidden = silu(gate) up`, `silu(g) = g / (1 + e^-g)` (Shazeer, arXiv 2002.05202).

use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, exp, load, simd_fn, store};

/// Elements a task works on.
const CHUNK: usize = 8192;

/// hidden from gate and up, all of one shape. 12 bytes and about 20 flops an element. Error against f64 below
/// `4e-7 (1 + |hidden|)`.
///
/// # Panics
/// Where lengths differ.
pub fn swiglu_forward(pool: &Pool, hidden: &mut [f32], gate: &[f32], up: &[f32]) {
    let _timed = pool.timed("swiglu_forward", [hidden.len()], |[n]| (20 * n, 12 * n));
    assert_eq!(
        (gate.len(), up.len()),
        (hidden.len(), hidden.len()),
        "gate, up and hidden have one shape"
    );
    pool.run_chunks(hidden, CHUNK, |task, hidden| {
        let part = task * CHUNK..task * CHUNK + hidden.len();
        forward_chunk(pool.isa(), hidden, &gate[part.clone()], &up[part]);
    });
}

/// `gate` and `up` become the gradients of themselves, given that of hidden.
///
/// `dup = dhidden silu(gate)`, `dgate = dhidden up s (1 + gate (1 - s))` with `s = 1 / (1 + e^-gate)`. 20 bytes and about 25
/// flops an element. Error against f64 below `4e-7 (1 + |gradient|)`.
///
/// # Panics
/// Where lengths differ.
pub fn swiglu_backward(pool: &Pool, gate: &mut [f32], up: &mut [f32], dhidden: &[f32]) {
    let _timed = pool.timed("swiglu_backward", [gate.len()], |[n]| (25 * n, 20 * n));
    assert_eq!(
        (gate.len(), up.len()),
        (dhidden.len(), dhidden.len()),
        "gate, up and dhidden have one shape"
    );
    let up = Shards::new(up);
    pool.run_chunks(gate, CHUNK, |task, gate| {
        let part = task * CHUNK..task * CHUNK + gate.len();
        // SAFETY: a chunk belongs to one task.
        let up = unsafe { up.range(part.start, part.end) };
        backward_chunk(pool.isa(), gate, up, &dhidden[part]);
    });
}

/// 1 / (1 + e^-g).
#[inline(always)]
fn sigmoid<S: Simd>(g: S::V) -> S::V {
    let one = S::splat(1.0);
    S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), g))))
}

simd_fn! {
    fn forward_chunk[S](hidden: &mut [f32], gate: &[f32], up: &[f32]) {
        for i in (0..hidden.len()).step_by(LANES) {
            let g = load::<S>(&gate[i..]);
            store::<S>(&mut hidden[i..], S::mul(S::mul(g, sigmoid::<S>(g)), load::<S>(&up[i..])));
        }
    }
}

simd_fn! {
    fn backward_chunk[S](gate: &mut [f32], up: &mut [f32], dhidden: &[f32]) {
        for i in (0..gate.len()).step_by(LANES) {
            let (g, u, d) = (load::<S>(&gate[i..]), load::<S>(&up[i..]), load::<S>(&dhidden[i..]));
            let one = S::splat(1.0);
            let s = sigmoid::<S>(g);
            let slope = S::mul(s, S::fma(g, S::sub(one, s), one));
            store::<S>(&mut up[i..], S::mul(d, S::mul(g, s)));
            store::<S>(&mut gate[i..], S::mul(S::mul(d, u), slope));
        }
    }
}

/// silu(gate) up in f64. The oracle.
pub fn swiglu_reference(gate: f64, up: f64) -> f64 {
    gate / (1.0 + (-gate).exp()) * up
}

/// Its gradients (of gate, of up) in f64. The oracle.
pub fn swiglu_backward_reference(dhidden: f64, gate: f64, up: f64) -> (f64, f64) {
    let s = 1.0 / (1.0 + (-gate).exp());
    (dhidden * up * s * (1.0 + gate * (1.0 - s)), dhidden * gate * s)
}
