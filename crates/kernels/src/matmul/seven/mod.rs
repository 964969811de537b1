//! Large products by seven half-sized ones instead of eight, once: an eighth of the multiplications falls away (Strassen,
//! Gaussian Elimination is not Optimal, Numerische Mathematik 13, 1969).
//!
//! With A, B and C cut into quarters, each rounded up and filled with zeros:
//!
//! ```text
//! M1 = (A11 + A22) (B11 + B22)    C11 = M1 + M4 - M5 + M7
//! M2 = (A21 + A22)  B11           C12 = M3 + M5
//! M3 =  A11        (B12 - B22)    C21 = M2 + M4
//! M4 =  A22        (B21 - B11)    C22 = M1 - M2 + M3 + M6
//! M5 = (A11 + A12)  B22
//! M6 = (A21 - A11) (B11 + B12)
//! M7 = (A12 - A22) (B21 + B22)
//! ```
//!
//! The sums of A and B are made where these are packed, and a register tile's products go to the tiles of C that take them
//! before anything is stored, as Huang, Smith, Henry and van de Geijn have it (Strassen's Algorithm Reloaded, SC 2016): no
//! matrix exists that a plain product does not have.
//!
//! A row of C then depends, in its last bits, on the row that shares its sums. Gradients mix the rows of a batch anyway; what a
//! forward says about a token must not know the tokens after it. So [`super::matmul_gradient`] comes here and
//! [`super::matmul`] does not.

mod cut;
mod pack;

use super::ahead::Ahead;
use super::cut::panel_floats;
use super::tile::{Finish, Output, Target, Tile};
use super::{Epilogue, Mat};
use crate::pool::Pool;
use crate::simd::{LANES, simd_fn};
pub(super) use cut::{Cut, ROW, Shape, column, pays};

/// The quarters of C that take a product, as 2 * lower + right, and whether it is taken away from them.
const TAKERS: [&[(usize, bool)]; 7] = [
    &[(0, false), (3, false)],
    &[(2, false), (3, true)],
    &[(1, false), (3, false)],
    &[(0, false), (2, false)],
    &[(1, false), (0, true)],
    &[(3, false)],
    &[(0, false)],
];

/// The first product of each quarter.
const FIRST: [usize; 4] = [0, 2, 1, 0];

/// C = epilogue(A B).
pub(super) fn product(pool: &Pool, out: &Output<'_>, a: Mat<'_>, b: Mat<'_>) {
    let sizes = (a.rows, b.cols, a.cols);
    let cut = Cut::new(sizes, tile_shape(pool.isa()), pool.threads());
    let floats = cut.scratch();
    debug_assert!(
        floats <= super::matmul_gradient_scratch(sizes.0, sizes.1, sizes.2),
        "{cut:?}"
    );
    pool.run_with_scratch(cut.tasks(), floats, |task, scratch| {
        multiply(pool.isa(), out, a, b, &cut, task, scratch);
    });
}

simd_fn! {
    /// Rows and columns of the register tile, and the floats of a second-level cache.
    fn tile_shape[S]() -> Shape { Shape { mr: S::MR, nr: S::NR, cache: S::CACHE } }
}

/// A line of what is packed next: where it begins, and how far it is from there to what the next step of a tile asks for.
type Line = (*const f32, usize);

/// Line `turn` of the quarters of B that are packed next, from step `k` and column `col` on.
#[inline(always)]
fn line_of_b(b: &Mat<'_>, cut: &Cut, turn: usize, (k, col): (usize, usize)) -> Line {
    let (quarter, line) = (turn % 4, turn / 4);
    let (k, col) = (k + quarter / 2 * cut.k, col + quarter % 2 * cut.n);
    match b.col_stride == 1 {
        true => (b.address(k, col + line * LANES), b.row_stride),
        false => (b.address(k, col + line), 1),
    }
}

/// Line `turn` of the quarters of A that are packed next, from row `row` and step `k` on.
#[inline(always)]
fn line_of_a(a: &Mat<'_>, cut: &Cut, turn: usize, (row, k): (usize, usize)) -> Line {
    let (quarter, line) = (turn % 4, turn / 4);
    let (row, k) = (row + quarter / 2 * cut.m, k + quarter % 2 * cut.k);
    match a.col_stride == 1 {
        true => (a.address(row + line, k), 1),
        false => (a.address(row, k + line), 1),
    }
}

simd_fn! {
    /// All of a task: its part of each quarter of C, every step of the reduction.
    fn multiply[S](out: &Output<'_>, a: Mat<'_>, b: Mat<'_>, cut: &Cut, task: usize, scratch: &mut [f32]) {
        let (rows, all_cols) = cut.block(task);
        let accumulate = matches!(out.finish, Finish::Plain(Epilogue::Accumulate));
        let (packed_b, packed_a) = scratch.split_at_mut(cut.floats_of_b());
        let part = cut.part_of_a();
        let a_by_row = a.col_stride == 1;
        for step in 0..cut.steps {
            let steps = cut.range(step);
            let (k, depth) = (steps.start, steps.len());
            let (a_row, a_step) = if a_by_row { (ROW, 1) } else { (1, column(S::MR)) };
            pack::pack_a::<S>(packed_a, &a, cut, &rows, &steps);
            let next_k = (step + 1 < cut.steps).then_some(steps.end);
            let (mut turn_a, turns_a) = (0, 4 * if a_by_row { rows.len() } else { depth });
            for first_col in all_cols.clone().step_by(S::NR * cut.panels) {
                let cols = first_col..all_cols.end.min(first_col + S::NR * cut.panels);
                pack::pack_b::<S>(packed_b, &b, cut, &cols, &steps);
                let next_b = match next_k {
                    _ if cols.end < all_cols.end => Some((k, cols.end)),
                    Some(next_k) => Some((next_k, all_cols.start)),
                    None => None,
                };
                let (mut turn_b, turns_b) = (0, 4 * cols.len() / if b.col_stride == 1 { LANES } else { 1 });
                for (tile, row) in rows.clone().step_by(S::MR).enumerate() {
                    let sums_of_a = &packed_a[tile * 7 * part..];
                    for (panel, col) in cols.clone().step_by(S::NR).enumerate() {
                        let size = (S::MR.min(rows.end - row), S::NR.min(cols.end - col));
                        let mut targets = [cut.target(0, (row, col), size); 4];
                        for (quarter, target) in targets.iter_mut().enumerate() {
                            *target = Target {
                                first: step == 0 && !accumulate,
                                last: step + 1 == cut.steps,
                                ..cut.target(quarter, (row, col), size)
                            };
                        }
                        let mut quarters = [S::no_sums(); 4];
                        for (p, takers) in TAKERS.iter().enumerate() {
                            // Where the next tile's rows of A lie, and a line of what is packed next.
                            let next = if p < 6 || col + S::NR >= cols.end { p + 1 } else { 0 };
                            let (second, second_step) = match (next_b, next_k) {
                                (Some(at), _) if turn_b < turns_b && (turn_b <= turn_a || next_k.is_none()) => {
                                    turn_b += 1;
                                    line_of_b(&b, cut, turn_b - 1, at)
                                }
                                (_, Some(next_k)) if turn_a < turns_a => {
                                    turn_a += 1;
                                    line_of_a(&a, cut, turn_a - 1, (rows.start, next_k))
                                }
                                _ => (sums_of_a.as_ptr(), 0),
                            };
                            let tile = Tile {
                                a: &sums_of_a[p * part..],
                                a_row,
                                a_step,
                                b: &packed_b[(7 * panel + p) * panel_floats(S::NR, depth)..],
                                b_step: S::NR,
                                depth,
                                rows: size.0,
                                ahead: Ahead {
                                    first: sums_of_a.as_ptr().wrapping_add(next * part),
                                    first_step: LANES,
                                    second,
                                    second_step,
                                },
                            };
                            if p >= 3 {
                                S::approach(&targets[p - 3], out);
                            }
                            let mut sums = S::no_sums();
                            S::tile::<true>(&tile, &mut sums);
                            let sums = S::vectors(&mut sums);
                            for &(quarter, negative) in *takers {
                                let taker = S::vectors(&mut quarters[quarter]);
                                for (taker, &sum) in taker.iter_mut().zip(&*sums) {
                                    *taker = match (FIRST[quarter] == p, negative) {
                                        (true, _) => sum,
                                        (false, false) => S::add(*taker, sum),
                                        (false, true) => S::sub(*taker, sum),
                                    };
                                }
                            }
                        }
                        for (target, sums) in targets.iter().zip(&quarters) {
                            if target.rows > 0 && target.cols > 0 {
                                S::finish(target, out, sums);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
