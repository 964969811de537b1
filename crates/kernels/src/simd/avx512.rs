//! Sixteen lanes in one AVX-512 register.

use super::{LARGEST_CACHE, Simd};
use crate::attention::small::{SmallTile, small_of};
use crate::matmul::tile::{Output, Target, Tile, tile_of_rows};
use std::arch::x86_64::*;

/// AVX-512 F, BW, DQ and VL. The 14x32 tile keeps 28 accumulators, two B vectors and a broadcast in 32 registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

// SAFETY (all blocks below): value intrinsics only need the features, which `simd_fn!` guarantees; pointers are as the
// trait demands.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx512 {
    type V = __m512;
    const MR: usize = 14;
    const NV: usize = 2;
    const CHAINS: usize = 12;
    const CACHE: usize = LARGEST_CACHE;

    #[inline(always)]
    fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load_ptr(p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize, fill: f32) -> __m512 {
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), ((1u32 << n) - 1) as u16, p) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, n: usize, v: __m512) {
        unsafe { _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as u16, v) }
    }
    #[inline(always)]
    fn prefetch<const VECTORS: usize>(p: *const f32) {
        for v in 0..VECTORS {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(v * super::LANES).cast()) }
        }
    }
    #[inline(always)]
    fn prefetch_far(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch_write<const VECTORS: usize>(p: *const f32) {
        for v in 0..VECTORS {
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(p.wrapping_add(v * super::LANES).cast()) }
        }
    }
    #[inline(always)]
    fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn scale_pow2(x: __m512, n: __m512) -> __m512 {
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_cvtps_epi32(n));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), exponent))
        }
    }
    #[inline(always)]
    fn select_lt(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    fn sum(v: __m512) -> f32 {
        unsafe {
            let high = _mm512_extractf32x8_ps::<1>(v);
            super::avx2::sum8(_mm256_add_ps(_mm512_castps512_ps256(v), high))
        }
    }
    #[inline(always)]
    fn max_lane(v: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(v) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: __m512) {
        unsafe {
            let half = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v);
            _mm256_storeu_si256(p.cast(), half);
        }
    }
    #[inline(always)]
    unsafe fn store_i16(p: *mut i16, v: __m512) {
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(v))) }
    }
    #[inline(always)]
    unsafe fn store_i8(p: *mut i8, v: __m512) {
        unsafe { _mm_storeu_si128(p.cast(), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v))) }
    }
    type Bytes = __m512i;
    type Pairs = __m512i;
    type Ints = __m512i;

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    fn splat_bytes(x: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn nibbles(b: __m512i) -> (__m512i, __m512i) {
        unsafe {
            let low = |b| _mm512_and_si512(b, _mm512_set1_epi8(15));
            (low(b), low(_mm512_srli_epi16::<4>(b)))
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const u8) -> __m512i {
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    fn splat_pair(x: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn products(w: __m512i, x: __m512i) -> __m512i {
        unsafe { _mm512_maddubs_epi16(w, x) }
    }
    #[inline(always)]
    fn add_pairs(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi16(a, b) }
    }
    #[inline(always)]
    fn add_products(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)) }
    }
    #[inline(always)]
    fn no_pairs() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn no_ints() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn to_float(i: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(i) }
    }
    tile_of_rows!(Avx512, 14, 2; 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    const SQUARE: usize = 16;
    #[inline(always)]
    unsafe fn transpose(line: impl Fn(usize) -> *const f32, dst: *mut f32, stride: usize) {
        unsafe {
            let mut r = [_mm512_setzero_ps(); 16];
            for (l, r) in r.iter_mut().enumerate() {
                *r = _mm512_loadu_ps(line(l));
            }
            // Within quarters of a register: pairs of lines, then fours; after this t[4 g + c] holds steps c, 4 + c,
            // 8 + c and 12 + c of lines 4 g to 4 g + 3.
            let mut t = r;
            for g in 0..4 {
                let [a, b, c, d] = [r[4 * g], r[4 * g + 1], r[4 * g + 2], r[4 * g + 3]];
                let (low, high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (low2, high2) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                t[4 * g] = _mm512_shuffle_ps::<0x44>(low, low2);
                t[4 * g + 1] = _mm512_shuffle_ps::<0xEE>(low, low2);
                t[4 * g + 2] = _mm512_shuffle_ps::<0x44>(high, high2);
                t[4 * g + 3] = _mm512_shuffle_ps::<0xEE>(high, high2);
            }
            // Then the quarters themselves. Stores go from the first step to the last, as the trait demands.
            let mut out = t;
            for c in 0..4 {
                let (a, b, d, e) = (t[c], t[4 + c], t[8 + c], t[12 + c]);
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
                let (even2, odd2) = (_mm512_shuffle_f32x4::<0x88>(d, e), _mm512_shuffle_f32x4::<0xDD>(d, e));
                out[c] = _mm512_shuffle_f32x4::<0x88>(even, even2);
                out[4 + c] = _mm512_shuffle_f32x4::<0x88>(odd, odd2);
                out[8 + c] = _mm512_shuffle_f32x4::<0xDD>(even, even2);
                out[12 + c] = _mm512_shuffle_f32x4::<0xDD>(odd, odd2);
            }
            for (step, v) in out.into_iter().enumerate() {
                _mm512_storeu_ps(dst.add(step * stride), v);
            }
        }
    }
    // Beside 8x2 two loads in ten less, and a head of 64 in one pass: 97% instead of 94% of the peak on operands in the second-level
    // cache.
    const SMALL: (usize, usize) = (4, 4);
    #[inline(always)]
    unsafe fn small(tile: &SmallTile) {
        small_of!(Avx512, tile; 1 2 3 4; 1 2 3 4);
    }
}
