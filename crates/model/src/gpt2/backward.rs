//! Backward: the forward's list upside down.

use super::Gpt2;
use super::activations::Activations;
use super::forward::{Site, dropout_at};
use super::params::Params;
use crate::contract::{Batch, DropoutSeed};
use foretoken_kernels::{
    Dropout, Epilogue, Mat, Pool, attention_backward, bias_backward, dropout_in_place, embedding_backward,
    layernorm_backward, layernorm_forward, matmul, matmul_gelu_backward, zero,
};

/// From `work.d_normed`, the gradient of the last layernorm's output, to every parameter's gradient.
pub(super) fn backward(
    model: &Gpt2,
    pool: &Pool,
    w: &Params<&[f32]>,
    dw: &mut Params<&mut [f32]>,
    a: &mut Activations<&mut [f32]>,
    batch: &Batch<'_>,
    seed: Option<DropoutSeed>,
) {
    let (n, t) = (batch.b * batch.t, batch.t);
    let (d, f, eps) = (model.dims.n_embd, model.dims.n_inner, model.config.layer_norm_epsilon);
    let attention = model.attention_dims(batch.b, t);
    let drop = |site| dropout_at(model, seed, site);

    let (last, work) = (&*a.blocks[w.h.len() - 1].out, &mut a.work);
    zero(pool, work.dx);
    let (mean, rstd) = (&*work.mean, &*work.rstd);
    layernorm_backward(
        pool,
        work.dx,
        dw.ln_f_weight,
        dw.ln_f_bias,
        work.d_normed,
        last,
        w.ln_f_weight,
        mean,
        rstd,
    );

    for (i, (w, dw)) in w.h.iter().zip(&mut dw.h).enumerate().rev() {
        let (x, a, work) = a.block(i);

        let d_branch = branch_gradient(pool, work.branch, work.dx, drop(Site::MlpBranch(i)));
        bias_backward(pool, dw.mlp_c_proj_bias, d_branch);
        let d_branch = Mat::new(d_branch, n, d);
        let d_fc = &mut work.d_wide[..n * f];
        let c_proj = Mat::new(w.mlp_c_proj_weight, f, d);
        matmul_gelu_backward(pool, d_fc, work.gelu, d_branch, c_proj.t(), a.fc);
        let gelu = Mat::new(work.gelu, n, f);
        matmul(pool, dw.mlp_c_proj_weight, gelu.t(), d_branch, Epilogue::Accumulate);
        layernorm_forward(
            pool,
            work.normed,
            work.mean,
            work.rstd,
            a.mid,
            w.ln_2_weight,
            w.ln_2_bias,
            eps,
        );
        bias_backward(pool, dw.c_fc_bias, d_fc);
        let (normed, d_fc) = (Mat::new(work.normed, n, d), Mat::new(d_fc, n, f));
        matmul(pool, dw.c_fc_weight, normed.t(), d_fc, Epilogue::Accumulate);
        matmul(
            pool,
            work.d_normed,
            d_fc,
            Mat::new(w.c_fc_weight, d, f).t(),
            Epilogue::Store,
        );
        let (mean, rstd) = (&*work.mean, &*work.rstd);
        layernorm_backward(
            pool,
            work.dx,
            dw.ln_2_weight,
            dw.ln_2_bias,
            work.d_normed,
            a.mid,
            w.ln_2_weight,
            mean,
            rstd,
        );

        let d_branch = branch_gradient(pool, work.branch, work.dx, drop(Site::AttentionBranch(i)));
        bias_backward(pool, dw.attn_c_proj_bias, d_branch);
        let (heads, d_branch) = (Mat::new(a.heads, n, d), Mat::new(d_branch, n, d));
        matmul(pool, dw.attn_c_proj_weight, heads.t(), d_branch, Epilogue::Accumulate);
        let d_heads = &mut *work.d_normed;
        matmul(
            pool,
            d_heads,
            d_branch,
            Mat::new(w.attn_c_proj_weight, d, d).t(),
            Epilogue::Store,
        );
        let d_qkv = &mut work.d_wide[..n * 3 * d];
        attention_backward(
            pool,
            d_qkv,
            d_heads,
            a.qkv,
            a.heads,
            a.lse,
            attention,
            drop(Site::Attention(i)),
        );
        layernorm_forward(
            pool,
            work.normed,
            work.mean,
            work.rstd,
            x,
            w.ln_1_weight,
            w.ln_1_bias,
            eps,
        );
        bias_backward(pool, dw.c_attn_bias, d_qkv);
        let (normed, d_qkv) = (Mat::new(work.normed, n, d), Mat::new(d_qkv, n, 3 * d));
        matmul(pool, dw.c_attn_weight, normed.t(), d_qkv, Epilogue::Accumulate);
        matmul(
            pool,
            work.d_normed,
            d_qkv,
            Mat::new(w.c_attn_weight, d, 3 * d).t(),
            Epilogue::Store,
        );
        let (mean, rstd) = (&*work.mean, &*work.rstd);
        layernorm_backward(
            pool,
            work.dx,
            dw.ln_1_weight,
            dw.ln_1_bias,
            work.d_normed,
            x,
            w.ln_1_weight,
            mean,
            rstd,
        );
    }
    if let Some(dropout) = drop(Site::Embedding) {
        dropout_in_place(pool, a.work.dx, dropout);
    }
    embedding_backward(pool, dw.wte, dw.wpe, a.work.dx, batch.ids, t);
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
