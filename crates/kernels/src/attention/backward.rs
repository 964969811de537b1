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
use crate::simd::{LANES, Simd, exp, load, simd_fn, store};
use std::cmp::Reverse;
use std::ops::Range;

/// Tasks that long sequences are cut for, at least: more threads than that have nothing to do.
const TASKS: usize = 16;

/// Tasks of one document and head of keys, where there are so many and the longest has `t` tokens. They decide the bits of dQ, so
/// they follow from the shape.
fn parts(heads: usize, t: usize) -> usize {
    (TASKS / heads.max(1)).clamp(1, t.div_ceil(TILE).max(1))
}

/// dqkv (B,T,[`AttentionDims::row`]) from dout (B,T,d) and what the forward saw and left: qkv, out, lse.
///
/// `P = exp(S - lse)`, `D = rowsum(dO o O)`; `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P o (dP - D)`, `dQ = dS K / sqrt(dh)`,
/// `dK = dSᵀ Q / sqrt(dh)`. Flops about 2.5 times the forward's; scratch memory `5 T dh` floats a thread, and `16 T dh` floats
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
    // dQ; Qᵀ and dOᵀ; Q and dO; lse and D; K, V, dK, dV; Sᵀ and dSᵀ.
    dq_floats(dims.t, dims.dh) + 2 * dims.dh * t + 2 * t * wide + 2 * t + 4 * TILE * wide + 2 * TILE * TILE
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
        let (tiles, wide) = (t.div_ceil(TILE), dh.next_multiple_of(LANES));
        let padded = tiles * TILE;
        let (qt, dot) = (take(&mut scratch, dh * padded), take(&mut scratch, dh * padded));
        let (q, dout) = (take(&mut scratch, padded * wide), take(&mut scratch, padded * wide));
        let (lse, dsum) = (take(&mut scratch, padded), take(&mut scratch, padded));
        let (k, v) = (take(&mut scratch, TILE * wide), take(&mut scratch, TILE * wide));
        let (dk, dv) = (take(&mut scratch, TILE * wide), take(&mut scratch, TILE * wide));
        let (s, ds) = (take(&mut scratch, TILE * TILE), take(&mut scratch, TILE * TILE));
        let column = head * dh;
        // Heads that share keys follow each other in one task: the first stores, the others add.
        let (k_column, v_column, adds) = (d + head / group * dh, d + dims.kv() + head / group * dh, head % group > 0);
        let rows = |first: usize| TILE.min(t - first);

        // Where there are more tiles, copies are made once and read often, and rows far apart crowd each other.
        let direct = t <= TILE;
        lse[t..].fill(0.0);
        dsum[t..].fill(0.0);
        lse[..t].copy_from_slice(&saved.lse[lse_start(&dims, document, head)..][..t]);
        for first in (0..t).step_by(TILE) {
            let n = (rows(first), dh);
            let from_q = &saved.qkv[(start + first) * row + column..];
            let from_o = (start + first) * d + column;
            let from_dout = &saved.dout[from_o..];
            transpose_scaled::<S>(&mut qt[first * dh..], from_q, row, n, dims.scale());
            transpose_scaled::<S>(&mut dot[first * dh..], from_dout, d, n, 1.0);
            for i in 0..n.0 {
                let at = from_o + i * d;
                let (dout, out) = (&saved.dout[at..at + dh], &saved.out[at..at + dh]);
                let mut sum = S::splat(0.0);
                for c in (0..dh).step_by(LANES) {
                    sum = S::fma(load::<S>(&dout[c..]), load::<S>(&out[c..]), sum);
                }
                dsum[first + i] = S::sum(sum);
            }
        }
        let first_row = (start * row + column, start * d + column);
        let q_rows = rows_in_vectors::<S>(q, &saved.qkv[first_row.0..], row, (t, dh), direct);
        let dout_rows = rows_in_vectors::<S>(dout, &saved.dout[first_row.1..], d, (t, dh), direct);
        for key in (part * TILE..t).step_by(parts * TILE) {
            let count = rows(key);
            let at = (start + key) * row;
            let (k, k_row) = rows_in_vectors::<S>(k, &saved.qkv[at + k_column..], row, (count, dh), direct);
            let (v, v_row) = rows_in_vectors::<S>(v, &saved.qkv[at + v_column..], row, (count, dh), direct);
            for first in (key..t).step_by(TILE) {
                let queries = rows(first);
                let causal = Causal { ahead: (first - key) as isize, keys: count, queries };
                let (qt, dot) = (&qt[first * dh..], &dot[first * dh..]);
                let (q, dout) = (&q_rows.0[first * q_rows.1..], &dout_rows.0[first * dout_rows.1..]);
                let by_row = |data, row| Left { data, row, step: 1 };
                let across = (count, TILE);
                small::<S>(across, Scores(causal, dh), by_row(k, k_row), (qt, TILE), (s, TILE), false);
                small::<S>(across, Scores(causal, dh), by_row(v, v_row), (dot, TILE), (ds, TILE), false);
                causal.mask(s, f32::NEG_INFINITY);
                causal.mask(ds, 0.0);
                // P and dS; with dropout the P that met V is the dropped one, and dP passes through the same mask.
                for j in 0..count {
                    let number = drop_number(&dims, document, head, first, key + j);
                    let factors = saved.dropout.map(|dropout| dropout.run(number));
                    for i in (causal.hidden(j) / LANES * LANES..TILE).step_by(LANES) {
                        let at = j * TILE + i;
                        let p = exp::<S>(S::sub(load::<S>(&s[at..]), load::<S>(&lse[first + i..])));
                        let mut dp = load::<S>(&ds[at..]);
                        let mut met = p;
                        if let Some(factors) = &factors {
                            let factor = load::<S>(&factors[i..]);
                            dp = S::mul(dp, factor);
                            met = S::mul(p, factor);
                        }
                        store::<S>(&mut ds[at..], S::mul(p, S::sub(dp, load::<S>(&dsum[first + i..]))));
                        store::<S>(&mut s[at..], met);
                    }
                }
                let keys = (count, wide);
                small::<S>(keys, ByKey(causal), by_row(s, TILE), (dout, dout_rows.1), (dv, wide), first > key);
                small::<S>(keys, ByKey(causal), by_row(ds, TILE), (q, q_rows.1), (dk, wide), first > key);
                let dq = &mut dq[first * wide..];
                let by_query = Left { data: ds, row: 1, step: TILE };
                small::<S>((queries, wide), ByQuery(causal), by_query, (k, k_row), (dq, wide), key >= parts * TILE);
            }
            for j in 0..count {
                let (k_at, v_at) = (at + j * row + k_column, at + j * row + v_column);
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
