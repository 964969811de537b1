//! Rows of what llama has and GPT-2 has not: RMSNorm, rotary positions, SwiGLU.

use super::{Op, Random, Shape, Work, floats_case, nan, plus, wide};
use foretoken_kernels::{
    Mat, Turn, linear_reference, matmul_columns, rmsnorm_again, rmsnorm_backward, rmsnorm_backward_reference,
    rmsnorm_forward, rmsnorm_reference, rope, rope_angles, rope_reference, swiglu_backward, swiglu_backward_reference,
    swiglu_forward, swiglu_reference,
};

const EPS: f32 = 1e-5;
const THETA: f64 = 1e4;
/// Position of the first token.
const FIRST: usize = 3;

fn rows_of_tail(random: &mut Random, tail: usize) -> Shape {
    [random.up_to(20), tail, 1, 1]
}

/// Rows in sequences of T, heads that turn, heads that do not, half the width of a head.
fn heads(random: &mut Random, tail: usize) -> Shape {
    [random.up_to(12), random.up_to(3), random.below(3), tail]
}

fn turned([t, heads, others, half]: Shape, x: &[f64], turn: Turn) -> Vec<f64> {
    let (dh, row) = (2 * half, (heads + others) * 2 * half);
    let mut y = x.to_vec();
    for (n, row) in y.chunks_exact_mut(row).enumerate() {
        for head in row[..heads * dh].chunks_exact_mut(dh) {
            head.copy_from_slice(&rope_reference(head, THETA, FIRST + n % t, turn));
        }
    }
    y
}

fn turn_op(name: &'static str, kernel: super::Kernel, reference: super::Reference) -> Op {
    Op {
        name,
        sizes: "T, heads, others, dh/2",
        shape: heads,
        large: &[[70, 2, 1, 5]],
        gpt2: [1024, 12, 3, 32],
        work: |[t, heads, _, half]| Work {
            flops: 2 * 6 * t * heads * half,
            bytes: 2 * 16 * t * heads * half,
        },
        // Two sequences.
        case: |[t, heads, others, half], random| {
            floats_case(vec![], vec![random.floats(2 * t * (heads + others) * 2 * half)])
        },
        kernel,
        reference,
        tolerance: 3e-7,
        terms: |_| 1,
    }
}

pub(super) fn ops() -> Vec<Op> {
    let swiglu = Op {
        name: "swiglu_forward",
        sizes: "elements",
        shape: |random, tail| [random.below(2) * 16 * random.below(20) + tail, 1, 1, 1],
        large: &[[8192 * 2 + 37, 1, 1, 1]],
        gpt2: [4096 * 2048, 1, 1, 1],
        work: |s| Work {
            flops: 20 * s[0],
            bytes: 12 * s[0],
        },
        case: |s, random| {
            let gate = random.floats(s[0]).iter().map(|x| 9.0 * x).collect();
            floats_case(vec![gate, random.floats(s[0])], vec![nan(s[0])])
        },
        kernel: |pool, _, i, out| swiglu_forward(pool, out[0], i.floats[0], i.floats[1]),
        reference: |_, case| {
            let [gate, up] = [0, 1].map(|i| wide(&case.inputs[i]));
            vec![
                gate.iter()
                    .zip(&up)
                    .map(|(&gate, &up)| swiglu_reference(gate, up))
                    .collect(),
            ]
        },
        tolerance: 4e-7,
        terms: |_| 1,
    };
    vec![
        Op {
            name: "rmsnorm_forward",
            sizes: "N, d",
            shape: rows_of_tail,
            large: &[[150, 37, 1, 1], [3, 1030, 1, 1]],
            gpt2: [4096, 768, 1, 1],
            work: |[n, d, _, _]| Work {
                flops: 4 * n * d,
                bytes: 8 * n * d,
            },
            case: |[n, d, _, _], random| {
                floats_case(
                    vec![random.floats(n * d), random.floats(d)],
                    vec![nan(n * d), nan(n), nan(n * d)],
                )
            },
            kernel: |pool, _, i, out| {
                let ([x, weight], [y, rstd, again]) = (&i.floats[..], out) else {
                    unreachable!()
                };
                rmsnorm_forward(pool, y, rstd, x, weight, EPS);
                rmsnorm_again(pool, again, x, rstd, weight);
                assert_eq!(y, again, "again, to the same bits");
            },
            reference: |[_, d, _, _], case| {
                let [x, weight] = [0, 1].map(|i| wide(&case.inputs[i]));
                let (mut y, mut rstd) = (Vec::new(), Vec::new());
                for row in x.chunks_exact(d) {
                    let (row, r) = rmsnorm_reference(row, &weight, EPS.into());
                    y.extend(row);
                    rstd.push(r);
                }
                vec![y.clone(), rstd, y]
            },
            tolerance: 3e-7,
            terms: |s| s[1],
        },
        Op {
            name: "rmsnorm_backward",
            sizes: "N, d",
            shape: rows_of_tail,
            large: &[[150, 37, 1, 1], [70, 300, 1, 1], [2200, 70, 1, 1]],
            gpt2: [4096, 768, 1, 1],
            work: |[n, d, _, _]| Work {
                flops: 12 * n * d,
                bytes: 16 * n * d,
            },
            case: |[n, d, _, _], random| {
                let (x, dy, weight) = (random.floats(n * d), random.floats(n * d), random.floats(d));
                let ones = vec![1.0; d];
                let rstd = |row: &[f32]| rmsnorm_reference(&wide(row), &ones, 0.1).1 as f32;
                let rstd = x.chunks_exact(d).map(rstd).collect();
                floats_case(vec![x, dy, weight, rstd], vec![random.floats(n * d), random.floats(d)])
            },
            kernel: |pool, _, i, out| {
                let ([x, dy, weight, rstd], [dx, dweight]) = (&i.floats[..], out) else {
                    unreachable!()
                };
                rmsnorm_backward(pool, dx, dweight, dy, x, weight, rstd);
            },
            reference: |[n, d, _, _], case| {
                let [x, dy, weight, rstd] = [0, 1, 2, 3].map(|i| wide(&case.inputs[i]));
                let (mut all, mut sum) = (Vec::new(), vec![0.0; d]);
                for row in 0..n {
                    let at = row * d..(row + 1) * d;
                    let (dx, dweight) = rmsnorm_backward_reference(&dy[at.clone()], &x[at], &weight, rstd[row]);
                    all.extend(dx);
                    sum.iter_mut().zip(dweight).for_each(|(sum, change)| *sum += change);
                }
                vec![plus(&case.outputs[0], &all), plus(&case.outputs[1], &sum)]
            },
            tolerance: 3e-7,
            terms: |s| s[0].max(s[1]),
        },
        turn_op(
            "rope",
            |pool, [t, heads, others, half], _, out| {
                let (dh, mut angles) = (2 * half, vec![0.0; t * 2 * half]);
                rope_angles(pool, &mut angles, dh, THETA, FIRST);
                rope(
                    pool,
                    out[0],
                    ((heads + others) * dh, heads, dh),
                    &angles,
                    &[],
                    Turn::Forward,
                );
            },
            |s, case| vec![turned(s, &wide(&case.outputs[0]), Turn::Forward)],
        ),
        turn_op(
            "rope_back",
            |pool, [t, heads, others, half], _, out| {
                let (dh, mut angles) = (2 * half, vec![0.0; t * 2 * half]);
                rope_angles(pool, &mut angles, dh, THETA, FIRST);
                rope(
                    pool,
                    out[0],
                    ((heads + others) * dh, heads, dh),
                    &angles,
                    &[],
                    Turn::Back,
                );
            },
            |s, case| vec![turned(s, &wide(&case.outputs[0]), Turn::Back)],
        ),
        Op {
            name: "swiglu_backward",
            work: |s| Work {
                flops: 25 * s[0],
                bytes: 20 * s[0],
            },
            case: |s, random| {
                let gate = random.floats(s[0]).iter().map(|x| 9.0 * x).collect();
                floats_case(vec![random.floats(s[0])], vec![gate, random.floats(s[0])])
            },
            kernel: |pool, _, i, out| {
                let [gate, up] = out else { unreachable!() };
                swiglu_backward(pool, gate, up, i.floats[0]);
            },
            reference: |s, case| {
                let (dhidden, [gate, up]) = (wide(&case.inputs[0]), [0, 1].map(|i| wide(&case.outputs[i])));
                let each = (0..s[0]).map(|i| swiglu_backward_reference(dhidden[i], gate[i], up[i]));
                let (dgate, dup) = each.unzip();
                vec![dgate, dup]
            },
            ..swiglu
        },
        swiglu,
        Op {
            name: "matmul_columns",
            sizes: "N, in, out, others",
            shape: |random, tail| {
                let mut shape = [
                    random.up_to(20),
                    random.up_to(24),
                    random.up_to(40),
                    2 * random.up_to(20),
                ];
                shape[1 + random.below(2)] = tail;
                shape
            },
            large: &[[29, 385, 70, 34]],
            gpt2: [4096, 768, 256, 1024],
            work: |[n, ins, outs, _]| Work {
                flops: 2 * n * ins * outs,
                bytes: 4 * (n * ins + ins * outs + n * outs),
            },
            case: |[n, ins, outs, others], random| {
                let inputs = vec![random.floats(n * ins), random.floats(outs * ins)];
                floats_case(inputs, vec![random.floats(n * (outs + others))])
            },
            // As many columns before those that are written as after them.
            kernel: |pool, [n, ins, outs, others], i, out| {
                let [x, w] = i.floats[..] else { unreachable!() };
                let (x, w) = (Mat::new(x, n, ins), Mat::new(w, outs, ins).t());
                matmul_columns(pool, out[0], (others / 2, outs + others), x, w);
            },
            reference: |[n, ins, outs, others], case| {
                let w = wide(&case.inputs[1]);
                let transposed: Vec<f64> = (0..ins * outs).map(|i| w[i % outs * ins + i / outs]).collect();
                let y = linear_reference(&wide(&case.inputs[0]), &transposed, &vec![0.0; outs]);
                let mut all = wide(&case.outputs[0]);
                for row in 0..n {
                    let first = row * (outs + others) + others / 2;
                    all[first..first + outs].copy_from_slice(&y[row * outs..(row + 1) * outs]);
                }
                vec![all]
            },
            tolerance: 1e-6,
            terms: |s| s[1],
        },
    ]
}
