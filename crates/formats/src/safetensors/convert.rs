//! Half-precision floats to 32-bit ones: both conversions are exact.

/// IEEE 754 binary16: 1 sign bit, 5 of exponent (bias 15), 10 of fraction.
pub(super) fn f16_to_f32(bytes: &[u8], out: &mut [f32]) {
    for (x, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *x = f16(u16::from_le_bytes([pair[0], pair[1]]));
    }
}

/// bfloat16: the upper half of a 32-bit float.
pub(super) fn bf16_to_f32(bytes: &[u8], out: &mut [f32]) {
    for (x, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *x = f32::from_bits(u32::from(u16::from_le_bytes([pair[0], pair[1]])) << 16);
    }
}

/// Without branches, so that the compiler makes vectors of it.
#[inline]
fn f16(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff) << 13;
    // Exponent and fraction stand where a 32-bit float has them, with a bias that is short of 127 - 15: the product
    // with 2^112 mends that, and turns subnormal halves into normal floats.
    let finite = f32::from_bits(magnitude) * f32::from_bits((112 + 127) << 23);
    let infinite_or_nan = magnitude | 0x7f80_0000;
    let bits = if half & 0x7c00 == 0x7c00 {
        infinite_or_nan
    } else {
        finite.to_bits()
    };
    f32::from_bits(sign | bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every half against the definition in 64-bit arithmetic.
    #[test]
    fn every_f16_is_exact() {
        for half in 0..=u16::MAX {
            let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
            let (exponent, fraction) = (i32::from(half >> 10 & 31), f64::from(half & 1023) / 1024.0);
            let expected = match exponent {
                0 => sign * fraction * 2f64.powi(-14),
                31 if fraction == 0.0 => sign * f64::INFINITY,
                31 => f64::NAN,
                _ => sign * (1.0 + fraction) * 2f64.powi(exponent - 15),
            };
            let mut found = [0.0];
            f16_to_f32(&half.to_le_bytes(), &mut found);
            if expected.is_nan() {
                assert!(found[0].is_nan(), "{half:#x}");
            } else {
                assert_eq!(f64::from(found[0]).to_bits(), expected.to_bits(), "{half:#x}");
            }
        }
    }

    #[test]
    fn every_bf16_is_the_upper_half_of_a_float() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut found = vec![0.0; 1 << 16];
        bf16_to_f32(&all, &mut found);
        for (i, x) in found.iter().enumerate() {
            assert_eq!(x.to_bits(), (i as u32) << 16);
        }
        assert_eq!((found[0x3f80], found[0xc040]), (1.0, -3.0));
    }
}
