//! Products of the quantised types on every set: bytes as pairs of 16 bits, nibbles as bytes.

use super::activations::Quantised;
use super::product::{Output, finish};
use super::tiles::{Ahead, each_tile};
use super::{BLOCK, PackedType};
use crate::simd::{LANES, Simd, simd_fn};

pub(super) const Q8_0: u8 = 0;
pub(super) const Q4_0: u8 = 1;
pub(super) const Q4_1: u8 = 2;

/// Bytes of a block of sixteen rows.
pub(super) const fn block_bytes(kind: u8) -> usize {
    let (_, bytes) = match kind {
        Q8_0 => PackedType::Q8_0.block(),
        Q4_0 => PackedType::Q4_0.block(),
        _ => PackedType::Q4_1.block(),
    };
    LANES * bytes
}

macro_rules! quantised_panels {
    ($name:ident, $kind:ident) => {
        simd_fn! {
            pub(super) fn $name[S](out: &Output<'_>, panel: usize, bytes: &[u8], x: &Quantised<'_>, m: usize) {
                for (p, bytes) in bytes.chunks_exact(x.blocks * block_bytes($kind)).enumerate() {
                    each_tile!(0..m, [1 2 3 4], |row, share, R| tile::<S, R, $kind>(out, panel + p, bytes, x, row, share));
                }
            }
        }
    };
}
quantised_panels!(panels_q8_0, Q8_0);
quantised_panels!(panels_q4_0, Q4_0);
quantised_panels!(panels_q4_1, Q4_1);

/// `R` rows from `first` on. In every block: whole sums of sixteen columns, then `sums += scales * whole`.
///
/// `share`: which of how many tiles of the panel it is.
#[inline(always)]
fn tile<S: Simd, const R: usize, const KIND: u8>(
    out: &Output<'_>,
    panel: usize,
    bytes: &[u8],
    x: &Quantised<'_>,
    first: usize,
    share: (usize, usize),
) {
    let blocks = x.blocks;
    let mut ahead = (R > 1).then(|| Ahead::new((bytes, bytes.len()), share, blocks));
    let words = BLOCK / if KIND == Q8_0 { 2 } else { 4 };
    assert!(
        bytes.len() == blocks * block_bytes(KIND)
            && x.q.len() >= (first + R) * blocks * words
            && x.scale.len() >= (first + R) * blocks
            && x.sum.len() == x.scale.len(),
        "a panel of {blocks} blocks and {R} rows from {first} on"
    );
    // A number of steps that the compiler does not know: unrolled, it moved what all steps load onto the stack.
    let steps = std::hint::black_box(if KIND == Q8_0 { 16 } else { 4 });
    let mut sums = [S::splat(0.0); R];
    for b in 0..blocks {
        if let Some(ahead) = &mut ahead {
            ahead.step::<S>();
        }
        // SAFETY: every load below lies in block `b` of the panel or of a row, and the assertion covers both.
        unsafe {
            let head = bytes.as_ptr().add(b * block_bytes(KIND));
            let word = |r: usize, j: usize| {
                let at = ((first + r) * blocks + b) * words + j;
                x.q.as_ptr().add(at).cast::<i32>().read()
            };
            let mut whole = [S::no_ints(); R];
            if KIND == Q8_0 {
                for j in 0..steps {
                    let w = S::load_pairs(head.add(2 * LANES + 2 * LANES * j));
                    for r in 0..R {
                        whole[r] = S::add_products(whole[r], w, S::splat_pair(word(r, j)));
                    }
                }
            } else {
                let start = if KIND == Q4_0 { 2 } else { 4 } * LANES;
                // Eight products of at most 2 * 15 * 127 fit 16 bits.
                let mut pairs = [S::no_pairs(); R];
                for j in 0..steps {
                    let (low, high) = S::nibbles(S::load_bytes(head.add(start + 4 * LANES * j)));
                    for r in 0..R {
                        let sum = S::add_pairs(pairs[r], S::products(low, S::splat_bytes(word(r, j))));
                        pairs[r] = S::add_pairs(sum, S::products(high, S::splat_bytes(word(r, j + 4))));
                    }
                }
                for r in 0..R {
                    whole[r] = S::add_products(whole[r], pairs[r], S::splat_pair(0x0001_0001));
                }
            }
            let scales = S::load_f16(head.cast());
            for r in 0..R {
                let at = (first + r) * blocks + b;
                let (scale, sum) = (*x.scale.get_unchecked(at), *x.sum.get_unchecked(at));
                let mut value = S::to_float(whole[r]);
                if KIND == Q4_0 {
                    value = S::sub(value, S::splat(8.0 * sum));
                }
                sums[r] = S::fma(S::mul(scales, S::splat(scale)), value, sums[r]);
                if KIND == Q4_1 {
                    let least = S::load_f16(head.add(2 * LANES).cast());
                    sums[r] = S::fma(least, S::splat(scale * sum), sums[r]);
                }
            }
        }
    }
    for (r, sum) in sums.into_iter().enumerate() {
        finish::<S>(out, first + r, panel, sum);
    }
}
