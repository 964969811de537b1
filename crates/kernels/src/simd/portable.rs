//! Sixteen lanes in an array, for any processor; the compiler vectorises what it can.

use super::{LANES, Simd};
use crate::attention::small::{SmallTile, small_of};
use crate::matmul::tile::{Output, Target, Tile, tile_of_rows};
use half::f16;

/// No instruction set assumed beyond the build target's.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// Fused where the target has the instruction; the library call that emulates it elsewhere is 30 times slower than two
/// roundings.
#[inline(always)]
fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

macro_rules! lanes {
    ($i:ident => $e:expr) => {{
        let mut out = [0.0f32; LANES];
        for $i in 0..LANES {
            out[$i] = $e;
        }
        out
    }};
}

impl Simd for Portable {
    type V = [f32; LANES];
    const MR: usize = 4;
    const NV: usize = 1;
    // Two roundings take twice the time: 6 chains gave 46 GFLOP/s on Zen with SSE2, 3 gave 22.
    const CHAINS: usize = 6;
    const CACHE: usize = 1 << 17;

    #[inline(always)]
    fn splat(x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load_ptr(p: *const f32) -> Self::V {
        // SAFETY: sixteen floats are readable, says the caller.
        unsafe { p.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_ptr(p: *mut f32, v: Self::V) {
        // SAFETY: sixteen floats are writable, says the caller.
        unsafe { p.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize, fill: f32) -> Self::V {
        let mut lanes = [fill; LANES];
        // SAFETY: `n < 16` floats are readable, says the caller.
        unsafe { std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n) };
        lanes
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, n: usize, v: Self::V) {
        // SAFETY: `n < 16` floats are writable, says the caller.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    fn add(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] + b[i])
    }
    #[inline(always)]
    fn sub(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] - b[i])
    }
    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] * b[i])
    }
    #[inline(always)]
    fn div(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] / b[i])
    }
    #[inline(always)]
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        lanes!(i => mul_add(a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn max(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn sqrt(a: Self::V) -> Self::V {
        lanes!(i => a[i].sqrt())
    }
    #[inline(always)]
    fn round(a: Self::V) -> Self::V {
        // Adding and taking away 1.5 * 2^23 rounds to the nearest even integer; |a| is far below 2^22 here.
        lanes!(i => (a[i] + 12_582_912.0) - 12_582_912.0)
    }
    #[inline(always)]
    fn scale_pow2(x: Self::V, n: Self::V) -> Self::V {
        lanes!(i => x[i] * f32::from_bits(((n[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        lanes!(i => if a[i] < b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn sum(v: Self::V) -> f32 {
        let mut v = v;
        let mut n = LANES / 2;
        while n > 0 {
            for i in 0..n {
                v[i] += v[i + n];
            }
            n /= 2;
        }
        v[0]
    }
    #[inline(always)]
    fn max_lane(v: Self::V) -> f32 {
        v.iter()
            .copied()
            .fold(f32::NEG_INFINITY, |m, x| if x > m { x } else { m })
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self::V {
        // SAFETY: sixteen numbers are readable, says the caller.
        let halves: [u16; LANES] = unsafe { p.cast::<[u16; LANES]>().read_unaligned() };
        lanes!(i => f16::from_bits(halves[i]).to_f32())
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: Self::V) {
        let halves: [u16; LANES] = std::array::from_fn(|i| f16::from_f32(v[i]).to_bits());
        // SAFETY: sixteen numbers are writable, says the caller.
        unsafe { p.cast::<[u16; LANES]>().write_unaligned(halves) }
    }
    #[inline(always)]
    unsafe fn store_i16(p: *mut i16, v: Self::V) {
        // SAFETY: sixteen numbers are writable, says the caller.
        unsafe { p.cast::<[i16; LANES]>().write_unaligned(v.map(|x| x as i16)) }
    }
    #[inline(always)]
    unsafe fn store_i8(p: *mut i8, v: Self::V) {
        // SAFETY: sixteen numbers are writable, says the caller.
        unsafe { p.cast::<[i8; LANES]>().write_unaligned(v.map(|x| x as i8)) }
    }
    type Bytes = [[u8; 4]; LANES];
    type Pairs = [[i16; 2]; LANES];
    type Ints = [i32; LANES];
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> Self::Bytes {
        // SAFETY: 64 bytes are readable, says the caller.
        unsafe { p.cast::<Self::Bytes>().read_unaligned() }
    }
    #[inline(always)]
    fn splat_bytes(x: i32) -> Self::Bytes {
        [x.to_le_bytes(); LANES]
    }
    #[inline(always)]
    fn nibbles(b: Self::Bytes) -> (Self::Bytes, Self::Bytes) {
        (b.map(|lane| lane.map(|b| b & 15)), b.map(|lane| lane.map(|b| b >> 4)))
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const u8) -> Self::Pairs {
        // SAFETY: 32 bytes are readable, says the caller.
        let bytes: [[i8; 2]; LANES] = unsafe { p.cast::<[[i8; 2]; LANES]>().read_unaligned() };
        bytes.map(|lane| lane.map(i16::from))
    }
    #[inline(always)]
    fn splat_pair(x: i32) -> Self::Pairs {
        [[x as i16, (x >> 16) as i16]; LANES]
    }
    #[inline(always)]
    fn products(w: Self::Bytes, x: Self::Bytes) -> Self::Pairs {
        let product = |i: usize, j: usize| i32::from(w[i][j]) * i32::from(x[i][j] as i8);
        std::array::from_fn(|i| [0, 2].map(|j| (product(i, j) + product(i, j + 1)) as i16))
    }
    #[inline(always)]
    fn add_pairs(a: Self::Pairs, b: Self::Pairs) -> Self::Pairs {
        std::array::from_fn(|i| [a[i][0].wrapping_add(b[i][0]), a[i][1].wrapping_add(b[i][1])])
    }
    #[inline(always)]
    fn add_products(sum: Self::Ints, a: Self::Pairs, b: Self::Pairs) -> Self::Ints {
        let product = |i: usize, j: usize| i32::from(a[i][j]) * i32::from(b[i][j]);
        std::array::from_fn(|i| sum[i] + product(i, 0) + product(i, 1))
    }
    #[inline(always)]
    fn no_pairs() -> Self::Pairs {
        [[0; 2]; LANES]
    }
    #[inline(always)]
    fn no_ints() -> Self::Ints {
        [0; LANES]
    }
    #[inline(always)]
    fn to_float(i: Self::Ints) -> Self::V {
        lanes!(l => i[l] as f32)
    }
    tile_of_rows!(Portable, 4, 1; 1 2 3 4);
    const SMALL: (usize, usize) = (4, 1);
    #[inline(always)]
    unsafe fn small(tile: &SmallTile) {
        small_of!(Portable, tile; 1 2 3 4; 1);
    }
}
