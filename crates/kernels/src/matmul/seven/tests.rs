use super::*;
use crate::isa::Isa;
use crate::matmul::{
    TILES, matmul, matmul_gelu_backward, matmul_gradient, matmul_gradient_scratch, matmul_reference, matmul_scratch,
};

fn numbers(n: usize, seed: f32) -> Vec<f32> {
    (0..n).map(|i| ((i as f32 + seed) * 0.731).sin()).collect()
}

/// Even and odd sizes, halves that end within a tile, more blocks than one of rows, columns and steps.
const SIZES: [(usize, usize, usize); 4] = [(256, 256, 512), (257, 289, 519), (811, 259, 777), (263, 513, 1601)];

/// Runs `check` with every orientation of A (m,k) and B (k,n).
fn each_orientation((m, n, k): (usize, usize, usize), check: impl Fn(Mat<'_>, Mat<'_>, &str)) {
    let (a, b) = (numbers(m * k, 0.0), numbers(k * n, 5.0));
    for orientation in 0..4 {
        let a = match orientation & 1 {
            0 => Mat::new(&a, m, k),
            _ => Mat::new(&a, k, m).t(),
        };
        let b = match orientation & 2 {
            0 => Mat::new(&b, k, n),
            _ => Mat::new(&b, n, k).t(),
        };
        check(a, b, &format!("{m}x{n}x{k}, orientation {orientation}"));
    }
}

/// Every orientation and tail on every set, against f64, and one thread against three to the last bit.
#[test]
fn products_by_seven_agree_with_f64_whatever_the_threads() {
    for isa in Isa::available() {
        let (one, three) = (Pool::with_isa(1, isa), Pool::with_isa(3, isa));
        for size in SIZES {
            let (m, n, k) = size;
            assert!(pays(m, n, k), "{m}x{n}x{k}");
            let (other, bias) = (numbers(m * n, 2.0), numbers(n, 9.0));
            each_orientation(size, |a, b, what| {
                let mut want = vec![0.0; m * n];
                matmul_reference(&mut want, a, b, Epilogue::Store);
                let run = |pool: &Pool, epilogue: Epilogue<'_>| {
                    let mut c = other.clone();
                    matmul_gradient(pool, &mut c, a, b, epilogue);
                    c
                };
                let check = |epilogue: Epilogue<'_>, want_of: &dyn Fn(usize) -> f32| {
                    let c = run(&three, epilogue);
                    for (i, &c) in c.iter().enumerate() {
                        let want = want_of(i);
                        let bound = 8e-6 * (1.0 + want.abs()) * (k as f32).sqrt();
                        assert!(
                            (c - want).abs() <= bound,
                            "{isa:?} {what} {epilogue:?} at {i}: {c}, want {want}"
                        );
                    }
                };
                check(Epilogue::Store, &|i| want[i]);
                check(Epilogue::Accumulate, &|i| want[i] + other[i]);
                check(Epilogue::Multiply { factor: &other }, &|i| want[i] * other[i]);
                check(Epilogue::Bias(&bias), &|i| want[i] + bias[i % n]);
                let (one, three) = (run(&one, Epilogue::Store), run(&three, Epilogue::Store));
                assert!(
                    one.iter()
                        .zip(&three)
                        .all(|(one, three)| one.to_bits() == three.to_bits()),
                    "{isa:?} {what}"
                );
            });
        }
    }
}

/// Rows share sums: one of zeros does not stay zeros, as it would in a product row by row. This is how the tests know
/// which of the two ran.
#[test]
fn large_gradients_are_made_of_seven_and_nothing_else_is() {
    let pool = Pool::with_isa(2, Isa::available()[0]);
    let zeros_stay = |(m, n, k): (usize, usize, usize), by_seven: bool| {
        let (mut a, b) = (numbers(m * k, 1.0), numbers(k * n, 3.0));
        a[..k].fill(0.0);
        let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, k, n));
        let mut c = vec![1.0; m * n];
        match by_seven {
            true => matmul_gradient(&pool, &mut c, a, b, Epilogue::Store),
            false => matmul(&pool, &mut c, a, b, Epilogue::Store),
        }
        assert!(c[..n].iter().all(|c| c.abs() < 1e-3), "{m}x{n}x{k}");
        c[..n].iter().all(|&c| c == 0.0)
    };
    assert!(!zeros_stay((256, 256, 512), true));
    for small in [(255, 256, 512), (256, 255, 512), (256, 256, 511)] {
        assert!(zeros_stay(small, true), "{small:?}");
    }
    assert!(zeros_stay((512, 512, 1024), false));
}

/// The same numbers whichever set with fused multiply-adds computes them, though their tiles differ.
#[test]
fn bits_do_not_depend_on_the_vector_set() {
    let fused: Vec<Isa> = Isa::available()
        .into_iter()
        .filter(|&isa| isa != Isa::Portable)
        .collect();
    for size in SIZES {
        let (m, n, _) = size;
        each_orientation(size, |a, b, what| {
            let run = |isa| {
                let (mut gelu, mut pre) = (vec![0.0; m * n], numbers(m * n, 4.0));
                matmul_gelu_backward(&Pool::with_isa(2, isa), &mut gelu, &mut pre, a, b);
                pre.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            };
            assert!(fused.windows(2).all(|two| run(two[0]) == run(two[1])), "{what}");
        });
    }
}

/// Every element of a quarter belongs to one task, and what is packed fits, whatever the set.
#[test]
fn tasks_cover_a_quarter_once_and_fit_the_scratch() {
    for (mr, nr, cache) in TILES {
        for (m, n, k) in [
            (256, 256, 512),
            (301, 700, 50_257),
            (4096, 768, 3072),
            (3072, 768, 4096),
            (50_257, 768, 512),
        ] {
            for threads in [1, 2, 7] {
                let cut = Cut::new((m, n, k), Shape { mr, nr, cache }, threads);
                let mut owned = 0;
                let (mut last_row, mut last_col) = (0, 0);
                for task in 0..cut.tasks() {
                    let (rows, cols) = cut.block(task);
                    assert!(rows.start % mr == 0 && cols.start % nr == 0 && !rows.is_empty() && !cols.is_empty());
                    owned += rows.len() * cols.len();
                    (last_row, last_col) = (last_row.max(rows.end), last_col.max(cols.end));
                }
                assert_eq!((owned, last_row, last_col), (cut.m * cut.n, cut.m, cut.n), "{cut:?}");
                assert_eq!(
                    (0..cut.steps).map(|step| cut.range(step).len()).sum::<usize>(),
                    cut.k,
                    "{cut:?}"
                );
                assert!(cut.scratch() <= matmul_gradient_scratch(m, n, k), "{cut:?}");
            }
        }
    }
    assert_eq!(matmul_gradient_scratch(255, 256, 512), matmul_scratch(255, 256, 512));
}
