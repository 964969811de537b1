//! Decode: new tokens over the keys and values of those before.

use super::Llama;
use super::params::Params;
use crate::arena::{Plan, Slot};
use crate::contract::{DecodePlan, DecodeState, Pass};
use crate::decode::{self, CHUNK, Heads};
use crate::error::Error;
use foretoken_kernels::{
    AttentionDims, Epilogue, MATVEC_ROWS, Mat, Pool, Turn, add_in_place, attention_cached, embedding_forward, matmul,
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

pub(super) fn memory(model: &Llama, capacity: usize) -> DecodePlan {
    let scratch = super::scratch::of_decode(model, CHUNK.min(capacity), capacity);
    decode::plan(&model.dims, heads(model), capacity, work(model, capacity), scratch)
}

pub(super) fn state(model: &Llama, capacity: usize) -> Result<DecodeState, Error> {
    decode::state(&model.dims, heads(model), capacity, work(model, capacity))
}

/// Appends one chunk and gives the logits that follow its last tokens, as many as there are rows (V) of logits.
pub(super) fn extend(
    model: &Llama,
    pool: &Pool,
    w: &Params<&[f32]>,
    state: &mut DecodeState,
    ids: &[u32],
    logits: &mut [f32],
) {
    let (t, past) = (ids.len(), state.len);
    let (d, f, eps) = (model.dims.n_embd, model.dims.n_inner, model.config.rms_norm_eps);
    let attention = AttentionDims {
        t,
        ..model.attention_dims(1, t)
    };
    let (kv, row, dh) = (attention.kv(), attention.row(), attention.dh);
    let plan = work(model, state.capacity);
    let mut parts = state.work.cut(&plan);
    let a = build(model, CHUNK.min(state.capacity), |_| {
        parts.next().expect("the plan has every slot")
    });
    let rows = |a, width: usize| -> &mut [f32] {
        let a: &mut [f32] = a;
        &mut a[..t * width]
    };
    let (x, normed, part, heads) = (rows(a.x, d), rows(a.normed, d), rows(a.part, d), rows(a.heads, d));
    let (qkv, gate, up, hidden) = (rows(a.qkv, row), rows(a.gate, f), rows(a.up, f), rows(a.hidden, f));
    let (rstd, angles) = (&mut a.rstd[..t], rows(a.angles, dh));

    rope_angles(pool, angles, dh, model.config.rope_theta, past);
    embedding_forward(pool, x, ids, w.embed, None, t, past);
    for (i, w) in w.layers.iter().enumerate() {
        rmsnorm_forward(pool, normed, rstd, x, w.input_norm, eps);
        for (column, weight) in [(0, w.q_proj), (d, w.k_proj), (d + kv, w.v_proj)] {
            linear_columns(pool, t, (&mut *qkv, &mut *part), (column, row), normed, weight);
        }
        rope(
            pool,
            qkv,
            (row, attention.h + attention.h_kv, dh),
            angles,
            Turn::Forward,
        );
        let layer = i * state.capacity * state.width..(i + 1) * state.capacity * state.width;
        let (keys, values) = (&mut state.keys[layer.clone()], &mut state.values[layer]);
        decode::remember(keys, values, qkv, past, attention);
        attention_cached(pool, heads, qkv, row, (keys, values), past, attention);
        linear(pool, t, part, heads, w.o_proj);
        add_in_place(pool, x, part);
        rmsnorm_forward(pool, normed, rstd, x, w.post_norm, eps);
        linear(pool, t, gate, normed, w.gate_proj);
        linear(pool, t, up, normed, w.up_proj);
        swiglu_forward(pool, hidden, gate, up);
        linear(pool, t, part, hidden, w.down_proj);
        add_in_place(pool, x, part);
    }
    let wanted = logits.len() / model.dims.vocab_size;
    if wanted > 0 {
        let (last, normed) = (&x[(t - wanted) * d..], &mut normed[..wanted * d]);
        rmsnorm_forward(pool, normed, &mut rstd[..wanted], last, w.norm, eps);
        matvec_transposed(pool, logits, normed, w.head(), d);
    }
    state.len += t;
}

/// y (T,out) = x (T,in) Wᵀ, W (out,in).
fn linear(pool: &Pool, t: usize, y: &mut [f32], x: &[f32], weight: &[f32]) {
    let (ins, outs) = (x.len() / t, y.len() / t);
    if t <= MATVEC_ROWS {
        matvec_transposed(pool, y, x, weight, ins);
    } else {
        let (x, weight) = (Mat::new(x, t, ins), Mat::new(weight, outs, ins));
        matmul(pool, y, x, weight.t(), Epilogue::Store);
    }
}

/// [`linear`] into the columns of `y`, rows of `row` floats, from `first` on; through `part` where there are few rows.
fn linear_columns(
    pool: &Pool,
    t: usize,
    (y, part): (&mut [f32], &mut [f32]),
    (first, row): (usize, usize),
    x: &[f32],
    weight: &[f32],
) {
    let ins = x.len() / t;
    let outs = weight.len() / ins;
    if t > MATVEC_ROWS {
        let (x, weight) = (Mat::new(x, t, ins), Mat::new(weight, outs, ins));
        return matmul_columns(pool, y, (first, row), x, weight.t());
    }
    let part = &mut part[..t * outs];
    matvec_transposed(pool, part, x, weight, ins);
    for (y, part) in y.chunks_exact_mut(row).zip(part.chunks_exact(outs)) {
        y[first..first + outs].copy_from_slice(part);
    }
}
