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
    let amax = x.iter().fold(0.0_f32, |amax, x| amax.max(x.abs()));
    let d = amax / 127.0;
    let id = inverse(d);
    block[..2].copy_from_slice(&scale(x, d));
    for (q, &x) in block[2..].iter_mut().zip(x) {
        *q = (x * id).round() as i8 as u8;
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
    let largest = x
        .iter()
        .fold(0.0_f32, |most, &x| if x.abs() > most.abs() { x } else { most });
    let d = largest / -8.0;
    let id = inverse(d);
    let q = |x: f32| ((x * id + 8.5) as u8).min(15);
    block[..2].copy_from_slice(&scale(x, d));
    for i in 0..16 {
        block[2 + i] = q(x[i]) | q(x[i + 16]) << 4;
    }
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
    let min = x.iter().copied().fold(f32::INFINITY, f32::min);
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (max - min) / 15.0;
    let id = inverse(d);
    let q = |x: f32| (((x - min) * id + 0.5) as u8).min(15);
    block[..2].copy_from_slice(&scale(x, d));
    block[2..4].copy_from_slice(&scale(x, min));
    for i in 0..16 {
        block[4 + i] = q(x[i]) | q(x[i + 16]) << 4;
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

/// `d` as a binary16; no number where an element of the block is not finite: a maximum would overlook a NaN.
fn scale(x: &[f32; LEN], d: f32) -> [u8; 2] {
    if x.iter().all(|x| x.is_finite()) {
        f32_to_f16(d).to_le_bytes()
    } else {
        NAN
    }
}
