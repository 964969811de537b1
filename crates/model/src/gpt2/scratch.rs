//! What the kernels of a GPT-2 take beside the arenas: the largest of its calls, by the kernels' own word.

use super::Gpt2;
use crate::contract::{Dims, Pass, Scratch};
use foretoken_kernels::{
    MATVEC_ROWS, attention_backward_scratch, attention_backward_sums, attention_cached_scratch,
    attention_forward_scratch, bias_backward_scratch, head_loss_scratch, layernorm_backward_scratch,
    matmul_gradient_scratch, matmul_scratch, matvec_scratch,
};

/// (in, out) of every linear layer.
fn linears(dims: &Dims) -> [(usize, usize); 4] {
    let (d, f) = (dims.n_embd, dims.n_inner);
    [(d, 3 * d), (d, d), (d, f), (f, d)]
}

pub(super) fn of_pass(model: &Gpt2, b: usize, t: usize, pass: Pass) -> Scratch {
    let dims = &model.dims;
    let (n, rows, train) = (b * t, head_loss_scratch(b * t, 1), pass != Pass::Score);
    let head = (rows, (dims.n_embd, dims.vocab_size));
    let attention = model.attention_dims(b, t);
    let mut scratch = Scratch {
        shared: 0,
        a_thread: attention_forward_scratch(attention.dh),
    };
    let mut takes = |floats| scratch.a_thread = scratch.a_thread.max(floats);
    for (rows, (inputs, outputs)) in linears(dims).into_iter().map(|sizes| (n, sizes)).chain([head]) {
        takes(matmul_scratch(rows, outputs, inputs));
        if train {
            takes(matmul_gradient_scratch(rows, inputs, outputs));
            takes(matmul_gradient_scratch(inputs, outputs, rows));
            takes(matmul_gradient_scratch(outputs, inputs, rows));
        }
    }
    if train {
        let widest = dims.n_inner.max(3 * dims.n_embd);
        scratch.shared = layernorm_backward_scratch(n, dims.n_embd)
            .max(bias_backward_scratch(n, widest))
            .max(attention_backward_sums(attention));
        scratch.a_thread = scratch.a_thread.max(attention_backward_scratch(attention));
    }
    scratch
}

/// Of a prompt's chunk of `t` tokens and of single tokens after it, with up to `keys` tokens seen.
pub(super) fn of_decode(model: &Gpt2, t: usize, keys: usize) -> Scratch {
    let (h, dh) = (model.dims.n_head, model.dims.head_dim());
    let few = t.min(MATVEC_ROWS);
    let mut scratch = Scratch::default();
    for (inputs, outputs) in linears(&model.dims) {
        scratch.shared = scratch.shared.max(matvec_scratch(few, outputs, inputs));
        if t > MATVEC_ROWS {
            scratch.a_thread = scratch.a_thread.max(matmul_scratch(t, outputs, inputs));
        }
    }
    let ((chunk, chunk_thread), (one, one_thread)) = (
        attention_cached_scratch(t, keys, h, dh),
        attention_cached_scratch(1, keys, h, dh),
    );
    scratch.shared += chunk.max(one);
    scratch.a_thread = scratch.a_thread.max(chunk_thread).max(one_thread);
    scratch
}
