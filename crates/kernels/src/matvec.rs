//! Products with few rows, for generation: every weight is read once from memory, and that is what they cost.

use crate::gelu::gelu;
use crate::pool::Pool;
use crate::simd::{LANES, Simd, load, simd_fn, store};

/// Rows up to which these beat the matmul; measured against one that packed every weight.
pub const MATVEC_ROWS: usize = 8;
/// Least steps of the reduction that one task sums; chunks are added in order, so it is part of the bits.
const STEPS: usize = 64;
/// Rows of the weight that one pass over y adds, so that y is loaded and stored once for all of them. Zen 4, one thread,
/// (3072,768): 8 rows 25 GB/s, 4 rows 19; asking for lines ahead of the sum lost 10 to 20%.
const ROWS: usize = 8;
/// Most chunks that a reduction is cut into: each writes a whole y, which the second pass reads again.
const CHUNKS: usize = 16;
/// Columns a task of the second pass adds up.
const COLS: usize = 256;
/// Output columns a task of the transposed product owns.
const LINES: usize = 64;

/// What becomes of a product with few rows.
#[derive(Clone, Copy, Debug)]
pub enum MatvecEpilogue<'a> {
    /// y = x W + bias
    Bias(&'a [f32]),
    /// y = gelu(x W + bias)
    BiasGelu(&'a [f32]),
    /// y += x W + bias
    BiasResidual(&'a [f32]),
}

/// y (M,out) from x (M,in) and weight (in,out) as a GPT-2 layer stores it, for M up to [`MATVEC_ROWS`].
///
/// Tasks cut the reduction, not the columns, so that each streams one contiguous piece of the weight. Bytes: the weight.
///
/// # Panics
/// Where shapes differ.
pub fn matvec(pool: &Pool, y: &mut [f32], x: &[f32], weight: &[f32], epilogue: MatvecEpilogue<'_>) {
    let (MatvecEpilogue::Bias(bias) | MatvecEpilogue::BiasGelu(bias) | MatvecEpilogue::BiasResidual(bias)) = epilogue;
    let n = bias.len();
    let m = y.len() / n;
    let k = x.len() / m;
    let _timed = pool.timed("matvec", [m, k, n], |[m, k, n]| {
        (2 * m * k * n, 4 * (m * k + k * n + m * n + n))
    });
    assert_eq!(
        (y.len(), x.len(), weight.len()),
        (m * n, m * k, k * n),
        "y (M,out), x (M,in), weight (in,out)"
    );
    let steps = steps_of(k);
    let mut sums = pool.partial_sums();
    let partial = sums.at_least(matvec_scratch(m, n, k));
    pool.run_chunks(partial, m * n, |chunk, part| {
        let (start, end) = (chunk * steps, k.min((chunk + 1) * steps));
        partial_product(pool.isa(), part, x, &weight[start * n..end * n], start, k);
    });
    let partial = &*partial;
    pool.run_chunks(y, COLS, |task, y| {
        add_up(pool.isa(), y, partial, task * COLS, m * n, epilogue)
    });
}

/// Floats of partial sums that y (M,N) = x (M,K) W takes; they lie in a buffer of the [`Pool`].
pub fn matvec_scratch(m: usize, n: usize, k: usize) -> usize {
    k.div_ceil(steps_of(k)) * m * n
}

/// Steps of the reduction that one task sums: part of the bits, a function of K alone.
fn steps_of(k: usize) -> usize {
    k.div_ceil(CHUNKS).next_multiple_of(ROWS).max(STEPS)
}

/// y (M,V) = x (M,d) weightᵀ, weight (V,d): the head. Bytes: the weight.
///
/// # Panics
/// Where shapes differ.
pub fn matvec_transposed(pool: &Pool, y: &mut [f32], x: &[f32], weight: &[f32], d: usize) {
    let (m, v) = (x.len() / d, weight.len() / d);
    let work = |[m, d, v]: [u64; 3]| (2 * m * d * v, 4 * (m * d + d * v + m * v));
    let _timed = pool.timed("matvec_transposed", [m, d, v], work);
    assert_eq!(
        (x.len(), weight.len(), y.len()),
        (m * d, v * d, m * v),
        "x (M,d), weight (V,d), y (M,V)"
    );
    let shards = crate::pool::Shards::new(y);
    pool.run(v.div_ceil(LINES), |task| {
        let (start, end) = (task * LINES, v.min((task + 1) * LINES));
        for (i, x) in x.chunks_exact(d).enumerate() {
            // SAFETY: these columns of row i are this task's.
            let y = unsafe { shards.range(i * v + start, i * v + end) };
            dot_lines(pool.isa(), y, x, &weight[start * d..end * d]);
        }
    });
}

simd_fn! {
    fn partial_product[S](part: &mut [f32], x: &[f32], weight: &[f32], start: usize, k: usize) {
        let m = x.len() / k;
        let n = part.len() / m;
        part.fill(0.0);
        let steps = weight.len() / n;
        let mut s = 0;
        while s < steps {
            let rows = if s + ROWS <= steps { ROWS } else { 1 };
            let lines = &weight[s * n..(s + rows) * n];
            for i in 0..m {
                let (y, x) = (&mut part[i * n..(i + 1) * n], &x[i * k + start + s..]);
                if rows == ROWS {
                    axpy::<S, ROWS>(y, x, lines);
                } else {
                    axpy::<S, 1>(y, x, lines);
                }
            }
            s += rows;
        }
    }
}

/// y += x[0] lines[0] + … of `R` lines that lie one behind the other, added in order.
#[inline(always)]
fn axpy<S: Simd, const R: usize>(y: &mut [f32], x: &[f32], lines: &[f32]) {
    let n = y.len();
    let mut factors = [S::splat(0.0); R];
    let mut w = [&lines[..n]; R];
    for r in 0..R {
        factors[r] = S::splat(x[r]);
        w[r] = &lines[r * n..(r + 1) * n];
    }
    for j in (0..n).step_by(LANES) {
        let mut sum = load::<S>(&y[j..]);
        for r in 0..R {
            sum = S::fma(factors[r], load::<S>(&w[r][j..]), sum);
        }
        store::<S>(&mut y[j..], sum);
    }
}

simd_fn! {
    fn add_up[S](y: &mut [f32], partial: &[f32], start: usize, size: usize, epilogue: MatvecEpilogue<'_>) {
        let len = y.len();
        for j in (0..len).step_by(LANES) {
            let at = start + j;
            let end = size.min(start + len);
            let mut sum = S::splat(0.0);
            for part in partial.chunks_exact(size) {
                sum = S::add(sum, load::<S>(&part[at..end]));
            }
            let (MatvecEpilogue::Bias(bias) | MatvecEpilogue::BiasGelu(bias) | MatvecEpilogue::BiasResidual(bias)) = epilogue;
            let n = bias.len();
            let column = at % n;
            let bias = if column + LANES <= n {
                load::<S>(&bias[column..])
            } else {
                // The lanes lie over the end of a row of y.
                let mut lanes = [0.0; LANES];
                for (l, lane) in lanes.iter_mut().enumerate().take(LANES.min(len - j)) {
                    *lane = bias[(column + l) % n];
                }
                load::<S>(&lanes)
            };
            sum = S::add(sum, bias);
            match epilogue {
                MatvecEpilogue::Bias(_) => {}
                MatvecEpilogue::BiasGelu(_) => sum = gelu::<S>(sum),
                MatvecEpilogue::BiasResidual(_) => sum = S::add(load::<S>(&y[j..]), sum),
            }
            store::<S>(&mut y[j..], sum);
        }
    }
}

simd_fn! {
    fn dot_lines[S](y: &mut [f32], x: &[f32], weight: &[f32]) {
        let d = x.len();
        for (y, w) in y.iter_mut().zip(weight.chunks_exact(d)) {
            // Four sums, so that the additions do not wait for each other.
            let mut sums = [S::splat(0.0); 4];
            let mut j = 0;
            while j + 4 * LANES <= d {
                for s in 0..4 {
                    let at = j + s * LANES;
                    sums[s] = S::fma(load::<S>(&x[at..]), load::<S>(&w[at..]), sums[s]);
                }
                j += 4 * LANES;
            }
            while j < d {
                sums[0] = S::fma(load::<S>(&x[j..]), load::<S>(&w[j..]), sums[0]);
                j += LANES;
            }
            *y = S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gelu::gelu_reference;
    use crate::isa::Isa;

    #[test]
    fn agrees_with_f64_at_every_tail() {
        for isa in Isa::available() {
            let pool = Pool::with_isa(2, isa);
            for (m, n, k) in [
                (1, 1, 1),
                (1, 60, 60),
                (1, 101, 67),
                (3, 180, 130),
                (8, 33, 200),
                (1, 2500, 70),
                (2, 40, 1100),
            ] {
                let f = |n: usize, s: f32| (0..n).map(|i| (i as f32 * s).sin()).collect::<Vec<f32>>();
                let (x, w, bias, before) = (f(m * k, 0.3), f(k * n, 0.7), f(n, 0.9), f(m * n, 1.1));
                let sum = |i: usize, j: usize| {
                    (0..k)
                        .map(|s| f64::from(x[i * k + s]) * f64::from(w[s * n + j]))
                        .sum::<f64>()
                        + f64::from(bias[j])
                };
                let check = |epilogue, want: &dyn Fn(usize) -> f64| {
                    let mut y = before.clone();
                    matvec(&pool, &mut y, &x, &w, epilogue);
                    for (at, y) in y.iter().enumerate() {
                        assert!(
                            (f64::from(*y) - want(at)).abs() < 2e-5,
                            "{isa:?} {m} {n} {k} {epilogue:?} at {at}"
                        );
                    }
                };
                check(MatvecEpilogue::Bias(&bias), &|at| sum(at / n, at % n));
                check(MatvecEpilogue::BiasGelu(&bias), &|at| {
                    gelu_reference(sum(at / n, at % n))
                });
                check(MatvecEpilogue::BiasResidual(&bias), &|at| {
                    sum(at / n, at % n) + f64::from(before[at])
                });
                let wt: Vec<f32> = (0..n * k).map(|i| w[i % k * n + i / k]).collect();
                let mut y = vec![0.0; m * n];
                matvec_transposed(&pool, &mut y, &x, &wt, k);
                for (at, y) in y.iter().enumerate() {
                    let want = sum(at / n, at % n) - f64::from(bias[at % n]);
                    assert!((f64::from(*y) - want).abs() < 2e-5, "{isa:?} head at {at}");
                }
            }
        }
    }

    #[test]
    fn every_number_of_threads_and_avx2_and_avx512_give_the_same_bits() {
        let f = |n: usize, s: f32| (0..n).map(|i| (i as f32 * s).sin()).collect::<Vec<f32>>();
        let (m, n, k) = (2, 301, 1100);
        let (x, w, bias) = (f(m * k, 0.3), f(k * n, 0.7), f(n, 0.9));
        let run = |threads, isa| {
            let pool = Pool::with_isa(threads, isa);
            let (mut y, mut head) = (vec![0.0; m * n], vec![0.0; m * n]);
            matvec(&pool, &mut y, &x, &w, MatvecEpilogue::BiasGelu(&bias));
            matvec_transposed(&pool, &mut head, &x, &w, k);
            y.extend(head);
            y.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        };
        for isa in Isa::available() {
            assert_eq!(run(1, isa), run(3, isa), "{isa:?}");
        }
        let vectors: Vec<Isa> = Isa::available()
            .into_iter()
            .filter(|isa| *isa != Isa::Portable)
            .collect();
        assert!(vectors.windows(2).all(|w| run(1, w[0]) == run(2, w[1])));
    }
}
