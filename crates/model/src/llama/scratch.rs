//! What the kernels of a llama take beside the arenas: the largest of its calls, by the kernels' own word.

use super::Llama;
use crate::contract::{Pass, Scratch};
use foretoken_kernels::{
    MATVEC_ROWS, attention_backward_scratch, attention_backward_sums, attention_cached_scratch,
    attention_forward_scratch, head_loss_scratch, matmul_gradient_scratch, matmul_scratch, rmsnorm_backward_scratch,
};

/// (in, out) of every linear layer.
fn linears(model: &Llama) -> [(usize, usize); 4] {
    let (d, f) = (model.dims.n_embd, model.dims.n_inner);
    [
        (d, d),
        (d, model.config.n_kv_head() * model.dims.head_dim()),
        (d, f),
        (f, d),
    ]
}

pub(super) fn of_pass(model: &Llama, b: usize, t: usize, pass: Pass) -> Scratch {
    let dims = &model.dims;
    let (n, rows, train) = (b * t, head_loss_scratch(b * t, 1), pass != Pass::Score);
    let head = (rows, (dims.n_embd, dims.vocab_size));
    let attention = model.attention_dims(b, t);
    let mut scratch = Scratch {
        shared: 0,
        a_thread: attention_forward_scratch(attention.dh),
    };
    let mut takes = |floats| scratch.a_thread = scratch.a_thread.max(floats);
    for (rows, (inputs, outputs)) in linears(model).into_iter().map(|sizes| (n, sizes)).chain([head]) {
        takes(matmul_scratch(rows, outputs, inputs));
        if train {
            takes(matmul_gradient_scratch(rows, inputs, outputs));
            takes(matmul_gradient_scratch(outputs, inputs, rows));
        }
    }
    if train {
        scratch.shared = rmsnorm_backward_scratch(n, dims.n_embd).max(attention_backward_sums(attention));
        scratch.a_thread = scratch.a_thread.max(attention_backward_scratch(attention));
    }
    scratch
}

/// Of a prompt's chunk of `t` tokens and of single tokens after it, with up to `keys` tokens seen.
pub(super) fn of_decode(model: &Llama, t: usize, keys: usize) -> Scratch {
    let (h, dh) = (model.dims.n_head, model.dims.head_dim());
    let mut scratch = Scratch::default();
    if t > MATVEC_ROWS {
        for (inputs, outputs) in linears(model) {
            scratch.a_thread = scratch.a_thread.max(matmul_scratch(t, outputs, inputs));
        }
    }
    for tokens in [t, 1] {
        let (shared, a_thread) = attention_cached_scratch(tokens, keys, h, dh);
        scratch.shared = scratch.shared.max(shared);
        scratch.a_thread = scratch.a_thread.max(a_thread);
    }
    scratch
}
