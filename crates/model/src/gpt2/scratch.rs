//! What the kernels of a GPT-2 take beside the arenas: the largest of its calls, by the kernels' own word.

use super::Gpt2;
use crate::contract::{Dims, Pass, Scratch};
use foretoken_kernels::{
    MATVEC_ROWS, attention_backward_scratch, attention_cached_scratch, attention_forward_scratch,
    bias_backward_scratch, head_loss_scratch, layernorm_backward_scratch, matmul_scratch, matvec_scratch,
};

/// (in, out) of every linear layer.
fn linears(dims: &Dims) -> [(usize, usize); 4] {
    let (d, f) = (dims.n_embd, dims.n_inner);
    [(d, 3 * d), (d, d), (d, f), (f, d)]
}

pub(super) fn of_pass(model: &Gpt2, b: usize, t: usize, pass: Pass) -> Scratch {
    let dims = &model.dims;
    let (n, rows, train) = (b * t, head_loss_scratch(b * t, 1), pass == Pass::Train);
    let head = (rows, (dims.n_embd, dims.vocab_size));
    let mut shared = 0;
    for (rows, (inputs, outputs)) in linears(dims).into_iter().map(|sizes| (n, sizes)).chain([head]) {
        shared = shared.max(matmul_scratch(rows, outputs, inputs));
        if train {
            let backward = [
                matmul_scratch(rows, inputs, outputs),
                matmul_scratch(inputs, outputs, rows),
                matmul_scratch(outputs, inputs, rows),
            ];
            shared = shared.max(backward[0]).max(backward[1]).max(backward[2]);
        }
    }
    let attention = model.attention_dims(b, t);
    let mut a_thread = attention_forward_scratch(attention.dh);
    if train {
        let widest = dims.n_inner.max(3 * dims.n_embd);
        shared = shared
            .max(layernorm_backward_scratch(n, dims.n_embd))
            .max(bias_backward_scratch(n, widest));
        a_thread = a_thread.max(attention_backward_scratch(attention));
    }
    Scratch { shared, a_thread }
}

/// Of a prompt's chunk of `t` tokens and of single tokens after it, with up to `keys` tokens seen.
pub(super) fn of_decode(model: &Gpt2, t: usize, keys: usize) -> Scratch {
    let (h, dh) = (model.dims.n_head, model.dims.head_dim());
    let few = t.min(MATVEC_ROWS);
    let mut scratch = Scratch::default();
    for (inputs, outputs) in linears(&model.dims) {
        scratch.shared = scratch.shared.max(matvec_scratch(few, outputs, inputs));
        if t > MATVEC_ROWS {
            scratch.shared = scratch.shared.max(matmul_scratch(t, outputs, inputs));
        }
    }
    let ((chunk, chunk_thread), (one, one_thread)) = (
        attention_cached_scratch(t, keys, h, dh),
        attention_cached_scratch(1, keys, h, dh),
    );
    scratch.shared += chunk.max(one);
    scratch.a_thread = chunk_thread.max(one_thread);
    scratch
}
