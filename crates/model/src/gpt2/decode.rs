//! Decode: new tokens over the keys and values of those before.

use super::Gpt2;
use super::params::Params;
use crate::arena::{Plan, Slot};
use crate::contract::{DecodePlan, Dims, Pass};
use crate::decode::{self, CHUNK, Heads};
use crate::error::Error;
use crate::probe::{Probe, Site};
use crate::state::{DecodeState, NewTokens};
use crate::weights::Weight;
use foretoken_kernels::{
    CacheType, Epilogue, MATVEC_ROWS, Mat, MatvecEpilogue, Pool, layernorm_forward, linear_packed, matmul,
    matmul_bias_gelu, matvec,
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

pub(super) fn memory(model: &Gpt2, (capacity, kind): (usize, CacheType)) -> DecodePlan {
    let dims = &model.dims;
    let scratch = super::scratch::of_decode(model, CHUNK.min(capacity), capacity);
    decode::plan(dims, heads(dims), (capacity, kind), work(dims, capacity), scratch)
}

pub(super) fn state(model: &Gpt2, (capacity, kind): (usize, CacheType)) -> Result<DecodeState, Error> {
    let dims = &model.dims;
    decode::state(dims, heads(dims), (capacity, kind), work(dims, capacity))
}

/// See [`crate::Model::extend`].
pub(super) fn extend(
    model: &Gpt2,
    pool: &Pool,
    w: &Params<Weight<'_>>,
    sequences: &mut [NewTokens<'_>],
    logits: &mut [f32],
    mut probe: Option<&mut dyn Probe>,
) {
    let (d, f, eps) = (model.dims.n_embd, model.dims.n_inner, model.config.layer_norm_epsilon);
    let (n, wanted) = decode::count(sequences, logits, model.dims.vocab_size);
    let attention = model.attention_dims(1, n);
    // What one sequence has at hand serves all.
    let capacity = sequences[0].state.capacity;
    let mut arena = sequences[0].state.work.take();
    let mut parts = arena.cut(&work(&model.dims, capacity));
    let a = build(&model.dims, CHUNK.min(capacity), |_| {
        parts.next().expect("the plan has every slot")
    });
    drop(parts);
    let rows = |a, width: usize| -> &mut [f32] {
        let a: &mut [f32] = a;
        &mut a[..n * width]
    };
    let (x, normed, heads, mid) = (rows(a.x, d), rows(a.normed, d), rows(a.heads, d), rows(a.mid, d));
    let (qkv, fc, gelu) = (rows(a.qkv, 3 * d), rows(a.fc, f), rows(a.gelu, f));
    let (mean, rstd) = (&mut a.mean[..n], &mut a.rstd[..n]);
    let norm =
        |out: &mut [f32], mean: &mut [f32], rstd: &mut [f32], x: &[f32], weight: Weight<'_>, bias: Weight<'_>| {
            layernorm_forward(pool, out, mean, rstd, x, weight.floats(), bias.floats(), eps);
        };

    decode::embed(pool, x, sequences, w.wte, Some(w.wpe.floats()));
    decode::show(&mut probe, (0, Site::Embedded), sequences, x);
    for (i, w) in w.h.iter().enumerate() {
        norm(normed, mean, rstd, x, w.ln_1_weight, w.ln_1_bias);
        linear(pool, qkv, normed, w.c_attn_weight, w.c_attn_bias.floats());
        decode::show(&mut probe, (i, Site::Qkv), sequences, qkv);
        decode::attend(pool, heads, qkv, sequences, i, attention);
        decode::show(&mut probe, (i, Site::Heads), sequences, heads);
        linear_residual(pool, mid, x, heads, w.attn_c_proj_weight, w.attn_c_proj_bias.floats());
        decode::show(&mut probe, (i, Site::Middle), sequences, mid);
        norm(normed, mean, rstd, mid, w.ln_2_weight, w.ln_2_bias);
        linear_gelu(pool, gelu, fc, normed, w.c_fc_weight, w.c_fc_bias.floats());
        decode::show(&mut probe, (i, Site::Hidden), sequences, gelu);
        linear_residual(pool, x, mid, gelu, w.mlp_c_proj_weight, w.mlp_c_proj_bias.floats());
        decode::show(&mut probe, (i, Site::Out), sequences, x);
    }
    decode::finish(x, sequences, d);
    if wanted > 0 {
        let normed = &mut normed[..wanted * d];
        let (mean, rstd) = (&mut mean[..wanted], &mut rstd[..wanted]);
        norm(normed, mean, rstd, &x[..wanted * d], w.ln_f_weight, w.ln_f_bias);
        decode::head(pool, logits, normed, w.wte, d);
    }
    sequences[0].state.work = arena;
}

/// See [`crate::Model::unembed`].
pub(super) fn unembed(model: &Gpt2, pool: &Pool, w: &Params<Weight<'_>>, x: &[f32], logits: &mut [f32]) {
    let (d, eps) = (model.dims.n_embd, model.config.layer_norm_epsilon);
    let rows = x.len() / d;
    let (mut normed, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
    let (weight, bias) = (w.ln_f_weight.floats(), w.ln_f_bias.floats());
    layernorm_forward(pool, &mut normed, &mut mean, &mut rstd, x, weight, bias, eps);
    decode::head(pool, logits, &normed, w.wte, d);
}

/// y (N,out) = x W + bias.
fn linear(pool: &Pool, y: &mut [f32], x: &[f32], weight: Weight<'_>, bias: &[f32]) {
    let n = y.len() / bias.len();
    match weight {
        Weight::Packed(weight) => linear_packed(pool, y, x, weight, Epilogue::Bias(bias)),
        Weight::Floats(weight) if n <= MATVEC_ROWS => matvec(pool, y, x, weight, MatvecEpilogue::Bias(bias)),
        Weight::Floats(weight) => {
            let d = x.len() / n;
            let (x, weight) = (Mat::new(x, n, d), Mat::new(weight, d, bias.len()));
            matmul(pool, y, x, weight, Epilogue::Bias(bias));
        }
    }
}

/// y = gelu(x W + bias).
fn linear_gelu(pool: &Pool, y: &mut [f32], pre: &mut [f32], x: &[f32], weight: Weight<'_>, bias: &[f32]) {
    let n = y.len() / bias.len();
    match weight {
        Weight::Packed(weight) => linear_packed(pool, y, x, weight, Epilogue::BiasGelu { bias }),
        Weight::Floats(weight) if n <= MATVEC_ROWS => matvec(pool, y, x, weight, MatvecEpilogue::BiasGelu(bias)),
        Weight::Floats(weight) => {
            let d = x.len() / n;
            matmul_bias_gelu(pool, y, pre, Mat::new(x, n, d), Mat::new(weight, d, bias.len()), bias);
        }
    }
}

/// y = residual + x W + bias.
fn linear_residual(pool: &Pool, y: &mut [f32], residual: &[f32], x: &[f32], weight: Weight<'_>, bias: &[f32]) {
    let n = y.len() / bias.len();
    match weight {
        Weight::Packed(weight) => linear_packed(pool, y, x, weight, Epilogue::BiasResidual { bias, residual }),
        Weight::Floats(weight) if n <= MATVEC_ROWS => {
            y.copy_from_slice(residual);
            matvec(pool, y, x, weight, MatvecEpilogue::BiasResidual(bias));
        }
        Weight::Floats(weight) => {
            let width = x.len() / n;
            let (x, weight) = (Mat::new(x, n, width), Mat::new(weight, width, bias.len()));
            matmul(pool, y, x, weight, Epilogue::BiasResidual { bias, residual });
        }
    }
}
