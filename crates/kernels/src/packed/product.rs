//! y = x Wᵀ of packed weights, for one row as for many.

use super::activations::{self, Quantised, quantise};
#[cfg(target_arch = "x86_64")]
use super::quads;
use super::{BLOCK, PackedMatrix, PackedType};
use crate::bf16::widen;
use crate::gelu::gelu;
use crate::isa::Isa;
use crate::matmul::{Epilogue, depth_of};
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, load, simd_fn, store};

/// Panels a task owns.
pub(super) const PANELS: usize = 4;
/// Rows of x that meet a panel before the next one does: they stay in the second-level cache.
const ROWS: usize = 48;

/// y (M,out) = epilogue(x (M,in) Wᵀ).
///
/// Flops `2 M in out`; bytes: the panels, x and y. Against f64 on the weights that the panels hold: halves as
/// [`crate::matmul`], to whose bits they are equal; quantised types within what rounding x to bytes costs,
/// `sum_k |w_k| max|x| / 254` of each block at most, and held to 1/3 of that on average by its test.
///
/// # Panics
/// Where shapes differ, and with epilogues that training alone has.
pub fn linear_packed(pool: &Pool, y: &mut [f32], x: &[f32], w: &PackedMatrix, epilogue: Epilogue<'_>) {
    let (m, n) = (x.len() / w.cols(), w.rows());
    assert_eq!(y.len(), m * n, "y (M,out) of {m} rows, {w:?}");
    match epilogue {
        Epilogue::Store => {}
        Epilogue::Bias(bias) | Epilogue::BiasGelu { bias } => assert_eq!(bias.len(), n, "one bias a column"),
        Epilogue::Residual(residual) => assert_eq!(residual.len(), m * n, "residual has y's shape"),
        Epilogue::BiasResidual { bias, residual } => {
            assert_eq!((bias.len(), residual.len()), (n, m * n), "bias a column, residual as y");
        }
        Epilogue::Accumulate | Epilogue::Multiply { .. } => panic!("{epilogue:?} is for training"),
    }
    product(pool, y, n, x, w, epilogue);
}

/// The `out` columns of y (M,`width`) from `first` on = x (M,in) Wᵀ; the others stay as they are.
///
/// # Panics
/// Where shapes differ.
pub fn linear_packed_columns(pool: &Pool, y: &mut [f32], (first, width): (usize, usize), x: &[f32], w: &PackedMatrix) {
    let (m, n) = (x.len() / w.cols(), w.rows());
    assert!(
        y.len() == m * width && first + n <= width,
        "columns {first} to {} of rows of {width}, {m} rows in {} floats",
        first + n,
        y.len()
    );
    product(pool, &mut y[first.min(m * width)..], width, x, w, Epilogue::Store);
}

/// y (M,out) = x (M,in) Wᵀ of the weights that the panels hold, in f64.
pub fn linear_packed_reference(x: &[f32], w: &PackedMatrix) -> Vec<f64> {
    let mut row = vec![0.0; w.cols()];
    let mut y = vec![0.0; x.len() / w.cols() * w.rows()];
    for j in 0..w.rows() {
        w.row(j, &mut row);
        for (i, x) in x.chunks_exact(w.cols()).enumerate() {
            y[i * w.rows() + j] = x.iter().zip(&row).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
        }
    }
    y
}

/// Where results go.
pub(super) struct Output<'a> {
    y: Shards<'a>,
    /// Floats from one row to the next.
    stride: usize,
    /// out.
    cols: usize,
    epilogue: Epilogue<'a>,
}

fn product(pool: &Pool, y: &mut [f32], stride: usize, x: &[f32], w: &PackedMatrix, epilogue: Epilogue<'_>) {
    let (m, k, n) = (x.len() / w.cols(), w.cols(), w.rows());
    let _timed = pool.timed(name(w.kind()), [m, k, n], |[m, k, n]| {
        (2 * m * k * n, 4 * m * (k + n) + w.bytes().len() as u64)
    });
    assert_eq!(x.len(), m * k, "x (M,in), {w:?}");
    let out = Output {
        y: Shards::new(y),
        stride,
        cols: n,
        epilogue,
    };
    let panels = n.div_ceil(LANES);
    let tasks = panels.div_ceil(PANELS);
    let range = |task: usize| task * PANELS..panels.min((task + 1) * PANELS);
    if w.kind().quantised() {
        let mut sums = pool.partial_sums();
        let wide = w.kind() == PackedType::Q8_0 && !has_quads(pool.isa());
        let scratch = sums.at_least(activations::scratch(m, k, wide));
        let x = quantise(pool, scratch, x, k, wide, excess(w.kind()));
        pool.run(tasks, |task| {
            let panels = range(task);
            let bytes = &w.bytes()[panels.start * w.panel()..panels.end * w.panel()];
            #[cfg(target_arch = "x86_64")]
            if has_quads(pool.isa()) {
                // SAFETY: the set has VNNI.
                return unsafe {
                    match w.kind() {
                        PackedType::Q8_0 => quads::panels::<Q8_0>(&out, panels.start, bytes, &x, m),
                        PackedType::Q4_0 => quads::panels::<Q4_0>(&out, panels.start, bytes, &x, m),
                        _ => quads::panels::<Q4_1>(&out, panels.start, bytes, &x, m),
                    }
                };
            }
            match w.kind() {
                PackedType::Q8_0 => panels_q8_0(pool.isa(), &out, panels.start, bytes, &x, m),
                PackedType::Q4_0 => panels_q4_0(pool.isa(), &out, panels.start, bytes, &x, m),
                _ => panels_q4_1(pool.isa(), &out, panels.start, bytes, &x, m),
            }
        });
    } else {
        pool.run(tasks, |task| {
            let panels = range(task);
            let bytes = &w.bytes()[panels.start * w.panel()..panels.end * w.panel()];
            match w.kind() {
                PackedType::F32 => panels_f32(pool.isa(), &out, panels.start, bytes, x, k),
                PackedType::F16 => panels_f16(pool.isa(), &out, panels.start, bytes, x, k),
                _ => panels_bf16(pool.isa(), &out, panels.start, bytes, x, k),
            }
        });
    }
}

/// What the whole numbers of a type have too much where bytes are multiplied four at a time.
fn excess(kind: PackedType) -> f32 {
    match kind {
        PackedType::Q8_0 => 128.0,
        PackedType::Q4_0 => 8.0,
        _ => 0.0,
    }
}

/// Whether a set multiplies bytes four at a time.
fn has_quads(isa: Isa) -> bool {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => true,
        _ => false,
    }
}

/// What a product is called in a profile.
fn name(kind: PackedType) -> &'static str {
    match kind {
        PackedType::F32 => "linear_f32",
        PackedType::F16 => "linear_f16",
        PackedType::BF16 => "linear_bf16",
        PackedType::Q8_0 => "linear_q8_0",
        PackedType::Q4_0 => "linear_q4_0",
        PackedType::Q4_1 => "linear_q4_1",
    }
}

/// Applies the epilogue to sixteen columns of row `i` from `16 panel` on, in the order in which [`crate::matmul`] does.
#[inline(always)]
pub(super) fn finish<S: Simd>(out: &Output<'_>, i: usize, panel: usize, sum: S::V) {
    let (col, end) = (panel * LANES, out.cols.min((panel + 1) * LANES));
    let row = i * out.cols;
    let at = i * out.stride;
    // SAFETY: a panel's columns are its task's.
    let y = unsafe { out.y.range(at + col, at + end) };
    let value = match out.epilogue {
        Epilogue::Bias(bias) => S::add(sum, load::<S>(&bias[col..end])),
        Epilogue::BiasGelu { bias } => gelu::<S>(S::add(sum, load::<S>(&bias[col..end]))),
        Epilogue::Residual(residual) => S::add(load::<S>(&residual[row + col..row + end]), sum),
        Epilogue::BiasResidual { bias, residual } => {
            let sum = S::add(sum, load::<S>(&bias[col..end]));
            S::add(load::<S>(&residual[row + col..row + end]), sum)
        }
        _ => sum,
    };
    store::<S>(y, value);
}

/// Calls `$tile::<S, R, KIND>` with the rows from `$first` to `$end` in tiles that are as even as can be, each of at most the last
/// of `$rows`. `$share`: which of how many tiles it is.
macro_rules! each_tile {
    ($first:expr, $end:expr, $tile:ident, $S:ident, $kind:tt, [$($rows:literal)*], |$row:ident, $share:ident| $args:tt) => {
        const MOST: usize = [$($rows),*].len();
        let mut $row = $first;
        let tiles = ($end - $first).div_ceil(MOST);
        for tile in 0..tiles {
            let $share = (tile, tiles);
            let rows = ($end - $row).div_ceil(tiles - tile);
            match rows {
                $($rows => call!($tile, $S, $rows, $kind, $args),)*
                _ => unreachable!("a tile of {rows} rows"),
            }
            $row += rows;
        }
    };
}

macro_rules! call {
    ($tile:ident, $S:ident, $rows:literal, $kind:tt, ($($arg:expr),*)) => {
        $tile::<$S, $rows, $kind>($($arg),*)
    };
}

pub(super) const Q8_0: u8 = 0;
pub(super) const Q4_0: u8 = 1;
pub(super) const Q4_1: u8 = 2;

/// Bytes of a block of sixteen rows.
pub(super) const fn block_bytes(kind: u8) -> usize {
    let (_, bytes) = match kind {
        Q8_0 => PackedType::Q8_0.block(),
        Q4_0 => PackedType::Q4_0.block(),
        _ => PackedType::Q4_1.block(),
    };
    LANES * bytes
}

macro_rules! quantised_panels {
    ($name:ident, $kind:ident) => {
        simd_fn! {
            fn $name[S](out: &Output<'_>, panel: usize, bytes: &[u8], x: &Quantised<'_>, m: usize) {
                let size = x.blocks * block_bytes($kind);
                if m == 1 && bytes.len() == PANELS * size {
                    return quantised_tile::<S, 1, PANELS, $kind>(out, panel, bytes, x, 0, None);
                }
                for (p, bytes) in bytes.chunks_exact(size).enumerate() {
                    each_tile!(0, m, quantised_tile_of_one, S, $kind, [1 2 3 4], |row, share| (out, panel + p, bytes, x, row, share));
                }
            }
        }
    };
}
quantised_panels!(panels_q8_0, Q8_0);
quantised_panels!(panels_q4_0, Q4_0);
quantised_panels!(panels_q4_1, Q4_1);

#[inline(always)]
fn quantised_tile_of_one<S: Simd, const R: usize, const KIND: u8>(
    out: &Output<'_>,
    panel: usize,
    bytes: &[u8],
    x: &Quantised<'_>,
    first: usize,
    share: (usize, usize),
) {
    let ahead = Ahead::new(bytes, share, x.blocks);
    quantised_tile::<S, R, 1, KIND>(out, panel, bytes, x, first, Some(ahead));
}

/// What a tile asks of memory while it computes: its share of the panel behind its own, a little at every step. Asked for by
/// the last tile of a panel alone, eight rows of Q8_0 took the time of memory and that of arithmetic, one after the other.
pub(super) struct Ahead {
    at: *const u8,
    /// Bytes of the share.
    share: usize,
    steps: usize,
    /// In bytes times `steps`: what is due.
    due: usize,
}

impl Ahead {
    #[inline(always)]
    pub(super) fn new(panel: &[u8], (tile, tiles): (usize, usize), steps: usize) -> Self {
        let share = panel.len() / tiles;
        // Only ever an address to ask for.
        let at = panel.as_ptr().wrapping_add(panel.len() + tile * share);
        Self {
            at,
            share,
            steps,
            due: 0,
        }
    }

    #[inline(always)]
    pub(super) fn step<S: Simd>(&mut self) {
        const LINE: usize = 64;
        self.due += self.share;
        while self.due >= LINE * self.steps {
            S::prefetch::<1>(self.at.cast());
            self.at = self.at.wrapping_add(LINE);
            self.due -= LINE * self.steps;
        }
    }
}

/// `P` panels and `R` rows from `first` on. In every block: whole sums of sixteen columns, then `sums += scales * whole`.
///
/// A single row takes several panels: their streams from memory overlap, and asking for lines ahead loses.
#[inline(always)]
fn quantised_tile<S: Simd, const R: usize, const P: usize, const KIND: u8>(
    out: &Output<'_>,
    panel: usize,
    bytes: &[u8],
    x: &Quantised<'_>,
    first: usize,
    mut ahead: Option<Ahead>,
) {
    let blocks = x.blocks;
    let words = BLOCK / if KIND == Q8_0 { 2 } else { 4 };
    assert!(
        bytes.len() == P * blocks * block_bytes(KIND)
            && x.q.len() >= (first + R) * blocks * words
            && x.scale.len() >= (first + R) * blocks
            && x.sum.len() == x.scale.len(),
        "{P} panels of {blocks} blocks and {R} rows from {first} on"
    );
    // A number of steps that the compiler does not know: unrolled, it moved what all steps load onto the stack.
    let steps = std::hint::black_box(if KIND == Q8_0 { 16 } else { 4 });
    let mut sums = [[S::splat(0.0); P]; R];
    for b in 0..blocks {
        // SAFETY: every load below lies in block `b` of a panel or of a row, and the assertion covers both.
        unsafe {
            let head = |p: usize| bytes.as_ptr().add((p * blocks + b) * block_bytes(KIND));
            if let Some(ahead) = &mut ahead {
                ahead.step::<S>();
            }
            let word = |r: usize, j: usize| {
                let at = ((first + r) * blocks + b) * words + j;
                x.q.as_ptr().add(at).cast::<i32>().read()
            };
            let mut whole = [[S::no_ints(); P]; R];
            if KIND == Q8_0 {
                for j in 0..steps {
                    let mut w = [S::no_pairs(); P];
                    for p in 0..P {
                        w[p] = S::load_pairs(head(p).add(2 * LANES + 2 * LANES * j));
                    }
                    for r in 0..R {
                        let x = S::splat_pair(word(r, j));
                        for p in 0..P {
                            whole[r][p] = S::add_products(whole[r][p], w[p], x);
                        }
                    }
                }
            } else {
                let start = if KIND == Q4_0 { 2 } else { 4 } * LANES;
                // Eight products of at most 2 * 15 * 127 fit 16 bits.
                let mut pairs = [[S::no_pairs(); P]; R];
                for j in 0..steps {
                    for p in 0..P {
                        let (low, high) = S::nibbles(S::load_bytes(head(p).add(start + 4 * LANES * j)));
                        for r in 0..R {
                            let sum = S::add_pairs(pairs[r][p], S::products(low, S::splat_bytes(word(r, j))));
                            pairs[r][p] = S::add_pairs(sum, S::products(high, S::splat_bytes(word(r, j + 4))));
                        }
                    }
                }
                for r in 0..R {
                    for p in 0..P {
                        whole[r][p] = S::add_products(whole[r][p], pairs[r][p], S::splat_pair(0x0001_0001));
                    }
                }
            }
            for p in 0..P {
                let scales = S::load_f16(head(p).cast());
                for r in 0..R {
                    let at = (first + r) * blocks + b;
                    let (scale, sum) = (*x.scale.get_unchecked(at), *x.sum.get_unchecked(at));
                    let mut value = S::to_float(whole[r][p]);
                    if KIND == Q4_0 {
                        value = S::sub(value, S::splat(8.0 * sum));
                    }
                    sums[r][p] = S::fma(S::mul(scales, S::splat(scale)), value, sums[r][p]);
                    if KIND == Q4_1 {
                        let least = S::load_f16(head(p).add(2 * LANES).cast());
                        sums[r][p] = S::fma(least, S::splat(scale * sum), sums[r][p]);
                    }
                }
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (p, sum) in sums.into_iter().enumerate() {
            finish::<S>(out, first + r, panel + p, sum);
        }
    }
}

const F32: u8 = 0;
const F16: u8 = 1;
const BF16: u8 = 2;

macro_rules! dense_panels {
    ($name:ident, $kind:ident, $size:literal) => {
        simd_fn! {
            fn $name[S](out: &Output<'_>, panel: usize, bytes: &[u8], x: &[f32], k: usize) {
                let (m, size) = (x.len() / k, k * LANES * $size);
                let panels = bytes.len() / size;
                for first in (0..m).step_by(ROWS) {
                    let end = m.min(first + ROWS);
                    for start in (0..k).step_by(depth_of(k)) {
                        let part = Part { x, k, start, end: k.min(start + depth_of(k)) };
                        if m == 1 && panels == PANELS {
                            dense_tile::<S, 1, PANELS, $kind>(out, panel, bytes, &part, 0, None);
                            continue;
                        }
                        for (p, bytes) in bytes.chunks_exact(size).enumerate() {
                            each_tile!(first, end, dense_tile_of_one, S, $kind, [1 2 3 4 5 6], |row, share| (out, panel + p, bytes, &part, row, share));
                        }
                    }
                }
            }
        }
    };
}
dense_panels!(panels_f32, F32, 4);
dense_panels!(panels_f16, F16, 2);
dense_panels!(panels_bf16, BF16, 2);

/// Steps `start..end` of the reduction over the K columns of x.
struct Part<'a> {
    x: &'a [f32],
    k: usize,
    start: usize,
    end: usize,
}

#[inline(always)]
fn dense_tile_of_one<S: Simd, const R: usize, const KIND: u8>(
    out: &Output<'_>,
    panel: usize,
    bytes: &[u8],
    part: &Part<'_>,
    first: usize,
    share: (usize, usize),
) {
    let size = if KIND == F32 { 4 } else { 2 };
    let columns = &bytes[part.start * LANES * size..part.end * LANES * size];
    let ahead = Ahead {
        // The same columns of the next panel.
        at: columns
            .as_ptr()
            .wrapping_add(bytes.len() + share.0 * (columns.len() / share.1)),
        ..Ahead::new(columns, share, (part.end - part.start).div_ceil(STEPS))
    };
    dense_tile::<S, R, 1, KIND>(out, panel, bytes, part, first, Some(ahead));
}

/// Steps between which memory is asked.
const STEPS: usize = 16;

/// Steps of `P` panels and `R` rows from `first` on: the chain of [`crate::matmul`]'s tile, bit for bit. A single row takes
/// several panels: one chain of sums waits for each multiplication before the next.
#[inline(always)]
fn dense_tile<S: Simd, const R: usize, const P: usize, const KIND: u8>(
    out: &Output<'_>,
    panel: usize,
    bytes: &[u8],
    part: &Part<'_>,
    first: usize,
    mut ahead: Option<Ahead>,
) {
    let Part { x, k, start, end } = *part;
    let size = if KIND == F32 { 4 } else { 2 };
    assert!(end <= k && bytes.len() == P * k * LANES * size && x.len() >= (first + R) * k);
    let mut sums = [[S::splat(0.0); P]; R];
    for step in start..end {
        if let Some(ahead) = &mut ahead
            && (step - start) % STEPS == 0
        {
            ahead.step::<S>();
        }
        // SAFETY: a panel has sixteen numbers a step, at a multiple of their size; a row of x has K.
        unsafe {
            let mut w = [S::splat(0.0); P];
            for p in 0..P {
                let at = bytes.as_ptr().add((p * k + step) * LANES * size);
                w[p] = match KIND {
                    F32 => S::load_ptr(at.cast()),
                    F16 => S::load_f16(at.cast()),
                    _ => widen::<S>(std::slice::from_raw_parts(at.cast::<u16>(), LANES)),
                };
            }
            for r in 0..R {
                let x = S::splat(*x.as_ptr().add((first + r) * k + step));
                for p in 0..P {
                    sums[r][p] = S::fma(x, w[p], sums[r][p]);
                }
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (p, sum) in sums.into_iter().enumerate() {
            let at = (first + r) * out.stride;
            let (col, last) = ((panel + p) * LANES, out.cols.min((panel + p + 1) * LANES));
            // SAFETY: a panel's columns are its task's.
            let y = unsafe { out.y.range(at + col, at + last) };
            let sum = if start == 0 { sum } else { S::add(load::<S>(y), sum) };
            if end == k {
                finish::<S>(out, first + r, panel + p, sum);
            } else {
                store::<S>(y, sum);
            }
        }
    }
}
