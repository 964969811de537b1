//! Rows of ops in which every element stands alone, and of sums over whole arrays: shape (n).

use super::{Case, Op, Random, Shape, Work, floats_case, nan, plus, wide};
use foretoken_kernels::{
    AdamW, Dropout, Stream, adamw, adamw_bf16, adamw_reference, add_in_place, bf16_to_f32, dropout_in_place,
    dropout_reference, gelu_backward, gelu_derivative_reference, gelu_forward, gelu_reference, muon_momentum,
    muon_momentum_bf16, muon_momentum_reference, residual_forward, residual_reference, sum_of_squares,
    sum_of_squares_reference, zero,
};

const SIZES: &str = "elements";
/// (N,d) and (N,4d) of GPT-2 124M at B = 4, T = 1024.
const ND: Shape = [4096 * 768, 1, 1, 1];
const NF: Shape = [4096 * 3072, 1, 1, 1];
/// Past the elements of a task, with a tail.
const LARGE: &[Shape] = &[[16_384 * 2 + 37, 1, 1, 1]];

const DROPOUT: Dropout = Dropout {
    p: 0.1,
    stream: Stream {
        seed: 3,
        step: 7,
        purpose: 1,
    },
};

const ADAMW: AdamW = AdamW {
    lr: 1e-2,
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    weight_decay: 0.1,
    step: 3,
    grad_scale: 0.5,
};

/// Whose bits round.
const ROUNDING: Stream = Stream {
    seed: 3,
    step: 7,
    purpose: 1,
};

/// `x` in bf16, two in the bits of a float: what a table of floats has for outputs that are none.
fn packed(x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len().div_ceil(2)];
    for (half, x) in halves(&mut out, x.len()).iter_mut().zip(x) {
        *half = (x.to_bits() >> 16) as u16;
    }
    out
}

fn halves(packed: &mut [f32], n: usize) -> &mut [u16] {
    &mut bytemuck::cast_slice_mut(packed)[..n]
}

fn unpacked(packed: &[f32], n: usize) -> Vec<f64> {
    let halves: &[u16] = bytemuck::cast_slice(packed);
    halves[..n].iter().map(|&half| bf16_to_f32(half).into()).collect()
}

fn shape(random: &mut Random, tail: usize) -> Shape {
    // Whole vectors before the tail, every other time.
    [random.below(2) * 16 * random.below(20) + tail, 1, 1, 1]
}

fn two_inputs(s: Shape, random: &mut Random) -> Case {
    floats_case(vec![random.floats(s[0]), random.floats(s[0])], vec![nan(s[0])])
}

/// Numbers from -9 to 9: the whole bend of a GELU and both its ends.
fn bend(n: usize, random: &mut Random) -> Vec<f32> {
    random.floats(n).iter().map(|x| 9.0 * x).collect()
}

pub(super) fn ops() -> Vec<Op> {
    let op = Op {
        name: "gelu_forward",
        sizes: SIZES,
        shape,
        large: LARGE,
        gpt2: NF,
        work: |s| Work {
            flops: 30 * s[0],
            bytes: 8 * s[0],
        },
        case: |s, random| floats_case(vec![bend(s[0], random)], vec![nan(s[0])]),
        kernel: |pool, _, i, out| gelu_forward(pool, out[0], i.floats[0]),
        reference: |_, case| vec![wide(&case.inputs[0]).into_iter().map(gelu_reference).collect()],
        tolerance: 2e-7,
        terms: |_| 1,
    };
    vec![
        Op {
            name: "gelu_backward",
            work: |s| Work {
                flops: 40 * s[0],
                bytes: 12 * s[0],
            },
            case: |s, random| floats_case(vec![random.floats(s[0]), bend(s[0], random)], vec![nan(s[0])]),
            kernel: |pool, _, i, out| gelu_backward(pool, out[0], i.floats[0], i.floats[1]),
            reference: |_, case| {
                let [dy, x] = [0, 1].map(|i| wide(&case.inputs[i]));
                vec![
                    dy.iter()
                        .zip(x)
                        .map(|(dy, x)| dy * gelu_derivative_reference(x))
                        .collect(),
                ]
            },
            tolerance: 2e-6,
            ..op
        },
        Op {
            name: "residual_forward",
            gpt2: ND,
            work: |s| Work {
                flops: s[0],
                bytes: 12 * s[0],
            },
            case: two_inputs,
            kernel: |pool, _, i, out| residual_forward(pool, out[0], i.floats[0], i.floats[1], None),
            reference: |_, case| vec![residual_reference(&wide(&case.inputs[0]), &wide(&case.inputs[1]), None)],
            tolerance: 6e-8,
            ..op
        },
        Op {
            name: "residual_forward_dropout",
            gpt2: ND,
            work: |s| Work {
                flops: 2 * s[0],
                bytes: 12 * s[0],
            },
            case: two_inputs,
            kernel: |pool, _, i, out| residual_forward(pool, out[0], i.floats[0], i.floats[1], Some(DROPOUT)),
            reference: |_, case| {
                vec![residual_reference(
                    &wide(&case.inputs[0]),
                    &wide(&case.inputs[1]),
                    Some(DROPOUT),
                )]
            },
            tolerance: 2e-7,
            ..op
        },
        Op {
            name: "dropout_in_place",
            gpt2: ND,
            work: |s| Work {
                flops: s[0],
                bytes: 8 * s[0],
            },
            case: |s, random| floats_case(Vec::new(), vec![random.floats(s[0])]),
            kernel: |pool, _, _, out| dropout_in_place(pool, out[0], DROPOUT),
            reference: |_, case| vec![dropout_reference(&wide(&case.outputs[0]), DROPOUT)],
            tolerance: 6e-8,
            ..op
        },
        Op {
            name: "add_in_place",
            gpt2: ND,
            work: |s| Work {
                flops: s[0],
                bytes: 12 * s[0],
            },
            case: |s, random| floats_case(vec![random.floats(s[0])], vec![random.floats(s[0])]),
            kernel: |pool, _, i, out| add_in_place(pool, out[0], i.floats[0]),
            reference: |_, case| vec![plus(&case.outputs[0], &wide(&case.inputs[0]))],
            tolerance: 6e-8,
            ..op
        },
        Op {
            name: "zero",
            gpt2: ND,
            large: &[[(1 << 18) + 5, 1, 1, 1]],
            work: |s| Work {
                flops: 0,
                bytes: 4 * s[0],
            },
            case: |s, _| floats_case(Vec::new(), vec![nan(s[0])]),
            kernel: |pool, _, _, out| zero(pool, out[0]),
            reference: |s, _| vec![vec![0.0; s[0]]],
            tolerance: 0.0,
            ..op
        },
        Op {
            name: "sum_of_squares",
            gpt2: NF,
            large: &[[70_003, 1, 1, 1]],
            work: |s| Work {
                flops: 2 * s[0],
                bytes: 4 * s[0],
            },
            case: |s, random| floats_case(vec![random.floats(s[0])], vec![nan(1)]),
            kernel: |pool, _, i, out| out[0][0] = sum_of_squares(pool, i.floats[0]) as f32,
            reference: |_, case| vec![vec![sum_of_squares_reference(&wide(&case.inputs[0]))]],
            tolerance: 3e-7,
            ..op
        },
        Op {
            name: "adamw",
            gpt2: NF,
            work: |s| Work {
                flops: 16 * s[0],
                bytes: 28 * s[0],
            },
            case: |s, random| {
                let v = random.floats(s[0]).iter().map(|x| x * x).collect();
                floats_case(
                    vec![random.floats(s[0])],
                    vec![random.floats(s[0]), random.floats(s[0]), v],
                )
            },
            kernel: |pool, _, i, out| {
                let [param, m, v] = out else { unreachable!() };
                adamw(pool, param, m, v, i.floats[0], &ADAMW);
            },
            reference: |s, case| {
                let (mut out, grad) = (
                    case.outputs.iter().map(|x| wide(x)).collect::<Vec<_>>(),
                    &case.inputs[0],
                );
                for i in 0..s[0] {
                    let updated = adamw_reference(out[0][i], out[1][i], out[2][i], grad[i].into(), &ADAMW);
                    (out[0][i], out[1][i], out[2][i]) = updated;
                }
                out
            },
            tolerance: 3e-7,
            ..op
        },
        // Against f64 only the parameters: that the moments are rounded as they should be, a test beside the kernel says
        // to the bit.
        Op {
            name: "adamw_bf16",
            gpt2: NF,
            work: |s| Work {
                flops: 16 * s[0],
                bytes: 20 * s[0],
            },
            case: |s, random| {
                let v: Vec<f32> = random.floats(s[0]).iter().map(|x| x * x).collect();
                let m = random.floats(s[0]);
                floats_case(
                    vec![random.floats(s[0])],
                    vec![random.floats(s[0]), packed(&m), packed(&v)],
                )
            },
            kernel: |pool, s, i, out| {
                let [param, m, v] = out else { unreachable!() };
                let (m, v) = (halves(m, s[0]), halves(v, s[0]));
                adamw_bf16(pool, param, m, v, i.floats[0], &ADAMW, ROUNDING);
            },
            reference: |s, case| {
                let (param, grad) = (wide(&case.outputs[0]), wide(&case.inputs[0]));
                let [m, v] = [1, 2].map(|i| unpacked(&case.outputs[i], s[0]));
                let updated = (0..s[0]).map(|i| adamw_reference(param[i], m[i], v[i], grad[i], &ADAMW).0);
                vec![updated.collect(), Vec::new(), Vec::new()]
            },
            tolerance: 3e-7,
            ..op
        },
        Op {
            name: "muon_momentum",
            gpt2: NF,
            work: |s| Work {
                flops: 6 * s[0],
                bytes: 16 * s[0],
            },
            case: |s, random| floats_case(Vec::new(), vec![random.floats(s[0]), random.floats(s[0])]),
            kernel: |pool, _, _, out| {
                let [m, grad] = out else { unreachable!() };
                muon_momentum(pool, m, grad, 0.5);
            },
            reference: |_, case| {
                let [m, grad] = [0, 1].map(|i| wide(&case.outputs[i]));
                let updated = m.iter().zip(&grad).map(|(&m, &g)| muon_momentum_reference(m, g, 0.5));
                let (m, update) = updated.unzip();
                vec![m, update]
            },
            tolerance: 2e-7,
            ..op
        },
        Op {
            name: "muon_momentum_bf16",
            gpt2: NF,
            work: |s| Work {
                flops: 6 * s[0],
                bytes: 12 * s[0],
            },
            case: |s, random| floats_case(Vec::new(), vec![packed(&random.floats(s[0])), random.floats(s[0])]),
            kernel: |pool, s, _, out| {
                let [m, grad] = out else { unreachable!() };
                muon_momentum_bf16(pool, halves(m, s[0]), grad, 0.5, ROUNDING);
            },
            reference: |s, case| {
                let (m, grad) = (unpacked(&case.outputs[0], s[0]), wide(&case.outputs[1]));
                let updated = m.iter().zip(&grad).map(|(&m, &g)| muon_momentum_reference(m, g, 0.5).1);
                vec![Vec::new(), updated.collect()]
            },
            tolerance: 2e-7,
            ..op
        },
        op,
    ]
}
