//! Forward: one task a few tiles of 64 queries of one document and head.

use super::cache::Cached;
use super::small::{Left, small};
use super::{AttentionDims, ByQuery, Causal, Lines, Scores, TILE, drop_number, lse_start, transpose_scaled};
use crate::documents::{Document, Documents};
use crate::dropout::Dropout;
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, exp2_floored, load, simd_fn, store};
use std::cmp::Reverse;
use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

/// out (B,T,d) and lse (B,h,T) from qkv (B,T,[`AttentionDims::row`]), which is (B,T,3d) where no keys are shared.
///
/// No token sees one of another document. `documents` are their lengths in order; none are B of T tokens. lse is (h, length) for
/// one document after another.
///
/// Flops about `2 B h T² dh` (the lower triangle, both products), for each document by its own length; bytes `16 B T d`, keys
/// and values again for every 64 queries from cache. Error against f64 below `3e-7 (1 + |out|)` for each root of T or dh, whichever is larger.
///
/// # Panics
/// Where shapes differ.
pub fn attention_forward(
    pool: &Pool,
    out: &mut [f32],
    lse: &mut [f32],
    qkv: &[f32],
    dims: AttentionDims,
    documents: &[usize],
    dropout: Option<Dropout>,
) {
    let AttentionDims { b, t, h, .. } = dims;
    let d = dims.d();
    let documents = Documents::new(b * t, t, documents);
    let _timed = pool.timed("attention_forward", dims.sizes(), |sizes| {
        forward_work(dims.h_kv as u64, sizes, pairs(&documents))
    });
    assert_eq!(
        (qkv.len(), out.len(), lse.len()),
        (b * t * dims.row(), b * t * d, b * h * t),
        "{dims:?}"
    );
    let input = Input {
        q: qkv,
        q_row: dims.row(),
        k: Cached::F32(&qkv[d.min(qkv.len())..]),
        v: Cached::F32(&qkv[(d + dims.kv()).min(qkv.len())..]),
        kv_row: dims.row(),
        kv_head: dims.dh,
        past: 0,
    };
    run(pool, out, lse, &input, dims, &documents, dropout);
}

/// Flops and bytes of (B, T, h, dh) with so many pairs of query and key: two products; qkv in, out and lse out.
fn forward_work(h_kv: u64, [b, t, h, dh]: [u64; 4], pairs: u64) -> (u64, u64) {
    (4 * h * dh * pairs, 4 * b * t * (2 * (h + h_kv) * dh + h))
}

/// Pairs of a query and a key that it sees: each document's triangle with its diagonal.
pub(super) fn pairs(documents: &Documents) -> u64 {
    documents
        .iter()
        .map(|Document { len, .. }| (len * (len + 1) / 2) as u64)
        .sum()
}

/// Where queries, keys and values lie.
pub(super) struct Input<'a> {
    pub(super) q: &'a [f32],
    /// Floats from one query to the next; its heads lie side by side.
    pub(super) q_row: usize,
    pub(super) k: Cached<'a>,
    pub(super) v: Cached<'a>,
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
    documents: &Documents,
    dropout: Option<Dropout>,
) {
    let tiles_of = |document: Document| document.len.div_ceil(TILE);
    let group = group(documents.iter().map(tiles_of).sum::<usize>() * dims.h);
    let groups = |document| {
        (0..tiles_of(document))
            .step_by(group)
            .map(move |first| (document, first))
    };
    let mut groups: Vec<(Document, usize)> = documents.iter().flat_map(groups).collect();
    // Late tiles see most keys: they go first, so that the threads end together.
    groups.sort_by_key(|&(_, first)| Reverse(first));
    let (out, lse) = (Shards::new(out), Shards::new(lse));
    pool.run_with_scratch(groups.len() * dims.h, scratch(dims.dh, group), |task, scratch| {
        let ((document, first), head) = (groups[task / dims.h], task % dims.h);
        let job = Job {
            dims,
            document,
            head,
            tiles: first..tiles_of(document).min(first + group),
            dropout,
        };
        forward_tiles(pool.isa(), &out, &lse, input, &job, scratch);
    });
}

/// Tiles of queries that meet the same copies of keys and values, where there are tasks enough; in no bit of the result.
/// Rows of keys lie far apart: copied for one tile of queries only, a quarter of the time went into waiting for them; for 4 tiles 4.5%.
const GROUP: usize = 16;
/// Tasks that are enough.
const TASKS: usize = 64;

/// Of so many tiles of all documents and heads.
fn group(tiles: usize) -> usize {
    (tiles / TASKS).clamp(1, GROUP)
}

struct Job {
    dims: AttentionDims,
    document: Document,
    head: usize,
    /// Tiles of queries.
    tiles: Range<usize>,
    dropout: Option<Dropout>,
}

/// Floats of scratch memory that the forward takes on each thread at most, for heads of width `dh`.
pub fn attention_forward_scratch(dh: usize) -> usize {
    scratch(dh, GROUP)
}

fn scratch(dh: usize, group: usize) -> usize {
    // A tile's Qᵀ (dh,64), O (64,dh) in whole vectors, m and l (64); K and V (64,dh); Sᵀ (64,64) and the correction (64).
    let wide = dh.next_multiple_of(LANES);
    group * (dh + wide + 2) * TILE + 2 * wide * TILE + TILE * TILE + TILE
}

/// What a tile of queries has gathered.
struct Queries<'a> {
    /// First query.
    first: usize,
    count: usize,
    /// Keys it sees: up to the last query's own.
    seen: usize,
    qt: &'a mut [f32],
    o: &'a mut [f32],
    m: &'a mut [f32],
    l: &'a mut [f32],
}

simd_fn! {
    fn forward_tiles[S](
        out: &Shards<'_>, lse: &Shards<'_>, input: &Input<'_>, job: &Job, scratch: &mut [f32],
    ) {
        let Job { dims, document, head, dropout, .. } = *job;
        let (dh, t, keys) = (dims.dh, document.len, input.past + document.len);
        let lse_start = lse_start(&dims, document, head);
        let kv_head = head / dims.group();
        let (wide, column) = (dh.next_multiple_of(LANES), head * dh);
        let (k_copy, scratch) = scratch.split_at_mut(wide * TILE);
        let (v_copy, scratch) = scratch.split_at_mut(wide * TILE);
        let (s, scratch) = scratch.split_at_mut(TILE * TILE);
        let (correction, mut scratch) = scratch.split_at_mut(TILE);
        let mut tiles: [Option<Queries<'_>>; GROUP] = [const { None }; GROUP];
        let (mut seen, last) = (0, job.tiles.len() - 1);
        for (tile, slot) in job.tiles.clone().zip(&mut tiles) {
            let (first, count) = (tile * TILE, TILE.min(t - tile * TILE));
            seen = (input.past + first + count).min(keys);
            let (qt, rest) = scratch.split_at_mut(dh * TILE);
            let (o, rest) = rest.split_at_mut(wide * TILE);
            let (m, rest) = rest.split_at_mut(TILE);
            let (l, rest) = rest.split_at_mut(TILE);
            scratch = rest;
            let q = &input.q[(document.first + first) * input.q_row + column..];
            // Scores in powers of two: their exponential is a power of two as well, and cheaper.
            transpose_scaled::<S>(qt, q, input.q_row, (count, dh), dims.scale() * LOG2_E);
            m.fill(f32::NEG_INFINITY);
            l.fill(0.0);
            *slot = Some(Queries { first, count, seen, qt, o, m, l });
        }
        for key in (0..seen).step_by(TILE) {
            let count = TILE.min(seen - key);
            let row = (document.first + key) * input.kv_row + kv_head * input.kv_head;
            // Where there are more tiles, rows far apart would crowd each other out of the first-level cache.
            let direct = seen <= TILE;
            let (k, k_row) = input.k.rows::<S>(k_copy, row, input.kv_row, (count, dh), direct);
            let (v, v_row) = input.v.rows::<S>(v_copy, row, input.kv_row, (count, dh), direct);
            let next = row + TILE * input.kv_row;
            for (tile, queries) in tiles.iter_mut().flatten().enumerate() {
                let Queries { first, count: queries, seen, qt, o, m, l } = queries;
                if key >= *seen {
                    continue;
                }
                let (first, queries, count) = (*first, *queries, TILE.min(*seen - key));
                let causal = Causal { ahead: (input.past + first) as isize - key as isize, keys: count, queries };
                let by_key = Left { data: k, row: k_row, step: 1 };
                small::<S>((count, TILE), Scores(causal, dh), by_key, (qt, TILE), (s, TILE), false);
                causal.mask(s, f32::NEG_INFINITY);
                // The last tiles are those that see the next keys, if any does.
                let fetch = [
                    (tile == last).then(|| input.k.lines(next, input.kv_row, dh)),
                    (tile + 1 == last || last == 0).then(|| input.v.lines(next, input.kv_row, dh)),
                ];
                match fetch {
                    [None, None] => soften::<S, false>(s, causal, m, l, correction, fetch),
                    _ => soften::<S, true>(s, causal, m, l, correction, fetch),
                }
                // Hidden weights of 2^-126 vanish in a sum that is 1 at least; in the next product they would show how many of them a
                // register tile takes with it.
                causal.mask(s, 0.0);
                // Once the largest scores were met, nothing is left to correct.
                if key > 0 && correction.iter().any(|&correction| correction != 1.0) {
                    for (line, &correction) in o.chunks_exact_mut(wide).zip(&*correction) {
                        for c in (0..wide).step_by(LANES) {
                            let scaled = S::mul(load::<S>(&line[c..]), S::splat(correction));
                            store::<S>(&mut line[c..], scaled);
                        }
                    }
                }
                if let Some(dropout) = &dropout {
                    for (j, line) in s.chunks_exact_mut(TILE).take(count).enumerate() {
                        let factors = dropout.run(drop_number(&dims, document, head, first, key + j));
                        for i in (0..TILE).step_by(LANES) {
                            let met = S::mul(load::<S>(&line[i..]), load::<S>(&factors[i..]));
                            store::<S>(&mut line[i..], met);
                        }
                    }
                }
                let by_query = Left { data: s, row: 1, step: TILE };
                small::<S>((queries, wide), ByQuery(causal), by_query, (v, v_row), (o, wide), key > 0);
            }
        }
        for Queries { first, count, o, m, l, .. } in tiles.iter().flatten() {
            // SAFETY: these rows of this head belong to this task.
            let lse = unsafe { lse.range(lse_start + first, lse_start + first + count) };
            for i in 0..*count {
                lse[i] = m[i] * LN_2 + l[i].ln();
                let at = (document.first + first + i) * dims.d() + column;
                // SAFETY: as above.
                let row = unsafe { out.range(at, at + dh) };
                let inverse = S::splat(1.0 / l[i]);
                for c in (0..dh).step_by(LANES) {
                    store::<S>(&mut row[c..], S::mul(load::<S>(&o[i * wide + c..]), inverse));
                }
            }
        }
    }
}

/// The online softmax of a tile: S becomes 2^(S - m) with the new maximum m (2^-126 where it is hidden), l its sum, `correction` what
/// earlier tiles are multiplied with. Meanwhile rows are fetched, where `FETCH`: copying keys and values as they were met took an
/// eighth of the time, asking where there is nothing to fetch one in a hundred.
#[inline(always)]
fn soften<S: Simd, const FETCH: bool>(
    s: &mut [f32],
    causal: Causal,
    m: &mut [f32],
    l: &mut [f32],
    correction: &mut [f32],
    fetch: [Option<Lines>; 2],
) {
    let (s, _) = s.as_chunks_mut::<TILE>();
    for i in (0..TILE).step_by(LANES) {
        let s = &mut s[..causal.seen(i + LANES - 1)];
        let before = load::<S>(&m[i..]);
        // Four chains, since each waits for itself, each in its register: chosen by an index they went through memory, 80 to 82% of the
        // peak at T=8192 for the whole forward.
        let mut largest = [before; 4];
        let (fours, rest) = s.as_chunks::<4>();
        for four in fours {
            for (largest, line) in largest.iter_mut().zip(four) {
                *largest = S::max(*largest, load::<S>(&line[i..]));
            }
        }
        for line in rest {
            largest[0] = S::max(largest[0], load::<S>(&line[i..]));
        }
        let now = S::max(S::max(largest[0], largest[1]), S::max(largest[2], largest[3]));
        let scale = exp2_floored::<S>(S::sub(before, now));
        let mut sum = S::mul(load::<S>(&l[i..]), scale);
        for (j, line) in s.iter_mut().enumerate() {
            let p = exp2_floored::<S>(S::sub(load::<S>(&line[i..]), now));
            if FETCH {
                for lines in fetch.iter().flatten() {
                    lines.fetch_part::<S>(j, i / LANES);
                }
            }
            store::<S>(&mut line[i..], p);
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
    run(
        pool,
        out,
        &mut lse,
        input,
        dims,
        &Documents::new(dims.t, dims.t, &[]),
        None,
    );
}
