//! Forward: one kernel call a line.

use super::Gpt2;
use super::activations::{Activations, Layer, Norm};
use super::params::{BlockParams, Params};
use crate::contract::{Batch, DropoutSeed, Pass, Recompute};
use foretoken_kernels::{
    Dropout, Epilogue, Mat, Pool, Stream, attention_forward, dropout_in_place, embedding_forward, layernorm_forward,
    matmul, matmul_bias_gelu, matmul_bias_gelu_slope, residual_forward,
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
    pass: Pass,
    seed: Option<DropoutSeed>,
) {
    embedding_forward(
        pool,
        a.embedded,
        batch.ids,
        w.wte,
        Some(w.wpe),
        (batch.t, batch.documents),
        0,
    );
    if let Some(dropout) = dropout_at(model, seed, Site::Embedding) {
        dropout_in_place(pool, a.embedded, dropout);
    }
    for (i, w) in w.h.iter().enumerate() {
        let mut layer = a.layer(i);
        block_forward(model, pool, w, &mut layer, batch, pass, (i, seed));
        let Layer { block: a, work, .. } = layer;
        let (n, f, d) = (batch.b * batch.t, model.dims.n_inner, model.dims.n_embd);
        let (gelu, c_proj) = (Mat::new(a.gelu, n, f), Mat::new(w.mlp_c_proj_weight, f, d));
        let dropout = dropout_at(model, seed, Site::MlpBranch(i));
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
    let last = &*a.blocks[(w.h.len() - 1) % a.blocks.len()].out;
    layernorm(model, pool, &mut a.ln_f, last, w.ln_f_weight, w.ln_f_bias);
}

/// Block `i` up to the output of its GELU: what its backward needs.
pub(super) fn block_forward(
    model: &Gpt2,
    pool: &Pool,
    w: &BlockParams<&[f32]>,
    Layer { x, block: a, work }: &mut Layer<'_>,
    batch: &Batch<'_>,
    pass: Pass,
    (i, seed): (usize, Option<DropoutSeed>),
) {
    let n = batch.b * batch.t;
    let (d, f) = (model.dims.n_embd, model.dims.n_inner);
    let attention = model.attention_dims(batch.b, batch.t);
    let drop = |site| dropout_at(model, seed, site);

    layernorm(model, pool, &mut a.ln_1, x, w.ln_1_weight, w.ln_1_bias);
    let (normed, c_attn) = (Mat::new(a.ln_1.out, n, d), Mat::new(w.c_attn_weight, d, 3 * d));
    matmul(pool, a.qkv, normed, c_attn, Epilogue::Bias(w.c_attn_bias));
    attention_forward(
        pool,
        a.heads,
        a.lse,
        a.qkv,
        attention,
        batch.documents,
        drop(Site::Attention(i)),
    );
    let (heads, c_proj) = (Mat::new(a.heads, n, d), Mat::new(w.attn_c_proj_weight, d, d));
    let dropout = drop(Site::AttentionBranch(i));
    add_branch(pool, a.mid, work.branch, x, heads, c_proj, w.attn_c_proj_bias, dropout);

    layernorm(model, pool, &mut a.ln_2, a.mid, w.ln_2_weight, w.ln_2_bias);
    let (normed, c_fc) = (Mat::new(a.ln_2.out, n, d), Mat::new(w.c_fc_weight, d, f));
    let bias = w.c_fc_bias;
    match pass {
        Pass::Train(Recompute::None) => matmul_bias_gelu_slope(pool, a.gelu, a.fc, normed, c_fc, bias),
        Pass::Train(_) => matmul_bias_gelu(pool, a.gelu, a.fc, normed, c_fc, bias),
        Pass::Score => matmul(pool, a.gelu, normed, c_fc, Epilogue::BiasGelu { bias }),
    }
}

fn layernorm(model: &Gpt2, pool: &Pool, norm: &mut Norm<&mut [f32]>, x: &[f32], weight: &[f32], bias: &[f32]) {
    let eps = model.config.layer_norm_epsilon;
    layernorm_forward(pool, norm.out, norm.mean, norm.rstd, x, weight, bias, eps);
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
