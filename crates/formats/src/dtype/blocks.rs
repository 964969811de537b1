//! Blocks of 32: Q8_0, Q5_1, Q5_0, Q4_1, Q4_0.
//!
//! In the 4-bit formats byte i holds element i in its lower and element i + 16 in its upper half; in the 5-bit ones bit i
//! of a 32-bit number is the fifth bit of element i. Source: `ggml-quants.c` of llama.cpp, `quantize_row_*_ref` and
//! `dequantize_row_*`.

use super::half::{f16_to_f32, f32_to_f16};

const LEN: usize = 32;
/// A binary16 that is no number.
const NAN: [u8; 2] = 0x7e00_u16.to_le_bytes();

/// d f16, q i8 x 32.
pub(super) fn decode_q8_0(block: &[u8; 34], out: &mut [f32; LEN]) {
    let d = f16(block, 0);
    for (x, &q) in out.iter_mut().zip(&block[2..]) {
        *x = d * f32::from(q as i8);
    }
}

/// d = max |x| / 127; q = x / d, halves away from zero.
pub(super) fn encode_q8_0(x: &[f32; LEN], block: &mut [u8; 34]) {
    let amax = magnitude(x);
    let d = amax / 127.0;
    let id = inverse(d);
    block[..2].copy_from_slice(&scale(amax, d));
    for (q, &x) in block[2..].iter_mut().zip(x) {
        let x = x * id;
        // `round` is a call on processors before SSE4.1. The largest float below a half does the same: 0.5 itself would
        // carry what lies just below a half over it.
        *q = (x + 0.5_f32.next_down().copysign(x)) as i32 as u8;
    }
}

/// d f16, q 4 bits x 32.
pub(super) fn decode_q4_0(block: &[u8; 18], out: &mut [f32; LEN]) {
    let d = f16(block, 0);
    let (low, high) = out.split_at_mut(16);
    for ((low, high), &q) in low.iter_mut().zip(high).zip(&block[2..]) {
        *low = d * (f32::from(q & 15) - 8.0);
        *high = d * (f32::from(q >> 4) - 8.0);
    }
}

/// d = -(the x of largest magnitude, with its sign; the first of them) / 8, so that it becomes q = 0 exactly;
/// q = x / d + 8, halves up, at most 15.
pub(super) fn encode_q4_0(x: &[f32; LEN], block: &mut [u8; 18]) {
    let amax = magnitude(x);
    let largest = x.iter().copied().find(|x| x.abs() == amax).unwrap_or(amax);
    let d = largest / -8.0;
    let id = inverse(d);
    block[..2].copy_from_slice(&scale(amax, d));
    fours(x, &mut block[2..], |x| x * id + 8.5);
}

/// d f16, m f16, q 4 bits x 32.
pub(super) fn decode_q4_1(block: &[u8; 20], out: &mut [f32; LEN]) {
    let (d, m) = (f16(block, 0), f16(block, 2));
    let (low, high) = out.split_at_mut(16);
    for ((low, high), &q) in low.iter_mut().zip(high).zip(&block[4..]) {
        *low = d * f32::from(q & 15) + m;
        *high = d * f32::from(q >> 4) + m;
    }
}

/// m = min x; d = (max x - m) / 15; q = (x - m) / d, halves up, at most 15.
pub(super) fn encode_q4_1(x: &[f32; LEN], block: &mut [u8; 20]) {
    // The comparison keeps the first of two zeros, as the reference does; `f32::min` may give either.
    let min = x.iter().fold(f32::MAX, |min, &x| if x < min { x } else { min });
    let max = x.iter().fold(f32::MIN, |max, &x| if x > max { x } else { max });
    let (amax, d) = (magnitude(x), (max - min) / 15.0);
    let id = inverse(d);
    block[..2].copy_from_slice(&scale(amax, d));
    block[2..4].copy_from_slice(&scale(amax, min));
    fours(x, &mut block[4..], |x| (x - min) * id + 0.5);
}

/// Cuts `value` of each element to 0..=15 and packs them.
fn fours(x: &[f32; LEN], block: &mut [u8], value: impl Fn(f32) -> f32) {
    let q: [u8; LEN] = x.map(|x| (value(x) as i32).clamp(0, 15) as u8);
    for (byte, (low, high)) in block.iter_mut().zip(q.iter().zip(&q[16..])) {
        *byte = low | high << 4;
    }
}

/// d f16, fifth bits u32, q 4 bits x 32.
pub(super) fn decode_q5_0(block: &[u8; 22], out: &mut [f32; LEN]) {
    let d = f16(block, 0);
    fives(&block[2..], out, |q| d * (q - 16.0));
}

/// d f16, m f16, fifth bits u32, q 4 bits x 32.
pub(super) fn decode_q5_1(block: &[u8; 24], out: &mut [f32; LEN]) {
    let (d, m) = (f16(block, 0), f16(block, 2));
    fives(&block[4..], out, |q| d * q + m);
}

/// The elements of a 5-bit block, from the 4 bytes of fifth bits and the 16 of the others.
fn fives(block: &[u8], out: &mut [f32; LEN], value: impl Fn(f32) -> f32) {
    let fifth = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    for i in 0..16 {
        let bit = |at: usize| ((fifth >> at & 1) << 4) as u8;
        out[i] = value(f32::from(block[4 + i] & 15 | bit(i)));
        out[i + 16] = value(f32::from(block[4 + i] >> 4 | bit(i + 16)));
    }
}

/// The binary16 at byte `at`.
#[inline]
pub(super) fn f16(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// 1 / d, and 0 where all elements are the same.
fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// The largest |x|; a NaN where there is one. On integers: the order is the same, and the compiler may make vectors of it.
fn magnitude(x: &[f32; LEN]) -> f32 {
    let bits = x.iter().map(|x| x.abs().to_bits() as i32);
    f32::from_bits(bits.fold(0, i32::max) as u32)
}

/// `d` as a binary16; no number where an element of the block is not finite: `d` might hide that.
fn scale(amax: f32, d: f32) -> [u8; 2] {
    if amax.is_finite() {
        f32_to_f16(d).to_le_bytes()
    } else {
        NAN
    }
}
