//! Rows of attention: shape (B, T, h, dh), over a cache (past, T, h, dh).

use super::{Case, Inputs, Op, Random, Shape, Work, floats_case, nan, wide};
use foretoken_kernels::{
    AttentionDims, Cached, CachedSequence, Dropout, Isa, Pool, Stream, attention_backward,
    attention_backward_reference, attention_cached, attention_forward, attention_mask_reference, attention_reference,
};

const SIZES: &str = "B, T, h, dh";
/// Past one and two tiles of queries and keys; few heads and many; so wide that the backward takes several blocks of queries.
const LARGE: &[Shape] = &[[1, 130, 2, 20], [2, 67, 1, 33], [3, 70, 3, 5], [1, 290, 1, 200]];
const GPT2: Shape = [4, 1024, 12, 64];
/// Three heads of queries share one of keys.
const GROUPED: &str = "B, T, h_kv, dh";
const GROUPED_LARGE: Shape = [4, 1024, 3, 64];

const DROPOUT: Dropout = Dropout {
    p: 0.2,
    stream: Stream {
        seed: 3,
        step: 7,
        purpose: 2,
    },
};

fn dims([b, t, h, dh]: Shape) -> AttentionDims {
    let h_kv = h;
    AttentionDims { b, t, h, h_kv, dh }
}

/// As many heads of keys as `dims` has, and three of queries for each.
fn grouped([b, t, h_kv, dh]: Shape) -> AttentionDims {
    let h = 3 * h_kv;
    AttentionDims { b, t, h, h_kv, dh }
}

/// Tokens and the width of a head take turns at the tail.
fn shape(random: &mut Random, tail: usize) -> Shape {
    let mut shape = [random.up_to(2), random.up_to(20), random.up_to(3), random.up_to(20)];
    shape[[1, 3][random.below(2)]] = tail;
    shape
}

/// The lower triangle of both products.
fn work(dims: AttentionDims) -> Work {
    let AttentionDims { b, t, h, dh, .. } = dims;
    Work {
        flops: 2 * b * h * t * t * dh,
        bytes: 4 * b * t * (dims.row() + dims.d()),
    }
}

/// Five products for the forward's two; every tensor and its gradient.
fn backward_work(dims: AttentionDims) -> Work {
    let forward = work(dims);
    Work {
        flops: forward.flops * 5 / 2,
        bytes: 2 * forward.bytes,
    }
}

fn qkv(dims: AttentionDims, random: &mut Random) -> Vec<f32> {
    random
        .floats(dims.b * dims.t * dims.row())
        .iter()
        .map(|x| 2.0 * x)
        .collect()
}

fn forward_case(dims: AttentionDims, random: &mut Random) -> Case {
    let AttentionDims { b, t, h, .. } = dims;
    floats_case(vec![qkv(dims, random)], vec![nan(b * t * dims.d()), nan(b * h * t)])
}

/// dout, qkv, and what the forward left: out and lse.
fn backward_case(dims: AttentionDims, random: &mut Random, dropout: Option<Dropout>) -> Case {
    let AttentionDims { b, t, h, .. } = dims;
    let (qkv, dout) = (qkv(dims, random), random.floats(b * t * dims.d()));
    let (mut out, mut lse) = (nan(dout.len()), nan(b * h * t));
    let pool = Pool::with_isa(1, Isa::Portable);
    attention_forward(&pool, &mut out, &mut lse, &qkv, dims, &[], dropout);
    let dqkv = nan(qkv.len());
    floats_case(vec![dout, qkv, out, lse], vec![dqkv])
}

/// (T,dh) of one head from rows of `stride` floats, the first of its columns at `column`.
fn head(rows: &[f64], stride: usize, column: usize, dh: usize) -> Vec<f64> {
    rows.chunks(stride)
        .flat_map(|row| row[column..column + dh].to_vec())
        .collect()
}

/// Where the queries, keys and values of a head begin in a row.
fn columns(dims: AttentionDims, head: usize) -> [usize; 3] {
    let kv = head * dims.h_kv / dims.h * dims.dh;
    [head * dims.dh, dims.d() + kv, dims.d() + dims.kv() + kv]
}

fn forward_reference(dims: AttentionDims, case: &Case, dropout: Option<Dropout>) -> Vec<Vec<f64>> {
    let AttentionDims { b, t, h, dh, .. } = dims;
    let (d, row, qkv) = (dims.d(), dims.row(), wide(&case.inputs[0]));
    let (mut out, mut lse) = (vec![0.0; b * t * d], Vec::new());
    for bh in 0..b * h {
        let rows = &qkv[bh / h * t * row..(bh / h + 1) * t * row];
        let [q, k, v] = columns(dims, bh % h).map(|column| head(rows, row, column, dh));
        let mask = dropout.map(|dropout| attention_mask_reference(dropout, dims, bh / h * t..(bh / h + 1) * t, bh % h));
        let (o, l, _) = attention_reference(&q, &k, &v, mask.as_deref(), t, dh);
        for (i, o) in o.into_iter().enumerate() {
            out[(bh / h * t + i / dh) * d + bh % h * dh + i % dh] = o;
        }
        lse.extend(l);
    }
    vec![out, lse]
}

fn backward_reference(dims: AttentionDims, case: &Case, dropout: Option<Dropout>) -> Vec<Vec<f64>> {
    let AttentionDims { b, t, h, dh, .. } = dims;
    let (d, row, dout, qkv) = (dims.d(), dims.row(), wide(&case.inputs[0]), wide(&case.inputs[1]));
    let mut dqkv = vec![0.0; b * t * row];
    for bh in 0..b * h {
        let rows = &qkv[bh / h * t * row..(bh / h + 1) * t * row];
        let [q, k, v] = columns(dims, bh % h).map(|column| head(rows, row, column, dh));
        let dout = head(&dout[bh / h * t * d..(bh / h + 1) * t * d], d, bh % h * dh, dh);
        let mask = dropout.map(|dropout| attention_mask_reference(dropout, dims, bh / h * t..(bh / h + 1) * t, bh % h));
        let (dq, dk, dv) = attention_backward_reference(&dout, &q, &k, &v, mask.as_deref(), t, dh);
        for (column, gradient) in columns(dims, bh % h).into_iter().zip([dq, dk, dv]) {
            for (i, g) in gradient.iter().enumerate() {
                // Heads that share keys add to their gradient.
                dqkv[(bh / h * t + i / dh) * row + column + i % dh] += *g;
            }
        }
    }
    vec![dqkv]
}

fn forward(pool: &Pool, dims: AttentionDims, i: &Inputs<'_>, out: &mut [&mut [f32]], dropout: Option<Dropout>) {
    let [out, lse] = out else { unreachable!() };
    attention_forward(pool, out, lse, i.floats[0], dims, &[], dropout);
}

fn backward(pool: &Pool, dims: AttentionDims, i: &Inputs<'_>, dqkv: &mut [&mut [f32]], dropout: Option<Dropout>) {
    let [dout, qkv, out, lse] = i.floats[..] else {
        unreachable!()
    };
    attention_backward(pool, dqkv[0], dout, qkv, out, lse, dims, &[], dropout);
}

pub(super) fn ops() -> Vec<Op> {
    let forward_op = Op {
        name: "attention_forward",
        sizes: SIZES,
        shape,
        large: LARGE,
        gpt2: GPT2,
        work: |s| work(dims(s)),
        case: |s, random| forward_case(dims(s), random),
        kernel: |pool, s, i, out| forward(pool, dims(s), i, out, None),
        reference: |s, case| forward_reference(dims(s), case, None),
        tolerance: 3e-7,
        terms: |s| s[1].max(s[3]),
    };
    let backward_op = Op {
        name: "attention_backward",
        work: |s| backward_work(dims(s)),
        case: |s, random| backward_case(dims(s), random, None),
        kernel: |pool, s, i, out| backward(pool, dims(s), i, out, None),
        reference: |s, case| backward_reference(dims(s), case, None),
        tolerance: 4e-7,
        ..forward_op
    };
    vec![
        Op {
            name: "attention_forward_dropout",
            kernel: |pool, s, i, out| forward(pool, dims(s), i, out, Some(DROPOUT)),
            reference: |s, case| forward_reference(dims(s), case, Some(DROPOUT)),
            ..forward_op
        },
        Op {
            name: "attention_backward_dropout",
            case: |s, random| backward_case(dims(s), random, Some(DROPOUT)),
            kernel: |pool, s, i, out| backward(pool, dims(s), i, out, Some(DROPOUT)),
            reference: |s, case| backward_reference(dims(s), case, Some(DROPOUT)),
            ..backward_op
        },
        Op {
            name: "attention_forward_grouped",
            sizes: GROUPED,
            work: |s| work(grouped(s)),
            case: |s, random| forward_case(grouped(s), random),
            kernel: |pool, s, i, out| forward(pool, grouped(s), i, out, Some(DROPOUT)),
            reference: |s, case| forward_reference(grouped(s), case, Some(DROPOUT)),
            gpt2: GROUPED_LARGE,
            ..forward_op
        },
        Op {
            name: "attention_backward_grouped",
            sizes: GROUPED,
            work: |s| backward_work(grouped(s)),
            case: |s, random| backward_case(grouped(s), random, Some(DROPOUT)),
            kernel: |pool, s, i, out| backward(pool, grouped(s), i, out, Some(DROPOUT)),
            reference: |s, case| backward_reference(grouped(s), case, Some(DROPOUT)),
            gpt2: GROUPED_LARGE,
            ..backward_op
        },
        Op {
            name: "attention_cached_grouped",
            sizes: "past, T, h_kv, dh",
            gpt2: [1023, 1, 3, 64],
            work: |[past, t, h_kv, dh]| Work {
                flops: 12 * t * (past + t) * h_kv * dh,
                bytes: 8 * (past + 4 * t) * h_kv * dh,
            },
            case: |[past, t, h, dh], random| cached_case(past, grouped([1, t, h, dh]), random),
            kernel: |pool, [past, t, h, dh], i, out| cached_kernel(pool, past, grouped([1, t, h, dh]), i, out[0]),
            reference: |[past, t, h, dh], case| cached_reference(past, grouped([1, t, h, dh]), case),
            ..cached()
        },
        cached(),
        forward_op,
        backward_op,
    ]
}

/// T new tokens over `past` cached ones; the queries lie in rows of qkv, keys and values in (h_kv,past+T,dh).
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
        case: |[past, t, h, dh], random| cached_case(past, dims([1, t, h, dh]), random),
        kernel: |pool, [past, t, h, dh], i, out| cached_kernel(pool, past, dims([1, t, h, dh]), i, out[0]),
        reference: |[past, t, h, dh], case| cached_reference(past, dims([1, t, h, dh]), case),
        tolerance: 3e-7,
        terms: |s| (s[0] + s[1]).max(s[3]),
    }
}

fn cached_case(past: usize, dims: AttentionDims, random: &mut Random) -> Case {
    let keys = (past + dims.t) * dims.kv();
    let mut rows = |n| random.floats(n).iter().map(|x| 2.0 * x).collect();
    let inputs = vec![rows(dims.t * dims.row()), rows(keys), rows(keys)];
    floats_case(inputs, vec![nan(dims.t * dims.d())])
}

fn cached_kernel(pool: &Pool, past: usize, dims: AttentionDims, i: &Inputs<'_>, out: &mut [f32]) {
    let (keys, values) = (Cached::F32(i.floats[1]), Cached::F32(i.floats[2]));
    let sequence = CachedSequence {
        keys,
        values,
        past,
        t: dims.t,
    };
    attention_cached(pool, out, i.floats[0], dims.row(), &[sequence], dims);
}

fn cached_reference(past: usize, dims: AttentionDims, case: &Case) -> Vec<Vec<f64>> {
    let AttentionDims { t, h, h_kv, dh, .. } = dims;
    let keys = past + t;
    let [q, k, v] = [0, 1, 2].map(|i| wide(&case.inputs[i]));
    let mut out = vec![0.0; t * dims.d()];
    for which in 0..h {
        // Queries of the past are not there; what they would have been does not matter.
        let mut all = vec![0.0; past * dh];
        all.extend(head(&q, dims.row(), which * dh, dh));
        // The caches are (h_kv,keys,dh).
        let first = which * h_kv / h * keys * dh;
        let cached = first..first + keys * dh;
        let (o, _, _) = attention_reference(&all, &k[cached.clone()], &v[cached], None, keys, dh);
        for (i, o) in o[past * dh..].iter().enumerate() {
            out[i / dh * dims.d() + which * dh + i % dh] = *o;
        }
    }
    vec![out]
}
