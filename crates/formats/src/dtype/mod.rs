//! Element types of weights, and the blocks of the quantised ones: to 32-bit floats and back.
//!
//! A quantised row is a sequence of *blocks*: a few numbers of few bits that share a scale (and an offset). Names,
//! numbers and bytes are those of ggml (`ggml-common.h`, `ggml-quants.c` of llama.cpp), and so is the rounding: the bytes
//! that [`Dtype::encode`] gives are those of its reference quantisers.
//!
//! | | elements a block | bytes a block | bits a weight | value of an element |
//! |---|---|---|---|---|
//! | F32, F16, BF16 | 1 | 4, 2, 2 | 32, 16, 16 | itself |
//! | Q8_0 | 32 | 34 | 8.5 | d q, q in -127..=127 |
//! | Q5_1, Q5_0 | 32 | 24, 22 | 6, 5.5 | d q + m, d (q - 16), q in 0..=31 |
//! | Q4_1, Q4_0 | 32 | 20, 18 | 5, 4.5 | d q + m, d (q - 8), q in 0..=15 |
//! | Q6_K | 256 | 210 | 6.5625 | d s (q - 32), a signed s of 8 bits for 16 elements |
//! | Q5_K, Q4_K | 256 | 176, 144 | 5.5, 4.5 | d s q - dmin m, s and m of 6 bits for 32 elements |
//!
//! d, m and dmin are binary16. Decoding is exact up to the rounding of that expression in 32-bit floats, evaluated from
//! the left without fused operations, on every machine alike.

mod blocks;
mod half;
mod k_blocks;

pub use half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

use std::fmt;
use std::io::{self, Write};

/// Bytes encoded at a time: no more than the 4 a F32 has, and the elements a multiple of every block.
const BUFFER: usize = 1 << 14;

/// How the elements of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)] // the field's names
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
    /// 32 of 8 bits, with a scale.
    Q8_0,
    /// 32 of 4 bits, with a scale.
    Q4_0,
    /// 32 of 4 bits, with a scale and the smallest value.
    Q4_1,
    /// 32 of 5 bits, with a scale; read only.
    Q5_0,
    /// 32 of 5 bits, with a scale and the smallest value; read only.
    Q5_1,
    /// 8 x 32 of 4 bits, with scales and smallest values of 6 bits; read only.
    Q4_K,
    /// 8 x 32 of 5 bits, with scales and smallest values of 6 bits; read only.
    Q5_K,
    /// 16 x 16 of 6 bits, with scales of 8 bits; read only.
    Q6_K,
}

/// Name, ggml's number, elements a block, bytes a block.
type Row = (&'static str, u32, usize, usize);

impl Dtype {
    /// Every element type.
    pub const ALL: [Dtype; 11] = [
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::Q8_0,
        Dtype::Q5_1,
        Dtype::Q5_0,
        Dtype::Q4_1,
        Dtype::Q4_0,
        Dtype::Q6_K,
        Dtype::Q5_K,
        Dtype::Q4_K,
    ];

    const fn row(self) -> Row {
        match self {
            Dtype::F32 => ("F32", 0, 1, 4),
            Dtype::F16 => ("F16", 1, 1, 2),
            Dtype::BF16 => ("BF16", 30, 1, 2),
            Dtype::Q8_0 => ("Q8_0", 8, 32, 2 + 32),
            Dtype::Q4_0 => ("Q4_0", 2, 32, 2 + 16),
            Dtype::Q4_1 => ("Q4_1", 3, 32, 2 + 2 + 16),
            Dtype::Q5_0 => ("Q5_0", 6, 32, 2 + 4 + 16),
            Dtype::Q5_1 => ("Q5_1", 7, 32, 2 + 2 + 4 + 16),
            Dtype::Q4_K => ("Q4_K", 12, 256, 2 + 2 + 12 + 128),
            Dtype::Q5_K => ("Q5_K", 13, 256, 2 + 2 + 12 + 32 + 128),
            Dtype::Q6_K => ("Q6_K", 14, 256, 128 + 64 + 16 + 2),
        }
    }

    /// Its name, as ggml writes it.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The number that stands for it in a GGUF file.
    pub const fn ggml_type(self) -> u32 {
        self.row().1
    }

    /// The type that `number` stands for in a GGUF file, where it is one of these.
    pub fn from_ggml_type(number: u32) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.ggml_type() == number)
    }

    /// Elements a block: 1, 32 or 256. A row's length has to be a multiple of it.
    pub const fn block_len(self) -> usize {
        self.row().2
    }

    /// Bytes a block.
    pub const fn block_bytes(self) -> usize {
        self.row().3
    }

    /// True where [`Dtype::encode`] knows it; the others are only read.
    pub const fn can_encode(self) -> bool {
        !matches!(
            self,
            Dtype::Q5_0 | Dtype::Q5_1 | Dtype::Q4_K | Dtype::Q5_K | Dtype::Q6_K
        )
    }

    /// Bytes of `elements` elements; `None` where they are no whole number of blocks, or the bytes no `usize`.
    pub fn bytes(self, elements: usize) -> Option<usize> {
        if elements % self.block_len() != 0 {
            return None;
        }
        (elements / self.block_len()).checked_mul(self.block_bytes())
    }

    /// The values of the elements in `bytes`, little-endian and at any alignment, into `out`.
    ///
    /// # Panics
    /// Where `bytes` is not [`Dtype::bytes`] of the length of `out`.
    ///
    /// ```
    /// use foretoken_formats::dtype::Dtype;
    /// let mut halves = [0.0; 2];
    /// Dtype::F16.decode(&[0x00, 0x3c, 0x00, 0xc0], &mut halves);
    /// assert_eq!(halves, [1.0, -2.0]);
    /// ```
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        self.expect_len(bytes.len(), out.len());
        match self {
            Dtype::F32 => bytemuck::cast_slice_mut(out).copy_from_slice(bytes),
            Dtype::F16 => decode_halves(bytes, out, f16_to_f32),
            Dtype::BF16 => decode_halves(bytes, out, bf16_to_f32),
            Dtype::Q8_0 => decode_blocks(bytes, out, blocks::decode_q8_0),
            Dtype::Q4_0 => decode_blocks(bytes, out, blocks::decode_q4_0),
            Dtype::Q4_1 => decode_blocks(bytes, out, blocks::decode_q4_1),
            Dtype::Q5_0 => decode_blocks(bytes, out, blocks::decode_q5_0),
            Dtype::Q5_1 => decode_blocks(bytes, out, blocks::decode_q5_1),
            Dtype::Q4_K => decode_blocks(bytes, out, k_blocks::decode_q4_k),
            Dtype::Q5_K => decode_blocks(bytes, out, k_blocks::decode_q5_k),
            Dtype::Q6_K => decode_blocks(bytes, out, k_blocks::decode_q6_k),
        }
    }

    /// Rounds `x` into `out`, as ggml's reference quantisers do.
    ///
    /// A block with a number that is not finite, or too large for its scale, decodes to numbers that are not finite: a
    /// broken weight stays visible.
    ///
    /// # Panics
    /// Where `out` is not [`Dtype::bytes`] of the length of `x`, or [`Dtype::can_encode`] is false.
    pub fn encode(self, x: &[f32], out: &mut [u8]) {
        self.expect_len(out.len(), x.len());
        match self {
            Dtype::F32 => out.copy_from_slice(bytemuck::cast_slice(x)),
            Dtype::F16 => encode_halves(x, out, f32_to_f16),
            Dtype::BF16 => encode_halves(x, out, f32_to_bf16),
            Dtype::Q8_0 => encode_blocks(x, out, blocks::encode_q8_0),
            Dtype::Q4_0 => encode_blocks(x, out, blocks::encode_q4_0),
            Dtype::Q4_1 => encode_blocks(x, out, blocks::encode_q4_1),
            Dtype::Q5_0 | Dtype::Q5_1 | Dtype::Q4_K | Dtype::Q5_K | Dtype::Q6_K => panic!("{self} is only read"),
        }
    }

    /// Writes `x` to `w`, rounded as [`Dtype::encode`] does, through a small buffer.
    ///
    /// # Errors
    /// Those of `w`.
    ///
    /// # Panics
    /// Where the length of `x` is no whole number of blocks, or [`Dtype::can_encode`] is false.
    pub fn write(self, x: &[f32], w: &mut dyn Write) -> io::Result<()> {
        let mut buffer = [0; BUFFER];
        for x in x.chunks(BUFFER / 4) {
            let len = self.bytes(x.len());
            let out = &mut buffer[..len.unwrap_or_else(|| panic!("{} elements of {self}", x.len()))];
            self.encode(x, out);
            w.write_all(out)?;
        }
        Ok(())
    }

    fn expect_len(self, bytes: usize, elements: usize) {
        assert!(
            self.bytes(elements) == Some(bytes),
            "{elements} elements of {self} in {bytes} bytes"
        );
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn decode_halves(bytes: &[u8], out: &mut [f32], value: impl Fn(u16) -> f32) {
    for (x, half) in out.iter_mut().zip(bytes.as_chunks().0) {
        *x = value(u16::from_le_bytes(*half));
    }
}

fn encode_halves(x: &[f32], out: &mut [u8], nearest: impl Fn(f32) -> u16) {
    for (half, &x) in out.as_chunks_mut().0.iter_mut().zip(x) {
        *half = nearest(x).to_le_bytes();
    }
}

fn decode_blocks<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    for (block, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        decode(block, out);
    }
}

fn encode_blocks<const BYTES: usize, const LEN: usize>(
    x: &[f32],
    out: &mut [u8],
    encode: impl Fn(&[f32; LEN], &mut [u8; BYTES]),
) {
    for (x, block) in x.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        encode(x, block);
    }
}
