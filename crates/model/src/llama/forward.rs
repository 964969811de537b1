//! Forward: one kernel call a line.

use super::Llama;
use super::activations::{Activations, Layer, Norm};
use super::params::{BlockParams, Params};
use crate::contract::{Batch, DropoutSeed};
use foretoken_kernels::{
    Dropout, Epilogue, Mat, Pool, Stream, Turn, attention_forward, embedding_forward, matmul, matmul_columns,
    rmsnorm_forward, rope, rope_angles, swiglu_forward,
};

/// What is dropped of block `i`'s attention; nothing where its probability is 0 or nothing is trained.
pub(super) fn dropout_at(model: &Llama, seed: Option<DropoutSeed>, i: usize) -> Option<Dropout> {
    let (DropoutSeed { seed, micro_batch }, p) = (seed?, model.config.attention_dropout);
    let stream = Stream {
        seed,
        step: micro_batch,
        purpose: i as u32,
    };
    (p > 0.0).then_some(Dropout { p, stream })
}

/// From ids to the last norm's output.
pub(super) fn forward(
    model: &Llama,
    pool: &Pool,
    w: &Params<&[f32]>,
    a: &mut Activations<&mut [f32]>,
    batch: &Batch<'_>,
    seed: Option<DropoutSeed>,
) {
    let (n, f, d) = (batch.b * batch.t, model.dims.n_inner, model.dims.n_embd);
    rope_angles(pool, a.angles, model.dims.head_dim(), model.config.rope_theta, 0);
    embedding_forward(
        pool,
        a.embedded,
        batch.ids,
        w.embed,
        None,
        (batch.t, batch.documents),
        0,
    );
    for (i, w) in w.layers.iter().enumerate() {
        let mut layer = a.layer(i);
        block_forward(model, pool, w, &mut layer, batch, (i, seed));
        let a = layer.block;
        let (hidden, down) = (Mat::new(a.hidden, n, f), Mat::new(w.down_proj, d, f).t());
        matmul(pool, a.out, hidden, down, Epilogue::Residual(a.mid));
    }
    let last = &*a.blocks[(w.layers.len() - 1) % a.blocks.len()].out;
    norm(model, pool, &mut a.norm, last, w.norm);
}

/// Block `i` up to what its last product reads: what its backward needs.
pub(super) fn block_forward(
    model: &Llama,
    pool: &Pool,
    w: &BlockParams<&[f32]>,
    layer: &mut Layer<'_>,
    batch: &Batch<'_>,
    (i, seed): (usize, Option<DropoutSeed>),
) {
    let Layer {
        x, angles, block: a, ..
    } = layer;
    let n = batch.b * batch.t;
    let (d, f) = (model.dims.n_embd, model.dims.n_inner);
    let attention = model.attention_dims(batch.b, batch.t);
    let (kv, row) = (attention.kv(), attention.row());

    norm(model, pool, &mut a.input_norm, x, w.input_norm);
    let normed = Mat::new(a.input_norm.out, n, d);
    matmul_columns(pool, a.qkv, (0, row), normed, Mat::new(w.q_proj, d, d).t());
    matmul_columns(pool, a.qkv, (d, row), normed, Mat::new(w.k_proj, kv, d).t());
    matmul_columns(pool, a.qkv, (d + kv, row), normed, Mat::new(w.v_proj, kv, d).t());
    // Queries and keys lie side by side: all of their heads turn at once.
    rope(
        pool,
        a.qkv,
        (row, attention.h + attention.h_kv, attention.dh),
        angles,
        batch.documents,
        Turn::Forward,
    );
    attention_forward(
        pool,
        a.heads,
        a.lse,
        a.qkv,
        attention,
        batch.documents,
        dropout_at(model, seed, i),
    );
    let (heads, o_proj) = (Mat::new(a.heads, n, d), Mat::new(w.o_proj, d, d).t());
    matmul(pool, a.mid, heads, o_proj, Epilogue::Residual(x));

    norm(model, pool, &mut a.post_norm, a.mid, w.post_norm);
    let normed = Mat::new(a.post_norm.out, n, d);
    matmul(pool, a.gate, normed, Mat::new(w.gate_proj, f, d).t(), Epilogue::Store);
    matmul(pool, a.up, normed, Mat::new(w.up_proj, f, d).t(), Epilogue::Store);
    swiglu_forward(pool, a.hidden, a.gate, a.up);
}

fn norm(model: &Llama, pool: &Pool, norm: &mut Norm<&mut [f32]>, x: &[f32], weight: &[f32]) {
    rmsnorm_forward(pool, norm.out, norm.rstd, x, weight, model.config.rms_norm_eps);
}
