//! Products of bytes, four at a time: the quantised types on AVX-512 with VNNI.
//!
//! One instruction adds four products to each of sixteen sums, of numbers without a sign and numbers with one. A weight of Q8_0
//! takes 128 more, and 128 times the sum of the block's x is where the sums start; nibbles have no sign as they are. All of it is whole
//! numbers, so that results are those of the other sets bit for bit, in a quarter of the instructions.

use super::activations::Quantised;
use super::product::{Ahead, Output, PANELS, Q4_1, Q8_0, block_bytes, finish};
use crate::simd::{Avx512, LANES, Simd};
use std::arch::x86_64::*;

/// Rows of the largest tile. Registers would do for twelve, but then eight rows are one tile, whose arithmetic and memory came one
/// after the other: 114 to 119 us for 3072 x 768 in Q8_0, where two tiles of four take 90.
const MOST: usize = 6;

/// [`super::product`]'s panels of a quantised type, on a set that has VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) fn panels<const KIND: u8>(out: &Output<'_>, panel: usize, bytes: &[u8], x: &Quantised<'_>, m: usize) {
    let size = x.blocks * block_bytes(KIND);
    if m == 1 && bytes.len() == PANELS * size {
        return tile::<1, PANELS, KIND>(out, panel, bytes, x, 0, None);
    }
    for (p, bytes) in bytes.chunks_exact(size).enumerate() {
        let (mut first, tiles) = (0, m.div_ceil(MOST));
        for share in 0..tiles {
            let rows = (m - first).div_ceil(tiles - share);
            let ahead = Some(Ahead::new(bytes, (share, tiles), x.blocks));
            macro_rules! tile_of {
                ($($rows:literal)*) => {
                    match rows {
                        $($rows => tile::<$rows, 1, KIND>(out, panel + p, bytes, x, first, ahead),)*
                        _ => unreachable!("a tile of {rows} rows"),
                    }
                };
            }
            tile_of!(1 2 3 4 5 6);
            first += rows;
        }
    }
}

/// `P` panels and `R` rows from `first` on, in the steps of [`super::product`]'s tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
#[inline]
fn tile<const R: usize, const P: usize, const KIND: u8>(
    out: &Output<'_>,
    panel: usize,
    bytes: &[u8],
    x: &Quantised<'_>,
    first: usize,
    mut ahead: Option<Ahead>,
) {
    const WORDS: usize = super::BLOCK / 4;
    let blocks = x.blocks;
    assert!(
        bytes.len() == P * blocks * block_bytes(KIND)
            && x.q.len() >= (first + R) * blocks * WORDS
            && x.scale.len() >= (first + R) * blocks
            && x.sum.len() == x.scale.len()
            && x.start.len() == x.scale.len(),
        "{P} panels of {blocks} blocks and {R} rows from {first} on"
    );
    // Two lines of sixteen pairs to a line of sixteen quads.
    let quads = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
        16, 0,
    );
    let (plus_128, low_half) = (_mm512_set1_epi8(-128), _mm512_set1_epi8(15));
    // As in `super::product`: a number that the compiler does not know.
    let steps = std::hint::black_box(if KIND == Q8_0 { WORDS } else { WORDS / 2 });
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    for b in 0..blocks {
        if let Some(ahead) = &mut ahead {
            ahead.step::<Avx512>();
        }
        // SAFETY: every load below lies in block `b` of a panel or of a row, and the assertion covers both.
        unsafe {
            let head = |p: usize| bytes.as_ptr().add((p * blocks + b) * block_bytes(KIND));
            let line =
                |p: usize, start: usize, j: usize| _mm512_loadu_si512(head(p).add((start + 4 * j) * LANES).cast());
            let words = x.q.as_ptr().add((first * blocks + b) * WORDS).cast::<i32>();
            let word = |r: usize, j: usize| _mm512_set1_epi32(*words.add(r * blocks * WORDS + j));
            let mut whole = [[_mm512_setzero_si512(); P]; R];
            for r in 0..R {
                let start = *x.start.get_unchecked((first + r) * blocks + b);
                whole[r] = [_mm512_set1_epi32(start.to_bits() as i32); P];
            }
            for j in 0..steps {
                for p in 0..P {
                    if KIND == Q8_0 {
                        let w = _mm512_permutexvar_epi16(quads, line(p, 2, j));
                        let w = _mm512_xor_si512(w, plus_128);
                        for r in 0..R {
                            whole[r][p] = _mm512_dpbusd_epi32(whole[r][p], w, word(r, j));
                        }
                    } else {
                        let w = line(p, if KIND == Q4_1 { 4 } else { 2 }, j);
                        let low = _mm512_and_si512(w, low_half);
                        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(w), low_half);
                        for r in 0..R {
                            whole[r][p] = _mm512_dpbusd_epi32(whole[r][p], low, word(r, j));
                            whole[r][p] = _mm512_dpbusd_epi32(whole[r][p], high, word(r, j + WORDS / 2));
                        }
                    }
                }
            }
            for p in 0..P {
                let scales = Avx512::load_f16(head(p).cast());
                for r in 0..R {
                    let at = (first + r) * blocks + b;
                    let (scale, sum) = (*x.scale.get_unchecked(at), *x.sum.get_unchecked(at));
                    // Exact: below 2^24.
                    let value = _mm512_cvtepi32_ps(whole[r][p]);
                    let scale_of_both = _mm512_mul_ps(scales, _mm512_set1_ps(scale));
                    sums[r][p] = _mm512_fmadd_ps(scale_of_both, value, sums[r][p]);
                    if KIND == Q4_1 {
                        let least = Avx512::load_f16(head(p).add(2 * LANES).cast());
                        sums[r][p] = _mm512_fmadd_ps(least, _mm512_set1_ps(scale * sum), sums[r][p]);
                    }
                }
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (p, sum) in sums.into_iter().enumerate() {
            finish::<Avx512>(out, first + r, panel + p, sum);
        }
    }
}
