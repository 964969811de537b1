//! Attention of new tokens over a key/value cache: generation.

use super::forward::{Input, attention_forward_scratch, over_cache};
use super::{AttentionDims, TILE};
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, exp, load, simd_fn, store};

/// Queries from which the tiled forward beats one query at a time.
const TILED: usize = 8;

/// out (T,d) of `t` new tokens whose queries lie in `q` (rows of `q_stride` floats, d of them used), over
/// `past + t` cached keys and values (rows of d); token `i` sees `past + i + 1` of them.
///
/// # Panics
/// Where shapes differ.
pub fn attention_cached(
    pool: &Pool,
    out: &mut [f32],
    q: &[f32],
    q_stride: usize,
    (k_cache, v_cache): (&[f32], &[f32]),
    past: usize,
    dims: AttentionDims,
) {
    let d = dims.d();
    let keys = past + dims.t;
    assert_eq!((dims.b, out.len()), (1, dims.t * d), "one sequence, out is (T,d)");
    assert!(
        k_cache.len() >= keys * d && v_cache.len() >= keys * d,
        "the caches hold {keys} rows of {d}"
    );
    if dims.t >= TILED {
        // The tiled forward reads queries, keys and values at one stride.
        let mut packed = vec![0.0; dims.t * d];
        for (row, q) in packed.chunks_exact_mut(d).zip(q.chunks(q_stride)) {
            row.copy_from_slice(&q[..d]);
        }
        over_cache(
            pool,
            out,
            &Input {
                q: &packed,
                k: k_cache,
                v: v_cache,
                stride: d,
                past,
            },
            dims,
        );
        return;
    }
    let out = Shards::new(out);
    pool.run_with_scratch(dims.t * dims.h, keys.next_multiple_of(TILE), |task, scores| {
        let (i, head) = (task / dims.h, task % dims.h);
        let column = head * dims.dh;
        // SAFETY: this row's head is this task's.
        let out = unsafe { out.range(i * d + column, i * d + column + dims.dh) };
        let q = &q[i * q_stride + column..i * q_stride + column + dims.dh];
        one_query(
            pool.isa(),
            out,
            q,
            &k_cache[column..],
            &v_cache[column..],
            d,
            &mut scores[..past + i + 1],
        );
    });
}

/// Floats that [`attention_cached`] takes for a call of `t` new tokens that see up to `keys`: (once, on each thread).
pub fn attention_cached_scratch(t: usize, keys: usize, h: usize, dh: usize) -> (usize, usize) {
    match t >= TILED {
        // Packed queries and the softmax's denominators.
        true => (t * h * dh + t * h, attention_forward_scratch(dh)),
        false => (0, keys.next_multiple_of(TILE)),
    }
}

simd_fn! {
    fn one_query[S](out: &mut [f32], q: &[f32], k: &[f32], v: &[f32], stride: usize, scores: &mut [f32]) {
        let (dh, keys) = (q.len(), scores.len());
        let scale = 1.0 / (dh as f32).sqrt();
        let mut max = f32::NEG_INFINITY;
        for j in 0..keys {
            let key = &k[j * stride..j * stride + dh];
            let mut sum = S::splat(0.0);
            for c in (0..dh).step_by(LANES) {
                sum = S::fma(load::<S>(&q[c..]), load::<S>(&key[c..]), sum);
            }
            scores[j] = S::sum(sum) * scale;
            max = max.max(scores[j]);
        }
        let maxv = S::splat(max);
        let mut sum = S::splat(0.0);
        for j in (0..keys).step_by(LANES) {
            // Lanes past the last key hold -inf and give zero.
            let p = exp::<S>(S::sub(crate::simd::load_or::<S>(&scores[j..], f32::NEG_INFINITY), maxv));
            store::<S>(&mut scores[j..], p);
            sum = S::add(sum, p);
        }
        let inverse = 1.0 / S::sum(sum);
        out.fill(0.0);
        for j in 0..keys {
            let (p, value) = (S::splat(scores[j] * inverse), &v[j * stride..j * stride + dh]);
            for c in (0..dh).step_by(LANES) {
                let total = S::fma(p, load::<S>(&value[c..]), load::<S>(&out[c..]));
                store::<S>(&mut out[c..], total);
            }
        }
    }
}
