//! y = x Wᵀ of packed weights, for one row as for many.

use super::activations::{self, quantise};
use super::blocks::{self, Q4_0, Q4_1, Q8_0};
use super::floats;
#[cfg(target_arch = "x86_64")]
use super::quads;
use super::{GROUP, PackedMatrix, PackedType};
use crate::gelu::gelu;
use crate::isa::Isa;
use crate::matmul::Epilogue;
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, load, store};

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
    // As many panels as a group has are a task.
    let panels = n.div_ceil(LANES);
    let tasks = panels.div_ceil(GROUP);
    let range = |task: usize| task * GROUP..panels.min((task + 1) * GROUP);
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
                PackedType::Q8_0 => blocks::panels_q8_0(pool.isa(), &out, panels.start, bytes, &x, m),
                PackedType::Q4_0 => blocks::panels_q4_0(pool.isa(), &out, panels.start, bytes, &x, m),
                _ => blocks::panels_q4_1(pool.isa(), &out, panels.start, bytes, &x, m),
            }
        });
    } else {
        pool.run(tasks, |task| {
            let range = range(task);
            let panels = (
                &w.bytes()[range.start * w.panel()..range.end * w.panel()],
                w.group.min(range.len()),
            );
            match w.kind() {
                PackedType::F32 => floats::panels_f32(pool.isa(), &out, range.start, panels, x, k),
                PackedType::F16 => floats::panels_f16(pool.isa(), &out, range.start, panels, x, k),
                _ => floats::panels_bf16(pool.isa(), &out, range.start, panels, x, k),
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

impl Output<'_> {
    /// The columns of a panel in row `i` of y.
    ///
    /// # Safety
    /// The panel is its task's, and no other borrow of these columns lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // as `Shards::range`
    pub(super) unsafe fn columns(&self, i: usize, panel: usize) -> &mut [f32] {
        let (col, end) = (panel * LANES, self.cols.min((panel + 1) * LANES));
        // SAFETY: the caller's.
        unsafe { self.y.range(i * self.stride + col, i * self.stride + end) }
    }
}

/// Applies the epilogue to sixteen columns of row `i` from `16 panel` on, in the order in which [`crate::matmul`] does.
#[inline(always)]
pub(super) fn finish<S: Simd>(out: &Output<'_>, i: usize, panel: usize, sum: S::V) {
    let (col, end) = (panel * LANES, out.cols.min((panel + 1) * LANES));
    let row = i * out.cols;
    // SAFETY: a panel's columns are its task's.
    let y = unsafe { out.columns(i, panel) };
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
