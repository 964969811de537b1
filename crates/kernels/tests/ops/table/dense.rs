//! Rows of matrix products: shape (N, in, out).

use super::{Case, Kernel, Op, Random, Reference, Shape, Work, floats_case, nan, plus, wide};
use foretoken_kernels::{
    Epilogue, MATVEC_ROWS, Mat, MatvecEpilogue, gelu_derivative_reference, gelu_reference, linear_backward_reference,
    linear_reference, matmul, matmul_bias_gelu, matmul_gelu_backward, matmul_gradient, matvec, matvec_transposed,
};

/// Every product has one: the chain of additions is the same whatever comes after it.
const TOLERANCE: f64 = 1e-6;
const SIZES: &str = "N, in, out";
/// GPT-2 124M at B = 4, T = 1024: the layer from d to 4d, and back.
const UP: Shape = [4096, 768, 3072, 1];
const DOWN: Shape = [4096, 3072, 768, 1];
/// Past the blocks of the reduction, of packed columns and of a task's rows.
const LARGE: &[Shape] = &[[190, 800, 37, 1], [9, 31, 3100, 1], [4110, 3, 5, 1], [385, 17, 70, 1]];

/// Those, and what is made of seven products, odd in every size: dX of the first, dW of the second.
const LARGE_OF_GRADIENTS: &[Shape] = &[
    [190, 800, 37, 1],
    [9, 31, 3100, 1],
    [4110, 3, 5, 1],
    [385, 17, 70, 1],
    [301, 331, 1033, 1],
    [1033, 301, 331, 1],
];

/// Rows, reduction and columns take turns at the tail.
fn shape(random: &mut Random, tail: usize) -> Shape {
    let mut shape = [random.up_to(33), random.up_to(40), random.up_to(40), 1];
    shape[random.below(3)] = tail;
    shape
}

fn few_rows(random: &mut Random, tail: usize) -> Shape {
    let mut shape = shape(random, tail);
    shape[0] = random.up_to(MATVEC_ROWS);
    shape[1 + random.below(2)] = tail;
    shape
}

fn work([n, ins, outs, _]: Shape) -> Work {
    Work {
        flops: 2 * n * ins * outs,
        bytes: 4 * (n * ins + ins * outs + n * outs),
    }
}

/// x, W and bias.
fn layer([n, ins, outs, _]: Shape, random: &mut Random) -> Vec<Vec<f32>> {
    vec![random.floats(n * ins), random.floats(ins * outs), random.floats(outs)]
}

/// x W + bias in f64.
fn product(case: &Case) -> Vec<f64> {
    let [x, weight, bias] = [0, 1, 2].map(|i| wide(&case.inputs[i]));
    linear_reference(&x, &weight, &bias)
}

pub(super) fn ops() -> Vec<Op> {
    vec![
        Op {
            name: "matmul_bias",
            sizes: SIZES,
            shape,
            large: LARGE,
            gpt2: UP,
            work,
            case: |s, random| floats_case(layer(s, random), vec![nan(s[0] * s[2])]),
            kernel: |pool, [n, ins, outs, _], inputs, out| {
                let [x, w, bias] = inputs.floats[..] else {
                    unreachable!()
                };
                matmul(
                    pool,
                    out[0],
                    Mat::new(x, n, ins),
                    Mat::new(w, ins, outs),
                    Epilogue::Bias(bias),
                );
            },
            reference: |_, case| vec![product(case)],
            tolerance: TOLERANCE,
            terms: |s| s[1],
        },
        Op {
            name: "matmul_bias_residual",
            sizes: SIZES,
            shape,
            large: LARGE,
            gpt2: DOWN,
            work,
            case: |s, random| {
                let mut inputs = layer(s, random);
                inputs.push(random.floats(s[0] * s[2]));
                floats_case(inputs, vec![nan(s[0] * s[2])])
            },
            kernel: |pool, [n, ins, outs, _], inputs, out| {
                let [x, w, bias, residual] = inputs.floats[..] else {
                    unreachable!()
                };
                let epilogue = Epilogue::BiasResidual { bias, residual };
                matmul(pool, out[0], Mat::new(x, n, ins), Mat::new(w, ins, outs), epilogue);
            },
            reference: |_, case| vec![plus(&case.inputs[3], &product(case))],
            tolerance: TOLERANCE,
            terms: |s| s[1],
        },
        Op {
            name: "matmul_bias_gelu",
            sizes: SIZES,
            shape,
            large: LARGE,
            gpt2: UP,
            work,
            case: |s, random| floats_case(layer(s, random), vec![nan(s[0] * s[2]), nan(s[0] * s[2])]),
            kernel: |pool, [n, ins, outs, _], inputs, out| {
                let ([x, w, bias], [y, pre]) = (&inputs.floats[..], out) else {
                    unreachable!()
                };
                matmul_bias_gelu(pool, y, pre, Mat::new(x, n, ins), Mat::new(w, ins, outs), bias);
            },
            reference: |_, case| {
                let pre = product(case);
                vec![pre.iter().copied().map(gelu_reference).collect(), pre]
            },
            tolerance: TOLERANCE,
            terms: |s| s[1],
        },
        Op {
            name: "matmul_dx",
            sizes: SIZES,
            shape,
            large: LARGE_OF_GRADIENTS,
            gpt2: UP,
            work,
            case: |s, random| {
                let inputs = vec![random.floats(s[0] * s[2]), random.floats(s[1] * s[2])];
                floats_case(inputs, vec![nan(s[0] * s[1])])
            },
            kernel: |pool, [n, ins, outs, _], inputs, out| {
                let [dy, w] = inputs.floats[..] else { unreachable!() };
                matmul_gradient(
                    pool,
                    out[0],
                    Mat::new(dy, n, outs),
                    Mat::new(w, ins, outs).t(),
                    Epilogue::Store,
                );
            },
            reference: |[n, ins, outs, _], case| {
                let x = vec![0.0; n * ins];
                vec![linear_backward_reference(&wide(&case.inputs[0]), &x, &wide(&case.inputs[1]), outs).0]
            },
            tolerance: TOLERANCE,
            terms: |s| s[2],
        },
        Op {
            name: "matmul_gelu_backward",
            sizes: SIZES,
            shape,
            large: LARGE_OF_GRADIENTS,
            gpt2: DOWN,
            // pre is read and its gradient written, beside the GELU.
            work: |s| Work {
                bytes: work(s).bytes + 8 * s[0] * s[1],
                ..work(s)
            },
            case: |s, random| {
                let pre = random.floats(s[0] * s[1]).iter().map(|x| 4.0 * x).collect();
                let inputs = vec![random.floats(s[0] * s[2]), random.floats(s[1] * s[2])];
                floats_case(inputs, vec![nan(s[0] * s[1]), pre])
            },
            kernel: |pool, [n, ins, outs, _], inputs, out| {
                let ([dy, w], [gelu, pre]) = (&inputs.floats[..], out) else {
                    unreachable!()
                };
                matmul_gelu_backward(pool, gelu, pre, Mat::new(dy, n, outs), Mat::new(w, ins, outs).t());
            },
            reference: |[n, ins, outs, _], case| {
                let x = vec![0.0; n * ins];
                let dx = linear_backward_reference(&wide(&case.inputs[0]), &x, &wide(&case.inputs[1]), outs).0;
                let pre = wide(&case.outputs[1]);
                let gradient = dx
                    .iter()
                    .zip(&pre)
                    .map(|(dx, &pre)| dx * gelu_derivative_reference(pre));
                vec![pre.iter().copied().map(gelu_reference).collect(), gradient.collect()]
            },
            tolerance: TOLERANCE,
            terms: |s| s[2],
        },
        Op {
            name: "matmul_dweight",
            sizes: SIZES,
            shape,
            large: LARGE_OF_GRADIENTS,
            gpt2: UP,
            work,
            case: |s, random| {
                let inputs = vec![random.floats(s[0] * s[1]), random.floats(s[0] * s[2])];
                floats_case(inputs, vec![random.floats(s[1] * s[2])])
            },
            kernel: |pool, [n, ins, outs, _], inputs, out| {
                let [x, dy] = inputs.floats[..] else { unreachable!() };
                matmul_gradient(
                    pool,
                    out[0],
                    Mat::new(x, n, ins).t(),
                    Mat::new(dy, n, outs),
                    Epilogue::Accumulate,
                );
            },
            reference: |[_, ins, outs, _], case| {
                let weight = vec![0.0; ins * outs];
                let (_, dweight, _) =
                    linear_backward_reference(&wide(&case.inputs[1]), &wide(&case.inputs[0]), &weight, outs);
                vec![plus(&case.outputs[0], &dweight)]
            },
            tolerance: TOLERANCE,
            terms: |s| s[0],
        },
        matvec_row(
            "matvec_bias",
            |pool, _, i, out| {
                matvec(
                    pool,
                    out[0],
                    i.floats[0],
                    i.floats[1],
                    MatvecEpilogue::Bias(i.floats[2]),
                )
            },
            |_, case| vec![product(case)],
        ),
        matvec_row(
            "matvec_bias_gelu",
            |pool, _, i, out| {
                matvec(
                    pool,
                    out[0],
                    i.floats[0],
                    i.floats[1],
                    MatvecEpilogue::BiasGelu(i.floats[2]),
                )
            },
            |_, case| vec![product(case).into_iter().map(gelu_reference).collect()],
        ),
        matvec_row(
            "matvec_bias_residual",
            |pool, _, i, out| {
                matvec(
                    pool,
                    out[0],
                    i.floats[0],
                    i.floats[1],
                    MatvecEpilogue::BiasResidual(i.floats[2]),
                )
            },
            |_, case| vec![plus(&case.outputs[0], &product(case))],
        ),
        Op {
            name: "matvec_transposed",
            sizes: SIZES,
            shape: few_rows,
            large: &[[3, 270, 700, 1]],
            gpt2: [1, 768, 50257, 1],
            work,
            case: |s, random| {
                let inputs = vec![random.floats(s[0] * s[1]), random.floats(s[1] * s[2])];
                floats_case(inputs, vec![nan(s[0] * s[2])])
            },
            kernel: |pool, s, inputs, out| matvec_transposed(pool, out[0], inputs.floats[0], inputs.floats[1], s[1]),
            // y = x Wᵀ is the gradient of a layer's input.
            reference: |[n, ins, outs, _], case| {
                let x = vec![0.0; n * outs];
                vec![linear_backward_reference(&wide(&case.inputs[0]), &x, &wide(&case.inputs[1]), ins).0]
            },
            tolerance: TOLERANCE,
            terms: |s| s[1],
        },
    ]
}

/// A product with few rows; the epilogues differ in the kernel's call and in what should come out.
fn matvec_row(name: &'static str, kernel: Kernel, reference: Reference) -> Op {
    Op {
        name,
        sizes: SIZES,
        shape: few_rows,
        large: &[[8, 200, 2500, 1], [1, 770, 130, 1]],
        gpt2: [1, 768, 3072, 1],
        work,
        case: |s, random| floats_case(layer(s, random), vec![random.floats(s[0] * s[2])]),
        kernel,
        reference,
        tolerance: TOLERANCE,
        terms: |s| s[1],
    }
}
