//! Sixteen `f32` lanes, once for every instruction set.
//!
//! A kernel is written once over [`Simd`] and compiled three times. The logical width is always sixteen lanes (one
//! AVX-512 register, two AVX2 registers, an array elsewhere) and sums over lanes always fold in the same order, so AVX2
//! and AVX-512 give the same bits. The portable path multiplies and adds in two roundings where the build target has no
//! fused multiply-add, so it agrees only within a tolerance there.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

use crate::attention::small::SmallTile;
use crate::matmul::tile::{Output, Target, Tile};

/// Lanes of the logical vector; the same on every instruction set.
pub(crate) const LANES: usize = 16;

/// The most floats that [`Simd::CACHE`] says.
pub(crate) const LARGEST_CACHE: usize = 1 << 18;

/// An instruction set. Methods may only run inside a function that [`simd_fn!`] compiled for that set.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen lanes.
    type V: Copy;
    /// Rows of the matmul register tile.
    const MR: usize;
    /// Vectors (of sixteen lanes) across the matmul register tile.
    const NV: usize;
    /// Independent chains of multiply-adds that fill the pipes and stay in registers: two pipes of latency 4.
    const CHAINS: usize;
    /// Floats that the second-level cache of a core with this set holds, as most do.
    const CACHE: usize;
    /// Columns of the matmul register tile.
    const NR: usize = Self::NV * LANES;

    fn splat(x: f32) -> Self::V;
    /// # Safety
    /// Sixteen floats must be readable at `p`.
    unsafe fn load_ptr(p: *const f32) -> Self::V;
    /// # Safety
    /// Sixteen floats must be writable at `p`.
    unsafe fn store_ptr(p: *mut f32, v: Self::V);
    /// # Safety
    /// `n < 16` floats must be readable at `p`; the other lanes are `fill`.
    unsafe fn load_part(p: *const f32, n: usize, fill: f32) -> Self::V;
    /// # Safety
    /// `n < 16` floats must be writable at `p`.
    unsafe fn store_part(p: *mut f32, n: usize, v: Self::V);

    /// Asks for `VECTORS` vectors from `p` on to be brought near; any address will do.
    #[inline(always)]
    fn prefetch<const VECTORS: usize>(_p: *const f32) {}
    /// Asks for the line at `p` to be brought into the second-level cache; any address will do.
    #[inline(always)]
    fn prefetch_far(_p: *const u8) {}
    /// [`Simd::prefetch`] of what will be written.
    #[inline(always)]
    fn prefetch_write<const VECTORS: usize>(_p: *const f32) {}

    fn add(a: Self::V, b: Self::V) -> Self::V;
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, one rounding where the set has it.
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn max(a: Self::V, b: Self::V) -> Self::V;
    fn min(a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(a: Self::V) -> Self::V;
    /// To the nearest integer, halves to even.
    fn round(a: Self::V) -> Self::V;
    /// x 2^n, where x and the result are normal numbers, for lanes of n that hold integers in -126..=127. NaN stays NaN.
    fn scale_pow2(x: Self::V, n: Self::V) -> Self::V;
    /// Lane by lane: `if a < b { x } else { y }`.
    fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Sum of the lanes, folded in halves: 8, 4, 2, 1.
    fn sum(v: Self::V) -> f32;
    /// Largest lane.
    fn max_lane(v: Self::V) -> f32;

    /// Sixteen lanes from as many numbers in binary16, exact.
    ///
    /// # Safety
    /// Sixteen numbers must be readable at `p`.
    unsafe fn load_f16(p: *const u16) -> Self::V;
    /// Sixteen lanes to binary16, to the nearest, halves to even.
    ///
    /// # Safety
    /// Sixteen numbers must be writable at `p`.
    unsafe fn store_f16(p: *mut u16, v: Self::V);
    /// Sixteen lanes that hold whole numbers of 16 bits.
    ///
    /// # Safety
    /// Sixteen numbers must be writable at `p`.
    unsafe fn store_i16(p: *mut i16, v: Self::V);
    /// Sixteen lanes that hold whole numbers of 8 bits.
    ///
    /// # Safety
    /// Sixteen numbers must be writable at `p`.
    unsafe fn store_i8(p: *mut i8, v: Self::V);

    /// Sixteen lanes of four bytes.
    type Bytes: Copy;
    /// Sixteen lanes of two numbers of 16 bits.
    type Pairs: Copy;
    /// Sixteen lanes of a 32-bit sum.
    type Ints: Copy;

    /// # Safety
    /// 64 bytes must be readable at `p`.
    unsafe fn load_bytes(p: *const u8) -> Self::Bytes;
    /// The same four bytes in every lane, the first in the lowest bits.
    fn splat_bytes(x: i32) -> Self::Bytes;
    /// The lower, and the upper, four bits of every byte.
    fn nibbles(b: Self::Bytes) -> (Self::Bytes, Self::Bytes);
    /// In every lane `w0 x0 + w1 x1` and `w2 x2 + w3 x3`, of unsigned w and signed x; they have to fit 16 bits.
    fn products(w: Self::Bytes, x: Self::Bytes) -> Self::Pairs;
    fn add_pairs(a: Self::Pairs, b: Self::Pairs) -> Self::Pairs;
    /// Sixteen lanes of two numbers from as many signed bytes.
    ///
    /// # Safety
    /// 32 bytes must be readable at `p`.
    unsafe fn load_pairs(p: *const u8) -> Self::Pairs;
    /// The same two numbers in every lane, the first in the lower half.
    fn splat_pair(x: i32) -> Self::Pairs;
    /// In every lane `sum + a0 b0 + a1 b1`.
    fn add_products(sum: Self::Ints, a: Self::Pairs, b: Self::Pairs) -> Self::Ints;
    fn no_pairs() -> Self::Pairs;
    fn no_ints() -> Self::Ints;
    /// To the nearest number; those below 2^24 exactly.
    fn to_float(i: Self::Ints) -> Self::V;

    /// The sums of a register tile of a matmul, see [`crate::matmul`].
    type Sums: Copy;
    fn no_sums() -> Self::Sums;
    /// Their vectors, row after row.
    fn vectors(sums: &mut Self::Sums) -> &mut [Self::V];
    /// Asks for what [`Simd::finish`] will read and write.
    fn approach(target: &Target, out: &Output<'_>);
    /// Multiplies; `SEVEN` as [`crate::matmul::tile::run`] has it.
    fn tile<const SEVEN: bool>(tile: &Tile<'_>, sums: &mut Self::Sums);
    /// Adds what earlier blocks of the reduction left in C, applies the epilogue and stores.
    fn finish(target: &Target, out: &Output<'_>, sums: &Self::Sums);
    /// Rows and vectors of the register tile of a small product.
    const SMALL: (usize, usize);
    /// The register tile of attention's small products.
    ///
    /// # Safety
    /// As [`crate::attention::small::run`].
    unsafe fn small(tile: &SmallTile);
    /// Lines and steps that [`Simd::transpose`] transposes at once.
    const SQUARE: usize = 1;
    /// Transposes `SQUARE` steps of as many lines to `dst`, one step after another, `stride` floats apart.
    ///
    /// # Safety
    /// `SQUARE` floats must be readable at every `line(l)`, and as many writable at every `dst + s * stride`, for `l` and
    /// `s` below `SQUARE`.
    #[inline(always)]
    unsafe fn transpose(line: impl Fn(usize) -> *const f32, dst: *mut f32, _stride: usize) {
        // SAFETY: a square of one float.
        unsafe { *dst = *line(0) }
    }
}

/// The first sixteen floats of `s`, or all of a shorter `s` with `fill` in the other lanes.
#[inline(always)]
pub(crate) fn load_or<S: Simd>(s: &[f32], fill: f32) -> S::V {
    if s.len() >= LANES {
        // SAFETY: sixteen floats are there.
        unsafe { S::load_ptr(s.as_ptr()) }
    } else {
        // SAFETY: `s.len()` floats are there, and that is below sixteen.
        unsafe { S::load_part(s.as_ptr(), s.len(), fill) }
    }
}

/// [`load_or`] with zeros.
#[inline(always)]
pub(crate) fn load<S: Simd>(s: &[f32]) -> S::V {
    load_or::<S>(s, 0.0)
}

/// Stores to the first sixteen floats of `s`, or to all of a shorter `s`.
#[inline(always)]
pub(crate) fn store<S: Simd>(s: &mut [f32], v: S::V) {
    if s.len() >= LANES {
        // SAFETY: sixteen floats are there.
        unsafe { S::store_ptr(s.as_mut_ptr(), v) }
    } else {
        // SAFETY: `s.len()` floats are there, and that is below sixteen.
        unsafe { S::store_part(s.as_mut_ptr(), s.len(), v) }
    }
}

/// e^x, error below 2 ulp; 0 below -87.3, no overflow to infinity above (x is cut at 88.3).
///
/// Cody-Waite reduction to |r| <= ln2/2 and a degree-6 polynomial (coefficients: Taylor's, last ones as in Cephes).
#[inline(always)]
pub(crate) fn exp<S: Simd>(x: S::V) -> S::V {
    let low = S::splat(-87.336_54);
    let clamped = S::max(S::min(x, S::splat(88.0)), low);
    let n = S::round(S::mul(clamped, S::splat(std::f32::consts::LOG2_E)));
    let r = S::fma(n, S::splat(-0.693_359_4), clamped);
    let r = S::fma(n, S::splat(2.121_944_4e-4), r);
    let mut p = S::splat(1.987_569_1e-4);
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = S::fma(p, r, S::splat(c));
    }
    let r2 = S::mul(r, r);
    let e = S::add(S::fma(p, r2, r), S::splat(1.0));
    let e = S::scale_pow2(e, n);
    S::select_lt(x, low, S::splat(0.0), e)
}

/// 2^x, error below 2 ulp, for x cut at -126 and 126.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(x: S::V) -> S::V {
    exp2_floored::<S>(S::min(S::splat(126.0), x))
}

/// 2^x, error below 2 ulp, for x up to 126; 2^-126 where x is below -126.
///
/// 2^n with the nearest integer n, and for what is left the polynomial of degree 5 that is 1 at 0 and whose largest relative
/// error, 9.1e-8, is smallest.
#[inline(always)]
pub(crate) fn exp2_floored<S: Simd>(x: S::V) -> S::V {
    let x = S::max(S::splat(-126.0), x);
    let n = S::round(x);
    let r = S::sub(x, n);
    let mut p = S::splat(1.326_472_7e-3);
    let linear = std::f32::consts::LN_2 - 1.8e-7;
    for c in [9.671_513e-3, 5.550_734e-2, 2.402_224_2e-1, linear, 1.0] {
        p = S::fma(p, r, S::splat(c));
    }
    S::scale_pow2(p, n)
}

/// Compiles one body for every instruction set and chooses at run time.
///
/// `simd_fn! { pub(crate) fn name[S](args…) -> R { body over S: Simd } }` becomes `fn name(isa: Isa, args…) -> R`.
/// The body is inlined into functions with the target features of each set, so everything it calls must be
/// `#[inline(always)]`, and it must not hide work in closures that are not.
macro_rules! simd_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident[$S:ident]($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(isa: $crate::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn generic<$S: $crate::simd::Simd>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { generic::<$crate::simd::Avx512>($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { generic::<$crate::simd::Avx2>($($arg),*) }
            match isa {
                // SAFETY: an `Isa` other than `Portable` is only made after its features were detected.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx512 | $crate::isa::Isa::Avx512Vnni => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx2 => unsafe { avx2($($arg),*) },
                _ => generic::<$crate::simd::Portable>($($arg),*),
            }
        }
    };
}
pub(crate) use simd_fn;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    simd_fn! {
        fn exp_all[S](out: &mut [f32], x: &[f32]) {
            for i in (0..x.len()).step_by(LANES) {
                store::<S>(&mut out[i..], exp::<S>(load::<S>(&x[i..])));
            }
        }
    }
    simd_fn! {
        fn exp2_all[S](out: &mut [f32], x: &[f32]) {
            for i in (0..x.len()).step_by(LANES) {
                store::<S>(&mut out[i..], exp2::<S>(load::<S>(&x[i..])));
            }
        }
    }
    simd_fn! {
        fn total[S](x: &[f32]) -> f32 { S::sum(load::<S>(x)) }
    }

    #[test]
    fn exp_is_within_two_ulp_everywhere() {
        let x: Vec<f32> = (0..20_011).map(|i| -87.0 + i as f32 * (175.0 / 20_011.0)).collect();
        for isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            exp_all(isa, &mut y, &x);
            for (x, y) in x.iter().zip(&y) {
                let want = f64::from(*x).exp();
                let ulp = f64::from(f32::EPSILON) * want;
                assert!(
                    (f64::from(*y) - want).abs() <= 2.0 * ulp,
                    "{isa:?}: exp({x}) = {y}, want {want}"
                );
            }
            exp_all(isa, &mut y[..2], &[f32::NEG_INFINITY, -200.0]);
            assert_eq!(&y[..2], [0.0, 0.0]);
        }
    }

    #[test]
    fn exp2_is_within_two_ulp_everywhere() {
        let x: Vec<f32> = (0..20_011).map(|i| -126.0 + i as f32 * (252.0 / 20_010.0)).collect();
        for isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            exp2_all(isa, &mut y, &x);
            for (x, y) in x.iter().zip(&y) {
                let want = f64::from(*x).exp2();
                let error = (f64::from(*y) - want).abs() / (f64::from(f32::EPSILON) * want);
                assert!(error <= 2.0, "{isa:?}: 2^{x} = {y}, want {want}: {error} ulp");
            }
            exp2_all(isa, &mut y[..4], &[f32::NEG_INFINITY, -200.0, 0.0, 1e9]);
            assert_eq!(&y[..4], [f32::MIN_POSITIVE, f32::MIN_POSITIVE, 1.0, 126.0f32.exp2()]);
            exp2_all(isa, &mut y[..1], &[f32::NAN]);
            assert!(y[0].is_nan(), "{isa:?}: 2^NaN = {}", y[0]);
        }
    }

    #[test]
    fn every_set_sums_lanes_in_the_same_order() {
        let x: Vec<f32> = (0..16).map(|i| ((i * 7 + 3) as f32).sin() * 1e3).collect();
        let sums: Vec<u32> = Isa::available().iter().map(|&isa| total(isa, &x).to_bits()).collect();
        assert!(sums.windows(2).all(|w| w[0] == w[1]));
        for n in 0..16 {
            for isa in Isa::available() {
                let want = total(Isa::Portable, &x[..n]);
                assert_eq!(total(isa, &x[..n]).to_bits(), want.to_bits());
            }
        }
    }
}
