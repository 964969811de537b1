//! Forward: one kernel call a line.

use super::Gpt2;
use super::activations::Activations;
use super::params::Params;
use crate::contract::{Batch, DropoutSeed};
use foretoken_kernels::{
    Dropout, Epilogue, Mat, Pool, Stream, attention_forward, dropout_in_place, embedding_forward, layernorm_forward,
    matmul, matmul_bias_gelu, residual_forward,
};

/// Where dropout happens.
#[derive(Clone, Copy)]
pub(super) enum Site {
    Embedding,
    Attention(usize),
    AttentionBranch(usize),
    MlpBranch(usize),
}

/// What is dropped at a site; nothing where its probability is 0 or nothing is trained.
pub(super) fn dropout_at(model: &Gpt2, seed: Option<DropoutSeed>, site: Site) -> Option<Dropout> {
    let DropoutSeed { seed, micro_batch } = seed?;
    let (p, purpose) = match site {
        Site::Embedding => (model.config.embd_pdrop, 0),
        Site::Attention(i) => (model.config.attn_pdrop, 3 * i as u32 + 1),
        Site::AttentionBranch(i) => (model.config.resid_pdrop, 3 * i as u32 + 2),
        Site::MlpBranch(i) => (model.config.resid_pdrop, 3 * i as u32 + 3),
    };
    (p > 0.0).then_some(Dropout {
        p,
        stream: Stream {
            seed,
            step: micro_batch,
            purpose,
        },
    })
}

/// From ids to the last layernorm's output.
pub(super) fn forward(
    model: &Gpt2,
    pool: &Pool,
    w: &Params<&[f32]>,
    a: &mut Activations<&mut [f32]>,
    batch: &Batch<'_>,
    seed: Option<DropoutSeed>,
) {
    let (n, t) = (batch.b * batch.t, batch.t);
    let (d, f, eps) = (model.dims.n_embd, model.dims.n_inner, model.config.layer_norm_epsilon);
    let attention = model.attention_dims(batch.b, t);
    let drop = |site| dropout_at(model, seed, site);

    embedding_forward(pool, a.embedded, batch.ids, w.wte, w.wpe, t, 0);
    if let Some(dropout) = drop(Site::Embedding) {
        dropout_in_place(pool, a.embedded, dropout);
    }
    for (i, w) in w.h.iter().enumerate() {
        let (x, a, work) = a.block(i);
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
        let (normed, c_attn) = (Mat::new(work.normed, n, d), Mat::new(w.c_attn_weight, d, 3 * d));
        matmul(pool, a.qkv, normed, c_attn, Epilogue::Bias(w.c_attn_bias));
        attention_forward(pool, a.heads, a.lse, a.qkv, attention, drop(Site::Attention(i)));
        let (heads, c_proj) = (Mat::new(a.heads, n, d), Mat::new(w.attn_c_proj_weight, d, d));
        let dropout = drop(Site::AttentionBranch(i));
        add_branch(pool, a.mid, work.branch, x, heads, c_proj, w.attn_c_proj_bias, dropout);

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
        let (normed, c_fc) = (Mat::new(work.normed, n, d), Mat::new(w.c_fc_weight, d, f));
        matmul_bias_gelu(pool, work.gelu, a.fc, normed, c_fc, w.c_fc_bias);
        let (gelu, c_proj) = (Mat::new(work.gelu, n, f), Mat::new(w.mlp_c_proj_weight, f, d));
        let dropout = drop(Site::MlpBranch(i));
        add_branch(
            pool,
            a.out,
            work.branch,
            a.mid,
            gelu,
            c_proj,
            w.mlp_c_proj_bias,
            dropout,
        );
    }
    let (last, work) = (&*a.blocks[(w.h.len() - 1) % a.blocks.len()].out, &mut a.work);
    layernorm_forward(
        pool,
        a.ln_f,
        work.mean,
        work.rstd,
        last,
        w.ln_f_weight,
        w.ln_f_bias,
        eps,
    );
}

/// out = x + dropout(branch W + bias).
fn add_branch(
    pool: &Pool,
    out: &mut [f32],
    scratch: &mut [f32],
    x: &[f32],
    branch: Mat<'_>,
    weight: Mat<'_>,
    bias: &[f32],
    dropout: Option<Dropout>,
) {
    match dropout {
        None => matmul(pool, out, branch, weight, Epilogue::BiasResidual { bias, residual: x }),
        Some(_) => {
            matmul(pool, scratch, branch, weight, Epilogue::Bias(bias));
            residual_forward(pool, out, x, scratch, dropout);
        }
    }
}
