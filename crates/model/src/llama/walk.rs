//! The walk through a llama, as [`super::forward`] does it.

use super::Llama;
use crate::contract::{Dims, Recompute};
use crate::walk::{AGAIN, Part, Shortcut, Step, Stored};

const FUSED: &str = "added to x in the same pass";

pub(super) fn walk(model: &Llama, b: usize, t: usize, recompute: Recompute) -> Vec<Step> {
    let mut steps = Vec::from(embedding(&model.dims, b, t));
    for mut step in attention(model, b, t).into_iter().chain(mlp(model, b, t)) {
        step.layers = Some(model.dims.n_layer);
        steps.push(step.under(recompute));
    }
    steps.extend(head(model, b, t));
    steps
}

fn embedding(dims: &Dims, b: usize, t: usize) -> [Step; 2] {
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
            "x",
            "a row of the token embedding for each: the stream begins",
            &x,
        )
        .params(&[("model.embed_tokens.weight", "V d")])
        .stored(Stored::Kept, "", &["embedded"]),
    ]
}

/// 2 N in out: a weight meets every token. The backward has two such products, for the input and for the weight.
fn linear(step: Step, n: usize, inputs: usize, outputs: usize) -> Step {
    step.flops(2.0 * n as f64 * inputs as f64 * outputs as f64, 2.0)
}

fn attention(model: &Llama, b: usize, t: usize) -> [Step; 10] {
    let Dims {
        n_embd: d, n_head: h, ..
    } = model.dims;
    let (n, dims) = (b * t, model.attention_dims(b, t));
    let x = [("B", b), ("T", t), ("d", d)];
    let by_head = [("B", b), ("h", h), ("T", t), ("dh", dims.dh)];
    let by_kv_head = [("B", b), ("h_kv", dims.h_kv), ("T", t), ("dh", dims.dh)];
    let scores = [("B", b), ("h", h), ("T", t), ("T", t)];
    // Query i meets i + 1 keys: N (T + 1) / 2 pairs, 2 dh flops each, in h heads.
    let triangle = n as f64 * (t + 1) as f64 * d as f64;
    let step = |name, what, shape: &[_]| Step::new(Part::Attention, name, what, shape);
    let qkv = [x[0], x[1], ("qkv", dims.row())];
    [
        Step::new(Part::Norm, "input_norm", "each token to mean square 1, a gain", &x)
            .params(&[("model.layers.{i}.input_layernorm.weight", "d")])
            .stored(Stored::Working, AGAIN, &["input_norm", "input_norm rstd"])
            .shortcut(Shortcut::Leaves),
        // Three products: h heads of queries, h_kv of keys and of values.
        linear(
            step("q, k, v", "queries, keys, values side by side", &qkv),
            n,
            d,
            dims.row(),
        )
        .params(&[
            ("model.layers.{i}.self_attn.q_proj.weight", "d d"),
            ("model.layers.{i}.self_attn.k_proj.weight", "(h_kv dh) d"),
            ("model.layers.{i}.self_attn.v_proj.weight", "(h_kv dh) d"),
        ])
        .stored(Stored::Kept, "", &["qkv"]),
        step("rope q", "every query turned by its position", &by_head).stored(
            Stored::View,
            "in place; a head's two halves are a plane's two axes",
            &[],
        ),
        step(
            "rope k",
            "every key as well: what they meet in is the distance",
            &by_kv_head,
        )
        .stored(Stored::View, "in place", &[]),
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
        linear(step("o_proj", "what the heads found, mixed", &x), n, d, d)
            .params(&[("model.layers.{i}.self_attn.o_proj.weight", "d d")])
            .stored(Stored::Never, FUSED, &[]),
        step("+ x", "the shortcut: attention moves x", &x)
            .stored(Stored::Kept, "", &["mid"])
            .shortcut(Shortcut::Returns),
    ]
}

fn mlp(model: &Llama, b: usize, t: usize) -> [Step; 6] {
    let Dims {
        n_embd: d, n_inner: f, ..
    } = model.dims;
    let n = b * t;
    let x = [("B", b), ("T", t), ("d", d)];
    let wide = [x[0], x[1], ("f", f)];
    let step = |name, what, shape: &[_]| Step::new(Part::Mlp, name, what, shape);
    [
        Step::new(Part::Norm, "post_norm", "as input_norm, of the moved x", &x)
            .params(&[("model.layers.{i}.post_attention_layernorm.weight", "d")])
            .stored(Stored::Working, AGAIN, &["post_norm", "post_norm rstd"])
            .shortcut(Shortcut::Leaves),
        linear(step("gate_proj", "each token alone, out to width f", &wide), n, d, f)
            .params(&[("model.layers.{i}.mlp.gate_proj.weight", "f d")])
            .stored(Stored::Kept, "", &["gate"]),
        linear(step("up_proj", "and a second time", &wide), n, d, f)
            .params(&[("model.layers.{i}.mlp.up_proj.weight", "f d")])
            .stored(Stored::Kept, "", &["up"]),
        step("silu(gate) up", "the first opens or shuts the second", &wide).stored(Stored::Working, AGAIN, &["hidden"]),
        linear(step("down_proj", "back to width d", &x), n, f, d)
            .params(&[("model.layers.{i}.mlp.down_proj.weight", "d f")])
            .stored(Stored::Never, FUSED, &[]),
        step("+ x", "the shortcut again: the next block's x", &x)
            .stored(Stored::Kept, "", &["out"])
            .shortcut(Shortcut::Returns),
    ]
}

fn head(model: &Llama, b: usize, t: usize) -> [Step; 3] {
    let Dims {
        n_embd: d,
        vocab_size: v,
        ..
    } = model.dims;
    let x = [("B", b), ("T", t), ("d", d)];
    let logits = linear(
        Step::new(
            Part::Head,
            "logits",
            "x times the head: a score for every token there is",
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
    let logits = match model.config.tie_word_embeddings {
        true => Step {
            tied: Some("model.embed_tokens.weight"),
            ..logits
        },
        false => logits.params(&[("lm_head.weight", "V d")]),
    };
    [
        Step::new(Part::Norm, "norm", "as input_norm, after the last block", &x)
            .params(&[("model.norm.weight", "d")])
            .stored(Stored::Kept, "", &["norm"]),
        logits,
        Step::new(Part::Head, "loss", "cross-entropy with the token that follows", &x[..2]).stored(
            Stored::Working,
            "one number a token",
            &[],
        ),
    ]
}
