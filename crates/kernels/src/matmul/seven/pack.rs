//! The sums of quarters that the seven products take, made while A and B are packed.

use super::cut::{Cut, ROW, column};
use crate::matmul::Mat;
use crate::matmul::cut::panel_floats;
use crate::matmul::pack::pack_panel;
use crate::simd::{LANES, Simd, load, store};
use std::ops::Range;

/// Rows that packing asks for ahead of those it reads, of B and of A by column, whose rows are short.
const ROWS_AHEAD: usize = 8;

/// What M1 to M7 take of (A11, A12, A21, A22).
#[inline(always)]
fn sums_of_a<S: Simd>([a11, a12, a21, a22]: [S::V; 4]) -> [S::V; 7] {
    [
        S::add(a11, a22),
        S::add(a21, a22),
        a11,
        a22,
        S::add(a11, a12),
        S::sub(a21, a11),
        S::sub(a12, a22),
    ]
}

/// What M1 to M7 take of (B11, B12, B21, B22).
#[inline(always)]
fn sums_of_b<S: Simd>([b11, b12, b21, b22]: [S::V; 4]) -> [S::V; 7] {
    [
        S::add(b11, b22),
        b11,
        S::sub(b12, b22),
        S::sub(b21, b11),
        b22,
        S::add(b11, b12),
        S::add(b21, b22),
    ]
}

/// A part of a quarter: where it begins, and how much of it is there.
#[derive(Clone, Copy)]
struct Part<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
}

/// The same rows and columns of all four quarters, `half` apart; less, or nothing, past the matrix's end.
#[inline(always)]
fn parts<'a>(matrix: &'a Mat<'_>, rows: &Range<usize>, cols: &Range<usize>, half: (usize, usize)) -> [Part<'a>; 4] {
    let mut parts = [Part {
        data: &[],
        rows: 0,
        cols: 0,
    }; 4];
    for (quarter, part) in parts.iter_mut().enumerate() {
        let (row, col) = (rows.start + quarter / 2 * half.0, cols.start + quarter % 2 * half.1);
        part.rows = rows.len().min(matrix.rows.saturating_sub(row));
        part.cols = cols.len().min(matrix.cols.saturating_sub(col));
        if part.rows > 0 && part.cols > 0 {
            part.data = matrix.from(row, col);
        }
    }
    parts
}

/// Packs the sums of the four quarters' `rows` and `steps`: tile after tile seven parts, each as rows, or as columns where
/// A's columns lie together.
#[inline(always)]
pub(super) fn pack_a<S: Simd>(packed: &mut [f32], a: &Mat<'_>, cut: &Cut, rows: &Range<usize>, steps: &Range<usize>) {
    let (part, depth) = (cut.part_of_a(), steps.len());
    let quarters = parts(a, rows, steps, (cut.m, cut.k));
    if a.col_stride == 1 {
        for row in 0..rows.len() {
            let to = row / S::MR * 7 * part + row % S::MR * ROW;
            let mut lines: [&[f32]; 4] = [&[]; 4];
            for (line, quarter) in lines.iter_mut().zip(&quarters) {
                if row < quarter.rows {
                    *line = &quarter.data[row * a.row_stride..][..quarter.cols];
                }
            }
            pack_lines::<S>(&mut packed[to..], part, lines, depth, 2 * a.row_stride);
        }
        return;
    }
    for step in 0..depth {
        for (tile, row) in (0..rows.len()).step_by(S::MR).enumerate() {
            let to = tile * 7 * part + step * column(S::MR);
            let count = S::MR.min(rows.len() - row);
            let mut lines: [&[f32]; 4] = [&[]; 4];
            for (line, quarter) in lines.iter_mut().zip(&quarters) {
                if step < quarter.cols && row < quarter.rows {
                    *line = &quarter.data[step * a.col_stride + row..];
                    // Past the tile's end lies the next one: a whole vector is read where there is one.
                    if quarter.rows - row < count || line.len() < LANES {
                        *line = &line[..count.min(quarter.rows - row)];
                    } else {
                        *line = &line[..count.max(LANES)];
                    }
                }
            }
            pack_lines::<S>(&mut packed[to..], part, lines, count, ROWS_AHEAD * a.col_stride);
        }
    }
}

/// Seven sums of four lines, of which at least `count` floats are wanted, to places `part` floats apart. A line may be longer,
/// or end earlier: zeros follow. What is written past `count` is no part of the result.
#[inline(always)]
fn pack_lines<S: Simd>(to: &mut [f32], part: usize, lines: [&[f32]; 4], count: usize, ahead: usize) {
    let whole = count.next_multiple_of(LANES);
    assert!(to.len() >= 6 * part + whole);
    for at in (0..whole).step_by(LANES) {
        let mut of = [S::splat(0.0); 4];
        for quarter in 0..4 {
            let line = &lines[quarter][at.min(lines[quarter].len())..];
            S::prefetch::<1>(line.as_ptr().wrapping_add(ahead));
            of[quarter] = load::<S>(line);
        }
        let sums = sums_of_a::<S>(of);
        for (p, &sum) in sums.iter().enumerate() {
            // SAFETY: `whole` floats are there at each of the seven places.
            unsafe { S::store_ptr(to.as_mut_ptr().add(p * part + at), sum) }
        }
    }
}

/// Packs the sums of the four quarters' `steps` and `cols`: panel after panel seven of them.
#[inline(always)]
pub(super) fn pack_b<S: Simd>(packed: &mut [f32], b: &Mat<'_>, cut: &Cut, cols: &Range<usize>, steps: &Range<usize>) {
    let (part, depth) = (panel_floats(S::NR, steps.len()), steps.len());
    for (panel, col) in cols.clone().step_by(S::NR).enumerate() {
        let to = &mut packed[7 * panel * part..7 * (panel + 1) * part];
        let quarters = parts(b, steps, &(col..cols.end.min(col + S::NR)), (cut.k, cut.n));
        let full = quarters[3].rows == depth && quarters[3].cols == S::NR;
        if full && b.col_stride == 1 {
            pack_rows::<S>(to, part, &quarters, depth, b.row_stride);
        } else {
            pack_quarters::<S>(to, part, &quarters, depth, (b.col_stride, b.row_stride));
        }
    }
}

/// Whole rows of a panel.
#[inline(always)]
fn pack_rows<S: Simd>(to: &mut [f32], part: usize, quarters: &[Part<'_>; 4], depth: usize, stride: usize) {
    for step in 0..depth {
        for v in (0..S::NR).step_by(LANES) {
            let mut of = [S::splat(0.0); 4];
            for quarter in 0..4 {
                let line = &quarters[quarter].data[step * stride + v..];
                S::prefetch::<1>(line.as_ptr().wrapping_add(ROWS_AHEAD * stride));
                of[quarter] = load::<S>(line);
            }
            let sums = sums_of_b::<S>(of);
            for (p, &sum) in sums.iter().enumerate() {
                store::<S>(&mut to[p * part + step * S::NR + v..], sum);
            }
        }
    }
}

/// What must be transposed, or filled with zeros: the quarters first, in the places of M2 to M5, then their sums.
#[inline(always)]
fn pack_quarters<S: Simd>(
    to: &mut [f32],
    part: usize,
    quarters: &[Part<'_>; 4],
    depth: usize,
    strides: (usize, usize),
) {
    for (panel, quarter) in to[part..].chunks_exact_mut(part).zip(quarters) {
        if quarter.rows < depth || quarter.cols == 0 {
            panel[..depth * S::NR].fill(0.0);
        }
        if quarter.rows > 0 && quarter.cols > 0 {
            pack_panel::<S>(panel, quarter.data, S::NR, quarter.cols, quarter.rows, strides);
        }
    }
    for at in (0..depth * S::NR).step_by(LANES) {
        let mut of = [S::splat(0.0); 4];
        for quarter in 0..4 {
            of[quarter] = load::<S>(&to[(1 + quarter) * part + at..]);
        }
        let sums = sums_of_b::<S>(of);
        for (p, &sum) in sums.iter().enumerate() {
            store::<S>(&mut to[p * part + at..], sum);
        }
    }
}
