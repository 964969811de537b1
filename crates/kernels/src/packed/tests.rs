use super::*;
use crate::isa::Isa;
use crate::matmul::{Epilogue, Mat, matmul};

fn numbers(n: usize, seed: f32) -> Vec<f32> {
    (0..n).map(|i| ((i as f32 + seed) * 0.731).sin()).collect()
}

/// Rows of blocks with bytes of every kind and scales near 0.01.
fn blocks(kind: PackedType, rows: usize, cols: usize) -> Vec<u8> {
    let row = kind.row_bytes(cols).unwrap();
    let mut bytes: Vec<u8> = (0..rows * row)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect();
    for (b, block) in bytes.chunks_exact_mut(kind.block().1).enumerate() {
        let number = ((b * 37 % 101) as f32 - 50.0) * 3e-4;
        if kind == PackedType::F32 {
            block.copy_from_slice(&number.to_le_bytes());
            continue;
        }
        for half in block[..if kind.quantised() { kind.head() } else { 2 }].chunks_exact_mut(2) {
            let bits = match kind {
                PackedType::BF16 => (number.to_bits() >> 16) as u16,
                _ => f16::from_f32(number).to_bits(),
            };
            half.copy_from_slice(&bits.to_le_bytes());
        }
        if kind == PackedType::Q8_0 {
            block[2..]
                .iter_mut()
                .for_each(|q| *q = if *q == 0x80 { 0x81 } else { *q });
        }
    }
    bytes
}

fn pack(pool: &Pool, kind: PackedType, rows: usize, cols: usize, bytes: &[u8]) -> PackedMatrix {
    let row = kind.row_bytes(cols).unwrap();
    let mut packing = Packing::try_new([(kind, [rows, cols])]).unwrap();
    packing.pack(pool, kind, [rows, cols], |first, out| {
        out.copy_from_slice(&bytes[first * row..][..out.len()]);
    });
    packing.finish().remove(0)
}

/// The blocks by their definition.
fn by_definition(kind: PackedType, bytes: &[u8]) -> Vec<f32> {
    let number = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).to_f32();
    let nibbles = |b: &[u8]| -> Vec<f32> {
        let low = b.iter().map(|b| f32::from(b & 15));
        low.chain(b.iter().map(|b| f32::from(b >> 4))).collect()
    };
    bytes
        .chunks_exact(kind.block().1)
        .flat_map(|b| match kind {
            PackedType::F32 => vec![f32::from_le_bytes([b[0], b[1], b[2], b[3]])],
            PackedType::F16 => vec![number(b)],
            PackedType::BF16 => vec![bf16_to_f32(u16::from_le_bytes([b[0], b[1]]))],
            PackedType::Q8_0 => b[2..].iter().map(|&q| number(b) * f32::from(q as i8)).collect(),
            PackedType::Q4_0 => nibbles(&b[2..]).iter().map(|q| number(b) * (q - 8.0)).collect(),
            PackedType::Q4_1 => nibbles(&b[4..])
                .iter()
                .map(|q| number(b) * q + number(&b[2..]))
                .collect(),
        })
        .collect()
}

#[test]
fn rows_are_what_their_blocks_say() {
    for (isa, kind) in Isa::available()
        .into_iter()
        .flat_map(|isa| PackedType::ALL.map(|kind| (isa, kind)))
    {
        let pool = Pool::with_isa(2, isa);
        // The last: whole groups and a part of one, and rows of more than one piece.
        for (rows, cols) in [(1, 32), (16, 64), (37, 96), (150, 160)] {
            let bytes = blocks(kind, rows, cols);
            let w = pack(&pool, kind, rows, cols, &bytes);
            let packed = PackedMatrix::packed_bytes(kind, rows, cols);
            assert_eq!(Some(w.bytes().len() as u64), packed, "{kind:?}");
            let want = by_definition(kind, &bytes);
            let mut row = vec![0.0; cols];
            for (r, want) in want.chunks_exact(cols).enumerate() {
                w.row(r, &mut row);
                assert_eq!(row, want, "{isa:?} {kind:?} row {r}");
            }
        }
    }
    assert_eq!(PackedType::Q8_0.row_bytes(48), None);
}

#[test]
fn every_epilogue_and_tail_agrees_with_f64() {
    for isa in Isa::available() {
        let pool = Pool::with_isa(2, isa);
        for kind in PackedType::ALL {
            for (m, n, k) in [(1, 16, 32), (1, 7, 64), (3, 33, 96), (7, 48, 800), (61, 130, 128)] {
                let w = pack(&pool, kind, n, k, &blocks(kind, n, k));
                let (x, bias, other) = (numbers(m * k, 3.0), numbers(n, 9.0), numbers(m * n, 2.0));
                let sums = linear_packed_reference(&x, &w);
                // Rounding x to bytes: uniform errors of half a scale at most, so a third of its square; four times that.
                let mut row = vec![0.0; k];
                let bound: Vec<f64> = (0..n)
                    .map(|j| {
                        w.row(j, &mut row);
                        let square: f64 = row.iter().map(|&w| f64::from(w).powi(2)).sum();
                        let rounding = if kind.quantised() {
                            4.5 * (square / 3.0).sqrt() / 254.0
                        } else {
                            0.0
                        };
                        rounding + 2e-6
                    })
                    .collect();
                for epilogue in [
                    Epilogue::Store,
                    Epilogue::Bias(&bias),
                    Epilogue::BiasGelu { bias: &bias },
                    Epilogue::Residual(&other),
                    Epilogue::BiasResidual {
                        bias: &bias,
                        residual: &other,
                    },
                ] {
                    let mut y = vec![f32::NAN; m * n];
                    linear_packed(&pool, &mut y, &x, &w, epilogue);
                    for (at, (&y, &sum)) in y.iter().zip(&sums).enumerate() {
                        let (bias, other) = (f64::from(bias[at % n]), f64::from(other[at]));
                        let want = match epilogue {
                            Epilogue::Bias(_) => sum + bias,
                            Epilogue::BiasGelu { .. } => crate::gelu_reference(sum + bias),
                            Epilogue::Residual(_) => sum + other,
                            Epilogue::BiasResidual { .. } => sum + bias + other,
                            _ => sum,
                        };
                        let bound = bound[at % n] * 1.2;
                        assert!(
                            (f64::from(y) - want).abs() <= bound,
                            "{isa:?} {kind:?} {m}x{n}x{k} {epilogue:?} at {at}: {y}, want {want} +- {bound}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_in_company_and_on_any_number_of_threads() {
    // A group of panels, a part of one, and more than one part of the reduction.
    let (m, n, k) = (61, 100, 800);
    let x = numbers(m * k, 1.0);
    for kind in PackedType::ALL {
        let bytes = blocks(kind, n, k);
        let run_packed_on = |packer, threads, isa, rows: usize| -> Vec<u32> {
            let w = pack(&Pool::with_isa(1, packer), kind, n, k, &bytes);
            let pool = Pool::with_isa(threads, isa);
            let mut all = Vec::new();
            for x in x.chunks(rows * k) {
                let mut y = vec![0.0; x.len() / k * n];
                linear_packed(&pool, &mut y, x, &w, Epilogue::Store);
                all.extend(y.iter().map(|y| y.to_bits()));
            }
            all
        };
        let run = |threads, isa, rows| run_packed_on(isa, threads, isa, rows);
        for isa in Isa::available() {
            let want = run(1, isa, m);
            for rows in [1, 2, 5, 8, 13] {
                assert!(run(2, isa, rows) == want, "{kind:?} {isa:?} {rows} rows together");
            }
            for packer in Isa::available() {
                let same = [1, m].map(|rows| run_packed_on(packer, 2, isa, rows) == want);
                assert_eq!(same, [true; 2], "{kind:?} packed on {packer:?}, met on {isa:?}");
            }
        }
        let vectors: Vec<Isa> = Isa::available()
            .into_iter()
            .filter(|isa| *isa != Isa::Portable)
            .collect();
        assert!(
            vectors.windows(2).all(|w| run(1, w[0], 3) == run(1, w[1], 3)),
            "{kind:?}"
        );
        if !kind.quantised() {
            for isa in Isa::available() {
                let pool = Pool::with_isa(2, isa);
                let dense = by_definition(kind, &bytes);
                let mut y = vec![0.0; m * n];
                matmul(
                    &pool,
                    &mut y,
                    Mat::new(&x, m, k),
                    Mat::new(&dense, n, k).t(),
                    Epilogue::Store,
                );
                let y: Vec<u32> = y.iter().map(|y| y.to_bits()).collect();
                assert!(y == run(1, isa, 7), "{kind:?} {isa:?}: the matmul's bits");
            }
        }
    }
}

#[test]
fn columns_leave_the_others_alone_and_what_is_not_finite_stays_visible() {
    let pool = Pool::new(2).unwrap();
    for kind in PackedType::ALL {
        let (m, n, k) = (3, 20, 64);
        let w = pack(&pool, kind, n, k, &blocks(kind, n, k));
        let mut x = numbers(m * k, 1.0);
        let (mut y, mut wide) = (vec![0.0; m * n], vec![7.0; m * 50]);
        linear_packed(&pool, &mut y, &x, &w, Epilogue::Store);
        linear_packed_columns(&pool, &mut wide, (11, 50), &x, &w);
        for (wide, y) in wide.chunks_exact(50).zip(y.chunks_exact(n)) {
            assert_eq!(&wide[11..11 + n], y);
            assert!(wide[..11].iter().chain(&wide[11 + n..]).all(|&x| x == 7.0));
        }
        for bad in [f32::NAN, f32::INFINITY] {
            x[k + 40] = bad;
            linear_packed(&pool, &mut y, &x, &w, Epilogue::Store);
            let finite = |y: &[f32]| y.iter().filter(|y| y.is_finite()).count();
            assert_eq!((finite(&y[..n]), finite(&y[2 * n..])), (n, n), "{kind:?}");
            // A weight of 0 meets it here and there.
            assert!(finite(&y[n..2 * n]) < n / 2, "{kind:?} {bad}: {:?}", &y[n..2 * n]);
        }
    }
}
