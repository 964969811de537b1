//! Forward: one task a tile of 64 queries of one sequence and head.

use super::small::{Left, small};
use super::{AttentionDims, ByQuery, Causal, Scores, TILE, drop_number, rows_in_vectors, transpose_scaled};
use crate::dropout::Dropout;
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, exp, load, simd_fn, store};

/// out (B,T,d) and lse (B,h,T) from qkv (B,T,[`AttentionDims::row`]), which is (B,T,3d) where no keys are shared.
///
/// Flops about `2 B h T² dh` (the lower triangle, both products); bytes `16 B T d`, keys and values again for every 64
/// queries from cache. Error against f64 below `3e-7 (1 + |out|)` for each root of T or dh, whichever is larger.
///
/// # Panics
/// Where shapes differ.
pub fn attention_forward(
    pool: &Pool,
    out: &mut [f32],
    lse: &mut [f32],
    qkv: &[f32],
    dims: AttentionDims,
    dropout: Option<Dropout>,
) {
    let AttentionDims { b, t, h, .. } = dims;
    let d = dims.d();
    let _timed = pool.timed("attention_forward", dims.sizes(), |sizes| {
        forward_work(dims.h_kv as u64, sizes)
    });
    assert_eq!(
        (qkv.len(), out.len(), lse.len()),
        (b * t * dims.row(), b * t * d, b * h * t),
        "{dims:?}"
    );
    let input = Input {
        q: qkv,
        q_row: dims.row(),
        k: &qkv[d.min(qkv.len())..],
        v: &qkv[(d + dims.kv()).min(qkv.len())..],
        kv_row: dims.row(),
        kv_head: dims.dh,
        past: 0,
    };
    run(pool, out, lse, &input, dims, t, dropout);
}

/// Flops and bytes of (B, T, h, dh): two products over the triangle; qkv in, out and lse out.
fn forward_work(h_kv: u64, [b, t, h, dh]: [u64; 4]) -> (u64, u64) {
    (2 * b * h * dh * t * (t + 1), 4 * b * t * (2 * (h + h_kv) * dh + h))
}

/// Where queries, keys and values lie.
pub(super) struct Input<'a> {
    pub(super) q: &'a [f32],
    /// Floats from one query to the next; its heads lie side by side.
    pub(super) q_row: usize,
    pub(super) k: &'a [f32],
    pub(super) v: &'a [f32],
    /// Floats from one key or value of a head to the next.
    pub(super) kv_row: usize,
    /// Floats from one head to the next.
    pub(super) kv_head: usize,
    /// Keys before the first query's own.
    pub(super) past: usize,
}

fn run(
    pool: &Pool,
    out: &mut [f32],
    lse: &mut [f32],
    input: &Input<'_>,
    dims: AttentionDims,
    keys: usize,
    dropout: Option<Dropout>,
) {
    let tiles = dims.t.div_ceil(TILE);
    let heads = dims.b * dims.h;
    let (out, lse) = (Shards::new(out), Shards::new(lse));
    pool.run_with_scratch(tiles * heads, attention_forward_scratch(dims.dh), |task, scratch| {
        // Late tiles see most keys: they go first, so that the threads end together.
        let (bh, tile) = (task % heads, tiles - 1 - task / heads);
        let job = Job {
            dims,
            bh,
            first: tile * TILE,
            keys,
            dropout,
        };
        forward_tile(pool.isa(), &out, &lse, input, &job, scratch);
    });
}

struct Job {
    dims: AttentionDims,
    bh: usize,
    /// First query.
    first: usize,
    keys: usize,
    dropout: Option<Dropout>,
}

/// Floats of scratch memory that the forward takes on each thread, for heads of width `dh`.
pub fn attention_forward_scratch(dh: usize) -> usize {
    // Qᵀ (dh,64); O, K and V (64,dh) in whole vectors; Sᵀ (64,64); m, l and the correction (64).
    dh * TILE + 3 * dh.next_multiple_of(LANES) * TILE + TILE * TILE + 3 * TILE
}

simd_fn! {
    fn forward_tile[S](
        out: &Shards<'_>, lse: &Shards<'_>, input: &Input<'_>, job: &Job, scratch: &mut [f32],
    ) {
        let Job { dims, bh, first, keys, dropout } = *job;
        let AttentionDims { t, h, dh, .. } = dims;
        let (seq, head) = (bh / h, bh % h);
        let kv_head = head / dims.group();
        let queries = TILE.min(t - first);
        let wide = dh.next_multiple_of(LANES);
        let (qt, scratch) = scratch.split_at_mut(dh * TILE);
        let (o, scratch) = scratch.split_at_mut(wide * TILE);
        let (k_copy, scratch) = scratch.split_at_mut(wide * TILE);
        let (v_copy, scratch) = scratch.split_at_mut(wide * TILE);
        let (s, scratch) = scratch.split_at_mut(TILE * TILE);
        let (m, scratch) = scratch.split_at_mut(TILE);
        let (l, correction) = scratch.split_at_mut(TILE);
        let column = head * dh;
        let q = &input.q[(seq * t + first) * input.q_row + column..];
        transpose_scaled::<S>(qt, q, input.q_row, (queries, dh), dims.scale());
        m.fill(f32::NEG_INFINITY);
        l.fill(0.0);
        // Keys up to the last query's own.
        let seen = (input.past + first + queries).min(keys);
        for key in (0..seen).step_by(TILE) {
            let count = TILE.min(seen - key);
            let row = (seq * keys + key) * input.kv_row + kv_head * input.kv_head;
            // Where there are more tiles, rows far apart would crowd each other out of the first-level cache.
            let direct = seen <= TILE;
            let (k, k_row) = rows_in_vectors::<S>(k_copy, &input.k[row..], input.kv_row, (count, dh), direct);
            let (v, v_row) = rows_in_vectors::<S>(v_copy, &input.v[row..], input.kv_row, (count, dh), direct);
            let causal = Causal { ahead: (input.past + first) as isize - key as isize, keys: count, queries };
            small::<S>(
                (count, TILE), Scores(causal, dh), Left { data: k, row: k_row, step: 1 }, (qt, TILE), (s, TILE), false,
            );
            causal.mask(s, f32::NEG_INFINITY);
            soften::<S>(s, causal, m, l, correction);
            if key > 0 {
                for (line, &correction) in o.chunks_exact_mut(wide).zip(&*correction) {
                    for c in (0..wide).step_by(LANES) {
                        let scaled = S::mul(load::<S>(&line[c..]), S::splat(correction));
                        store::<S>(&mut line[c..], scaled);
                    }
                }
            }
            if let Some(dropout) = &dropout {
                for (j, line) in s.chunks_exact_mut(TILE).take(count).enumerate() {
                    let factors = dropout.run(drop_number(&dims, bh, first, key + j));
                    for i in (0..TILE).step_by(LANES) {
                        let met = S::mul(load::<S>(&line[i..]), load::<S>(&factors[i..]));
                        store::<S>(&mut line[i..], met);
                    }
                }
            }
            small::<S>(
                (queries, wide), ByQuery(causal), Left { data: s, row: 1, step: TILE }, (v, v_row), (o, wide), key > 0,
            );
        }
        // SAFETY: these rows of this head belong to this task.
        let lse = unsafe { lse.range(bh * t + first, bh * t + first + queries) };
        for i in 0..queries {
            lse[i] = m[i] + l[i].ln();
            let at = (seq * t + first + i) * dims.d() + column;
            // SAFETY: as above.
            let row = unsafe { out.range(at, at + dh) };
            let inverse = S::splat(1.0 / l[i]);
            for c in (0..dh).step_by(LANES) {
                store::<S>(&mut row[c..], S::mul(load::<S>(&o[i * wide + c..]), inverse));
            }
        }
    }
}

/// The online softmax of a tile: S becomes exp(S - m) with the new maximum m, l its sum, `correction` what earlier tiles
/// are multiplied with.
#[inline(always)]
fn soften<S: Simd>(s: &mut [f32], causal: Causal, m: &mut [f32], l: &mut [f32], correction: &mut [f32]) {
    for i in (0..TILE).step_by(LANES) {
        let count = causal.seen(i + LANES - 1);
        let before = load::<S>(&m[i..]);
        let mut now = before;
        for j in 0..count {
            now = S::max(now, load::<S>(&s[j * TILE + i..]));
        }
        let scale = exp::<S>(S::sub(before, now));
        let mut sum = S::mul(load::<S>(&l[i..]), scale);
        for j in 0..count {
            let at = j * TILE + i;
            let p = exp::<S>(S::sub(load::<S>(&s[at..]), now));
            store::<S>(&mut s[at..], p);
            sum = S::add(sum, p);
        }
        store::<S>(&mut m[i..], now);
        store::<S>(&mut l[i..], sum);
        store::<S>(&mut correction[i..], scale);
    }
}

/// Attention of `t` new queries over `past + t` keys (prompt processing): `out` (T,d) from `q` and the caches.
pub(super) fn over_cache(pool: &Pool, out: &mut [f32], input: &Input<'_>, dims: AttentionDims) {
    let mut lse = vec![0.0; dims.h * dims.t];
    let keys = input.past + dims.t;
    run(pool, out, &mut lse, input, dims, keys, None);
}
