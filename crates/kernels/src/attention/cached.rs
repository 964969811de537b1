//! Attention of new tokens over a key/value cache: generation.

use super::cache::{Cached, load_f16};
use super::forward::{Input, attention_forward_scratch, over_cache};
use super::{AttentionDims, TILE};
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, exp, load, simd_fn, store};

/// Queries of a sequence from which the tiled forward beats one query at a time.
const TILED: usize = 8;

/// New tokens of one sequence, and what it has cached, theirs included: each token sees those before it and itself.
#[derive(Clone, Copy, Debug)]
pub struct CachedSequence<'a> {
    /// Keys (h_kv,C,dh) for any C of at least `past + t`.
    pub keys: Cached<'a>,
    /// Values (h_kv,C,dh).
    pub values: Cached<'a>,
    /// Tokens before the new ones.
    pub past: usize,
    /// New tokens.
    pub t: usize,
}

/// out (N,d) of the new tokens of several sequences, whose queries lie in `q` (rows of `q_row` floats, d of them used), one
/// sequence behind the other. Of `dims`, the heads count and their width.
///
/// A head's keys lie one behind the other, so that a query streams them. With the heads side by side (C,d), a query over 544
/// keys took twice as long (Zen 4, two threads). A row is the same bits whatever other sequences there are.
/// Bytes: `2 d (past + t)` numbers of the cache, once a query.
///
/// # Panics
/// Where shapes differ.
pub fn attention_cached(
    pool: &Pool,
    out: &mut [f32],
    q: &[f32],
    q_row: usize,
    sequences: &[CachedSequence<'_>],
    dims: AttentionDims,
) {
    let AttentionDims { h, dh, .. } = dims;
    let d = dims.d();
    let n: usize = sequences.iter().map(|sequence| sequence.t).sum();
    let _timed = pool.timed("attention_cached", [n, h, dh], |_| cached_work(sequences, dims));
    assert!(
        out.len() == n * d && q.len() >= n.saturating_sub(1) * q_row + d,
        "out is (N,d) of {n} rows"
    );
    // Rows that are queries of their own: which sequence, how many keys.
    let mut singles: Vec<(usize, &CachedSequence<'_>, usize)> = Vec::new();
    let mut first = 0;
    for sequence in sequences {
        let CachedSequence { keys, values, past, t } = *sequence;
        let capacity = keys.len() / dims.kv();
        assert!(
            capacity >= past + t && keys.len() == capacity * dims.kv() && values.len() == keys.len(),
            "caches of {} and {} numbers are (h_kv,C,dh) with C of at least {}, {dims:?}",
            keys.len(),
            values.len(),
            past + t
        );
        if t >= TILED {
            let input = Input {
                q: &q[first * q_row..],
                q_row,
                k: keys,
                v: values,
                kv_row: dh,
                kv_head: capacity * dh,
                past,
            };
            let dims = AttentionDims { b: 1, t, ..dims };
            over_cache(pool, &mut out[first * d..(first + t) * d], &input, dims);
        } else {
            singles.extend((0..t).map(|i| (first + i, sequence, past + i + 1)));
        }
        first += t;
    }
    let Some(most) = singles.iter().map(|(_, _, seen)| *seen).max() else {
        return;
    };
    let out = Shards::new(out);
    pool.run_with_scratch(singles.len() * h, most.next_multiple_of(TILE), |task, scores| {
        let ((row, sequence, seen), head) = (singles[task / h], task % h);
        let column = head * dh;
        // SAFETY: this row's head is this task's.
        let out = unsafe { out.range(row * d + column, row * d + column + dh) };
        let q = &q[row * q_row + column..][..dh];
        let capacity = sequence.keys.len() / dims.kv();
        let at = head / dims.group() * capacity * dh;
        let lines = at..at + seen * dh;
        let scores = &mut scores[..seen];
        match (sequence.keys, sequence.values) {
            (Cached::F32(k), Cached::F32(v)) => one_query(pool.isa(), out, q, &k[lines.clone()], &v[lines], scores),
            (Cached::F16(k), Cached::F16(v)) => one_query_f16(pool.isa(), out, q, &k[lines.clone()], &v[lines], scores),
            _ => panic!("keys and values are stored alike"),
        }
    });
}

/// Flops and bytes: two products of each query with the keys it sees; keys and values once, queries in, out. The keys are no
/// part of the profile's shape: every token has one more.
fn cached_work(sequences: &[CachedSequence<'_>], dims: AttentionDims) -> (u64, u64) {
    let (mut flops, mut bytes) = (0, 0);
    for sequence in sequences {
        let (past, t) = (sequence.past as u64, sequence.t as u64);
        let number = match sequence.keys {
            Cached::F32(_) => 4,
            Cached::F16(_) => 2,
        };
        flops += 4 * dims.d() as u64 * (t * past + t * (t + 1) / 2);
        bytes += 2 * number * dims.kv() as u64 * (past + t) + 8 * dims.d() as u64 * t;
    }
    (flops, bytes)
}

/// Floats that [`attention_cached`] takes for a call of `t` new tokens that see up to `keys`: (once, on each thread).
pub fn attention_cached_scratch(t: usize, keys: usize, h: usize, dh: usize) -> (usize, usize) {
    match t >= TILED {
        // The softmax's denominators.
        true => (t * h, attention_forward_scratch(dh)),
        false => (0, keys.next_multiple_of(TILE)),
    }
}

/// A number of a cache.
trait Number: Copy {
    /// The first sixteen, or all of a shorter slice with zeros in the other lanes.
    fn load<S: Simd>(s: &[Self]) -> S::V;
}

impl Number for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: &[Self]) -> S::V {
        load::<S>(s)
    }
}

impl Number for u16 {
    #[inline(always)]
    fn load<S: Simd>(s: &[Self]) -> S::V {
        load_f16::<S>(s)
    }
}

simd_fn! {
    fn one_query[S](out: &mut [f32], q: &[f32], k: &[f32], v: &[f32], scores: &mut [f32]) {
        query::<S, f32>(out, q, k, v, scores);
    }
}

simd_fn! {
    fn one_query_f16[S](out: &mut [f32], q: &[f32], k: &[u16], v: &[u16], scores: &mut [f32]) {
        query::<S, u16>(out, q, k, v, scores);
    }
}

#[inline(always)]
fn query<S: Simd, N: Number>(out: &mut [f32], q: &[f32], k: &[N], v: &[N], scores: &mut [f32]) {
    let (dh, keys) = (q.len(), scores.len());
    let scale = 1.0 / (dh as f32).sqrt();
    let mut max = f32::NEG_INFINITY;
    // The values' lines come along with the keys': two streams from memory where there was one after the other.
    let numbers_a_line = 64 / size_of::<N>();
    for ((score, key), value) in scores.iter_mut().zip(k.chunks_exact(dh)).zip(v.chunks_exact(dh)) {
        for line in value.chunks(numbers_a_line) {
            S::prefetch::<1>(line.as_ptr().cast());
        }
        let mut sum = S::splat(0.0);
        for c in (0..dh).step_by(LANES) {
            sum = S::fma(load::<S>(&q[c..]), N::load::<S>(&key[c..]), sum);
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
        weighted_sum::<S, N, WIDE>(&mut out[c..], scores, &v[c..], dh);
        c += WIDE * LANES;
    }
    while c < dh {
        weighted_sum::<S, N, 1>(&mut out[c..], scores, &v[c..], dh);
        c += LANES;
    }
}

/// Columns of a value that are summed together, in vectors: GPT-2's heads are 64 wide.
const WIDE: usize = 4;

/// out = sum over rows of p[j] v[j], the first `W` vectors of each row of `stride` numbers.
#[inline(always)]
fn weighted_sum<S: Simd, N: Number, const W: usize>(out: &mut [f32], p: &[f32], v: &[N], stride: usize) {
    let mut sums = [S::splat(0.0); W];
    let width = out.len();
    for (&p, v) in p.iter().zip(v.chunks(stride)) {
        let v = &v[..width];
        let p = S::splat(p);
        for w in 0..W {
            sums[w] = S::fma(p, N::load::<S>(&v[w * LANES..]), sums[w]);
        }
    }
    for w in 0..W {
        store::<S>(&mut out[w * LANES..], sums[w]);
    }
}
