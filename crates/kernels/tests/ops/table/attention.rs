//! Rows of attention: shape (B, T, h, dh), over a cache (past, T, h, dh).

use super::{Case, Inputs, Op, Random, Shape, Work, floats_case, nan, wide};
use foretoken_kernels::{
    AttentionDims, Dropout, Isa, Pool, Stream, attention_backward, attention_backward_reference, attention_cached,
    attention_forward, attention_mask_reference, attention_reference,
};

const SIZES: &str = "B, T, h, dh";
/// Past one and two tiles of queries and keys; few heads and many.
const LARGE: &[Shape] = &[[1, 130, 2, 20], [2, 67, 1, 33], [3, 70, 3, 5]];
const GPT2: Shape = [4, 1024, 12, 64];

const DROPOUT: Dropout = Dropout {
    p: 0.2,
    stream: Stream {
        seed: 3,
        step: 7,
        purpose: 2,
    },
};

fn dims([b, t, h, dh]: Shape) -> AttentionDims {
    AttentionDims { b, t, h, dh }
}

/// Tokens and the width of a head take turns at the tail.
fn shape(random: &mut Random, tail: usize) -> Shape {
    let mut shape = [random.up_to(2), random.up_to(20), random.up_to(3), random.up_to(20)];
    shape[[1, 3][random.below(2)]] = tail;
    shape
}

/// The lower triangle of both products.
fn work([b, t, h, dh]: Shape) -> Work {
    Work {
        flops: 2 * b * h * t * t * dh,
        bytes: 16 * b * t * h * dh,
    }
}

fn qkv([b, t, h, dh]: Shape, random: &mut Random) -> Vec<f32> {
    random.floats(b * t * 3 * h * dh).iter().map(|x| 2.0 * x).collect()
}

fn forward_case(s: Shape, random: &mut Random) -> Case {
    let [b, t, h, dh] = s;
    floats_case(vec![qkv(s, random)], vec![nan(b * t * h * dh), nan(b * h * t)])
}

/// dout, qkv, and what the forward left: out and lse.
fn backward_case(s: Shape, random: &mut Random, dropout: Option<Dropout>) -> Case {
    let [b, t, h, dh] = s;
    let (qkv, dout) = (qkv(s, random), random.floats(b * t * h * dh));
    let (mut out, mut lse) = (nan(dout.len()), nan(b * h * t));
    attention_forward(
        &Pool::with_isa(1, Isa::Portable),
        &mut out,
        &mut lse,
        &qkv,
        dims(s),
        dropout,
    );
    let dqkv = nan(qkv.len());
    floats_case(vec![dout, qkv, out, lse], vec![dqkv])
}

/// (T,dh) of one head from rows of `stride` floats, the first of its columns at `column`.
fn head(rows: &[f64], stride: usize, column: usize, dh: usize) -> Vec<f64> {
    rows.chunks(stride)
        .flat_map(|row| row[column..column + dh].to_vec())
        .collect()
}

fn forward_reference(s: Shape, case: &Case, dropout: Option<Dropout>) -> Vec<Vec<f64>> {
    let [b, t, h, dh] = s;
    let (d, qkv) = (h * dh, wide(&case.inputs[0]));
    let (mut out, mut lse) = (vec![0.0; b * t * d], Vec::new());
    for bh in 0..b * h {
        let rows = &qkv[bh / h * t * 3 * d..(bh / h + 1) * t * 3 * d];
        let [q, k, v] = [0, 1, 2].map(|part| head(rows, 3 * d, part * d + bh % h * dh, dh));
        let mask = dropout.map(|dropout| attention_mask_reference(dropout, dims(s), bh));
        let (o, l, _) = attention_reference(&q, &k, &v, mask.as_deref(), t, dh);
        for (i, o) in o.into_iter().enumerate() {
            out[(bh / h * t + i / dh) * d + bh % h * dh + i % dh] = o;
        }
        lse.extend(l);
    }
    vec![out, lse]
}

fn backward_reference(s: Shape, case: &Case, dropout: Option<Dropout>) -> Vec<Vec<f64>> {
    let [b, t, h, dh] = s;
    let (d, dout, qkv) = (h * dh, wide(&case.inputs[0]), wide(&case.inputs[1]));
    let mut dqkv = vec![0.0; b * t * 3 * d];
    for bh in 0..b * h {
        let rows = &qkv[bh / h * t * 3 * d..(bh / h + 1) * t * 3 * d];
        let [q, k, v] = [0, 1, 2].map(|part| head(rows, 3 * d, part * d + bh % h * dh, dh));
        let dout = head(&dout[bh / h * t * d..(bh / h + 1) * t * d], d, bh % h * dh, dh);
        let mask = dropout.map(|dropout| attention_mask_reference(dropout, dims(s), bh));
        let (dq, dk, dv) = attention_backward_reference(&dout, &q, &k, &v, mask.as_deref(), t, dh);
        for (part, gradient) in [dq, dk, dv].iter().enumerate() {
            for (i, g) in gradient.iter().enumerate() {
                dqkv[(bh / h * t + i / dh) * 3 * d + part * d + bh % h * dh + i % dh] = *g;
            }
        }
    }
    vec![dqkv]
}

fn forward(pool: &Pool, s: Shape, i: &Inputs<'_>, out: &mut [&mut [f32]], dropout: Option<Dropout>) {
    let [out, lse] = out else { unreachable!() };
    attention_forward(pool, out, lse, i.floats[0], dims(s), dropout);
}

fn backward(pool: &Pool, s: Shape, i: &Inputs<'_>, dqkv: &mut [&mut [f32]], dropout: Option<Dropout>) {
    let [dout, qkv, out, lse] = i.floats[..] else {
        unreachable!()
    };
    attention_backward(pool, dqkv[0], dout, qkv, out, lse, dims(s), dropout);
}

pub(super) fn ops() -> Vec<Op> {
    let forward_op = Op {
        name: "attention_forward",
        sizes: SIZES,
        shape,
        large: LARGE,
        gpt2: GPT2,
        work,
        case: forward_case,
        kernel: |pool, s, i, out| forward(pool, s, i, out, None),
        reference: |s, case| forward_reference(s, case, None),
        tolerance: 3e-7,
        terms: |s| s[1].max(s[3]),
    };
    let backward_op = Op {
        name: "attention_backward",
        work: |s| Work {
            flops: work(s).flops * 5 / 2,
            bytes: 2 * work(s).bytes,
        },
        case: |s, random| backward_case(s, random, None),
        kernel: |pool, s, i, out| backward(pool, s, i, out, None),
        reference: |s, case| backward_reference(s, case, None),
        tolerance: 4e-7,
        ..forward_op
    };
    vec![
        Op {
            name: "attention_forward_dropout",
            kernel: |pool, s, i, out| forward(pool, s, i, out, Some(DROPOUT)),
            reference: |s, case| forward_reference(s, case, Some(DROPOUT)),
            ..forward_op
        },
        Op {
            name: "attention_backward_dropout",
            case: |s, random| backward_case(s, random, Some(DROPOUT)),
            kernel: |pool, s, i, out| backward(pool, s, i, out, Some(DROPOUT)),
            reference: |s, case| backward_reference(s, case, Some(DROPOUT)),
            ..backward_op
        },
        cached(),
        forward_op,
        backward_op,
    ]
}

/// T new tokens over `past` cached ones; the queries lie in rows of 3d, keys and values in (h,past+T,dh).
fn cached() -> Op {
    Op {
        name: "attention_cached",
        sizes: "past, T, h, dh",
        shape: |random, tail| {
            let mut shape = [random.below(30), random.up_to(12), random.up_to(3), random.up_to(20)];
            shape[[0, 3][random.below(2)]] = tail;
            shape
        },
        large: &[[100, 70, 2, 20], [130, 3, 1, 64]],
        gpt2: [1023, 1, 12, 64],
        work: |[past, t, h, dh]| Work {
            flops: 4 * t * (past + t) * h * dh,
            bytes: 8 * (past + t) * h * dh,
        },
        case: |[past, t, h, dh], random| {
            let (d, keys) = (h * dh, past + t);
            let mut rows = |n| random.floats(n).iter().map(|x| 2.0 * x).collect();
            floats_case(vec![rows(t * 3 * d), rows(keys * d), rows(keys * d)], vec![nan(t * d)])
        },
        kernel: |pool, [past, t, h, dh], i, out| {
            let dims = dims([1, t, h, dh]);
            let caches = (i.floats[1], i.floats[2]);
            attention_cached(pool, out[0], i.floats[0], 3 * h * dh, caches, past, dims);
        },
        reference: |[past, t, h, dh], case| {
            let (d, keys) = (h * dh, past + t);
            let [q, k, v] = [0, 1, 2].map(|i| wide(&case.inputs[i]));
            let mut out = vec![0.0; t * d];
            for column in (0..d).step_by(dh) {
                // Queries of the past are not there; what they would have been does not matter.
                let mut all = vec![0.0; past * dh];
                all.extend(head(&q, 3 * d, column, dh));
                // The caches are (h,keys,dh): column * keys is where this head's begin.
                let cached = column * keys..(column + dh) * keys;
                let (o, _, _) = attention_reference(&all, &k[cached.clone()], &v[cached], None, keys, dh);
                for (i, o) in o[past * dh..].iter().enumerate() {
                    out[i / dh * d + column + i % dh] = *o;
                }
            }
            vec![out]
        },
        tolerance: 3e-7,
        terms: |s| (s[0] + s[1]).max(s[3]),
    }
}
