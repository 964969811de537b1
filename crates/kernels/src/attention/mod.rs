//! Causal attention in tiles: the (T,T) scores are never stored.
//!
//! Per sequence and head, with `S = Q Kᵀ / sqrt(dh)` below the diagonal: `O = dropout(softmax(S)) V`. The forward keeps
//! a running maximum m and sum l a query and stores `lse = m + ln l` (Dao et al., arXiv 2205.14135; Milakov and
//! Gimelshein, arXiv 1805.02867). Scores are held transposed, keys down and queries across the lanes, so that the
//! softmax of 64 queries needs no sum across lanes.

mod backward;
mod cached;
mod forward;
mod reference;
pub(crate) mod small;

pub use backward::{attention_backward, attention_backward_scratch};
pub use cached::{attention_cached, attention_cached_scratch};
pub use forward::{attention_forward, attention_forward_scratch};
pub use reference::{attention_backward_reference, attention_mask_reference, attention_reference};

/// Queries and keys of a tile: at T = 1024, 53% of the square is computed.
pub(crate) const TILE: usize = 64;
const _: () = assert!(
    TILE == crate::dropout::RUN,
    "a line of a tile takes one run of dropout factors"
);

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

/// Number of the dropout's factor for query `i` and key `j` of sequence and head `bh`: keys down, queries across, rows
/// padded to whole tiles, so that the queries of a tile read one aligned run.
#[inline(always)]
fn drop_number(dims: &AttentionDims, bh: usize, i: usize, j: usize) -> u64 {
    ((bh * dims.t + j) * dims.t.next_multiple_of(TILE) + i) as u64
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

#[cfg(test)]
mod tests;
