use super::*;
use crate::isa::Isa;

fn numbers(n: usize, seed: f32) -> Vec<f32> {
    (0..n)
        .map(|i| ((i as f32 + seed) * 0.731).sin() * (1.0 + (i % 7) as f32))
        .collect()
}

fn step(pool: &Pool, weight: &[f32], update: &[f32], shape: MuonShape, rates: (f64, f64)) -> Vec<f32> {
    let (mut weight, mut scratch) = (weight.to_vec(), vec![f32::NAN; shape.scratch()]);
    muon(pool, &mut weight, update, shape, rates, &mut scratch);
    weight
}

/// Three steps of `torch.optim.Muon` (2.15, `adjust_lr_fn="match_rms_adamw"`) with its iteration in f64: the numbers are
/// from `tests/fixtures/muon.py`. As it comes, in bf16, PyTorch is up to 3e-3 away from them.
#[test]
fn three_steps_are_pytorch_s() {
    let wide = [
        -0.0120616, 0.0922332, 0.2031182, 0.3100353, 0.4060744, 0.4942749, 0.5853151, 0.6865533, 0.7963006, 0.9050448,
        1.0045242, 1.0942884, 1.1832479, 1.2810029, 1.3890667,
    ];
    let tall = [
        -0.0105586, 0.0998128, 0.2098057, 0.3066765, 0.4000746, 0.491202, 0.5901897, 0.6905066, 0.795698, 0.8984485,
        1.0020396, 1.0982501, 1.1914332, 1.2816228, 1.3815513,
    ];
    for isa in Isa::available() {
        let pool = Pool::with_isa(2, isa);
        for (rows, cols, want) in [(3, 5, wide), (5, 3, tall)] {
            let shape = MuonShape { rows, cols, blocks: 1 };
            let mut weight: Vec<f32> = (0..15).map(|i| i as f32 / 10.0).collect();
            let mut m = [0.0; 15];
            for s in 0..3 {
                // Twice the gradient, scaled by a half: as clipping does.
                let mut grad: Vec<f32> = (0..15).map(|i| 2.0 * f64::from(1 + i + 7 * s).sin() as f32).collect();
                muon_momentum(&pool, &mut m, &mut grad, 0.5);
                weight = step(&pool, &weight, &grad, shape, (0.02, 0.1));
            }
            for (got, want) in weight.iter().zip(want) {
                assert!(
                    (f64::from(*got) - want).abs() < 1e-6,
                    "{isa:?} {rows}x{cols}: {got}, want {want}"
                );
            }
        }
    }
}

/// A matrix and its transpose take the same step, and matrices side by side take each their own.
#[test]
fn a_step_depends_neither_on_the_way_round_nor_on_neighbours() {
    let pool = Pool::new(2).unwrap();
    let (rows, width) = (9, 21);
    let shape = |rows, cols, blocks| MuonShape { rows, cols, blocks };
    let part = |part: usize, seed: f32| numbers(rows * width, seed + 1e3 * part as f32);
    let parts: Vec<[Vec<f32>; 2]> = (0..3).map(|i| [part(i, 3.0), part(i, 50.0)]).collect();
    let [weights, updates] = [0, 1].map(|which| -> Vec<f32> {
        let row = |part: &[Vec<f32>; 2], row: usize| part[which][row * width..(row + 1) * width].to_vec();
        (0..rows)
            .flat_map(|i| parts.iter().flat_map(move |part| row(part, i)))
            .collect()
    });
    let fused = step(&pool, &weights, &updates, shape(rows, 3 * width, 3), (0.02, 0.1));
    for (part, [weight, update]) in parts.iter().enumerate() {
        let alone = step(&pool, weight, update, shape(rows, width, 1), (0.02, 0.1));
        let transposed =
            |x: &[f32]| -> Vec<f32> { (0..rows * width).map(|i| x[i % rows * width + i / rows]).collect() };
        let other = step(
            &pool,
            &transposed(weight),
            &transposed(update),
            shape(width, rows, 1),
            (0.02, 0.1),
        );
        for (i, alone) in alone.iter().enumerate() {
            let (row, col) = (i / width, i % width);
            assert_eq!(alone.to_bits(), fused[row * 3 * width + part * width + col].to_bits());
            assert!((alone - other[col * rows + row]).abs() < 1e-6);
        }
    }
}

/// The rows of a step are nearly orthonormal, whatever the size of the gradient; a zero one moves nothing.
#[test]
fn a_step_is_nearly_orthogonal_and_as_large_as_the_rate_says() {
    let pool = Pool::new(1).unwrap();
    let (rows, cols) = (24, 60);
    let shape = MuonShape { rows, cols, blocks: 1 };
    let random = Stream {
        seed: 4,
        step: 0,
        purpose: 0,
    };
    let mut update = vec![0.0; rows * cols];
    for std in [1e-4, 1.0, 1e4] {
        random.normals(0, std, &mut update);
        let stepped = step(&pool, &vec![0.0; rows * cols], &update, shape, (1.0, 0.0));
        let mean_square = stepped.iter().map(|x| x * x).sum::<f32>() / (rows * cols) as f32;
        // An orthogonal one has exactly 0.2.
        assert!((mean_square.sqrt() - 0.2).abs() < 0.05, "{std}: {mean_square}");
        let unit = 0.2 * (cols as f32).sqrt();
        for i in 0..rows {
            for j in 0..rows {
                let rows = stepped[i * cols..(i + 1) * cols].iter().zip(&stepped[j * cols..]);
                let dot = rows.map(|(a, b)| a / unit * b / unit).sum::<f32>();
                let bound = if i == j { 0.5..1.5 } else { -0.3..0.3 };
                assert!(bound.contains(&dot), "{std}: rows {i} and {j}: {dot}");
            }
        }
    }
    let weight = numbers(rows * cols, 0.0);
    let decayed = step(&pool, &weight, &vec![0.0; rows * cols], shape, (0.5, 0.1));
    assert!(decayed.iter().zip(&weight).all(|(new, old)| *new == old * 0.95));
}

/// The update is that of the f32 kernel, and the momentum is its own, rounded by the stream's bits.
#[test]
fn bf16_momentum_is_the_f32_one_rounded() {
    let stream = Stream {
        seed: 2,
        step: 8,
        purpose: 1,
    };
    let n = CHUNK + 77;
    let m: Vec<u16> = numbers(n, 1.0).iter().map(|x| (x.to_bits() >> 16) as u16).collect();
    for isa in Isa::available() {
        let pool = Pool::with_isa(2, isa);
        let mut want_m: Vec<f32> = m.iter().map(|&x| crate::bf16_to_f32(x)).collect();
        let (mut want, mut update, mut m) = (numbers(n, 9.0), numbers(n, 9.0), m.clone());
        muon_momentum(&pool, &mut want_m, &mut want, 0.3);
        muon_momentum_bf16(&pool, &mut m, &mut update, 0.3, stream);
        for i in 0..n {
            assert_eq!(update[i].to_bits(), want[i].to_bits(), "{isa:?} at {i}");
            let bits = crate::rounding_word(&stream, i as u64) as u16;
            assert_eq!(m[i], crate::round_to_bf16(want_m[i], bits), "{isa:?} at {i}");
        }
    }
}

#[test]
fn flops_are_those_of_the_products() {
    // GPT-2 124M: 1.6 TFLOP a step.
    let layer = [(768, 2304, 3), (768, 768, 1), (768, 3072, 1), (3072, 768, 1)];
    let layer = layer.map(|(rows, cols, blocks)| MuonShape { rows, cols, blocks }.flops());
    assert_eq!(12.0 * layer.iter().sum::<f64>(), 12.0 * 5.0 * 60.0 * 768f64.powi(3));
}
