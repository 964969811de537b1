//! Sixteen lanes in two AVX2 registers.

use super::{LANES, Simd};
use crate::attention::small::{SmallTile, small_of};
use crate::matmul::tile::{Output, Target, Tile, tile_of_rows};
use std::arch::x86_64::*;

/// AVX2 with FMA and F16C. The 6x16 tile keeps 12 accumulators, enough for FMA latency 4 on two pipes.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// Sum of eight lanes, folded in halves.
#[inline(always)]
pub(super) fn sum8(v: __m256) -> f32 {
    // SAFETY: only called inside functions compiled with AVX2.
    unsafe {
        let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
        _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
    }
}

/// [`Simd::transpose`] with three rounds of shuffles.
///
/// # Safety
/// As [`Simd::transpose`].
#[inline(always)]
unsafe fn transpose8(line: impl Fn(usize) -> *const f32, dst: *mut f32, stride: usize) {
    // SAFETY: the caller's promise; value intrinsics need AVX2, which `simd_fn!` guarantees.
    unsafe {
        let l = |i: usize| _mm256_loadu_ps(line(i));
        let r = [l(0), l(1), l(2), l(3), l(4), l(5), l(6), l(7)];
        let pair = |a: usize| (_mm256_unpacklo_ps(r[a], r[a + 1]), _mm256_unpackhi_ps(r[a], r[a + 1]));
        let ((a0, a1), (a2, a3), (a4, a5), (a6, a7)) = (pair(0), pair(2), pair(4), pair(6));
        let low = [
            _mm256_shuffle_ps::<0x44>(a0, a2),
            _mm256_shuffle_ps::<0xEE>(a0, a2),
            _mm256_shuffle_ps::<0x44>(a1, a3),
            _mm256_shuffle_ps::<0xEE>(a1, a3),
        ];
        let high = [
            _mm256_shuffle_ps::<0x44>(a4, a6),
            _mm256_shuffle_ps::<0xEE>(a4, a6),
            _mm256_shuffle_ps::<0x44>(a5, a7),
            _mm256_shuffle_ps::<0xEE>(a5, a7),
        ];
        for s in 0..4 {
            _mm256_storeu_ps(dst.add(s * stride), _mm256_permute2f128_ps::<0x20>(low[s], high[s]));
        }
        for s in 0..4 {
            _mm256_storeu_ps(
                dst.add((s + 4) * stride),
                _mm256_permute2f128_ps::<0x31>(low[s], high[s]),
            );
        }
    }
}

macro_rules! both {
    ($f:ident, $a:expr, $b:expr) => {
        // SAFETY: value intrinsics; `simd_fn!` guarantees the features.
        unsafe { [$f($a[0], $b[0]), $f($a[1], $b[1])] }
    };
}

// SAFETY (all blocks below): value intrinsics only need the features, which `simd_fn!` guarantees; pointers are as the
// trait demands.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx2 {
    type V = [__m256; 2];
    const MR: usize = 6;
    const NV: usize = 1;
    // Two registers each.
    const CHAINS: usize = 6;
    const CACHE: usize = 1 << 17;

    #[inline(always)]
    fn splat(x: f32) -> Self::V {
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    unsafe fn load_ptr(p: *const f32) -> Self::V {
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn store_ptr(p: *mut f32, v: Self::V) {
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize, fill: f32) -> Self::V {
        let mut lanes = [fill; LANES];
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            Self::load_ptr(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, n: usize, v: Self::V) {
        let mut lanes = [0.0; LANES];
        unsafe {
            Self::store_ptr(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    fn prefetch<const VECTORS: usize>(p: *const f32) {
        for v in 0..VECTORS {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(v * LANES).cast()) }
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
    fn add(a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    fn sub(a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    fn div(a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_div_ps, a, b)
    }
    #[inline(always)]
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn max(a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_max_ps, a, b)
    }
    #[inline(always)]
    fn min(a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_min_ps, a, b)
    }
    #[inline(always)]
    fn sqrt(a: Self::V) -> Self::V {
        unsafe { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1])] }
    }
    #[inline(always)]
    fn round(a: Self::V) -> Self::V {
        const MODE: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        unsafe { [_mm256_round_ps::<MODE>(a[0]), _mm256_round_ps::<MODE>(a[1])] }
    }
    #[inline(always)]
    fn scale_pow2(x: Self::V, n: Self::V) -> Self::V {
        #[inline(always)]
        fn half(x: __m256, n: __m256) -> __m256 {
            unsafe {
                let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent))
            }
        }
        [half(x[0], n[0]), half(x[1], n[1])]
    }
    #[inline(always)]
    fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        unsafe {
            [
                _mm256_blendv_ps(y[0], x[0], _mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0])),
                _mm256_blendv_ps(y[1], x[1], _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1])),
            ]
        }
    }
    #[inline(always)]
    fn sum(v: Self::V) -> f32 {
        sum8(unsafe { _mm256_add_ps(v[0], v[1]) })
    }
    #[inline(always)]
    fn max_lane(v: Self::V) -> f32 {
        unsafe {
            let m = _mm256_max_ps(v[0], v[1]);
            let m = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps::<1>(m));
            let m = _mm_max_ps(m, _mm_movehl_ps(m, m));
            _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps::<1>(m, m)))
        }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self::V {
        unsafe {
            let half = |at| _mm256_cvtph_ps(_mm_loadu_si128(p.add(at).cast()));
            [half(0), half(8)]
        }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: Self::V) {
        unsafe {
            for (i, v) in v.into_iter().enumerate() {
                let half = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v);
                _mm_storeu_si128(p.add(8 * i).cast(), half);
            }
        }
    }
    #[inline(always)]
    unsafe fn store_i16(p: *mut i16, [low, high]: Self::V) {
        unsafe {
            // The pack goes by halves of registers: its quarters are 0, 2, 1, 3.
            let packed = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
            _mm256_storeu_si256(p.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
        }
    }
    #[inline(always)]
    unsafe fn store_i8(p: *mut i8, [low, high]: Self::V) {
        unsafe {
            let packed = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            let (low, high) = (_mm256_castsi256_si128(packed), _mm256_extracti128_si256::<1>(packed));
            _mm_storeu_si128(p.cast(), _mm_packs_epi16(low, high));
        }
    }
    type Bytes = [__m256i; 2];
    type Pairs = [__m256i; 2];
    type Ints = [__m256i; 2];

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> Self::Bytes {
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast())] }
    }
    #[inline(always)]
    fn splat_bytes(x: i32) -> Self::Bytes {
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    fn nibbles(b: Self::Bytes) -> (Self::Bytes, Self::Bytes) {
        unsafe {
            let mask = _mm256_set1_epi8(15);
            let low = |b| _mm256_and_si256(b, mask);
            (
                [low(b[0]), low(b[1])],
                [low(_mm256_srli_epi16::<4>(b[0])), low(_mm256_srli_epi16::<4>(b[1]))],
            )
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const u8) -> Self::Pairs {
        unsafe {
            let half = |at| _mm256_cvtepi8_epi16(_mm_loadu_si128(p.add(at).cast()));
            [half(0), half(16)]
        }
    }
    #[inline(always)]
    fn splat_pair(x: i32) -> Self::Pairs {
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    fn products(w: Self::Bytes, x: Self::Bytes) -> Self::Pairs {
        unsafe { [_mm256_maddubs_epi16(w[0], x[0]), _mm256_maddubs_epi16(w[1], x[1])] }
    }
    #[inline(always)]
    fn add_pairs(a: Self::Pairs, b: Self::Pairs) -> Self::Pairs {
        unsafe { [_mm256_add_epi16(a[0], b[0]), _mm256_add_epi16(a[1], b[1])] }
    }
    #[inline(always)]
    fn add_products(sum: Self::Ints, a: Self::Pairs, b: Self::Pairs) -> Self::Ints {
        unsafe {
            [
                _mm256_add_epi32(sum[0], _mm256_madd_epi16(a[0], b[0])),
                _mm256_add_epi32(sum[1], _mm256_madd_epi16(a[1], b[1])),
            ]
        }
    }
    #[inline(always)]
    fn no_pairs() -> Self::Pairs {
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    fn no_ints() -> Self::Ints {
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    fn to_float(i: Self::Ints) -> Self::V {
        unsafe { [_mm256_cvtepi32_ps(i[0]), _mm256_cvtepi32_ps(i[1])] }
    }
    tile_of_rows!(Avx2, 6, 1; 1 2 3 4 5 6);
    const SQUARE: usize = 8;
    #[inline(always)]
    unsafe fn transpose(line: impl Fn(usize) -> *const f32, dst: *mut f32, stride: usize) {
        unsafe { transpose8(line, dst, stride) }
    }
    const SMALL: (usize, usize) = (6, 1);
    #[inline(always)]
    unsafe fn small(tile: &SmallTile) {
        small_of!(Avx2, tile; 1 2 3 4 5 6; 1);
    }
}
