//! Half-precision floats: to 32-bit ones exactly, and back to the nearest, ties to even.
//!
//! Nothing here depends on whether the thread counts denormal numbers as zero, as kernels do: half of the numbers that
//! a binary16 weight takes near zero would be lost.

/// The value of an IEEE 754 binary16: 1 sign bit, 5 of exponent (bias 15), 10 of fraction. Exact.
///
/// Without branches, so that the compiler makes vectors of it.
#[inline]
pub fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    // Exponent and fraction stand where a 32-bit float has them; the bias is short of 127 - 15.
    let normal = (magnitude << 13) + (112 << 23);
    let subnormal = (magnitude as f32 * f32::from_bits((127 - 24) << 23)).to_bits(); // 2^-24 each
    let infinite_or_nan = (magnitude << 13) | 0x7f80_0000;
    let bits = if magnitude >= 0x7c00 {
        infinite_or_nan
    } else if magnitude < 0x0400 {
        subnormal
    } else {
        normal
    };
    f32::from_bits(sign | bits)
}

/// The binary16 nearest to `x`, ties to even.
///
/// From 65520 on it is infinite; a NaN stays one, made quiet, with the upper bits of its payload.
#[inline]
pub fn f32_to_f16(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16) & 0x8000;
    let magnitude = x.to_bits() & 0x7fff_ffff;
    // Half of a unit in the last place less one, and one more where the place kept is odd; the carry may reach infinity.
    let normal = (magnitude
        .wrapping_sub(112 << 23)
        .wrapping_add(0xfff + ((magnitude >> 13) & 1)))
        >> 13;
    // The last place of 0.5 is 2^-24, the smallest binary16: the sum's rounding is the one wanted.
    let subnormal = (f32::from_bits(magnitude) + 0.5)
        .to_bits()
        .wrapping_sub(0.5_f32.to_bits());
    let nan = 0x7e00 | ((magnitude >> 13) & 0x03ff);
    let bits = if magnitude > 0x7f80_0000 {
        nan
    } else if magnitude >= 0x4780_0000 {
        0x7c00 // 2^16 and more
    } else if magnitude < 0x3880_0000 {
        subnormal // below 2^-14
    } else {
        normal
    };
    (sign | bits) as u16
}

/// The value of a bfloat16, which is the upper half of a 32-bit float. Exact.
#[inline]
pub fn bf16_to_f32(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// The bfloat16 nearest to `x`, ties to even; a NaN stays one, made quiet, with the upper bits of its payload.
#[inline]
pub fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let nan = (bits >> 16) | 0x0040;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { nearest }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in 64-bit arithmetic.
    fn f16_by_definition(half: u16) -> f64 {
        let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
        let (exponent, fraction) = (i32::from(half >> 10 & 31), f64::from(half & 1023) / 1024.0);
        match exponent {
            0 => sign * fraction * 2f64.powi(-14),
            31 if fraction == 0.0 => sign * f64::INFINITY,
            31 => f64::NAN,
            _ => sign * (1.0 + fraction) * 2f64.powi(exponent - 15),
        }
    }

    #[test]
    fn every_f16_is_exact_and_comes_back() {
        for half in 0..=u16::MAX {
            let (found, expected) = (f16_to_f32(half), f16_by_definition(half));
            if expected.is_nan() {
                assert!(found.is_nan() && f16_to_f32(f32_to_f16(found)).is_nan(), "{half:#x}");
            } else {
                assert_eq!(f64::from(found).to_bits(), expected.to_bits(), "{half:#x}");
                assert_eq!(f32_to_f16(found), half, "{half:#x}");
            }
        }
    }

    #[test]
    fn every_bf16_is_the_upper_half_of_a_float_and_comes_back() {
        for half in 0..=u16::MAX {
            let x = bf16_to_f32(half);
            assert_eq!(x.to_bits(), u32::from(half) << 16);
            if x.is_nan() {
                assert!(bf16_to_f32(f32_to_bf16(x)).is_nan(), "{half:#x}");
            } else {
                assert_eq!(f32_to_bf16(x), half, "{half:#x}");
            }
        }
    }

    /// Between two neighbours: what lies below the middle goes down, what lies above goes up, the middle to the even one.
    #[test]
    fn rounding_is_to_the_nearest_and_to_even() {
        for (to, from, largest) in [
            (f32_to_f16 as fn(f32) -> u16, f16_to_f32 as fn(u16) -> f32, 0x7bff_u16),
            (f32_to_bf16, bf16_to_f32, 0x7f7f),
        ] {
            for low in 0..largest {
                let (a, b) = (f64::from(from(low)), f64::from(from(low + 1)));
                let middle = ((a + b) / 2.0) as f32;
                assert_eq!(f64::from(middle), (a + b) / 2.0, "a float has room for the middle");
                let even = low + (low & 1);
                for (x, expected) in [(middle, even), (middle.next_down(), low), (middle.next_up(), low + 1)] {
                    assert_eq!(to(x), expected, "{x:e}");
                    assert_eq!(to(-x), expected | 0x8000, "-{x:e}");
                }
            }
        }
        assert_eq!((f32_to_f16(65519.996), f32_to_f16(65520.0)), (0x7bff, 0x7c00));
        assert_eq!((f32_to_f16(f32::MAX), f32_to_f16(-f32::INFINITY)), (0x7c00, 0xfc00));
        assert_eq!(
            (f32_to_bf16(f32::MAX), f32_to_bf16(f32::NEG_INFINITY)),
            (0x7f80, 0xff80)
        );
        assert_eq!((f32_to_f16(f32::from_bits(1)), f32_to_f16(-0.0)), (0, 0x8000));
    }
}
