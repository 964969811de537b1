//! Documents of any lengths together: attention against the oracle of each alone, positions that begin again.

use foretoken_kernels::{
    AttentionDims, Dropout, Isa, Pool, Stream, Turn, attention_backward, attention_backward_reference,
    attention_forward, attention_mask_reference, attention_reference, embedding_backward, embedding_forward, rope,
    rope_angles,
};
use std::ops::Range;

/// Longest document.
const T: usize = 200;

/// Rows of T cut into documents: around a tile, single tokens, a whole row, and whatever comes.
fn lengths() -> Vec<Vec<usize>> {
    let mut all = vec![
        vec![T],
        vec![64, 65, 63, 1, 7],
        vec![1, 1, 127, 71, 200],
        [vec![1; T], vec![129, 71]].concat(),
    ];
    let mut state = 1u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % n
    };
    for rows in 1..5 {
        let mut documents = Vec::new();
        for _ in 0..rows {
            let mut left = T;
            while left > 0 {
                let longest = [3, 40, T][random(3)].min(left);
                documents.push(1 + random(longest));
                left -= documents.last().unwrap();
            }
        }
        all.push(documents);
    }
    all
}

fn numbers(n: usize, k: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * k + 0.3).sin() * 1.5).collect()
}

fn ranges(lengths: &[usize]) -> Vec<Range<usize>> {
    let ends = lengths.iter().scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    ends.zip(lengths).map(|(end, len)| end - len..end).collect()
}

/// `dh` columns of some rows in f64.
fn head(x: &[f32], rows: &Range<usize>, stride: usize, column: usize, dh: usize) -> Vec<f64> {
    let row = |i: usize| x[i * stride + column..][..dh].iter().map(|&x| f64::from(x));
    rows.clone().flat_map(row).collect()
}

#[test]
fn attention_is_that_of_each_document_alone() {
    let dropout = Dropout {
        p: 0.2,
        stream: Stream {
            seed: 3,
            step: 7,
            purpose: 2,
        },
    };
    for lengths in lengths() {
        let b = lengths.iter().sum::<usize>() / T;
        // Few heads, which are cut into parts, and many; keys that are shared and not.
        for (h, h_kv, dh, dropout) in [(2, 1, 5, None), (3, 3, 16, Some(dropout)), (6, 3, 20, Some(dropout))] {
            let dims = AttentionDims { b, t: T, h, h_kv, dh };
            let (n, d, row) = (b * T, dims.d(), dims.row());
            let (qkv, dout) = (numbers(n * row, 0.37), numbers(n * d, 0.91));
            let run = |isa, threads| {
                let pool = Pool::with_isa(threads, isa);
                let (mut out, mut lse) = (vec![f32::NAN; n * d], vec![f32::NAN; n * h]);
                let mut dqkv = vec![f32::NAN; n * row];
                attention_forward(&pool, &mut out, &mut lse, &qkv, dims, &lengths, dropout);
                attention_backward(&pool, &mut dqkv, &dout, &qkv, &out, &lse, dims, &lengths, dropout);
                (out, dqkv)
            };
            let (mut want_out, mut want_dqkv) = (vec![0.0; n * d], vec![0.0; n * row]);
            for tokens in ranges(&lengths) {
                for which in 0..h {
                    let kv = which * h_kv / h * dh;
                    let columns = [which * dh, d + kv, d + dims.kv() + kv];
                    let [q, k, v] = columns.map(|column| head(&qkv, &tokens, row, column, dh));
                    let dout = head(&dout, &tokens, d, which * dh, dh);
                    let mask = dropout.map(|dropout| attention_mask_reference(dropout, dims, tokens.clone(), which));
                    let (mask, t) = (mask.as_deref(), tokens.len());
                    let (o, _, _) = attention_reference(&q, &k, &v, mask, t, dh);
                    let (dq, dk, dv) = attention_backward_reference(&dout, &q, &k, &v, mask, t, dh);
                    for i in 0..t * dh {
                        let (token, c) = (tokens.start + i / dh, i % dh);
                        want_out[token * d + which * dh + c] = o[i];
                        for (column, gradient) in columns.into_iter().zip([&dq, &dk, &dv]) {
                            want_dqkv[token * row + column + c] += gradient[i];
                        }
                    }
                }
            }
            for isa in Isa::available() {
                let (out, dqkv) = run(isa, 2);
                for (got, want) in [(&out, &want_out), (&dqkv, &want_dqkv)] {
                    for (i, (got, want)) in got.iter().zip(want).enumerate() {
                        let error = (f64::from(*got) - want).abs();
                        assert!(
                            error < 2e-5 * (1.0 + want.abs()),
                            "{isa:?} {dims:?} {lengths:?} at {i}: {got}, want {want}"
                        );
                    }
                }
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                for threads in [1, 5] {
                    let other = run(isa, threads);
                    assert!(
                        bits(&out) == bits(&other.0) && bits(&dqkv) == bits(&other.1),
                        "{threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn equal_documents_are_the_rows_to_the_bit() {
    let dims = AttentionDims {
        b: 3,
        t: 130,
        h: 2,
        h_kv: 2,
        dh: 20,
    };
    let (n, d) = (dims.b * dims.t, dims.d());
    let (pool, qkv) = (Pool::new(2).unwrap(), numbers(3 * n * d, 0.7));
    let run = |documents: &[usize]| {
        let (mut out, mut lse, mut dqkv) = (vec![0.0; n * d], vec![0.0; n * dims.h], vec![0.0; 3 * n * d]);
        attention_forward(&pool, &mut out, &mut lse, &qkv, dims, documents, None);
        attention_backward(&pool, &mut dqkv, &qkv[..n * d], &qkv, &out, &lse, dims, documents, None);
        (out, lse, dqkv)
    };
    assert!(run(&[]) == run(&[130; 3]));
}

#[test]
fn dropout_of_no_two_documents_is_the_same() {
    let dims = AttentionDims {
        b: 1,
        t: 64,
        h: 2,
        h_kv: 2,
        dh: 4,
    };
    let dropout = Dropout {
        p: 0.5,
        stream: Stream {
            seed: 1,
            step: 0,
            purpose: 0,
        },
    };
    let masks: Vec<Vec<f64>> = [0..16, 16..32, 32..48]
        .into_iter()
        .flat_map(|tokens| [0, 1].map(|head| attention_mask_reference(dropout, dims, tokens.clone(), head)))
        .collect();
    for (i, mask) in masks.iter().enumerate() {
        assert!(masks[..i].iter().all(|other| other != mask), "{i}");
    }
}

#[test]
fn positions_begin_again_at_each_document() {
    let (d, vocab, pool) = (12, 9, Pool::new(3).unwrap());
    for lengths in lengths() {
        let n: usize = lengths.iter().sum();
        let ids: Vec<u32> = (0..n as u32).map(|i| i * 7 % vocab as u32).collect();
        let (wte, wpe, dx) = (numbers(vocab * d, 0.3), numbers(T * d, 0.5), numbers(n * d, 0.9));
        let mut angles = vec![0.0; T * d];
        rope_angles(&pool, &mut angles, d, 1e4, 0);

        let mut x = vec![0.0; n * d];
        embedding_forward(&pool, &mut x, &ids, &wte, Some(&wpe), (T, &lengths), 0);
        let mut turned = x.clone();
        rope(&pool, &mut turned, (d, 1, d), &angles, &lengths, Turn::Forward);
        let (mut dwte, mut dwpe) = (vec![0.0; vocab * d], vec![0.0; T * d]);
        embedding_backward(&pool, Some(&mut dwte), Some(&mut dwpe), &dx, &ids, (T, &lengths));

        let (mut want_dwte, mut want_dwpe) = (vec![0.0; vocab * d], vec![0.0; T * d]);
        for tokens in ranges(&lengths) {
            let (t, floats) = (tokens.len(), tokens.start * d..tokens.end * d);
            let mut alone = vec![0.0; t * d];
            embedding_forward(&pool, &mut alone, &ids[tokens.clone()], &wte, Some(&wpe), (t, &[]), 0);
            assert!(alone == x[floats.clone()], "{lengths:?} {tokens:?}");
            rope(&pool, &mut alone, (d, 1, d), &angles[..t * d], &[], Turn::Forward);
            assert!(alone == turned[floats.clone()], "{lengths:?} {tokens:?}");
            let sums = (&mut want_dwte, Some(&mut want_dwpe[..]));
            embedding_backward(&pool, Some(sums.0), sums.1, &dx[floats], &ids[tokens], (t, &[]));
        }
        assert!(dwte == want_dwte && dwpe == want_dwpe, "{lengths:?}");
    }
}
