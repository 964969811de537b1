//! Backward: one task a document and head of keys, so that every gradient has one owner. Where these are few, each is cut into parts
//! that take turns at its keys; a query's gradient is then the sum of the parts', in order.

use super::forward::pairs;
use super::small::{Left, small};
use super::{
    AttentionDims, ByKey, ByQuery, Causal, Scores, TILE, drop_number, lse_start, rows_in_vectors, transpose_scaled,
};
use crate::documents::{Document, Documents};
use crate::dropout::Dropout;
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, LARGEST_CACHE, Simd, exp2_floored, load, simd_fn, store};
use std::cmp::Reverse;
use std::f32::consts::LOG2_E;
use std::ops::Range;

/// Tasks that long sequences are cut for, at least: more threads than that have nothing to do.
const TASKS: usize = 16;

/// Queries that meet each tile of keys before the next one comes: what is kept of them (Q, dO, both transposed, dQ) fills five
/// eighths of a second-level cache. Where all queries met a tile of keys one after another, each pair of tiles took 80 kB from
/// the third-level cache: 77% of the peak at T=8192, with blocks of 128, 256 and 512 queries 80, 84 and 86%. In no bit of the
/// result.
fn block(dh: usize, cache: usize) -> usize {
    let tile = 5 * TILE * dh.next_multiple_of(LANES);
    (cache / 8 * 5 / tile).max(1) * TILE
}

/// Tasks of one document and head of keys, where there are so many and the longest has `t` tokens. They decide the bits of dQ, so
/// they follow from the shape.
fn parts(heads: usize, t: usize) -> usize {
    (TASKS / heads.max(1)).clamp(1, t.div_ceil(TILE).max(1))
}

/// dqkv (B,T,[`AttentionDims::row`]) from dout (B,T,d) and what the forward saw and left: qkv, out, lse.
///
/// `P = exp(S - lse)`, `D = rowsum(dO o O)`; `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P o (dP - D)`, `dQ = dS K / sqrt(dh)`,
/// `dK = dSᵀ Q / sqrt(dh)`. Flops about 2.5 times the forward's; scratch memory `5 T dh` floats and a second-level cache's a thread, and `16 T dh` floats
/// at most where there are fewer than nine sequences and heads. `documents` as the forward had them.
/// Error against f64 below `4e-7 (1 + |dqkv|)` for each root of T or dh, whichever is larger.
///
/// # Panics
/// Where shapes differ.
pub fn attention_backward(
    pool: &Pool,
    dqkv: &mut [f32],
    dout: &[f32],
    qkv: &[f32],
    out: &[f32],
    lse: &[f32],
    dims: AttentionDims,
    documents: &[usize],
    dropout: Option<Dropout>,
) {
    let AttentionDims { b, t, h, .. } = dims;
    let d = dims.d();
    let documents = Documents::new(b * t, t, documents);
    let _timed = pool.timed("attention_backward", dims.sizes(), |sizes| {
        backward_work(dims.h_kv as u64, sizes, pairs(&documents))
    });
    let floats = b * t * dims.row();
    assert_eq!((qkv.len(), dqkv.len()), (floats, floats), "{dims:?}");
    assert_eq!(
        (out.len(), dout.len(), lse.len()),
        (b * t * d, b * t * d, b * h * t),
        "{dims:?}"
    );
    let dqkv = Shards::new(dqkv);
    let saved = Saved {
        dout,
        qkv,
        out,
        lse,
        dropout,
    };
    let mut documents: Vec<Document> = documents.iter().collect();
    // The longest go first, so that the threads end together.
    documents.sort_by_key(|document| Reverse(document.len));
    let longest = documents.first().map_or(0, |document| document.len);
    let (parts, floats) = (
        parts(documents.len() * dims.h_kv, longest),
        attention_backward_scratch(dims),
    );
    let group = dims.group();
    let heads_of = |task: usize| {
        let (document, kv) = (documents[task / dims.h_kv], task % dims.h_kv);
        (kv * group..(kv + 1) * group).map(move |head| (document, head))
    };
    if parts == 1 {
        pool.run_with_scratch(documents.len() * dims.h_kv, floats, |task, scratch| {
            let (dq, scratch) = scratch.split_at_mut(dq_floats(t, dims.dh));
            for head in heads_of(task) {
                let dq = &mut dq[..dq_floats(head.0.len, dims.dh)];
                backward_part(pool.isa(), &dqkv, dq, &saved, dims, head, (0, 1), scratch);
                sum_parts(pool.isa(), &dqkv, dq, dims, head, 0..head.0.len.div_ceil(TILE));
            }
        });
        return;
    }
    // Parts of the heads of the documents before each.
    let mut before = vec![0; documents.len() + 1];
    for (i, document) in documents.iter().enumerate() {
        before[i + 1] = before[i] + h * parts * dq_floats(document.len, dims.dh);
    }
    let mut sums = pool.partial_sums();
    let sums = sums.at_least(before[documents.len()]);
    let shards = Shards::new(sums);
    let floats = floats - dq_floats(t, dims.dh);
    pool.run_with_scratch(documents.len() * dims.h_kv * parts, floats, |task, scratch| {
        let (task, part) = (task / parts, task % parts);
        for (document, head) in heads_of(task) {
            let of_part = dq_floats(document.len, dims.dh);
            let at = before[task / dims.h_kv] + (head * parts + part) * of_part;
            // SAFETY: one task, one part of these heads.
            let dq = unsafe { shards.range(at, at + of_part) };
            backward_part(
                pool.isa(),
                &dqkv,
                dq,
                &saved,
                dims,
                (document, head),
                (part, parts),
                scratch,
            );
        }
    });
    let tiles = |i: usize| {
        let tiles = documents[i].len.div_ceil(TILE);
        (0..h * tiles).map(move |at| (i, at / tiles, at % tiles))
    };
    let tiles: Vec<(usize, usize, usize)> = (0..documents.len()).flat_map(tiles).collect();
    pool.run(tiles.len(), |task| {
        let (i, head, tile) = tiles[task];
        let of_head = parts * dq_floats(documents[i].len, dims.dh);
        let dq = &sums[before[i] + head * of_head..][..of_head];
        sum_parts(pool.isa(), &dqkv, dq, dims, (documents[i], head), tile..tile + 1);
    });
}

/// Floats of a part's gradient of the queries of one head.
fn dq_floats(t: usize, dh: usize) -> usize {
    t.next_multiple_of(TILE) * dh.next_multiple_of(LANES)
}

/// Floats of partial sums that [`attention_backward`] takes; they lie in a buffer of the [`Pool`]. Where documents are listed,
/// each is rounded up to whole tiles, which is at most `1024 h/h_kv dh` floats more.
pub fn attention_backward_sums(dims: AttentionDims) -> usize {
    match parts(dims.b * dims.h_kv, dims.t) {
        1 => 0,
        parts => dims.b * dims.h * parts * dq_floats(dims.t, dims.dh),
    }
}

/// Flops and bytes of (B, T, h, dh) with so many pairs of query and key: five products; qkv, out, dout and lse in, dqkv out.
fn backward_work(h_kv: u64, [b, t, h, dh]: [u64; 4], pairs: u64) -> (u64, u64) {
    (10 * h * dh * pairs, 4 * b * t * (4 * (h + h_kv) * dh + h))
}

struct Saved<'a> {
    dout: &'a [f32],
    qkv: &'a [f32],
    out: &'a [f32],
    lse: &'a [f32],
    dropout: Option<Dropout>,
}

/// Floats of scratch memory that the backward takes on each thread.
pub fn attention_backward_scratch(dims: AttentionDims) -> usize {
    let (t, wide) = (dims.t.next_multiple_of(TILE), dims.dh.next_multiple_of(LANES));
    let block = t.min(block(dims.dh, LARGEST_CACHE));
    // dQ; K, V, dK, dV; Qᵀ and dOᵀ, Q and dO, lse and D of a block; Sᵀ and dSᵀ.
    dq_floats(dims.t, dims.dh) + 4 * t * wide + block * (2 * dims.dh + 2 * wide + 2) + 2 * TILE * TILE
}

/// Rows and their distance, from row `i` on.
fn from_row((rows, distance): (&[f32], usize), i: usize) -> (&[f32], usize) {
    (&rows[i * distance..], distance)
}

fn take<'a>(scratch: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(scratch).split_at_mut(len);
    *scratch = tail;
    head
}

simd_fn! {
    /// dK and dV of every `parts`-th tile of keys from tile `part` on, and what these keys add to dQ.
    fn backward_part[S](
        dqkv: &Shards<'_>, dq: &mut [f32], saved: &Saved<'_>, dims: AttentionDims,
        place: (Document, usize), parts: (usize, usize), scratch: &mut [f32],
    ) {
        let (mut scratch, (document, head), (part, parts)) = (scratch, place, parts);
        let Document { first: start, len: t } = document;
        if part * TILE >= t {
            return;
        }
        let (d, dh, group, row) = (dims.d(), dims.dh, dims.group(), dims.row());
        let (wide, padded) = (dh.next_multiple_of(LANES), t.next_multiple_of(TILE));
        let (k, v) = (take(&mut scratch, padded * wide), take(&mut scratch, padded * wide));
        let (dk, dv) = (take(&mut scratch, padded * wide), take(&mut scratch, padded * wide));
        let block = padded.min(block(dh, S::CACHE));
        let (qt, dot) = (take(&mut scratch, dh * block), take(&mut scratch, dh * block));
        let (q, dout) = (take(&mut scratch, block * wide), take(&mut scratch, block * wide));
        let (lse, dsum) = (take(&mut scratch, block), take(&mut scratch, block));
        let (s, ds) = (take(&mut scratch, TILE * TILE), take(&mut scratch, TILE * TILE));
        let column = head * dh;
        // Heads that share keys follow each other in one task: the first stores, the others add.
        let (k_column, v_column, adds) = (d + head / group * dh, d + dims.kv() + head / group * dh, head % group > 0);
        let keys = (part * TILE..t).step_by(parts * TILE);
        let rows = |first: usize| TILE.min(t - first);

        // Where there are more tiles, copies are made once and read often, and rows far apart crowd each other.
        let direct = t <= TILE;
        let at = start * row;
        let k = rows_in_vectors::<S>(k, &saved.qkv[at + k_column..], row, (t, dh), direct);
        let v = rows_in_vectors::<S>(v, &saved.qkv[at + v_column..], row, (t, dh), direct);
        // Earlier blocks see none of these keys.
        for begin in (part * TILE / block * block..t).step_by(block) {
            let end = t.min(begin + block);
            let queries = end - begin;
            lse[queries..].fill(0.0);
            dsum[queries..].fill(0.0);
            for (lse, saved) in lse.iter_mut().zip(&saved.lse[lse_start(&dims, document, head) + begin..][..queries]) {
                *lse = saved * LOG2_E;
            }
            for first in (begin..end).step_by(TILE) {
                let n = (rows(first), dh);
                let from_q = &saved.qkv[(start + first) * row + column..];
                let from_o = (start + first) * d + column;
                let from_dout = &saved.dout[from_o..];
                // Scores in powers of two, as the forward has them.
                transpose_scaled::<S>(&mut qt[(first - begin) * dh..], from_q, row, n, dims.scale() * LOG2_E);
                transpose_scaled::<S>(&mut dot[(first - begin) * dh..], from_dout, d, n, 1.0);
                for i in 0..n.0 {
                    let at = from_o + i * d;
                    let (dout, out) = (&saved.dout[at..at + dh], &saved.out[at..at + dh]);
                    let mut sum = S::splat(0.0);
                    for c in (0..dh).step_by(LANES) {
                        sum = S::fma(load::<S>(&dout[c..]), load::<S>(&out[c..]), sum);
                    }
                    dsum[first - begin + i] = S::sum(sum);
                }
            }
            let (from_q, from_dout) = ((start + begin) * row + column, (start + begin) * d + column);
            let q = rows_in_vectors::<S>(q, &saved.qkv[from_q..], row, (queries, dh), direct);
            let dout = rows_in_vectors::<S>(dout, &saved.dout[from_dout..], d, (queries, dh), direct);
            for key in keys.clone().take_while(|&key| key < end) {
                let count = rows(key);
                let (dk, dv) = (&mut dk[key * wide..], &mut dv[key * wide..]);
                let (k, v) = (from_row(k, key), from_row(v, key));
                for first in (key.max(begin)..end).step_by(TILE) {
                    let (queries, from) = (rows(first), first - begin);
                    let causal = Causal { ahead: (first - key) as isize, keys: count, queries };
                    let (qt, dot) = (&qt[from * dh..], &dot[from * dh..]);
                    let (lse, dsum) = (&lse[from..], &dsum[from..]);
                    let by_row = |(data, row)| Left { data, row, step: 1 };
                    let across = (count, TILE);
                    small::<S>(across, Scores(causal, dh), by_row(k), (qt, TILE), (s, TILE), false);
                    small::<S>(across, Scores(causal, dh), by_row(v), (dot, TILE), (ds, TILE), false);
                    let lines = s.chunks_exact_mut(TILE).zip(ds.chunks_exact_mut(TILE));
                    for (j, (s, ds)) in lines.take(count).enumerate() {
                        let factors = saved.dropout.map(|dropout| {
                            dropout.run(drop_number(&dims, document, head, first, key + j))
                        });
                        let seen = causal.hidden(j) / LANES..TILE / LANES;
                        gradient_of_scores::<S>(s, ds, lse, dsum, seen, &factors);
                    }
                    causal.mask(s, 0.0);
                    causal.mask(ds, 0.0);
                    let (across, more) = ((count, wide), first > key);
                    let by_key = |data| by_row((data, TILE));
                    small::<S>(across, ByKey(causal), by_key(s), from_row(dout, from), (dv, wide), more);
                    small::<S>(across, ByKey(causal), by_key(ds), from_row(q, from), (dk, wide), more);
                    let (dq, more) = (&mut dq[first * wide..], key >= parts * TILE);
                    let by_query = Left { data: ds, row: 1, step: TILE };
                    small::<S>((queries, wide), ByQuery(causal), by_query, k, (dq, wide), more);
                }
            }
        }
        for key in keys {
            for j in key..key + rows(key) {
                let (k_at, v_at) = ((start + j) * row + k_column, (start + j) * row + v_column);
                // SAFETY: these columns of every row belong to this task.
                unsafe {
                    scale_to::<S>(dqkv.range(k_at, k_at + dh), &dk[j * wide..], dims.scale(), adds);
                    scale_to::<S>(dqkv.range(v_at, v_at + dh), &dv[j * wide..], 1.0, adds);
                }
            }
        }
    }
}

simd_fn! {
    /// dQ of some tiles of queries from the parts of a head, which lie one after another.
    fn sum_parts[S](
        dqkv: &Shards<'_>, dq: &[f32], dims: AttentionDims, place: (Document, usize), tiles: Range<usize>,
    ) {
        let (Document { first, len: t }, head) = place;
        let dh = dims.dh;
        let (wide, of_part) = (dh.next_multiple_of(LANES), dq_floats(t, dh));
        let parts = dq.len() / of_part;
        let scale = S::splat(dims.scale());
        for i in tiles.start * TILE..t.min(tiles.end * TILE) {
            let at = (first + i) * dims.row() + head * dh;
            // SAFETY: these columns of every row belong to this head, and the row to this task.
            let to = unsafe { dqkv.range(at, at + dh) };
            for c in (0..dh).step_by(LANES) {
                let mut sum = load::<S>(&dq[i * wide + c..]);
                // The first keys of part p are those of tile p: queries before them it has not seen.
                for part in 1..parts.min(i / TILE + 1) {
                    sum = S::add(sum, load::<S>(&dq[part * of_part + i * wide + c..]));
                }
                store::<S>(&mut to[c..], S::mul(scale, sum));
            }
        }
    }
}

/// P and dS of a key from S and dP, in the vectors of queries that see it; with dropout the P that met V is the dropped one, and
/// dP passes through the same mask.
#[inline(always)]
fn gradient_of_scores<S: Simd>(
    s: &mut [f32],
    ds: &mut [f32],
    lse: &[f32],
    dsum: &[f32],
    seen: Range<usize>,
    factors: &Option<[f32; TILE]>,
) {
    let ((s, _), (ds, _)) = (s.as_chunks_mut::<LANES>(), ds.as_chunks_mut::<LANES>());
    let ((lse, _), (dsum, _)) = (lse.as_chunks::<LANES>(), dsum.as_chunks::<LANES>());
    for i in seen {
        let p = exp2_floored::<S>(S::sub(load::<S>(&s[i]), load::<S>(&lse[i])));
        let (mut dp, mut met) = (load::<S>(&ds[i]), p);
        if let Some(factors) = factors {
            let factor = load::<S>(&factors[i * LANES..]);
            (dp, met) = (S::mul(dp, factor), S::mul(p, factor));
        }
        store::<S>(&mut ds[i], S::mul(p, S::sub(dp, load::<S>(&dsum[i]))));
        store::<S>(&mut s[i], met);
    }
}

/// to = or += factor * from, as far as `to` goes.
#[inline(always)]
fn scale_to<S: Simd>(to: &mut [f32], from: &[f32], factor: f32, adds: bool) {
    for c in (0..to.len()).step_by(LANES) {
        let scaled = S::mul(S::splat(factor), load::<S>(&from[c..]));
        let sum = if adds {
            S::add(load::<S>(&to[c..]), scaled)
        } else {
            scaled
        };
        store::<S>(&mut to[c..], sum);
    }
}
