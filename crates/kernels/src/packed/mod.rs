//! Weights as generation reads them: floats, halves or quantised blocks, in panels of sixteen rows.
//!
//! A matrix W (out,in) of y = x Wᵀ is cut into **panels** of sixteen rows, padded with zeros at the end. In a panel the rows
//! lie side by side, a lane each: a product goes through the panel from its beginning to its end and never sums over lanes. Eight
//! interleaved rows are ik_llama.cpp's; sixteen are our vector.
//!
//! Panels lie one behind the other, so that a row reads one stream from memory: as four, for four panels together, Zen 4 gave 60 to
//! 90% of its bandwidth. Floats need several panels at once, since a single chain of sums waits for each addition: on AVX-512
//! four panels are a **group**, where there are four, and lie step by step in turn.
//!
//! | | a step of a panel |
//! |---|---|
//! | F32, F16, BF16 | one number of each row |
//! | Q8_0 | 32 columns: sixteen scales in binary16, then sixteen times two signed bytes of each row |
//! | Q4_0 | 32 columns: sixteen scales, then four times four bytes of each row: columns 4 j to 4 j + 3 in their lower halves, 16 + 4 j to 19 + 4 j in the upper ones |
//! | Q4_1 | the same with sixteen smallest values behind the scales |
//!
//! Blocks and values are ggml's (`ggml-common.h` of llama.cpp): d q, d (q - 8) and d q + m.
//!
//! **Activations** meet quantised weights as whole numbers of 8 bits, quantised a row and 32 columns at a time with a scale in f32, so
//! that products are whole numbers: exact, in any order. They meet floats and halves as f32. Either way **a row of y is the same bits
//! whatever rows are computed with it**: a sequence writes the same text alone and in a batch.

mod activations;
mod blocks;
mod floats;
mod product;
#[cfg(target_arch = "x86_64")]
mod quads;
mod tiles;

pub use product::{linear_packed, linear_packed_columns, linear_packed_reference};

use crate::bf16::bf16_to_f32;
use crate::buffer::{ALIGNMENT, Aligned};
use crate::isa::Isa;
use crate::pool::{Pool, Shards};
use crate::simd::LANES;
use half::f16;
use std::ops::Range;
use std::sync::Arc;

/// Columns of a quantised block.
pub(crate) const BLOCK: usize = 32;

/// Panels of a task, and of a group where there are groups.
const GROUP: usize = 4;

/// How the elements of a [`PackedMatrix`] are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)] // the field's names
pub enum PackedType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    BF16,
    /// 32 of 8 bits, with a scale.
    Q8_0,
    /// 32 of 4 bits, with a scale.
    Q4_0,
    /// 32 of 4 bits, with a scale and the smallest value.
    Q4_1,
}

impl PackedType {
    /// Every type.
    pub const ALL: [PackedType; 6] = [
        PackedType::F32,
        PackedType::F16,
        PackedType::BF16,
        PackedType::Q8_0,
        PackedType::Q4_0,
        PackedType::Q4_1,
    ];

    /// Columns a block, and bytes a block of one row.
    pub const fn block(self) -> (usize, usize) {
        match self {
            PackedType::F32 => (1, 4),
            PackedType::F16 | PackedType::BF16 => (1, 2),
            PackedType::Q8_0 => (BLOCK, 2 + 32),
            PackedType::Q4_0 => (BLOCK, 2 + 16),
            PackedType::Q4_1 => (BLOCK, 4 + 16),
        }
    }

    /// Bytes of a row; `None` where it is no whole number of blocks.
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        let (columns, bytes) = self.block();
        match cols % columns {
            0 => (cols / columns).checked_mul(bytes),
            _ => None,
        }
    }

    /// Bytes of scales (and smallest values) at the head of a row's block.
    const fn head(self) -> usize {
        match self {
            PackedType::F32 | PackedType::F16 | PackedType::BF16 => 0,
            PackedType::Q8_0 | PackedType::Q4_0 => 2,
            PackedType::Q4_1 => 4,
        }
    }

    /// Bytes of a row that lie together: what meets one lane.
    const fn unit(self) -> usize {
        match self {
            PackedType::F32 => 4,
            PackedType::F16 | PackedType::BF16 | PackedType::Q8_0 => 2,
            PackedType::Q4_0 | PackedType::Q4_1 => 4,
        }
    }

    const fn quantised(self) -> bool {
        self.head() > 0
    }

    /// Panels whose steps lie in turn on a set; the last of a matrix may be fewer.
    fn group(self, isa: Isa) -> usize {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Vnni if !self.quantised() => GROUP,
            _ => 1,
        }
    }
}

/// A matrix (out,in) in panels; see the module.
#[derive(Clone)]
pub struct PackedMatrix {
    kind: PackedType,
    rows: usize,
    cols: usize,
    /// Panels whose steps lie in turn.
    group: usize,
    memory: Arc<Aligned<u8>>,
    range: Range<usize>,
}

/// Matrices that are being packed into one piece of memory: whole huge pages but for its end. Each in memory of its own, most
/// of a small model lay in pages of 4 kB, and opening it took a fault for each.
#[derive(Debug)]
pub struct Packing {
    memory: Aligned<u8>,
    used: usize,
    matrices: Vec<(PackedType, [usize; 2], usize, Range<usize>)>,
}

impl Packing {
    /// Takes memory for matrices of these types and shapes (out,in). `None` where the allocator refuses.
    ///
    /// # Panics
    /// Where a row is no whole number of blocks.
    pub fn try_new(shapes: impl IntoIterator<Item = (PackedType, [usize; 2])>) -> Option<Self> {
        let mut bytes = 0_usize;
        for (kind, [rows, cols]) in shapes {
            let matrix = PackedMatrix::packed_bytes(kind, rows, cols);
            let matrix = matrix.unwrap_or_else(|| panic!("{rows} rows of {cols} in {kind:?}"));
            bytes = bytes.checked_add(usize::try_from(matrix).ok()?.checked_next_multiple_of(ALIGNMENT)?)?;
        }
        Some(Self {
            memory: Aligned::try_zeroed(bytes)?,
            used: 0,
            matrices: Vec::new(),
        })
    }

    /// Packs the next matrix, `rows` x `cols`. `fill(first, bytes)` writes rows from `first` on, one behind the other, blocks
    /// as ggml has them, as many as `bytes` holds: at most sixteen. It is called on all threads.
    ///
    /// # Panics
    /// Where a row is no whole number of blocks, a size is 0, or memory was taken for less.
    pub fn pack(
        &mut self,
        pool: &Pool,
        kind: PackedType,
        [rows, cols]: [usize; 2],
        fill: impl Fn(usize, &mut [u8]) + Sync,
    ) {
        assert!(rows > 0 && cols > 0, "{rows} x {cols}");
        let row = kind
            .row_bytes(cols)
            .unwrap_or_else(|| panic!("rows of {cols} in {kind:?}"));
        let (panels, panel) = (rows.div_ceil(LANES), row * LANES);
        let range = self.used..self.used + panel * panels;
        let groups = Shards::new(&mut self.memory[range.clone()]);
        let width = kind.group(pool.isa());
        pool.run_with_scratch(panels.div_ceil(width), panel.div_ceil(4), |task, scratch| {
            let (first, end) = (task * width, panels.min((task + 1) * width));
            // SAFETY: a group belongs to its task.
            let group = unsafe { groups.range(first * panel, end * panel) };
            for p in first..end {
                let count = LANES.min(rows - p * LANES);
                // SAFETY: any bits are bytes, and the buffer is at a multiple of 64.
                let lines = unsafe { std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast::<u8>(), count * row) };
                fill(p * LANES, lines);
                interleave(kind, group, (p - first, end - first), lines, row);
            }
        });
        self.used = range.end.next_multiple_of(ALIGNMENT);
        self.matrices.push((kind, [rows, cols], width, range));
    }

    /// The matrices, in order.
    pub fn finish(self) -> Vec<PackedMatrix> {
        let memory = Arc::new(self.memory);
        let matrices = self.matrices.into_iter();
        let matrices = matrices.map(|(kind, [rows, cols], group, range)| PackedMatrix {
            kind,
            rows,
            cols,
            group,
            memory: memory.clone(),
            range,
        });
        matrices.collect()
    }
}

impl PackedMatrix {
    /// The rows `ids` of `self`, each in a row of `out` (N,in), plus rows `first…` of `plus` where there is one: the embedding
    /// of a piece of text.
    ///
    /// # Panics
    /// Where shapes differ or a row is not there.
    pub fn gather(&self, out: &mut [f32], ids: &[u32], plus: Option<(&[f32], usize)>) {
        let d = self.cols;
        assert_eq!(out.len(), ids.len() * d, "out is (N,in)");
        for (i, (out, &id)) in out.chunks_exact_mut(d).zip(ids).enumerate() {
            self.row(id as usize, out);
            if let Some((plus, first)) = plus {
                let at = (first + i) * d;
                out.iter_mut()
                    .zip(&plus[at..at + d])
                    .for_each(|(out, plus)| *out += plus);
            }
        }
    }

    /// How elements are stored.
    pub fn kind(&self) -> PackedType {
        self.kind
    }

    /// out.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// in.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The panels: for sums over them, and to count them.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.range.clone()]
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        let half = |b: &[u8], infinite: u16| u16::from_le_bytes([b[0], b[1]]) & infinite != infinite;
        match self.kind {
            PackedType::F32 => {
                let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                self.bytes().chunks_exact(4).all(|b| number(b).is_finite())
            }
            PackedType::F16 => self.bytes().chunks_exact(2).all(|b| half(b, 0x7C00)),
            PackedType::BF16 => self.bytes().chunks_exact(2).all(|b| half(b, 0x7F80)),
            PackedType::Q8_0 | PackedType::Q4_0 | PackedType::Q4_1 => {
                let (head, block) = (LANES * self.kind.head(), LANES * self.kind.block().1);
                let heads = self.bytes().chunks_exact(block).map(|block| &block[..head]);
                heads
                    .into_iter()
                    .all(|head| head.chunks_exact(2).all(|b| half(b, 0x7C00)))
            }
        }
    }

    /// Bytes that packing takes: those of the blocks, rows padded to a multiple of sixteen. `None` where a row is no whole
    /// number of blocks.
    pub fn packed_bytes(kind: PackedType, rows: usize, cols: usize) -> Option<u64> {
        let row = kind.row_bytes(cols)? as u64;
        (rows as u64).next_multiple_of(LANES as u64).checked_mul(row)
    }

    /// Bytes of a panel.
    fn panel(&self) -> usize {
        LANES * self.kind.row_bytes(self.cols).expect("whole blocks")
    }

    /// A row as f32: exactly what the blocks say.
    ///
    /// # Panics
    /// Where there is no such row, or `out` is not `cols` long.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.cols, "a row of {}", self.cols);
        let (panel, lane) = (row / LANES, row % LANES);
        let (first, panels) = (panel / self.group * self.group, self.rows.div_ceil(LANES));
        let width = self.group.min(panels - first);
        let step = |i: usize| i * width + panel - first;
        let bytes = &self.bytes()[first * self.panel()..];
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let number = |at: usize| f16::from_bits(half(at)).to_f32();
        match self.kind {
            PackedType::F32 => {
                for (c, out) in out.iter_mut().enumerate() {
                    let at = 4 * (step(c) * LANES + lane);
                    *out = f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                }
            }
            PackedType::F16 | PackedType::BF16 => {
                for (c, out) in out.iter_mut().enumerate() {
                    let at = 2 * (step(c) * LANES + lane);
                    *out = if self.kind == PackedType::F16 {
                        number(at)
                    } else {
                        bf16_to_f32(half(at))
                    };
                }
            }
            PackedType::Q8_0 | PackedType::Q4_0 | PackedType::Q4_1 => {
                let (head, block) = (LANES * self.kind.head(), LANES * self.kind.block().1);
                for (b, out) in out.chunks_exact_mut(BLOCK).enumerate() {
                    let start = step(b) * block;
                    let scale = number(start + 2 * lane);
                    let unit = self.kind.unit();
                    let byte = |i: usize| bytes[start + head + (i / unit * LANES + lane) * unit + i % unit];
                    for (c, out) in out.iter_mut().enumerate() {
                        *out = match self.kind {
                            PackedType::Q8_0 => scale * f32::from(byte(c) as i8),
                            _ => {
                                let byte = byte(c % 16);
                                let q = f32::from(if c < 16 { byte & 15 } else { byte >> 4 });
                                match self.kind {
                                    PackedType::Q4_0 => scale * (q - 8.0),
                                    _ => scale * q + number(start + 2 * (LANES + lane)),
                                }
                            }
                        };
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedMatrix({} x {}, {:?})", self.rows, self.cols, self.kind)
    }
}

/// Panel `panel` of the `width` of a group, from up to sixteen rows of blocks.
fn interleave(kind: PackedType, group: &mut [u8], (panel, width): (usize, usize), lines: &[u8], row: usize) {
    let head = kind.head();
    // What has no blocks goes in pieces that stay in cache.
    let step = if kind.quantised() { kind.block().1 } else { 256 };
    for (i, to) in group.chunks_mut(width * LANES * step).enumerate() {
        let (heads, units) = to.split_at_mut(width * LANES * head);
        for (lane, line) in lines.chunks_exact(row).enumerate() {
            let from = &line[i * step..row.min((i + 1) * step)];
            let place = (panel * LANES + lane, width * LANES);
            spread::<2>(heads, &from[..head], place);
            match kind.unit() {
                2 => spread::<2>(units, &from[head..], place),
                _ => spread::<4>(units, &from[head..], place),
            }
        }
    }
}

/// Every `UNIT` bytes of a row go to unit `first` of the next `every`. The compiler must know how many: as a call a copy of two
/// bytes took half of the time to open a model.
#[inline(always)]
fn spread<const UNIT: usize>(to: &mut [u8], from: &[u8], (first, every): (usize, usize)) {
    let (to, _) = to.as_chunks_mut::<UNIT>();
    let (from, _) = from.as_chunks::<UNIT>();
    for (to, from) in to.chunks_exact_mut(every).zip(from) {
        to[first] = *from;
    }
}

#[cfg(test)]
mod tests;
