//! Backward: one task a sequence and head, so that every gradient has one owner.

use super::small::{Left, small};
use super::{AttentionDims, ByKey, ByQuery, Causal, Scores, TILE, drop_number, rows_in_vectors, transpose_scaled};
use crate::dropout::Dropout;
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, exp, load, simd_fn, store};

/// dqkv (B,T,3d) from dout (B,T,d) and what the forward saw and left: qkv, out, lse.
///
/// `P = exp(S - lse)`, `D = rowsum(dO o O)`; `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P o (dP - D)`, `dQ = dS K / sqrt(dh)`,
/// `dK = dSᵀ Q / sqrt(dh)`. Flops about 2.5 times the forward's; scratch memory `5 T dh` floats a thread.
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
    dropout: Option<Dropout>,
) {
    let AttentionDims { b, t, h, .. } = dims;
    let d = dims.d();
    let _timed = pool.timed("attention_backward", dims.sizes(), backward_work);
    assert_eq!((qkv.len(), dqkv.len()), (b * t * 3 * d, b * t * 3 * d), "{dims:?}");
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
    pool.run_with_scratch(b * h, attention_backward_scratch(dims), |bh, scratch| {
        backward_head(pool.isa(), &dqkv, &saved, dims, bh, scratch);
    });
}

/// Flops and bytes of (B, T, h, dh): five products over the triangle; qkv, out, dout and lse in, dqkv out.
fn backward_work([b, t, h, dh]: [u64; 4]) -> (u64, u64) {
    (5 * b * h * dh * t * (t + 1), 4 * b * t * h * (8 * dh + 1))
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
    // Qᵀ and dOᵀ; Q, dO and dQ; lse and D; K, V, dK, dV; Sᵀ and dSᵀ.
    2 * dims.dh * t + 3 * t * wide + 2 * t + 4 * TILE * wide + 2 * TILE * TILE
}

fn take<'a>(scratch: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(scratch).split_at_mut(len);
    *scratch = tail;
    head
}

simd_fn! {
    fn backward_head[S](
        dqkv: &Shards<'_>, saved: &Saved<'_>, dims: AttentionDims, bh: usize, scratch: &mut [f32],
    ) {
        let AttentionDims { t, h, dh, .. } = dims;
        let mut scratch = scratch;
        let (d, seq, head) = (dims.d(), bh / h, bh % h);
        let (tiles, wide) = (t.div_ceil(TILE), dh.next_multiple_of(LANES));
        let padded = tiles * TILE;
        let (qt, dot) = (take(&mut scratch, dh * padded), take(&mut scratch, dh * padded));
        let (q, dout) = (take(&mut scratch, padded * wide), take(&mut scratch, padded * wide));
        let dq = take(&mut scratch, padded * wide);
        let (lse, dsum) = (take(&mut scratch, padded), take(&mut scratch, padded));
        let (k, v) = (take(&mut scratch, TILE * wide), take(&mut scratch, TILE * wide));
        let (dk, dv) = (take(&mut scratch, TILE * wide), take(&mut scratch, TILE * wide));
        let (s, ds) = (take(&mut scratch, TILE * TILE), take(&mut scratch, TILE * TILE));
        let column = head * dh;
        let rows = |first: usize| TILE.min(t - first);

        // Where there are more tiles, copies are made once and read often, and rows far apart crowd each other.
        let direct = t <= TILE;
        lse[t..].fill(0.0);
        dsum[t..].fill(0.0);
        lse[..t].copy_from_slice(&saved.lse[bh * t..(bh + 1) * t]);
        for first in (0..t).step_by(TILE) {
            let n = (rows(first), dh);
            let from_q = &saved.qkv[(seq * t + first) * 3 * d + column..];
            let from_o = (seq * t + first) * d + column;
            let from_dout = &saved.dout[from_o..];
            transpose_scaled::<S>(&mut qt[first * dh..], from_q, 3 * d, n, dims.scale());
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
        let first_row = (seq * t * 3 * d + column, seq * t * d + column);
        let q_rows = rows_in_vectors::<S>(q, &saved.qkv[first_row.0..], 3 * d, (t, dh), direct);
        let dout_rows = rows_in_vectors::<S>(dout, &saved.dout[first_row.1..], d, (t, dh), direct);
        for key in (0..t).step_by(TILE) {
            let count = rows(key);
            let at = (seq * t + key) * 3 * d + column;
            let (k, k_row) = rows_in_vectors::<S>(k, &saved.qkv[at + d..], 3 * d, (count, dh), direct);
            let (v, v_row) = rows_in_vectors::<S>(v, &saved.qkv[at + 2 * d..], 3 * d, (count, dh), direct);
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
                    let factors = saved.dropout.map(|dropout| dropout.run(drop_number(&dims, bh, first, key + j)));
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
                small::<S>((queries, wide), ByQuery(causal), by_query, (k, k_row), (dq, wide), key > 0);
            }
            for j in 0..count {
                let at = at + j * 3 * d;
                // SAFETY: these columns of every row belong to this head's task.
                unsafe {
                    scale_to::<S>(dqkv.range(at + d, at + d + dh), &dk[j * wide..], dims.scale());
                    dqkv.range(at + 2 * d, at + 2 * d + dh).copy_from_slice(&dv[j * wide..j * wide + dh]);
                }
            }
        }
        for i in 0..t {
            let at = (seq * t + i) * 3 * d + column;
            // SAFETY: as above.
            scale_to::<S>(unsafe { dqkv.range(at, at + dh) }, &dq[i * wide..], dims.scale());
        }
    }
}

/// to = factor * from, as far as `to` goes.
#[inline(always)]
fn scale_to<S: Simd>(to: &mut [f32], from: &[f32], factor: f32) {
    for c in (0..to.len()).step_by(LANES) {
        store::<S>(&mut to[c..], S::mul(S::splat(factor), load::<S>(&from[c..])));
    }
}
