//! Decode: new tokens over the keys and values of those before.

use super::Gpt2;
use super::params::Params;
use crate::arena::{Plan, Slot};
use crate::contract::{DecodePlan, DecodeState, Dims, Pass};
use crate::decode::{self, CHUNK, Heads};
use crate::error::Error;
use foretoken_kernels::{
    AttentionDims, Epilogue, MATVEC_ROWS, Mat, MatvecEpilogue, Pool, attention_cached, embedding_forward,
    layernorm_forward, matmul, matmul_bias_gelu, matvec, matvec_transposed,
};

/// Working memory for up to `rows` new tokens.
struct Work<T> {
    x: T,
    normed: T,
    mean: T,
    rstd: T,
    qkv: T,
    heads: T,
    mid: T,
    fc: T,
    gelu: T,
}

fn build<T>(dims: &Dims, rows: usize, mut make: impl FnMut(Slot) -> T) -> Work<T> {
    let rows = ("T", rows);
    let (d, wide, f) = (("d", dims.n_embd), ("3d", 3 * dims.n_embd), ("f", dims.n_inner));
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
        mean: slot("mean", &[rows]),
        rstd: slot("rstd", &[rows]),
        qkv: slot("qkv", &[rows, wide]),
        heads: slot("heads", &[rows, d]),
        mid: slot("mid", &[rows, d]),
        fc: slot("fc", &[rows, f]),
        gelu: slot("gelu", &[rows, f]),
    }
}

fn work(dims: &Dims, capacity: usize) -> Plan {
    let mut plan = Plan::new(Pass::Score);
    build(dims, CHUNK.min(capacity), |slot| plan.add(slot));
    plan
}

fn heads(dims: &Dims) -> Heads {
    Heads(dims.n_head, dims.head_dim())
}

pub(super) fn memory(model: &Gpt2, capacity: usize) -> DecodePlan {
    let (dims, scratch) = (
        &model.dims,
        super::scratch::of_decode(model, CHUNK.min(capacity), capacity),
    );
    decode::plan(dims, heads(dims), capacity, work(dims, capacity), scratch)
}

pub(super) fn state(model: &Gpt2, capacity: usize) -> Result<DecodeState, Error> {
    decode::state(&model.dims, heads(&model.dims), capacity, work(&model.dims, capacity))
}

/// Appends one chunk and gives the logits that follow its last tokens, as many as there are rows (V) of logits.
pub(super) fn extend(
    model: &Gpt2,
    pool: &Pool,
    w: &Params<&[f32]>,
    state: &mut DecodeState,
    ids: &[u32],
    logits: &mut [f32],
) {
    let (t, past) = (ids.len(), state.len);
    let (d, f, eps) = (model.dims.n_embd, model.dims.n_inner, model.config.layer_norm_epsilon);
    let attention = AttentionDims {
        t,
        ..model.attention_dims(1, t)
    };
    let plan = work(&model.dims, state.capacity);
    let mut parts = state.work.cut(&plan);
    let a = build(&model.dims, CHUNK.min(state.capacity), |_| {
        parts.next().expect("the plan has every slot")
    });
    let rows = |a, width: usize| -> &mut [f32] {
        let a: &mut [f32] = a;
        &mut a[..t * width]
    };
    let (x, normed, heads, mid) = (rows(a.x, d), rows(a.normed, d), rows(a.heads, d), rows(a.mid, d));
    let (qkv, fc, gelu) = (rows(a.qkv, 3 * d), rows(a.fc, f), rows(a.gelu, f));
    let (mean, rstd) = (&mut a.mean[..t], &mut a.rstd[..t]);

    embedding_forward(pool, x, ids, w.wte, Some(w.wpe), t, past);
    for (i, w) in w.h.iter().enumerate() {
        layernorm_forward(pool, normed, mean, rstd, x, w.ln_1_weight, w.ln_1_bias, eps);
        linear(pool, qkv, normed, w.c_attn_weight, w.c_attn_bias, d);
        let layer = i * state.capacity * state.width..(i + 1) * state.capacity * state.width;
        let (keys, values) = (&mut state.keys[layer.clone()], &mut state.values[layer]);
        decode::remember(keys, values, qkv, past, attention);
        attention_cached(pool, heads, qkv, 3 * d, (keys, values), past, attention);
        linear_residual(pool, mid, x, heads, w.attn_c_proj_weight, w.attn_c_proj_bias);
        layernorm_forward(pool, normed, mean, rstd, mid, w.ln_2_weight, w.ln_2_bias, eps);
        linear_gelu(pool, gelu, fc, normed, w.c_fc_weight, w.c_fc_bias);
        linear_residual(pool, x, mid, gelu, w.mlp_c_proj_weight, w.mlp_c_proj_bias);
    }
    let wanted = logits.len() / model.dims.vocab_size;
    if wanted > 0 {
        let last = &x[(t - wanted) * d..];
        let normed = &mut normed[..wanted * d];
        let (mean, rstd) = (&mut mean[..wanted], &mut rstd[..wanted]);
        layernorm_forward(pool, normed, mean, rstd, last, w.ln_f_weight, w.ln_f_bias, eps);
        matvec_transposed(pool, logits, normed, w.wte, d);
    }
    state.len += t;
}

/// y (T,out) = x W + bias.
fn linear(pool: &Pool, y: &mut [f32], x: &[f32], weight: &[f32], bias: &[f32], d: usize) {
    let t = x.len() / d;
    if t <= MATVEC_ROWS {
        matvec(pool, y, x, weight, MatvecEpilogue::Bias(bias));
    } else {
        matmul(
            pool,
            y,
            Mat::new(x, t, d),
            Mat::new(weight, d, bias.len()),
            Epilogue::Bias(bias),
        );
    }
}

/// y = gelu(x W + bias).
fn linear_gelu(pool: &Pool, y: &mut [f32], pre: &mut [f32], x: &[f32], weight: &[f32], bias: &[f32]) {
    let (f, t) = (bias.len(), y.len() / bias.len());
    let d = x.len() / t;
    if t <= MATVEC_ROWS {
        matvec(pool, y, x, weight, MatvecEpilogue::BiasGelu(bias));
    } else {
        matmul_bias_gelu(pool, y, pre, Mat::new(x, t, d), Mat::new(weight, d, f), bias);
    }
}

/// y = residual + x W + bias.
fn linear_residual(pool: &Pool, y: &mut [f32], residual: &[f32], x: &[f32], weight: &[f32], bias: &[f32]) {
    let (d, t) = (bias.len(), y.len() / bias.len());
    let width = x.len() / t;
    if t <= MATVEC_ROWS {
        y.copy_from_slice(residual);
        matvec(pool, y, x, weight, MatvecEpilogue::BiasResidual(bias));
    } else {
        let (x, weight) = (Mat::new(x, t, width), Mat::new(weight, width, d));
        matmul(pool, y, x, weight, Epilogue::BiasResidual { bias, residual });
    }
}
