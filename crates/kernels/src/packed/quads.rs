//! Products of bytes, four at a time: the quantised types on AVX-512 with VNNI.
//!
//! One instruction adds four products to each of sixteen sums, of numbers without a sign and numbers with one. A weight of Q8_0
//! takes 128 more, and 128 times the sum of the block's x is where the sums start; nibbles have no sign as they are. All of it is whole
//! numbers, so that results are those of the other sets bit for bit, in a quarter of the instructions.

use super::activations::Quantised;
use super::blocks::{Q4_1, Q8_0, block_bytes};
use super::product::{Output, finish};
use super::tiles::{Ahead, each_tile};
use crate::simd::{Avx512, LANES, Simd};
use std::arch::x86_64::*;

/// [`super::blocks`]' panels of a quantised type, on a set that has VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) fn panels<const KIND: u8>(out: &Output<'_>, panel: usize, bytes: &[u8], x: &Quantised<'_>, m: usize) {
    // Registers would do for tiles of twelve rows, which are no faster.
    for (p, bytes) in bytes.chunks_exact(x.blocks * block_bytes(KIND)).enumerate() {
        each_tile!(0..m, [1 2 3 4 5 6], |row, share, R| tile::<R, KIND>(out, panel + p, bytes, x, row, share));
    }
}

/// `R` rows from `first` on, in the steps of [`super::blocks`]'s tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
#[inline]
fn tile<const R: usize, const KIND: u8>(
    out: &Output<'_>,
    panel: usize,
    bytes: &[u8],
    x: &Quantised<'_>,
    first: usize,
    share: (usize, usize),
) {
    const WORDS: usize = super::BLOCK / 4;
    let blocks = x.blocks;
    let mut ahead = (R > 4 || share.1 > 1).then(|| Ahead::new((bytes, bytes.len()), share, blocks));
    assert!(
        bytes.len() == blocks * block_bytes(KIND)
            && x.q.len() >= (first + R) * blocks * WORDS
            && x.scale.len() >= (first + R) * blocks
            && x.sum.len() == x.scale.len()
            && x.start.len() == x.scale.len(),
        "a panel of {blocks} blocks and {R} rows from {first} on"
    );
    // Two lines of sixteen pairs to a line of sixteen quads.
    let quads = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
        16, 0,
    );
    let (plus_128, low_half) = (_mm512_set1_epi8(-128), _mm512_set1_epi8(15));
    // As in `super::blocks`: a number that the compiler does not know.
    let steps = std::hint::black_box(if KIND == Q8_0 { WORDS } else { WORDS / 2 });
    let mut sums = [_mm512_setzero_ps(); R];
    for b in 0..blocks {
        if let Some(ahead) = &mut ahead {
            ahead.step::<Avx512>();
        }
        // SAFETY: every load below lies in block `b` of the panel or of a row, and the assertion covers both.
        unsafe {
            let head = bytes.as_ptr().add(b * block_bytes(KIND));
            let line = |start: usize, j: usize| _mm512_loadu_si512(head.add((start + 4 * j) * LANES).cast());
            let words = x.q.as_ptr().add((first * blocks + b) * WORDS).cast::<i32>();
            let word = |r: usize, j: usize| _mm512_set1_epi32(*words.add(r * blocks * WORDS + j));
            let mut whole = [_mm512_setzero_si512(); R];
            for r in 0..R {
                let start = *x.start.get_unchecked((first + r) * blocks + b);
                whole[r] = _mm512_set1_epi32(start.to_bits() as i32);
            }
            for j in 0..steps {
                if KIND == Q8_0 {
                    let w = _mm512_permutexvar_epi16(quads, line(2, j));
                    let w = _mm512_xor_si512(w, plus_128);
                    for r in 0..R {
                        whole[r] = _mm512_dpbusd_epi32(whole[r], w, word(r, j));
                    }
                } else {
                    let w = line(if KIND == Q4_1 { 4 } else { 2 }, j);
                    let low = _mm512_and_si512(w, low_half);
                    let high = _mm512_and_si512(_mm512_srli_epi16::<4>(w), low_half);
                    for r in 0..R {
                        whole[r] = _mm512_dpbusd_epi32(whole[r], low, word(r, j));
                        whole[r] = _mm512_dpbusd_epi32(whole[r], high, word(r, j + WORDS / 2));
                    }
                }
            }
            let scales = Avx512::load_f16(head.cast());
            for r in 0..R {
                let at = (first + r) * blocks + b;
                let (scale, sum) = (*x.scale.get_unchecked(at), *x.sum.get_unchecked(at));
                // Exact: below 2^24.
                let value = _mm512_cvtepi32_ps(whole[r]);
                let scale_of_both = _mm512_mul_ps(scales, _mm512_set1_ps(scale));
                sums[r] = _mm512_fmadd_ps(scale_of_both, value, sums[r]);
                if KIND == Q4_1 {
                    let least = Avx512::load_f16(head.add(2 * LANES).cast());
                    sums[r] = _mm512_fmadd_ps(least, _mm512_set1_ps(scale * sum), sums[r]);
                }
            }
        }
    }
    for (r, sum) in sums.into_iter().enumerate() {
        finish::<Avx512>(out, first + r, panel, sum);
    }
}
