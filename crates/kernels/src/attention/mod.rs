//! Causal attention in tiles: the (T,T) scores are never stored.
//!
//! Per document and head, with `S = Q Kᵀ / sqrt(dh)` below the diagonal: `O = dropout(softmax(S)) V`. The forward keeps
//! a running maximum m and sum l a query and stores `lse = m + ln l` (Dao et al., arXiv 2205.14135; Milakov and
//! Gimelshein, arXiv 1805.02867). Scores are held transposed, keys down and queries across the lanes, so that the
//! softmax of 64 queries needs no sum across lanes.

mod backward;
mod cache;
mod cached;
mod forward;
mod reference;
pub(crate) mod small;

use crate::documents::Document;
use crate::simd::{LANES, Simd, load, store};
use small::Part;
use std::ops::Range;

pub use backward::{attention_backward, attention_backward_scratch, attention_backward_sums};
pub use cache::{Cache, CacheType, Cached, cache_append};
pub use cached::{CachedSequence, attention_cached, attention_cached_scratch};
pub use forward::{attention_forward, attention_forward_scratch};
pub use reference::{attention_backward_reference, attention_mask_reference, attention_reference};

/// Queries and keys of a tile: at T = 1024, 53% of the square is computed.
pub(crate) const TILE: usize = 64;
const _: () = assert!(
    TILE == crate::dropout::RUN,
    "a line of a tile takes one run of dropout factors"
);

/// Sizes of an attention: B sequences of T tokens, h heads of dh, whose keys and values may be shared. Where documents are listed,
/// B T is how many tokens they have together, and T how many one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionDims {
    /// Sequences.
    pub b: usize,
    /// Tokens a sequence.
    pub t: usize,
    /// Heads of queries.
    pub h: usize,
    /// Heads of keys and values: h, or a divisor of it where groups of h/h_kv heads share them (grouped-query attention,
    /// Ainslie et al., arXiv 2305.13245).
    pub h_kv: usize,
    /// Width of a head.
    pub dh: usize,
}

impl AttentionDims {
    /// d = h dh.
    pub fn d(&self) -> usize {
        self.h * self.dh
    }

    /// Width of all keys, and of all values: h_kv dh.
    pub fn kv(&self) -> usize {
        self.h_kv * self.dh
    }

    /// Floats of a token in qkv: its queries, then its keys, then its values.
    pub fn row(&self) -> usize {
        self.d() + 2 * self.kv()
    }

    /// Heads of queries that share a head of keys.
    fn group(&self) -> usize {
        assert!(
            self.h_kv > 0 && self.h % self.h_kv == 0,
            "{} heads share {} heads of keys",
            self.h,
            self.h_kv
        );
        self.h / self.h_kv
    }

    fn sizes(&self) -> [usize; 4] {
        [self.b, self.t, self.h, self.dh]
    }

    fn scale(&self) -> f32 {
        1.0 / (self.dh as f32).sqrt()
    }
}

/// Number of the dropout's factor for query `i` and key `j` of a document's head: keys down, queries across, rows padded to the
/// whole tiles of the longest document there may be, so that the queries of a tile read one aligned run.
#[inline(always)]
fn drop_number(dims: &AttentionDims, document: Document, head: usize, i: usize, j: usize) -> u64 {
    let key = lse_start(dims, document, head) + j;
    (key * dims.t.next_multiple_of(TILE) + i) as u64
}

/// Where the tokens of a document's head begin in what is (h, length) for one document after another, as lse is: (B,h,T) where
/// all are of T tokens.
#[inline(always)]
fn lse_start(dims: &AttentionDims, document: Document, head: usize) -> usize {
    document.first * dims.h + head * document.len
}

/// The causal cut of a tile of scores, keys down and queries across: query `i` sees keys up to `i + ahead`.
#[derive(Clone, Copy)]
struct Causal {
    /// Place of the first query less that of the first key; negative where the tile begins past it, in a prompt's chunk.
    ahead: isize,
    /// Keys of the tile.
    keys: usize,
    /// Queries of the tile.
    queries: usize,
}

/// The product that makes scores: rows are keys, steps are the `0` columns of a head.
struct Scores(Causal, usize);
/// A product whose rows are queries and whose steps are the keys they see.
struct ByQuery(Causal);
/// A product whose rows are keys and whose steps are the queries that see them.
struct ByKey(Causal);

impl Part for Scores {
    #[inline(always)]
    fn col(&self, key: usize) -> usize {
        self.0.hidden(key)
    }
    #[inline(always)]
    fn steps(&self, _key: usize, _rows: usize) -> Range<usize> {
        0..self.1
    }
}

impl Part for ByQuery {
    #[inline(always)]
    fn col(&self, _query: usize) -> usize {
        0
    }
    #[inline(always)]
    fn steps(&self, query: usize, rows: usize) -> Range<usize> {
        0..self.0.seen(query + rows - 1)
    }
}

impl Part for ByKey {
    #[inline(always)]
    fn col(&self, _key: usize) -> usize {
        0
    }
    #[inline(always)]
    fn steps(&self, key: usize, _rows: usize) -> Range<usize> {
        self.0.hidden(key).min(self.0.queries)..self.0.queries
    }
}

impl Causal {
    /// Queries of the tile that do not see key `key`.
    #[inline(always)]
    fn hidden(&self, key: usize) -> usize {
        (key as isize - self.ahead).clamp(0, TILE as isize) as usize
    }

    /// Keys of the tile that query `query` sees.
    #[inline(always)]
    fn seen(&self, query: usize) -> usize {
        (query as isize + 1 + self.ahead).clamp(0, self.keys as isize) as usize
    }

    /// Scores that are hidden become `hidden` where their vector has some that are not, and 0 in vectors that nobody reads.
    #[inline(always)]
    fn mask(&self, s: &mut [f32], hidden: f32) {
        for key in (self.ahead + 1).max(0) as usize..self.keys {
            let cut = self.hidden(key);
            let line = &mut s[key * TILE..key * TILE + cut];
            let (skipped, partly) = line.split_at_mut(cut / LANES * LANES);
            skipped.fill(0.0);
            partly.fill(hidden);
        }
    }
}

/// dst[c][r] = factor * src[r][c]: `rows` rows of `cols`, columns past `rows` up to [`TILE`] as zeros.
#[inline(always)]
fn transpose_scaled<S: Simd>(
    dst: &mut [f32],
    src: &[f32],
    src_stride: usize,
    (rows, cols): (usize, usize),
    factor: f32,
) {
    assert!(rows <= TILE && dst.len() >= cols * TILE);
    let (whole_rows, whole_cols) = (rows / S::SQUARE * S::SQUARE, cols / S::SQUARE * S::SQUARE);
    assert!(src.len() >= rows.saturating_sub(1) * src_stride + cols);
    for r in (0..whole_rows).step_by(S::SQUARE) {
        for c in (0..whole_cols).step_by(S::SQUARE) {
            // SAFETY: a square of these rows and columns lies in `src`, and one of lines in `dst`.
            unsafe {
                let line = |l: usize| src.as_ptr().add((r + l) * src_stride + c);
                S::transpose(line, dst.as_mut_ptr().add(c * TILE + r), TILE);
            }
        }
    }
    let factors = S::splat(factor);
    for c in 0..cols {
        let line = &mut dst[c * TILE..(c + 1) * TILE];
        for r in if c < whole_cols { whole_rows..rows } else { 0..rows } {
            line[r] = src[r * src_stride + c];
        }
        line[rows..].fill(0.0);
        for i in (0..TILE).step_by(LANES) {
            let scaled = S::mul(factors, load::<S>(&line[i..]));
            store::<S>(&mut line[i..], scaled);
        }
    }
}

/// `rows` rows of `cols` that may be the right side of a small product: `src` itself where it is `direct`, else a copy in
/// `dst`, padded with zeros to whole vectors. Gives the rows and the floats from one to the next.
#[inline(always)]
fn rows_in_vectors<'a, S: Simd>(
    dst: &'a mut [f32],
    src: &'a [f32],
    src_stride: usize,
    (rows, cols): (usize, usize),
    direct: bool,
) -> (&'a [f32], usize) {
    let wide = cols.next_multiple_of(LANES);
    if direct && wide == cols {
        return (src, src_stride);
    }
    for r in 0..rows {
        let (line, from) = (
            &mut dst[r * wide..(r + 1) * wide],
            &src[r * src_stride..r * src_stride + cols],
        );
        for c in (0..cols).step_by(LANES) {
            store::<S>(&mut line[c..], load::<S>(&from[c..]));
        }
    }
    (dst, wide)
}

/// Rows of memory that are read next, to fetch by cache lines of 64 bytes.
#[derive(Clone, Copy)]
struct Lines {
    start: *const u8,
    /// Bytes from row to row, and of a row.
    stride: usize,
    bytes: usize,
}

impl Lines {
    /// Rows of `cols` numbers, `stride` apart, the first at `at`; they need not be there.
    #[inline(always)]
    fn new<N>(from: &[N], at: usize, stride: usize, cols: usize) -> Self {
        Self {
            start: from.as_ptr().wrapping_add(at).cast(),
            stride: size_of::<N>() * stride,
            bytes: size_of::<N>() * cols,
        }
    }

    /// Fetches one of [`FETCHES`] parts of a row.
    #[inline(always)]
    fn fetch_part<S: Simd>(&self, row: usize, part: usize) {
        for byte in (64 * part..self.bytes).step_by(64 * FETCHES) {
            S::prefetch::<1>(self.start.wrapping_add(row * self.stride + byte).cast());
        }
    }
}

/// Parts of a row that are fetched one by one: as many as a tile's line of scores has vectors.
const FETCHES: usize = TILE / LANES;

#[cfg(test)]
mod tests;
