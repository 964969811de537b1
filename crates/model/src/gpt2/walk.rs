//! The walk through a GPT-2, as [`super::forward`] does it.

use super::Gpt2;
use crate::contract::{Dims, Recompute};
use crate::walk::{AGAIN, Part, Shortcut, Step, Stored};

const FUSED: &str = "added to x in the same pass";

pub(super) fn walk(model: &Gpt2, b: usize, t: usize, recompute: Recompute) -> Vec<Step> {
    let mut steps = Vec::from(embedding(&model.dims, b, t));
    for mut step in attention(model, b, t).into_iter().chain(mlp(model, b, t)) {
        step.layers = Some(model.dims.n_layer);
        steps.push(step.under(recompute));
    }
    steps.extend(head(&model.dims, b, t));
    steps
}

fn embedding(dims: &Dims, b: usize, t: usize) -> [Step; 3] {
    let x = [("B", b), ("T", t), ("d", dims.n_embd)];
    [
        Step::new(
            Part::TokenEmbedding,
            "ids",
            "the text as the tokeniser numbers it",
            &x[..2],
        )
        .stored(Stored::Working, "whole numbers", &[]),
        Step::new(
            Part::TokenEmbedding,
            "wte[ids]",
            "a row of the token embedding for each",
            &x,
        )
        .params(&[("wte.weight", "V d")])
        .stored(Stored::Never, "summed with wpe at once", &[]),
        Step::new(
            Part::PositionEmbedding,
            "+ wpe = x",
            "plus a row a position: the stream begins",
            &x,
        )
        .params(&[("wpe.weight", "n_positions d")])
        .stored(Stored::Kept, "", &["embedded"]),
    ]
}

/// 2 N in out: a weight meets every token. The backward has two such products, for the input and for the weight.
fn linear(step: Step, n: usize, inputs: usize, outputs: usize) -> Step {
    step.flops(2.0 * n as f64 * inputs as f64 * outputs as f64, 2.0)
}

fn attention(model: &Gpt2, b: usize, t: usize) -> [Step; 9] {
    let Dims {
        n_embd: d, n_head: h, ..
    } = model.dims;
    let n = b * t;
    let x = [("B", b), ("T", t), ("d", d)];
    let by_head = [("B", b), ("h", h), ("T", t), ("dh", model.dims.head_dim())];
    let scores = [("B", b), ("h", h), ("T", t), ("T", t)];
    // Query i meets i + 1 keys: N (T + 1) / 2 pairs, 2 dh flops each, in h heads.
    let triangle = n as f64 * (t + 1) as f64 * d as f64;
    let step = |name, what, shape: &[_]| Step::new(Part::Attention, name, what, shape);
    [
        Step::new(
            Part::Norm,
            "ln_1",
            "each token to mean 0 and variance 1, a gain, a bias",
            &x,
        )
        .params(&[("h.{i}.ln_1.weight", "d"), ("h.{i}.ln_1.bias", "d")])
        .stored(Stored::Working, AGAIN, &["ln_1", "ln_1 mean", "ln_1 rstd"])
        .shortcut(Shortcut::Leaves),
        linear(
            step(
                "c_attn",
                "queries, keys, values of all heads at once",
                &[x[0], x[1], ("3d", 3 * d)],
            ),
            n,
            d,
            3 * d,
        )
        .params(&[("h.{i}.attn.c_attn.weight", "d 3d"), ("h.{i}.attn.c_attn.bias", "3d")])
        .stored(Stored::Kept, "", &["qkv"]),
        step("q, k, v", "three of these: every head has dh columns of each", &by_head).stored(
            Stored::View,
            "they lie in c_attn's output",
            &[],
        ),
        // The backward makes the scores again, then the gradients of queries and keys.
        step(
            "scores",
            "q k^T / sqrt(dh): how well each query meets each key",
            &scores,
        )
        .flops(triangle, 3.0)
        .stored(
            Stored::Never,
            "in small tiles that stay in cache, made again in the backward",
            &[],
        ),
        step(
            "softmax",
            "to weights that sum to 1; keys that come later get 0",
            &scores,
        )
        .stored(
            Stored::Never,
            "in the same tiles; one number a query is kept, lse (B h T)",
            &["lse"],
        ),
        step("weights v", "the values, averaged by these weights", &by_head)
            .flops(triangle, 2.0)
            .stored(Stored::View, "written straight into the joined heads", &[]),
        step("heads", "the heads side by side: width d again", &x).stored(Stored::Kept, "", &["heads"]),
        branch(
            model,
            linear(step("c_proj", "what the heads found, mixed", &x), n, d, d)
                .params(&[("h.{i}.attn.c_proj.weight", "d d"), ("h.{i}.attn.c_proj.bias", "d")]),
        ),
        step("+ x", "the shortcut: attention moves x", &x)
            .stored(Stored::Kept, "", &["mid"])
            .shortcut(Shortcut::Returns),
    ]
}

fn mlp(model: &Gpt2, b: usize, t: usize) -> [Step; 5] {
    let Dims {
        n_embd: d, n_inner: f, ..
    } = model.dims;
    let n = b * t;
    let x = [("B", b), ("T", t), ("d", d)];
    let wide = [x[0], x[1], ("f", f)];
    let step = |name, what, shape: &[_]| Step::new(Part::Mlp, name, what, shape);
    [
        Step::new(Part::Norm, "ln_2", "as ln_1, of the moved x", &x)
            .params(&[("h.{i}.ln_2.weight", "d"), ("h.{i}.ln_2.bias", "d")])
            .stored(Stored::Working, AGAIN, &["ln_2", "ln_2 mean", "ln_2 rstd"])
            .shortcut(Shortcut::Leaves),
        linear(step("c_fc", "each token alone, out to width f", &wide), n, d, f)
            .params(&[("h.{i}.mlp.c_fc.weight", "d f"), ("h.{i}.mlp.c_fc.bias", "f")])
            .stored(Stored::Kept, "", &["fc"]),
        step("gelu", "what is positive passes, little else", &wide).stored(Stored::Working, AGAIN, &["gelu"]),
        branch(
            model,
            linear(step("c_proj", "back to width d", &x), n, f, d)
                .params(&[("h.{i}.mlp.c_proj.weight", "f d"), ("h.{i}.mlp.c_proj.bias", "d")]),
        ),
        step("+ x", "the shortcut again: the next block's x", &x)
            .stored(Stored::Kept, "", &["out"])
            .shortcut(Shortcut::Returns),
    ]
}

/// What a branch adds: it needs memory of its own only where it is dropped first.
fn branch(model: &Gpt2, step: Step) -> Step {
    match model.config.resid_pdrop > 0.0 {
        true => step.stored(Stored::Working, "dropped, then added to x", &["branch"]),
        false => step.stored(Stored::Never, FUSED, &[]),
    }
}

fn head(dims: &Dims, b: usize, t: usize) -> [Step; 3] {
    let Dims {
        n_embd: d,
        vocab_size: v,
        ..
    } = *dims;
    let x = [("B", b), ("T", t), ("d", d)];
    let mut logits = linear(
        Step::new(
            Part::Head,
            "logits",
            "x wte^T: a score for every token there is",
            &[x[0], x[1], ("V", v)],
        ),
        b * t,
        d,
        v,
    )
    .stored(
        Stored::Never,
        "in chunks of rows; the loss and its gradient are taken at once",
        &["logits chunk"],
    );
    logits.tied = Some("wte.weight");
    [
        Step::new(Part::Norm, "ln_f", "as ln_1, after the last block", &x)
            .params(&[("ln_f.weight", "d"), ("ln_f.bias", "d")])
            .stored(Stored::Kept, "", &["ln_f"]),
        logits,
        Step::new(Part::Head, "loss", "cross-entropy with the token that follows", &x[..2]).stored(
            Stored::Working,
            "one number a token",
            &[],
        ),
    ]
}
