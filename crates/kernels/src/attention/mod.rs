//! Causal attention in tiles: the (T,T) scores are never stored.
//!
//! Per sequence and head, with `S = Q Kᵀ / sqrt(dh)` below the diagonal: `O = dropout(softmax(S)) V`. The forward keeps
//! a running maximum m and sum l a query and stores `lse = m + ln l` (Dao et al., arXiv 2205.14135; Milakov and
//! Gimelshein, arXiv 1805.02867). Scores are held transposed, keys down and queries across the lanes, so that the
//! softmax of 64 queries needs no sum across lanes.

mod backward;
mod cached;
mod forward;
pub(crate) mod small;

pub use backward::{attention_backward, attention_backward_scratch};
pub use cached::{attention_cached, attention_cached_scratch};
pub use forward::{attention_forward, attention_forward_scratch};

use crate::dropout::Dropout;

/// Queries and keys of a tile: at T = 1024, 53% of the square is computed.
pub(crate) const TILE: usize = 64;

/// Sizes of an attention: B sequences of T tokens, h heads of dh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionDims {
    /// Sequences.
    pub b: usize,
    /// Tokens a sequence.
    pub t: usize,
    /// Heads.
    pub h: usize,
    /// Width of a head.
    pub dh: usize,
}

impl AttentionDims {
    /// d = h dh.
    pub fn d(&self) -> usize {
        self.h * self.dh
    }

    fn scale(&self) -> f32 {
        1.0 / (self.dh as f32).sqrt()
    }
}

/// Where the heads' dropout numbers begin: element (b, head, i, j) of the (B,h,T,T) that is never stored.
#[inline(always)]
fn drop_factor(dropout: &Dropout, dims: &AttentionDims, bh: usize, i: usize, j: usize) -> f32 {
    dropout.factor(((bh * dims.t + i) * dims.t + j) as u64)
}

/// dst[c][r] = factor * src[r][c]: `rows` rows of `cols`, columns past `rows` up to `dst_stride` as zeros.
fn transpose_scaled(
    dst: &mut [f32],
    dst_stride: usize,
    src: &[f32],
    src_stride: usize,
    (rows, cols): (usize, usize),
    factor: f32,
) {
    for c in 0..cols {
        let line = &mut dst[c * dst_stride..(c + 1) * dst_stride];
        for r in 0..rows {
            line[r] = factor * src[r * src_stride + c];
        }
        line[rows..].fill(0.0);
    }
}

/// dst[r][c] = factor * src[r][c]: `rows` rows of `cols`, padded with zeros to `dst_stride`.
fn copy_scaled(
    dst: &mut [f32],
    dst_stride: usize,
    src: &[f32],
    src_stride: usize,
    (rows, cols): (usize, usize),
    factor: f32,
) {
    for r in 0..rows {
        let line = &mut dst[r * dst_stride..(r + 1) * dst_stride];
        line[..cols]
            .iter_mut()
            .zip(&src[r * src_stride..r * src_stride + cols])
            .for_each(|(d, s)| *d = factor * s);
        line[cols..].fill(0.0);
    }
}

/// Causal attention of one head in f64: the oracle. `q, k, v` are (T,dh); returns (o, lse, probabilities (T,T)).
pub fn attention_reference(q: &[f64], k: &[f64], v: &[f64], t: usize, dh: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut o, mut lse, mut p) = (vec![0.0; t * dh], vec![0.0; t], vec![0.0; t * t]);
    for i in 0..t {
        let scores: Vec<f64> = (0..=i)
            .map(|j| (0..dh).map(|c| q[i * dh + c] * k[j * dh + c]).sum::<f64>() / (dh as f64).sqrt())
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
        lse[i] = max + sum.ln();
        for j in 0..=i {
            p[i * t + j] = (scores[j] - lse[i]).exp();
            for c in 0..dh {
                o[i * dh + c] += p[i * t + j] * v[j * dh + c];
            }
        }
    }
    (o, lse, p)
}

#[cfg(test)]
mod tests;
