//! bf16: the upper half of a 32-bit float, a sign, 8 bits of exponent and 7 of fraction; and stochastic rounding to it
//! (Gupta, Agrawal, Gopalakrishnan and Narayanan, Deep Learning with Limited Numerical Precision, arXiv 1502.02551).

use crate::random::{BLOCKS, Stream};
use crate::simd::{LANES, Simd, load, store};

/// Elements whose bits are drawn at once: sixteen blocks of four words.
pub(crate) const RUN: usize = 4 * BLOCKS;

/// The number that a bf16 is. Exact.
#[inline]
pub fn bf16_to_f32(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// One of the two bf16 next to `x`: the one away from zero where the lower half of x's bits and `bits` together carry.
/// Over all `bits` that is as likely as `x` is near it, so that the mean is `x`; what bf16 holds exactly stays.
///
/// The oracle of what the kernels do. The error is below 2^-7 |x|.
#[inline]
pub fn round_to_bf16(x: f32, bits: u16) -> u16 {
    (x.to_bits().wrapping_add(bits.into()) >> 16) as u16
}

/// The word of a stream that rounds element `i`: its lower half the first moment, its upper half the second.
///
/// Words are drawn for sixty-four elements at once and used as they come out: sixteen elements share their place in
/// sixteen blocks, which spares moving words between lanes.
#[inline]
pub fn rounding_word(stream: &Stream, i: u64) -> u32 {
    let (run, within) = (i / RUN as u64, (i % RUN as u64) as usize);
    stream.block(run * BLOCKS as u64 + (within % BLOCKS) as u64)[within / BLOCKS]
}

/// The first sixteen numbers of `x`, or all of a shorter `x` with zeros in the other lanes.
#[inline(always)]
pub(crate) fn widen<S: Simd>(x: &[u16]) -> S::V {
    let mut wide = [0.0; LANES];
    // A length that the compiler knows makes one instruction of the loop.
    if let Some(x) = x.first_chunk::<LANES>() {
        for l in 0..LANES {
            wide[l] = f32::from_bits(u32::from(x[l]) << 16);
        }
    } else {
        for l in 0..x.len() {
            wide[l] = f32::from_bits(u32::from(x[l]) << 16);
        }
    }
    load::<S>(&wide)
}

/// [`round_to_bf16`] of sixteen lanes, or of as many as `out` has, with sixteen bits of each word from `SHIFT` on.
#[inline(always)]
pub(crate) fn round<S: Simd, const SHIFT: u32>(out: &mut [u16], v: S::V, words: &[u32; LANES]) {
    let mut wide = [0.0; LANES];
    store::<S>(&mut wide, v);
    let mut rounded = [0; LANES];
    for l in 0..LANES {
        let bits = (words[l] >> SHIFT) & 0xFFFF;
        rounded[l] = (wide[l].to_bits().wrapping_add(bits) >> 16) as u16;
    }
    if let Some(out) = out.first_chunk_mut::<LANES>() {
        *out = rounded;
    } else {
        let n = out.len();
        out.copy_from_slice(&rounded[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_to_a_neighbour_as_often_as_it_is_near() {
        for x in [1.0f32, -1.0, 0.0, 3.5, -0.156_25] {
            assert!([0, 1, 0x8000, 0xFFFF].map(|bits| bf16_to_f32(round_to_bf16(x, bits))) == [x; 4]);
        }
        for x in [1.001f32, -1.001, 2.345_678_9, -1e-20, 6.5e30] {
            let (mut sum, near) = (0.0, bf16_to_f32((x.to_bits() >> 16) as u16));
            for bits in 0..=u16::MAX {
                let rounded = bf16_to_f32(round_to_bf16(x, bits));
                assert!(((rounded - x) / x).abs() < 1.0 / 128.0 && rounded.abs() >= near.abs());
                sum += f64::from(rounded);
            }
            let mean = sum / 65_536.0;
            assert!((mean / f64::from(x) - 1.0).abs() < 1e-12, "{x}: {mean}");
        }
    }

    /// The mean over many draws of the stream is the number: the bits of an element are not tied to those of others.
    #[test]
    fn the_stream_s_bits_are_unbiased_in_both_halves() {
        let stream = Stream {
            seed: 5,
            step: 9,
            purpose: 3,
        };
        let (n, x) = (1 << 18, 1.0 + 0.3 / 128.0);
        for shift in [0, 16] {
            let draws = (0..n).map(|i| round_to_bf16(x, (rounding_word(&stream, i) >> shift) as u16));
            let ups = draws.filter(|&rounded| bf16_to_f32(rounded) > x).count();
            // Deviation of the share: sqrt(0.3 * 0.7 / 2^18) = 9e-4.
            assert!((ups as f64 / n as f64 - 0.3).abs() < 4e-3, "{ups} of {n}");
        }
    }
}
