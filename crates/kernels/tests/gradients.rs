//! Every backward oracle against finite differences of its forward oracle, in f64: each input and parameter, each
//! element, relative error below 1e-6.

use foretoken_kernels::*;

/// The bar. Elements below a thousandth of the tensor's largest gradient are held to that thousandth.
const TOLERANCE: f64 = 1e-6;

fn numbers(n: usize, purpose: u32) -> Vec<f64> {
    let stream = Stream {
        seed: 17,
        step: 0,
        purpose,
    };
    (0..n as u64).map(|i| 3.0 * stream.uniform_f64(i) - 1.5).collect()
}

/// Holds `backward(dy, inputs)`, one gradient an input, to the slope of `sum(dy o forward(inputs))` at every element.
fn check(
    name: &str,
    inputs: &[Vec<f64>],
    forward: impl Fn(&[Vec<f64>]) -> Vec<f64>,
    backward: impl Fn(&[f64], &[Vec<f64>]) -> Vec<Vec<f64>>,
) {
    let dy = numbers(forward(inputs).len(), 99);
    let gradients = backward(&dy, inputs);
    assert_eq!(gradients.len(), inputs.len(), "{name}: one gradient an input");
    let mut moved = inputs.to_vec();
    for (which, gradient) in gradients.iter().enumerate() {
        assert_eq!(
            gradient.len(),
            inputs[which].len(),
            "{name}: gradient {which} has its input's shape"
        );
        let largest = gradient.iter().fold(0.0f64, |m, g| m.max(g.abs()));
        assert!(largest > 0.0, "{name}: gradient {which} is not all zero");
        for (i, got) in gradient.iter().enumerate() {
            let mut at = |delta: f64| {
                moved[which][i] = inputs[which][i] + delta;
                let value: f64 = forward(&moved).iter().zip(&dy).map(|(y, dy)| y * dy).sum();
                moved[which][i] = inputs[which][i];
                value
            };
            // The central difference of fourth order.
            let h = 1e-3;
            let want = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            let scale = want.abs().max(1e-3 * largest);
            let error = (got - want).abs() / scale;
            assert!(
                error <= TOLERANCE,
                "{name}: input {which} at {i}: {got}, want {want}, error {error:e}"
            );
        }
    }
}

#[test]
fn linear() {
    for (n, ins, outs) in [(1, 1, 1), (3, 5, 7), (4, 9, 2)] {
        check(
            "linear",
            &[numbers(n * ins, 1), numbers(ins * outs, 2), numbers(outs, 3)],
            |x| linear_reference(&x[0], &x[1], &x[2]),
            |dy, x| {
                let (dx, dweight, dbias) = linear_backward_reference(dy, &x[0], &x[1], outs);
                assert_eq!(dbias, bias_backward_reference(dy, outs));
                vec![dx, dweight, dbias]
            },
        );
    }
}

#[test]
fn gelu() {
    check(
        "gelu",
        &[numbers(61, 1).iter().map(|x| 3.0 * x).collect()],
        |x| x[0].iter().copied().map(gelu_reference).collect(),
        |dy, x| {
            let slope = |(dy, x): (&f64, &f64)| dy * gelu_derivative_reference(*x);
            vec![dy.iter().zip(&x[0]).map(slope).collect()]
        },
    );
}

#[test]
fn layernorm() {
    for d in [2, 3, 8, 17] {
        let eps = 1e-5;
        check(
            "layernorm",
            &[numbers(d, 1), numbers(d, 2), numbers(d, 3)],
            |x| layernorm_reference(&x[0], &x[1], &x[2], eps).0,
            |dy, x| {
                let (_, mean, rstd) = layernorm_reference(&x[0], &x[1], &x[2], eps);
                let (dx, dweight, dbias) = layernorm_backward_reference(dy, &x[0], &x[1], mean, rstd);
                vec![dx, dweight, dbias]
            },
        );
    }
}

#[test]
fn rmsnorm() {
    for d in [1, 2, 3, 8, 17] {
        let eps = 1e-1;
        check(
            "rmsnorm",
            &[numbers(d, 1), numbers(d, 2)],
            |x| rmsnorm_reference(&x[0], &x[1], eps).0,
            |dy, x| {
                let (_, rstd) = rmsnorm_reference(&x[0], &x[1], eps);
                let (dx, dweight) = rmsnorm_backward_reference(dy, &x[0], &x[1], rstd);
                vec![dx, dweight]
            },
        );
    }
}

#[test]
fn rope_turns_back() {
    for (dh, position) in [(2, 1), (6, 5), (10, 1000)] {
        check(
            "rope",
            &[numbers(dh, 1)],
            |x| rope_reference(&x[0], 10_000.0, position, Turn::Forward),
            |dy, _| vec![rope_reference(dy, 10_000.0, position, Turn::Back)],
        );
    }
}

#[test]
fn swiglu() {
    check(
        "swiglu",
        &[numbers(61, 1).iter().map(|x| 3.0 * x).collect(), numbers(61, 2)],
        |x| {
            x[0].iter()
                .zip(&x[1])
                .map(|(&gate, &up)| swiglu_reference(gate, up))
                .collect()
        },
        |dy, x| {
            let gradients = (0..61).map(|i| swiglu_backward_reference(dy[i], x[0][i], x[1][i]));
            let (dgate, dup) = gradients.unzip();
            vec![dgate, dup]
        },
    );
}

#[test]
fn embedding() {
    // Token 2 stands twice, token 1 nowhere; two sequences share the positions.
    let (ids, t, d, vocab, positions) = ([2, 0, 3, 2, 4, 0], 3, 5, 5, 4);
    check(
        "embedding",
        &[numbers(vocab * d, 1), numbers(positions * d, 2)],
        |x| embedding_reference(&ids, &x[0], &x[1], d, t, 0),
        |dx, _| {
            let (dwte, dwpe) = embedding_backward_reference(dx, &ids, t, vocab, positions);
            vec![dwte, dwpe]
        },
    );
}

fn dropout(purpose: u32) -> Dropout {
    Dropout {
        p: 0.3,
        stream: Stream {
            seed: 5,
            step: 2,
            purpose,
        },
    }
}

#[test]
fn residual_with_and_without_dropout() {
    for dropout in [None, Some(dropout(1))] {
        check(
            "residual",
            &[numbers(37, 1), numbers(37, 2)],
            |x| residual_reference(&x[0], &x[1], dropout),
            |dy, _| {
                vec![
                    dy.to_vec(),
                    dropout.map_or_else(|| dy.to_vec(), |dropout| dropout_reference(dy, dropout)),
                ]
            },
        );
    }
}

#[test]
fn attention_with_and_without_dropout() {
    // With one key alone, queries and keys have no slope: from two on.
    for (t, dh) in [(2, 1), (5, 3), (17, 4)] {
        let dims = AttentionDims {
            b: 1,
            t,
            h: 2,
            h_kv: 2,
            dh,
        };
        for mask in [None, Some(attention_mask_reference(dropout(2), dims, 0..t, 1))] {
            let mask = mask.as_deref();
            check(
                "attention",
                &[numbers(t * dh, 1), numbers(t * dh, 2), numbers(t * dh, 3)],
                |x| attention_reference(&x[0], &x[1], &x[2], mask, t, dh).0,
                |dout, x| {
                    let (dq, dk, dv) = attention_backward_reference(dout, &x[0], &x[1], &x[2], mask, t, dh);
                    vec![dq, dk, dv]
                },
            );
        }
    }
}

#[test]
fn cross_entropy() {
    for v in [2, 3, 17] {
        for target in [0, v as i32 - 1] {
            check(
                "cross-entropy",
                &[numbers(v, 1)],
                |x| vec![cross_entropy_reference(&x[0], target).0],
                |dy, x| {
                    vec![
                        cross_entropy_reference(&x[0], target)
                            .1
                            .iter()
                            .map(|g| g * dy[0])
                            .collect(),
                    ]
                },
            );
        }
    }
}

#[test]
fn head_loss_with_ignored_targets() {
    let scale = 0.25;
    for (targets, d, v) in [(vec![3], 1, 4), (vec![4, IGNORE_INDEX, 0, 6, IGNORE_INDEX], 3, 7)] {
        let n = targets.len();
        check(
            "head loss",
            &[numbers(n * d, 1), numbers(v * d, 2)],
            |x| vec![scale * head_loss_reference(&x[0], &x[1], &targets, scale).0.iter().sum::<f64>()],
            |dy, x| {
                let (_, dx, dweight) = head_loss_reference(&x[0], &x[1], &targets, scale);
                [dx, dweight].map(|g| g.iter().map(|g| g * dy[0]).collect()).to_vec()
            },
        );
        let (losses, dx, _) = head_loss_reference(&numbers(n * d, 1), &numbers(v * d, 2), &targets, scale);
        for (i, _) in targets.iter().enumerate().filter(|(_, t)| **t == IGNORE_INDEX) {
            assert!(losses[i] == 0.0 && dx[i * d..(i + 1) * d].iter().all(|&g| g == 0.0));
        }
    }
}
