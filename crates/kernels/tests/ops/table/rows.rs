//! Rows of ops over rows: layernorm, bias, embedding, the head's loss.

use super::{Case, Op, Random, Shape, Work, floats_case, nan, plus, wide};
use foretoken_kernels::{
    IGNORE_INDEX, bias_backward, bias_backward_reference, embedding_backward, embedding_backward_reference,
    embedding_forward, embedding_reference, head_loss, head_loss_backward, head_loss_reference, head_loss_scratch,
    layernorm_backward, layernorm_backward_reference, layernorm_forward, layernorm_reference,
};

const EPS: f32 = 1e-5;
const SCALE: f32 = 0.25;
/// Position of the first token in the forward of the embedding.
const FIRST: usize = 2;

fn rows_of_tail(random: &mut Random, tail: usize) -> Shape {
    [random.up_to(20), tail, 1, 1]
}

/// x, dy, weight, mean, rstd.
fn layernorm_case([n, d, _, _]: Shape, random: &mut Random) -> Case {
    let (x, dy, weight) = (random.floats(n * d), random.floats(n * d), random.floats(d));
    let (mut mean, mut rstd) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(d) {
        // A row of one element has variance zero; any rstd is as good for the backward.
        let (_, m, r) = layernorm_reference(&wide(row), &vec![1.0; d], &vec![0.0; d], 0.1);
        mean.push(m as f32);
        rstd.push(r as f32);
    }
    let outputs = vec![random.floats(n * d), random.floats(d), random.floats(d)];
    floats_case(vec![x, dy, weight, mean, rstd], outputs)
}

/// B sequences of T tokens of V, width d: (B, T, d, V).
fn tokens(random: &mut Random, tail: usize) -> Shape {
    [random.up_to(3), random.up_to(12), tail, random.up_to(15)]
}

fn ids([b, t, _, v]: Shape, random: &mut Random) -> Vec<u32> {
    (0..b * t).map(|_| random.below(v) as u32).collect()
}

fn targets(ids: &[u32]) -> Vec<i32> {
    ids.iter().map(|&id| id as i32).collect()
}

/// Rows, width and vocabulary: (N, d, V).
fn head(random: &mut Random, tail: usize) -> Shape {
    let mut shape = [random.up_to(20), random.up_to(24), random.up_to(40), 1];
    shape[1 + random.below(2)] = tail;
    shape
}

/// Rows of [`head_case`] that have a target: the others meet no product.
fn learned(n: usize) -> usize {
    n - (n + 1) / 3
}

/// x and the head; losses and scratch memory for the logits; every third target is ignored.
fn head_case([n, d, v, _]: Shape, random: &mut Random) -> Case {
    let target = |i: usize| {
        if i % 3 == 1 {
            IGNORE_INDEX as u32
        } else {
            random.below(v) as u32
        }
    };
    let ids = (0..n).map(target).collect();
    Case {
        inputs: vec![random.floats(n * d), random.floats(v * d)],
        outputs: vec![nan(n), nan(head_loss_scratch(n, v))],
        ids,
    }
}

fn head_reference(case: &Case) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let [x, weight] = [0, 1].map(|i| wide(&case.inputs[i]));
    head_loss_reference(&x, &weight, &targets(&case.ids), SCALE.into())
}

pub(super) fn ops() -> Vec<Op> {
    vec![
        Op {
            name: "layernorm_forward",
            sizes: "N, d",
            shape: rows_of_tail,
            large: &[[150, 37, 1, 1], [3, 1030, 1, 1]],
            gpt2: [4096, 768, 1, 1],
            work: |[n, d, _, _]| Work {
                flops: 7 * n * d,
                bytes: 8 * n * d,
            },
            case: |[n, d, _, _], random| {
                let inputs = vec![random.floats(n * d), random.floats(d), random.floats(d)];
                floats_case(inputs, vec![nan(n * d), nan(n), nan(n)])
            },
            kernel: |pool, _, i, out| {
                let ([x, weight, bias], [y, mean, rstd]) = (&i.floats[..], out) else {
                    unreachable!()
                };
                layernorm_forward(pool, y, mean, rstd, x, weight, bias, EPS);
            },
            reference: |[_, d, _, _], case| {
                let [x, weight, bias] = [0, 1, 2].map(|i| wide(&case.inputs[i]));
                let mut out = vec![Vec::new(); 3];
                for row in x.chunks_exact(d) {
                    let (y, mean, rstd) = layernorm_reference(row, &weight, &bias, EPS.into());
                    out[0].extend(y);
                    out[1].push(mean);
                    out[2].push(rstd);
                }
                out
            },
            tolerance: 3e-7,
            terms: |s| s[1],
        },
        Op {
            name: "layernorm_backward",
            sizes: "N, d",
            shape: rows_of_tail,
            large: &[[150, 37, 1, 1], [70, 300, 1, 1], [2200, 70, 1, 1]],
            gpt2: [4096, 768, 1, 1],
            work: |[n, d, _, _]| Work {
                flops: 18 * n * d,
                bytes: 16 * n * d,
            },
            case: layernorm_case,
            kernel: |pool, _, i, out| {
                let ([x, dy, weight, mean, rstd], [dx, dweight, dbias]) = (&i.floats[..], out) else {
                    unreachable!()
                };
                layernorm_backward(pool, dx, dweight, dbias, dy, x, weight, mean, rstd);
            },
            reference: |[n, d, _, _], case| {
                let [x, dy, weight, mean, rstd] = [0, 1, 2, 3, 4].map(|i| wide(&case.inputs[i]));
                let mut out: Vec<_> = case.outputs.iter().map(|x| wide(x)).collect();
                for row in 0..n {
                    let at = row * d..(row + 1) * d;
                    let (dx, dweight, dbias) =
                        layernorm_backward_reference(&dy[at.clone()], &x[at.clone()], &weight, mean[row], rstd[row]);
                    for (sum, change) in out[0][at].iter_mut().zip(dx) {
                        *sum += change;
                    }
                    for c in 0..d {
                        out[1][c] += dweight[c];
                        out[2][c] += dbias[c];
                    }
                }
                out
            },
            tolerance: 3e-7,
            terms: |s| s[0].max(s[1]),
        },
        Op {
            name: "bias_backward",
            sizes: "N, width",
            shape: rows_of_tail,
            large: &[[150, 37, 1, 1], [2200, 130, 1, 1]],
            gpt2: [4096, 3072, 1, 1],
            work: |[n, width, _, _]| Work {
                flops: n * width,
                bytes: 4 * n * width,
            },
            case: |[n, d, _, _], random| floats_case(vec![random.floats(n * d)], vec![random.floats(d)]),
            kernel: |pool, _, i, out| bias_backward(pool, out[0], i.floats[0]),
            reference: |s, case| {
                vec![plus(
                    &case.outputs[0],
                    &bias_backward_reference(&wide(&case.inputs[0]), s[1]),
                )]
            },
            tolerance: 2e-7,
            terms: |s| s[0],
        },
        Op {
            name: "embedding_forward",
            sizes: "B, T, d, V",
            shape: tokens,
            large: &[[3, 70, 5, 9]],
            gpt2: [4, 1022, 768, 50257],
            work: |[b, t, d, _]| Work {
                flops: b * t * d,
                bytes: 12 * b * t * d,
            },
            case: |s, random| Case {
                inputs: vec![random.floats(s[3] * s[2]), random.floats((s[1] + FIRST) * s[2])],
                outputs: vec![nan(s[0] * s[1] * s[2])],
                ids: ids(s, random),
            },
            kernel: |pool, [_, t, _, _], i, out| {
                embedding_forward(pool, out[0], i.ids, i.floats[0], Some(i.floats[1]), (t, &[]), FIRST)
            },
            reference: |[_, t, d, _], case| {
                let [wte, wpe] = [0, 1].map(|i| wide(&case.inputs[i]));
                vec![embedding_reference(&case.ids, &wte, &wpe, d, t, FIRST)]
            },
            tolerance: 6e-8,
            terms: |_| 1,
        },
        Op {
            name: "embedding_backward",
            sizes: "B, T, d, V",
            shape: tokens,
            large: &[[3, 70, 5, 90]],
            gpt2: [4, 1024, 768, 50257],
            work: |[b, t, d, _]| Work {
                flops: 2 * b * t * d,
                bytes: 24 * b * t * d,
            },
            case: |s, random| Case {
                inputs: vec![random.floats(s[0] * s[1] * s[2])],
                outputs: vec![random.floats(s[3] * s[2]), random.floats((s[1] + 1) * s[2])],
                ids: ids(s, random),
            },
            kernel: |pool, [_, t, _, _], i, out| {
                let [dwte, dwpe] = out else { unreachable!() };
                embedding_backward(pool, Some(dwte), Some(dwpe), i.floats[0], i.ids, (t, &[]));
            },
            reference: |[_, t, _, v], case| {
                let (dwte, dwpe) = embedding_backward_reference(&wide(&case.inputs[0]), &case.ids, t, v, t + 1);
                vec![plus(&case.outputs[0], &dwte), plus(&case.outputs[1], &dwpe)]
            },
            tolerance: 2e-7,
            terms: |s| s[0] * s[1],
        },
        Op {
            name: "head_loss",
            sizes: "N, d, V",
            shape: head,
            large: &[[1030, 5, 33, 1], [4, 20, 700, 1]],
            gpt2: [256, 768, 50257, 1],
            work: |[n, d, v, _]| Work {
                flops: 2 * learned(n) * d * v,
                bytes: 4 * (learned(n) * d + v * d + 3 * learned(n) * v),
            },
            case: head_case,
            kernel: |pool, _, i, out| {
                let [losses, scratch] = out else { unreachable!() };
                head_loss(
                    pool,
                    losses,
                    &mut i.floats[0].to_vec(),
                    i.floats[1],
                    &targets(i.ids),
                    scratch,
                );
            },
            reference: |_, case| vec![head_reference(case).0, Vec::new()],
            tolerance: 2e-7,
            terms: |s| s[1],
        },
        Op {
            name: "head_loss_backward",
            sizes: "N, d, V",
            shape: head,
            large: &[[1030, 5, 33, 1], [4, 20, 700, 1]],
            gpt2: [256, 768, 50257, 1],
            work: |[n, d, v, _]| Work {
                flops: 6 * learned(n) * d * v,
                bytes: 4 * (3 * learned(n) * d + 4 * v * d + 5 * learned(n) * v),
            },
            case: |s, random| {
                let mut case = head_case(s, random);
                case.outputs.extend([case.inputs[0].clone(), nan(s[2] * s[1])]);
                case
            },
            kernel: |pool, _, i, out| {
                let [losses, scratch, dx, dweight] = out else {
                    unreachable!()
                };
                head_loss_backward(
                    pool,
                    losses,
                    dx,
                    Some(dweight),
                    i.floats[1],
                    &targets(i.ids),
                    SCALE,
                    scratch,
                );
            },
            reference: |_, case| {
                let (losses, dx, dweight) = head_reference(case);
                vec![losses, Vec::new(), dx, dweight]
            },
            tolerance: 2e-7,
            terms: |s| s[0].max(s[1]).max(s[2]),
        },
    ]
}
