//! Decode: new tokens over the keys and values of those before.

use super::Llama;
use super::params::Params;
use crate::arena::{Plan, Slot};
use crate::contract::{DecodePlan, Pass};
use crate::decode::{self, CHUNK, Heads};
use crate::error::Error;
use crate::probe::{Probe, Site};
use crate::state::{DecodeState, NewTokens};
use crate::weights::Weight;
use foretoken_kernels::{
    CacheType, Epilogue, MATVEC_ROWS, Mat, Pool, Turn, add_in_place, linear_packed, linear_packed_columns, matmul,
    matmul_columns, matvec_transposed, rmsnorm_forward, rope, rope_angles, swiglu_forward,
};

/// Working memory for up to `rows` new tokens.
struct Work<T> {
    x: T,
    normed: T,
    rstd: T,
    angles: T,
    /// What single tokens' queries, keys or values are before they take their columns of `qkv`; what a branch adds.
    part: T,
    qkv: T,
    heads: T,
    gate: T,
    up: T,
    hidden: T,
}

fn build<T>(model: &Llama, rows: usize, mut make: impl FnMut(Slot) -> T) -> Work<T> {
    let (dims, row) = (&model.dims, model.attention_dims(1, rows).row());
    let rows = ("T", rows);
    let (d, f) = (("d", dims.n_embd), ("f", dims.n_inner));
    let mut slot = |name, shape: &[_]| {
        make(Slot {
            name,
            layer: None,
            shape: shape.to_vec(),
        })
    };
    Work {
        x: slot("x", &[rows, d]),
        normed: slot("normed", &[rows, d]),
        rstd: slot("rstd", &[rows]),
        angles: slot("angles", &[rows, ("dh", dims.head_dim())]),
        part: slot("part", &[rows, d]),
        qkv: slot("qkv", &[rows, ("qkv", row)]),
        heads: slot("heads", &[rows, d]),
        gate: slot("gate", &[rows, f]),
        up: slot("up", &[rows, f]),
        hidden: slot("hidden", &[rows, f]),
    }
}

fn work(model: &Llama, capacity: usize) -> Plan {
    let mut plan = Plan::new(Pass::Score);
    build(model, CHUNK.min(capacity), |slot| plan.add(slot));
    plan
}

fn heads(model: &Llama) -> Heads {
    Heads(model.config.n_kv_head(), model.dims.head_dim())
}

pub(super) fn memory(model: &Llama, (capacity, kind): (usize, CacheType)) -> DecodePlan {
    let scratch = super::scratch::of_decode(model, CHUNK.min(capacity), capacity);
    decode::plan(
        &model.dims,
        heads(model),
        (capacity, kind),
        work(model, capacity),
        scratch,
    )
}

pub(super) fn state(model: &Llama, (capacity, kind): (usize, CacheType)) -> Result<DecodeState, Error> {
    decode::state(&model.dims, heads(model), (capacity, kind), work(model, capacity))
}

/// See [`crate::Model::extend`].
pub(super) fn extend(
    model: &Llama,
    pool: &Pool,
    w: &Params<Weight<'_>>,
    sequences: &mut [NewTokens<'_>],
    logits: &mut [f32],
    mut probe: Option<&mut dyn Probe>,
) {
    let (d, f, eps) = (model.dims.n_embd, model.dims.n_inner, model.config.rms_norm_eps);
    let (n, wanted) = decode::count(sequences, logits, model.dims.vocab_size);
    let attention = model.attention_dims(1, n);
    let (kv, row, dh) = (attention.kv(), attention.row(), attention.dh);
    // What one sequence has at hand serves all.
    let capacity = sequences[0].state.capacity;
    let mut arena = sequences[0].state.work.take();
    let mut parts = arena.cut(&work(model, capacity));
    let a = build(model, CHUNK.min(capacity), |_| {
        parts.next().expect("the plan has every slot")
    });
    drop(parts);
    let rows = |a, width: usize| -> &mut [f32] {
        let a: &mut [f32] = a;
        &mut a[..n * width]
    };
    let (x, normed, part, heads) = (rows(a.x, d), rows(a.normed, d), rows(a.part, d), rows(a.heads, d));
    let (qkv, gate, up, hidden) = (rows(a.qkv, row), rows(a.gate, f), rows(a.up, f), rows(a.hidden, f));
    let (rstd, angles) = (&mut a.rstd[..n], rows(a.angles, dh));

    let mut first = 0;
    for NewTokens { state, ids, .. } in sequences.iter() {
        let angles = &mut angles[first * dh..(first + ids.len()) * dh];
        rope_angles(pool, angles, dh, model.config.rope_theta, state.len);
        first += ids.len();
    }
    decode::embed(pool, x, sequences, w.embed, None);
    decode::show(&mut probe, (0, Site::Embedded), sequences, x);
    for (i, w) in w.layers.iter().enumerate() {
        rmsnorm_forward(pool, normed, rstd, x, w.input_norm.floats(), eps);
        for (column, weight) in [(0, w.q_proj), (d, w.k_proj), (d + kv, w.v_proj)] {
            linear_columns(pool, n, (&mut *qkv, &mut *part), (column, row), normed, weight);
        }
        rope(
            pool,
            qkv,
            (row, attention.h + attention.h_kv, dh),
            angles,
            &[],
            Turn::Forward,
        );
        decode::show(&mut probe, (i, Site::Qkv), sequences, qkv);
        decode::attend(pool, heads, qkv, sequences, i, attention);
        decode::show(&mut probe, (i, Site::Heads), sequences, heads);
        linear_added(pool, n, (&mut *x, &mut *part), heads, w.o_proj);
        decode::show(&mut probe, (i, Site::Middle), sequences, x);
        rmsnorm_forward(pool, normed, rstd, x, w.post_norm.floats(), eps);
        linear(pool, n, gate, normed, w.gate_proj);
        linear(pool, n, up, normed, w.up_proj);
        swiglu_forward(pool, hidden, gate, up);
        decode::show(&mut probe, (i, Site::Hidden), sequences, hidden);
        linear_added(pool, n, (&mut *x, &mut *part), hidden, w.down_proj);
        decode::show(&mut probe, (i, Site::Out), sequences, x);
    }
    decode::finish(x, sequences, d);
    if wanted > 0 {
        let normed = &mut normed[..wanted * d];
        rmsnorm_forward(
            pool,
            normed,
            &mut rstd[..wanted],
            &x[..wanted * d],
            w.norm.floats(),
            eps,
        );
        decode::head(pool, logits, normed, w.head(), d);
    }
    sequences[0].state.work = arena;
}

/// See [`crate::Model::unembed`].
pub(super) fn unembed(model: &Llama, pool: &Pool, w: &Params<Weight<'_>>, x: &[f32], logits: &mut [f32]) {
    let (d, eps) = (model.dims.n_embd, model.config.rms_norm_eps);
    let (mut normed, mut rstd) = (vec![0.0; x.len()], vec![0.0; x.len() / d]);
    rmsnorm_forward(pool, &mut normed, &mut rstd, x, w.norm.floats(), eps);
    decode::head(pool, logits, &normed, w.head(), d);
}

/// y (N,out) = x (N,in) Wᵀ, W (out,in).
fn linear(pool: &Pool, n: usize, y: &mut [f32], x: &[f32], weight: Weight<'_>) {
    let (ins, outs) = (x.len() / n, y.len() / n);
    match weight {
        Weight::Packed(weight) => linear_packed(pool, y, x, weight, Epilogue::Store),
        Weight::Floats(weight) if n <= MATVEC_ROWS => matvec_transposed(pool, y, x, weight, ins),
        Weight::Floats(weight) => {
            let (x, weight) = (Mat::new(x, n, ins), Mat::new(weight, outs, ins));
            matmul(pool, y, x, weight.t(), Epilogue::Store);
        }
    }
}

/// x += y Wᵀ, by way of `part`.
fn linear_added(pool: &Pool, n: usize, (x, part): (&mut [f32], &mut [f32]), y: &[f32], weight: Weight<'_>) {
    linear(pool, n, part, y, weight);
    add_in_place(pool, x, part);
}

/// [`linear`] into the columns of `y`, rows of `row` floats, from `first` on; through `part` where there are few rows.
fn linear_columns(
    pool: &Pool,
    n: usize,
    (y, part): (&mut [f32], &mut [f32]),
    (first, row): (usize, usize),
    x: &[f32],
    weight: Weight<'_>,
) {
    let ins = x.len() / n;
    match weight {
        Weight::Packed(weight) => linear_packed_columns(pool, y, (first, row), x, weight),
        Weight::Floats(weight) if n <= MATVEC_ROWS => {
            let outs = weight.len() / ins;
            let part = &mut part[..n * outs];
            matvec_transposed(pool, part, x, weight, ins);
            for (y, part) in y.chunks_exact_mut(row).zip(part.chunks_exact(outs)) {
                y[first..first + outs].copy_from_slice(part);
            }
        }
        Weight::Floats(weight) => {
            let (x, weight) = (Mat::new(x, n, ins), Mat::new(weight, weight.len() / ins, ins));
            matmul_columns(pool, y, (first, row), x, weight.t());
        }
    }
}
