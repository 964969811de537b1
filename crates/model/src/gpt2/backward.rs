//! Backward: the forward's list upside down.

use super::Gpt2;
use super::activations::{Activations, Layer, Norm};
use super::forward::{Site, block_forward, dropout_at};
use super::params::{BlockParams, Params};
use crate::contract::{Batch, DropoutSeed, Pass, Recompute};
use crate::gradient::Gradient;
use crate::params::Product;
use foretoken_kernels::{
    Dropout, Epilogue, Mat, Pool, attention_backward, bias_backward, dropout_in_place, embedding_backward,
    layernorm_again, layernorm_backward, matmul_gelu_backward, matmul_gradient, zero,
};

/// From `a.ln_f.out`, which holds the gradient of the last layernorm's output, to every parameter's gradient.
pub(super) fn backward(
    model: &Gpt2,
    pool: &Pool,
    w: &Params<&[f32]>,
    dw: &mut Params<Gradient<'_>>,
    a: &mut Activations<&mut [f32]>,
    batch: &Batch<'_>,
    recompute: Recompute,
    seed: Option<DropoutSeed>,
) {
    zero(pool, a.work.dx);
    let last = &*a.blocks[w.h.len() - 1].out;
    let (weight, dweight, dbias) = (w.ln_f_weight, &mut dw.ln_f_weight, &mut dw.ln_f_bias);
    layernorm_gradient(pool, a.work.dx, dweight, dbias, &a.ln_f, last, weight);
    // Below the first layer that learns there is nothing to be known.
    let lowest = match dw.wte.learns() || dw.wpe.learns() {
        true => 0,
        false => dw.h.iter().position(|h| h.any(Gradient::learns)).unwrap_or(w.h.len()),
    };
    for (i, (w, dw)) in w.h.iter().zip(&mut dw.h).enumerate().skip(lowest).rev() {
        let mut layer = a.layer(i);
        if recompute == Recompute::Block {
            block_forward(model, pool, w, &mut layer, batch, Pass::Train(recompute), (i, seed));
        }
        block_backward(model, pool, w, dw, layer, batch, recompute, (i, seed));
    }
    if lowest > 0 {
        return;
    }
    if let Some(dropout) = dropout_at(model, seed, Site::Embedding) {
        dropout_in_place(pool, a.work.dx, dropout);
    }
    dw.wpe.zero(pool);
    let (wte, wpe) = (dw.wte.full(), dw.wpe.full());
    embedding_backward(pool, wte, wpe, a.work.dx, batch.ids, (batch.t, batch.documents));
}

/// Turns `work.dx` from the gradient of block `i`'s output into that of its input.
fn block_backward(
    model: &Gpt2,
    pool: &Pool,
    w: &BlockParams<&[f32]>,
    dw: &mut BlockParams<Gradient<'_>>,
    Layer { x, block: a, work }: Layer<'_>,
    batch: &Batch<'_>,
    recompute: Recompute,
    (i, seed): (usize, Option<DropoutSeed>),
) {
    let n = batch.b * batch.t;
    let (d, f) = (model.dims.n_embd, model.dims.n_inner);
    let attention = model.attention_dims(batch.b, batch.t);
    let drop = |site| dropout_at(model, seed, site);

    let d_branch = branch_gradient(pool, work.branch, work.dx, drop(Site::MlpBranch(i)));
    bias_gradient(pool, &mut dw.mlp_c_proj_bias, d_branch);
    let d_branch = Mat::new(d_branch, n, d);
    let c_proj = Mat::new(w.mlp_c_proj_weight, f, d);
    let d_fc: &[f32] = match recompute {
        Recompute::None => {
            let slope = Epilogue::Multiply { factor: a.fc };
            matmul_gradient(pool, work.d_fc, d_branch, c_proj.t(), slope);
            work.d_fc
        }
        _ => {
            matmul_gelu_backward(pool, a.gelu, a.fc, d_branch, c_proj.t());
            a.fc
        }
    };
    let gelu = Mat::new(a.gelu, n, f);
    dw.mlp_c_proj_weight
        .product(pool, Product::InOut, gelu, d_branch, (n, f, d));
    if recompute == Recompute::Selective {
        layernorm_again(
            pool,
            a.ln_2.out,
            a.mid,
            a.ln_2.mean,
            a.ln_2.rstd,
            w.ln_2_weight,
            w.ln_2_bias,
        );
    }
    bias_gradient(pool, &mut dw.c_fc_bias, d_fc);
    let (normed, d_fc) = (Mat::new(a.ln_2.out, n, d), Mat::new(d_fc, n, f));
    dw.c_fc_weight.product(pool, Product::InOut, normed, d_fc, (n, d, f));
    let c_fc = Mat::new(w.c_fc_weight, d, f);
    matmul_gradient(pool, a.ln_2.out, d_fc, c_fc.t(), Epilogue::Store);
    layernorm_gradient(
        pool,
        work.dx,
        &mut dw.ln_2_weight,
        &mut dw.ln_2_bias,
        &a.ln_2,
        a.mid,
        w.ln_2_weight,
    );

    let d_branch = branch_gradient(pool, work.branch, work.dx, drop(Site::AttentionBranch(i)));
    bias_gradient(pool, &mut dw.attn_c_proj_bias, d_branch);
    let (heads, d_branch) = (Mat::new(a.heads, n, d), Mat::new(d_branch, n, d));
    dw.attn_c_proj_weight
        .product(pool, Product::InOut, heads, d_branch, (n, d, d));
    let (d_heads, c_proj) = (a.ln_2.out, Mat::new(w.attn_c_proj_weight, d, d));
    matmul_gradient(pool, d_heads, d_branch, c_proj.t(), Epilogue::Store);
    let d_qkv = if work.d_qkv.is_empty() {
        &mut a.fc[..n * 3 * d]
    } else {
        work.d_qkv
    };
    let dropout = drop(Site::Attention(i));
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
    if recompute == Recompute::Selective {
        layernorm_again(
            pool,
            a.ln_1.out,
            x,
            a.ln_1.mean,
            a.ln_1.rstd,
            w.ln_1_weight,
            w.ln_1_bias,
        );
    }
    bias_gradient(pool, &mut dw.c_attn_bias, d_qkv);
    let (normed, d_qkv) = (Mat::new(a.ln_1.out, n, d), Mat::new(d_qkv, n, 3 * d));
    dw.c_attn_weight
        .product(pool, Product::InOut, normed, d_qkv, (n, d, 3 * d));
    let c_attn = Mat::new(w.c_attn_weight, d, 3 * d);
    matmul_gradient(pool, a.ln_1.out, d_qkv, c_attn.t(), Epilogue::Store);
    layernorm_gradient(
        pool,
        work.dx,
        &mut dw.ln_1_weight,
        &mut dw.ln_1_bias,
        &a.ln_1,
        x,
        w.ln_1_weight,
    );
}

/// dx += what `norm.out`, the gradient of a layernorm's output, gives for its input `x`.
fn layernorm_gradient(
    pool: &Pool,
    dx: &mut [f32],
    dweight: &mut Gradient<'_>,
    dbias: &mut Gradient<'_>,
    norm: &Norm<&mut [f32]>,
    x: &[f32],
    weight: &[f32],
) {
    let [mut of_weight, mut of_bias] = [Vec::new(), Vec::new()];
    let dweight = dweight.or(&mut of_weight, weight.len());
    let dbias = dbias.or(&mut of_bias, weight.len());
    layernorm_backward(pool, dx, dweight, dbias, norm.out, x, weight, norm.mean, norm.rstd);
}

/// The gradient of a branch: the residual stream's, through the branch's dropout.
fn branch_gradient<'a>(pool: &Pool, scratch: &'a mut [f32], dx: &'a [f32], dropout: Option<Dropout>) -> &'a [f32] {
    match dropout {
        None => dx,
        Some(dropout) => {
            scratch.copy_from_slice(dx);
            dropout_in_place(pool, scratch, dropout);
            scratch
        }
    }
}

/// A bias's gradient, where it learns.
fn bias_gradient(pool: &Pool, dbias: &mut Gradient<'_>, dy: &[f32]) {
    if let Some(dbias) = dbias.full() {
        bias_backward(pool, dbias, dy);
    }
}
