//! Blocks of 256 with scales for their parts: Q4_K, Q5_K, Q6_K.
//!
//! Source: `ggml-quants.c` of llama.cpp, `dequantize_row_q4_K`, `_q5_K`, `_q6_K`.

use super::blocks::f16;

const LEN: usize = 256;

/// d f16, dmin f16, s and m 6 bits x 8 each, q 4 bits x 256.
pub(super) fn decode_q4_k(block: &[u8; 144], out: &mut [f32; LEN]) {
    let (d, dmin) = (f16(block, 0), f16(block, 2));
    let [scales, mins] = sixes(&block[4..16]);
    // 32 bytes hold two parts: one in their lower halves, the next in their upper ones.
    for (pair, (q, out)) in block[16..].chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
        for half in 0..2 {
            let part = 2 * pair + half;
            let (d, m) = (d * f32::from(scales[part]), dmin * f32::from(mins[part]));
            for (x, &q) in out[32 * half..][..32].iter_mut().zip(q) {
                *x = d * f32::from(q >> (4 * half) & 15) - m;
            }
        }
    }
}

/// d f16, dmin f16, s and m 6 bits x 8 each, fifth bits 32 bytes, q 4 bits x 256.
pub(super) fn decode_q5_k(block: &[u8; 176], out: &mut [f32; LEN]) {
    let (d, dmin) = (f16(block, 0), f16(block, 2));
    let [scales, mins] = sixes(&block[4..16]);
    // Bit p of byte i is the fifth bit of element i of part p.
    let fifth = &block[16..48];
    for (pair, (q, out)) in block[48..].chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
        for half in 0..2 {
            let part = 2 * pair + half;
            let (d, m) = (d * f32::from(scales[part]), dmin * f32::from(mins[part]));
            for ((x, &q), &fifth) in out[32 * half..][..32].iter_mut().zip(q).zip(fifth) {
                *x = d * f32::from(q >> (4 * half) & 15 | (fifth >> part & 1) << 4) - m;
            }
        }
    }
}

/// Lower 4 bits 128 bytes, upper 2 bits 64 bytes, s i8 x 16, d f16.
pub(super) fn decode_q6_k(block: &[u8; 210], out: &mut [f32; LEN]) {
    let (low, rest) = block.split_at(128);
    let (high, scales) = rest.split_at(64);
    let d = f16(block, 208);
    for (half, out) in out.chunks_exact_mut(128).enumerate() {
        // A half is four runs of 32: the lower bits of runs 0 and 1 lie in the lower halves of 64 bytes, those of 2 and
        // 3 in the upper ones; the upper bits of all four share 32 bytes.
        for run in 0..4 {
            let low = &low[64 * half + 32 * (run % 2)..][..32];
            let high = &high[32 * half..][..32];
            for i in 0..32 {
                let s = f32::from(scales[8 * half + 2 * run + i / 16] as i8);
                let q = low[i] >> (4 * (run / 2)) & 15 | (high[i] >> (2 * run) & 3) << 4;
                out[32 * run + i] = d * s * (f32::from(q) - 32.0);
            }
        }
    }
}

/// The 8 scales and 8 offsets of 6 bits in 12 bytes: bytes 0..4 hold scales 0..4 and, above them, the upper 2 bits of
/// scales 4..8; bytes 4..8 the same of the offsets; bytes 8..12 the lower 4 bits of scales and offsets 4..8.
fn sixes(bytes: &[u8]) -> [[u8; 8]; 2] {
    let mut found = [[0; 8]; 2];
    for i in 0..4 {
        let (scale, min, low) = (bytes[i], bytes[4 + i], bytes[8 + i]);
        found[0][i] = scale & 63;
        found[1][i] = min & 63;
        found[0][4 + i] = low & 15 | scale >> 6 << 4;
        found[1][4 + i] = low >> 4 | min >> 6 << 4;
    }
    found
}
