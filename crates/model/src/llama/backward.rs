//! Backward: the forward's list upside down.

use super::Llama;
use super::activations::{Activations, Layer};
use super::forward::{block_forward, dropout_at};
use super::params::{BlockParams, Params};
use crate::contract::{Batch, DropoutSeed, Recompute};
use crate::gradient::Gradient;
use crate::params::Product;
use foretoken_kernels::{
    Epilogue, Mat, Pool, Turn, attention_backward, embedding_backward, matmul_gradient, rmsnorm_again,
    rmsnorm_backward, rope, swiglu_backward, swiglu_forward, zero,
};

/// From `a.norm.out`, which holds the gradient of the last norm's output, to every parameter's gradient. That of the
/// embedding already holds what the head adds to it, where they are tied.
pub(super) fn backward(
    model: &Llama,
    pool: &Pool,
    w: &Params<&[f32]>,
    dw: &mut Params<Gradient<'_>>,
    a: &mut Activations<&mut [f32]>,
    batch: &Batch<'_>,
    recompute: Recompute,
    seed: Option<DropoutSeed>,
) {
    zero(pool, a.dx);
    let last = &*a.blocks[w.layers.len() - 1].out;
    let (mut spare, d) = (Vec::new(), model.dims.n_embd);
    rmsnorm_backward(
        pool,
        a.dx,
        dw.norm.or(&mut spare, d),
        a.norm.out,
        last,
        w.norm,
        a.norm.rstd,
    );
    // Below the first layer that learns there is nothing to be known.
    let lowest = match dw.embed.learns() {
        true => 0,
        false => dw
            .layers
            .iter()
            .position(|layer| layer.any(Gradient::learns))
            .unwrap_or(w.layers.len()),
    };
    for (i, (w, dw)) in w.layers.iter().zip(&mut dw.layers).enumerate().skip(lowest).rev() {
        let mut layer = a.layer(i);
        if recompute == Recompute::Block {
            block_forward(model, pool, w, &mut layer, batch, (i, seed));
        }
        block_backward(model, pool, w, dw, layer, batch, recompute, (i, seed));
    }
    embedding_backward(pool, dw.embed.full(), None, a.dx, batch.ids, (batch.t, batch.documents));
}

/// Turns `dx` from the gradient of block `i`'s output into that of its input.
fn block_backward(
    model: &Llama,
    pool: &Pool,
    w: &BlockParams<&[f32]>,
    dw: &mut BlockParams<Gradient<'_>>,
    layer: Layer<'_>,
    batch: &Batch<'_>,
    recompute: Recompute,
    (i, seed): (usize, Option<DropoutSeed>),
) {
    let Layer {
        x,
        angles,
        block: a,
        dx,
        d_qkv,
    } = layer;
    let n = batch.b * batch.t;
    let (d, f) = (model.dims.n_embd, model.dims.n_inner);
    let attention = model.attention_dims(batch.b, batch.t);
    let (kv, row) = (attention.kv(), attention.row());
    let selective = recompute == Recompute::Selective;

    let mut spare = Vec::new();
    if selective {
        swiglu_forward(pool, a.hidden, a.gate, a.up);
        rmsnorm_again(pool, a.post_norm.out, a.mid, a.post_norm.rstd, w.post_norm);
    }
    let (d_out, hidden) = (Mat::new(dx, n, d), Mat::new(a.hidden, n, f));
    dw.down_proj.product(pool, Product::OutIn, hidden, d_out, (n, f, d));
    matmul_gradient(pool, a.hidden, d_out, Mat::new(w.down_proj, d, f), Epilogue::Store);
    swiglu_backward(pool, a.gate, a.up, a.hidden);
    let (d_gate, d_up, normed) = (
        Mat::new(a.gate, n, f),
        Mat::new(a.up, n, f),
        Mat::new(a.post_norm.out, n, d),
    );
    dw.gate_proj.product(pool, Product::OutIn, normed, d_gate, (n, d, f));
    dw.up_proj.product(pool, Product::OutIn, normed, d_up, (n, d, f));
    matmul_gradient(
        pool,
        a.post_norm.out,
        d_gate,
        Mat::new(w.gate_proj, f, d),
        Epilogue::Store,
    );
    matmul_gradient(
        pool,
        a.post_norm.out,
        d_up,
        Mat::new(w.up_proj, f, d),
        Epilogue::Accumulate,
    );
    rmsnorm_backward(
        pool,
        dx,
        dw.post_norm.or(&mut spare, d),
        a.post_norm.out,
        a.mid,
        w.post_norm,
        a.post_norm.rstd,
    );

    let (d_mid, heads) = (Mat::new(dx, n, d), Mat::new(a.heads, n, d));
    dw.o_proj.product(pool, Product::OutIn, heads, d_mid, (n, d, d));
    let d_heads = a.post_norm.out;
    matmul_gradient(pool, d_heads, d_mid, Mat::new(w.o_proj, d, d), Epilogue::Store);
    let d_qkv = if d_qkv.is_empty() {
        &mut a.gate[..n * row]
    } else {
        d_qkv
    };
    let dropout = dropout_at(model, seed, i);
    attention_backward(
        pool,
        d_qkv,
        d_heads,
        a.qkv,
        a.heads,
        a.lse,
        attention,
        batch.documents,
        dropout,
    );
    rope(
        pool,
        d_qkv,
        (row, attention.h + attention.h_kv, attention.dh),
        angles,
        batch.documents,
        Turn::Back,
    );
    if selective {
        rmsnorm_again(pool, a.input_norm.out, x, a.input_norm.rstd, w.input_norm);
    }
    let (d_qkv, normed) = (Mat::new(d_qkv, n, row), Mat::new(a.input_norm.out, n, d));
    let (dq, dk, dv) = (d_qkv.columns(0, d), d_qkv.columns(d, kv), d_qkv.columns(d + kv, kv));
    dw.q_proj.product(pool, Product::OutIn, normed, dq, (n, d, d));
    dw.k_proj.product(pool, Product::OutIn, normed, dk, (n, d, kv));
    dw.v_proj.product(pool, Product::OutIn, normed, dv, (n, d, kv));
    matmul_gradient(pool, a.input_norm.out, dq, Mat::new(w.q_proj, d, d), Epilogue::Store);
    matmul_gradient(
        pool,
        a.input_norm.out,
        dk,
        Mat::new(w.k_proj, kv, d),
        Epilogue::Accumulate,
    );
    matmul_gradient(
        pool,
        a.input_norm.out,
        dv,
        Mat::new(w.v_proj, kv, d),
        Epilogue::Accumulate,
    );
    rmsnorm_backward(
        pool,
        dx,
        dw.input_norm.or(&mut spare, d),
        a.input_norm.out,
        x,
        w.input_norm,
        a.input_norm.rstd,
    );
}
