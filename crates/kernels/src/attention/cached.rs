//! Attention of new tokens over a key/value cache: generation.

use super::forward::{Input, attention_forward_scratch, over_cache};
use super::{AttentionDims, TILE};
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, exp, load, simd_fn, store};

/// Queries from which the tiled forward beats one query at a time.
const TILED: usize = 8;

/// out (T,d) of `t` new tokens whose queries lie in `q` (rows of `q_row` floats, d of them used), over `past + t` cached
/// keys and values; token `i` sees `past + i + 1` of them.
///
/// The caches are (h_kv,C,dh) for any C of at least `past + t`: a head's keys lie one behind the other, so that a query
/// streams them. With the heads side by side (C,d), a query over 544 keys took twice as long (Zen 4, two threads).
/// Bytes: `8 d (past + t)`, once a query.
///
/// # Panics
/// Where shapes differ.
pub fn attention_cached(
    pool: &Pool,
    out: &mut [f32],
    q: &[f32],
    q_row: usize,
    (k_cache, v_cache): (&[f32], &[f32]),
    past: usize,
    dims: AttentionDims,
) {
    let AttentionDims { t, h, dh, .. } = dims;
    let d = dims.d();
    let keys = past + t;
    let _timed = pool.timed("attention_cached", [t, h, dh], |sizes| {
        cached_work((past as u64, dims.h_kv as u64), sizes)
    });
    let capacity = k_cache.len() / dims.kv();
    assert_eq!((dims.b, out.len()), (1, t * d), "one sequence, out is (T,d)");
    assert!(
        capacity >= keys && k_cache.len() == capacity * dims.kv() && v_cache.len() == k_cache.len(),
        "caches of {} and {} floats are (h_kv,C,dh) with C of at least {keys}, {dims:?}",
        k_cache.len(),
        v_cache.len()
    );
    if t >= TILED {
        let input = Input {
            q,
            q_row,
            k: k_cache,
            v: v_cache,
            kv_row: dh,
            kv_head: capacity * dh,
            past,
        };
        over_cache(pool, out, &input, dims);
        return;
    }
    let out = Shards::new(out);
    pool.run_with_scratch(t * h, keys.next_multiple_of(TILE), |task, scores| {
        let (i, head) = (task / h, task % h);
        let column = head * dh;
        // SAFETY: this row's head is this task's.
        let out = unsafe { out.range(i * d + column, i * d + column + dh) };
        let q = &q[i * q_row + column..i * q_row + column + dh];
        let seen = past + i + 1;
        let first = head / dims.group() * capacity;
        let lines = first * dh..(first + seen) * dh;
        let (k, v) = (&k_cache[lines.clone()], &v_cache[lines]);
        one_query(pool.isa(), out, q, k, v, &mut scores[..seen]);
    });
}

/// Flops and bytes of (T, h, dh) after `past` keys: two products of each query with the keys it sees; keys and values once,
/// queries in, out. The keys are no part of the shape: every token has one more.
fn cached_work((past, h_kv): (u64, u64), [t, h, dh]: [u64; 3]) -> (u64, u64) {
    let pairs = t * past + t * (t + 1) / 2;
    (4 * h * dh * pairs, 8 * dh * (h_kv * (past + t) + h * t))
}

/// Floats that [`attention_cached`] takes for a call of `t` new tokens that see up to `keys`: (once, on each thread).
pub fn attention_cached_scratch(t: usize, keys: usize, h: usize, dh: usize) -> (usize, usize) {
    match t >= TILED {
        // The softmax's denominators.
        true => (t * h, attention_forward_scratch(dh)),
        false => (0, keys.next_multiple_of(TILE)),
    }
}

simd_fn! {
    fn one_query[S](out: &mut [f32], q: &[f32], k: &[f32], v: &[f32], scores: &mut [f32]) {
        let (dh, keys) = (q.len(), scores.len());
        let scale = 1.0 / (dh as f32).sqrt();
        let mut max = f32::NEG_INFINITY;
        for (score, key) in scores.iter_mut().zip(k.chunks_exact(dh)) {
            let mut sum = S::splat(0.0);
            for c in (0..dh).step_by(LANES) {
                sum = S::fma(load::<S>(&q[c..]), load::<S>(&key[c..]), sum);
            }
            *score = S::sum(sum) * scale;
            max = max.max(*score);
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
        for p in scores.iter_mut() {
            *p *= inverse;
        }
        // Sums stay in registers over all keys, for as many columns as there are registers.
        let mut c = 0;
        while c + WIDE * LANES <= dh {
            weighted_sum::<S, WIDE>(&mut out[c..], scores, &v[c..], dh);
            c += WIDE * LANES;
        }
        while c < dh {
            weighted_sum::<S, 1>(&mut out[c..], scores, &v[c..], dh);
            c += LANES;
        }
    }
}

/// Columns of a value that are summed together, in vectors: GPT-2's heads are 64 wide.
const WIDE: usize = 4;

/// out = sum over rows of p[j] v[j], the first `W` vectors of each row of `stride` floats.
#[inline(always)]
fn weighted_sum<S: Simd, const W: usize>(out: &mut [f32], p: &[f32], v: &[f32], stride: usize) {
    let mut sums = [S::splat(0.0); W];
    let width = out.len();
    for (&p, v) in p.iter().zip(v.chunks(stride)) {
        let v = &v[..width];
        let p = S::splat(p);
        for w in 0..W {
            sums[w] = S::fma(p, load::<S>(&v[w * LANES..]), sums[w]);
        }
    }
    for w in 0..W {
        store::<S>(&mut out[w * LANES..], sums[w]);
    }
}
