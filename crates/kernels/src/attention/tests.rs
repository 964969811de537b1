use super::*;
use crate::dropout::Dropout;
use crate::isa::Isa;
use crate::pool::Pool;
use crate::random::Stream;

fn numbers(n: usize, k: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * k + 0.3).sin() * 1.5).collect()
}

/// (q, k, v) of one head as (T,dh) in f64.
fn head(qkv: &[f32], dims: &AttentionDims, bh: usize) -> [Vec<f64>; 3] {
    let (d, seq, column) = (dims.d(), bh / dims.h, bh % dims.h * dims.dh);
    [0, 1, 2].map(|part| {
        let row = |i| (seq * dims.t + i) * 3 * d + part * d + column;
        (0..dims.t)
            .flat_map(|i| qkv[row(i)..row(i) + dims.dh].iter().map(|&x| f64::from(x)))
            .collect()
    })
}

/// sum(out o weight) of one head in f64, the function whose gradient the backward must give.
fn objective(q: &[f64], k: &[f64], v: &[f64], weight: &[f64], t: usize, dh: usize) -> f64 {
    attention_reference(q, k, v, None, t, dh)
        .0
        .iter()
        .zip(weight)
        .map(|(o, w)| o * w)
        .sum()
}

#[test]
fn forward_agrees_with_f64_at_every_tail() {
    for isa in Isa::available() {
        let pool = Pool::with_isa(2, isa);
        for (b, t, h, dh) in [
            (2, 1, 1, 1),
            (1, 37, 5, 12),
            (2, 64, 2, 16),
            (1, 65, 1, 33),
            (1, 200, 2, 64),
        ] {
            let dims = AttentionDims { b, t, h, h_kv: h, dh };
            let qkv = numbers(b * t * 3 * dims.d(), 0.37);
            let (mut out, mut lse) = (vec![0.0; b * t * dims.d()], vec![0.0; b * h * t]);
            attention_forward(&pool, &mut out, &mut lse, &qkv, dims, &[], None);
            for bh in 0..b * h {
                let [q, k, v] = head(&qkv, &dims, bh);
                let (o, l, _) = attention_reference(&q, &k, &v, None, t, dh);
                for i in 0..t {
                    assert!(
                        (f64::from(lse[bh * t + i]) - l[i]).abs() < 1e-5 * (1.0 + l[i].abs()),
                        "{isa:?} lse {i}"
                    );
                    for c in 0..dh {
                        let got = out[(bh / h * t + i) * dims.d() + bh % h * dh + c];
                        assert!(
                            (f64::from(got) - o[i * dh + c]).abs() < 1e-5,
                            "{isa:?} {dims:?} {i} {c}"
                        );
                    }
                }
            }
        }
    }
}

/// However large later keys and values are: a hidden key's weight is zero, not small.
#[test]
fn no_bit_depends_on_later_tokens() {
    for isa in Isa::available() {
        let pool = Pool::with_isa(2, isa);
        let dims = AttentionDims {
            b: 1,
            t: 130,
            h: 2,
            h_kv: 2,
            dh: 20,
        };
        let (qkv, d) = (numbers(dims.t * dims.row(), 0.37), dims.d());
        let run = |qkv: &[f32]| {
            let (mut out, mut lse) = (vec![0.0; dims.t * d], vec![0.0; dims.h * dims.t]);
            attention_forward(&pool, &mut out, &mut lse, qkv, dims, &[], None);
            out
        };
        let whole = run(&qkv);
        for from in [1, 37, 64, 99, 129] {
            let mut changed = qkv.clone();
            for token in changed[from * dims.row()..].chunks_exact_mut(dims.row()) {
                token[d..2 * d].fill(1e10);
                token[2 * d..].fill(1e37);
            }
            assert_eq!(run(&changed)[..from * d], whole[..from * d], "{isa:?} from {from}");
        }
    }
}

#[test]
fn backward_is_the_finite_difference() {
    for isa in Isa::available() {
        let pool = Pool::with_isa(2, isa);
        for (b, t, h, dh) in [(2, 5, 2, 3), (1, 70, 1, 8), (1, 130, 1, 20)] {
            let dims = AttentionDims { b, t, h, h_kv: h, dh };
            let d = dims.d();
            let (qkv, weight) = (numbers(b * t * 3 * d, 0.77), numbers(b * t * d, 0.21));
            let (mut out, mut lse) = (vec![0.0; b * t * d], vec![0.0; b * h * t]);
            attention_forward(&pool, &mut out, &mut lse, &qkv, dims, &[], None);
            let mut dqkv = vec![f32::NAN; b * t * 3 * d];
            attention_backward(&pool, &mut dqkv, &weight, &qkv, &out, &lse, dims, &[], None);
            assert!(dqkv.iter().all(|x| x.is_finite()));
            for bh in 0..b * h {
                let parts = head(&qkv, &dims, bh);
                let w: Vec<f64> = (0..t * dh)
                    .map(|i| weight[(bh / h * t + i / dh) * d + bh % h * dh + i % dh].into())
                    .collect();
                for part in 0..3 {
                    for i in (0..t * dh).step_by(1 + t * dh / 23) {
                        let at = |delta: f64| {
                            let mut p = parts.clone();
                            p[part][i] += delta;
                            objective(&p[0], &p[1], &p[2], &w, t, dh)
                        };
                        let want = (at(1e-5) - at(-1e-5)) / 2e-5;
                        let got = dqkv[(bh / h * t + i / dh) * 3 * d + part * d + bh % h * dh + i % dh];
                        assert!(
                            (f64::from(got) - want).abs() < 2e-5 * (1.0 + want.abs()),
                            "{isa:?} {dims:?} part {part} at {i}: {got}, want {want}"
                        );
                    }
                }
            }
        }
    }
}

/// With dropout the forward is linear in V: a change of V moves the output by exactly what the backward says.
#[test]
fn dropout_uses_one_mask_forward_and_backward() {
    let dims = AttentionDims {
        b: 1,
        t: 70,
        h: 2,
        h_kv: 2,
        dh: 8,
    };
    let d = dims.d();
    let dropout = Some(Dropout {
        p: 0.3,
        stream: Stream {
            seed: 5,
            step: 1,
            purpose: 7,
        },
    });
    let pool = Pool::with_isa(2, *Isa::available().last().unwrap());
    let qkv = numbers(dims.t * 3 * d, 0.5);
    let weight = numbers(dims.t * d, 0.9);
    let run = |qkv: &[f32]| {
        let (mut out, mut lse) = (vec![0.0; dims.t * d], vec![0.0; dims.h * dims.t]);
        attention_forward(&pool, &mut out, &mut lse, qkv, dims, &[], dropout);
        let value: f64 = out
            .iter()
            .zip(&weight)
            .map(|(o, w)| f64::from(*o) * f64::from(*w))
            .sum();
        (out, lse, value)
    };
    let (out, lse, _) = run(&qkv);
    let mut dqkv = vec![0.0; qkv.len()];
    attention_backward(&pool, &mut dqkv, &weight, &qkv, &out, &lse, dims, &[], dropout);
    for at in (0..qkv.len()).step_by(97) {
        let moved = |delta: f32| {
            let mut qkv = qkv.clone();
            qkv[at] += delta;
            run(&qkv).2
        };
        let want = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        assert!(
            (f64::from(dqkv[at]) - want).abs() < 2e-3 * (1.0 + want.abs()),
            "at {at}: {} want {want}",
            dqkv[at]
        );
    }
}

#[test]
fn over_a_cache_it_is_the_same_attention() {
    for isa in Isa::available() {
        let pool = Pool::with_isa(2, isa);
        let dims = AttentionDims {
            b: 1,
            t: 90,
            h: 3,
            h_kv: 3,
            dh: 10,
        };
        let d = dims.d();
        let qkv = numbers(dims.t * 3 * d, 0.61);
        let (mut out, mut lse) = (vec![0.0; dims.t * d], vec![0.0; dims.h * dims.t]);
        attention_forward(&pool, &mut out, &mut lse, &qkv, dims, &[], None);
        // (h,C,dh) with room for more keys than there are.
        let capacity = dims.t + 7;
        let cache = |part: usize| {
            let mut cache = vec![f32::NAN; capacity * d];
            for (at, x) in qkv.iter().enumerate().filter(|(at, _)| at / d % 3 == part) {
                let (row, head, c) = (at / (3 * d), at % d / dims.dh, at % dims.dh);
                cache[(head * capacity + row) * dims.dh + c] = *x;
            }
            cache
        };
        let (k, v) = (cache(1), cache(2));
        for (past, t) in [(0, 90), (0, 1), (89, 1), (3, 5), (40, 50), (64, 9)] {
            let mut got = vec![0.0; t * d];
            let sequence = CachedSequence {
                keys: Cached::F32(&k),
                values: Cached::F32(&v),
                past,
                t,
            };
            attention_cached(&pool, &mut got, &qkv[past * 3 * d..], 3 * d, &[sequence], dims);
            for (i, (got, want)) in got.iter().zip(&out[past * d..]).enumerate() {
                assert!(
                    (got - want).abs() < 2e-6,
                    "{isa:?} past {past} t {t} at {i}: {got}, want {want}"
                );
            }
        }
    }
}

/// Sequences of different lengths together, some in tiles, in both types: each as alone, and halves near f32.
#[test]
fn sequences_are_the_same_bits_together_as_alone_and_halves_are_near() {
    let dims = AttentionDims {
        b: 1,
        t: 0,
        h: 6,
        h_kv: 2,
        dh: 20,
    };
    let (capacity, row) = (120, dims.row());
    let lengths = [(50, 1), (0, 13), (99, 3), (7, 1), (64, 8)];
    let n: usize = lengths.iter().map(|(_, t)| t).sum();
    let q = numbers(n * row, 0.37);
    for isa in Isa::available() {
        let pool = Pool::with_isa(2, isa);
        let run = |kind: CacheType| {
            let caches: Vec<(Cache, Cache)> = (0..lengths.len())
                .map(|i| {
                    let cache = |seed: f32| {
                        let mut cache = Cache::try_new(kind, capacity * dims.kv()).unwrap();
                        cache.write(&pool, 0, &numbers(capacity * dims.kv(), seed));
                        cache
                    };
                    (cache(0.2 + i as f32), cache(0.9 + i as f32))
                })
                .collect();
            let all: Vec<CachedSequence<'_>> = (lengths.iter().zip(&caches))
                .map(|(&(past, t), (k, v))| {
                    let [keys, values] = [k, v].map(|cache| cache.part(0, cache.len()));
                    CachedSequence { keys, values, past, t }
                })
                .collect();
            let mut together = vec![0.0; n * dims.d()];
            attention_cached(&pool, &mut together, &q, row, &all, dims);
            let mut first = 0;
            for sequence in &all {
                let mut alone = vec![0.0; sequence.t * dims.d()];
                attention_cached(&pool, &mut alone, &q[first * row..], row, &[*sequence], dims);
                assert!(
                    alone == together[first * dims.d()..][..alone.len()],
                    "{isa:?} {kind:?} {sequence:?}"
                );
                first += sequence.t;
            }
            together
        };
        let (full, half) = (run(CacheType::F32), run(CacheType::F16));
        assert!(full.iter().zip(&half).all(|(a, b)| (a - b).abs() < 2e-3) && full != half);
    }
}
