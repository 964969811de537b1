//! What the forward leaves for the backward, listed once: the plan, the arena and the walk are cut from this list.
//!
//! Kept a layer: 10 N d floats. The outputs of layernorm and GELU are not among them: the backward makes them again, a
//! pass over memory each and no matmul.

use super::Config;
use crate::arena::Slot;
use crate::contract::{Dims, Pass};
use foretoken_kernels::head_loss_scratch;

/// One value a tensor: a slice of the arena, or its description.
pub(super) struct Activations<T> {
    /// Token and position embedding, (N,d): what the first block reads.
    pub(super) embedded: T,
    /// One a layer in training; two that take turns where nothing is kept.
    pub(super) blocks: Vec<Block<T>>,
    /// Output of the last layernorm (N,d).
    pub(super) ln_f: T,
    pub(super) work: Work<T>,
}

/// What a block leaves.
pub(super) struct Block<T> {
    /// (N,3d)
    pub(super) qkv: T,
    /// Heads concatenated (N,d).
    pub(super) heads: T,
    /// Log of the softmax's denominator, (B,h,T).
    pub(super) lse: T,
    /// Residual stream after attention (N,d).
    pub(super) mid: T,
    /// What the GELU is applied to (N,f).
    pub(super) fc: T,
    /// Residual stream after the MLP (N,d).
    pub(super) out: T,
}

/// What is used and used again.
pub(super) struct Work<T> {
    /// Output of a layernorm (N,d).
    pub(super) normed: T,
    pub(super) mean: T,
    pub(super) rstd: T,
    /// Output of the GELU (N,f).
    pub(super) gelu: T,
    /// A branch before it is dropped and added (N,d); empty without dropout.
    pub(super) branch: T,
    /// A chunk of logits.
    pub(super) logits: T,
    /// Gradient of the residual stream (N,d).
    pub(super) dx: T,
    /// Gradient of a layernorm's output (N,d).
    pub(super) d_normed: T,
    /// Gradient of qkv (N,3d), or of fc (N,f).
    pub(super) d_wide: T,
}

/// Calls `make` for every tensor in the order they lie.
pub(super) fn build<T>(
    config: &Config,
    dims: &Dims,
    (b, t): (usize, usize),
    pass: Pass,
    mut make: impl FnMut(Slot) -> T,
) -> Activations<T> {
    let Dims {
        n_embd,
        n_inner,
        vocab_size,
        n_head,
        n_layer,
        ..
    } = *dims;
    let (bt, d, f, v) = ([("B", b), ("T", t)], ("d", n_embd), ("f", n_inner), ("V", vocab_size));
    let wide = ("3d", 3 * n_embd);
    let rows = |width| vec![bt[0], bt[1], width];
    let train = pass == Pass::Train;
    let if_train = |shape: Vec<(&'static str, usize)>| if train { shape } else { vec![("0", 0)] };
    let mut slot = |layer, name, shape| make(Slot { name, layer, shape });
    Activations {
        embedded: slot(None, "embedded", rows(d)),
        blocks: (0..if train { n_layer } else { n_layer.min(2) })
            .map(|i| {
                let mut slot = |name, shape| slot(Some(i), name, shape);
                Block {
                    qkv: slot("qkv", rows(wide)),
                    heads: slot("heads", rows(d)),
                    lse: slot("lse", vec![bt[0], ("h", n_head), bt[1]]),
                    mid: slot("mid", rows(d)),
                    fc: slot("fc", rows(f)),
                    out: slot("out", rows(d)),
                }
            })
            .collect(),
        ln_f: slot(None, "ln_f", rows(d)),
        work: Work {
            normed: slot(None, "normed", rows(d)),
            mean: slot(None, "mean", bt.to_vec()),
            rstd: slot(None, "rstd", bt.to_vec()),
            gelu: slot(None, "gelu", rows(f)),
            branch: slot(
                None,
                "branch",
                if train && config.resid_pdrop > 0.0 {
                    rows(d)
                } else {
                    vec![("0", 0)]
                },
            ),
            logits: slot(None, "logits chunk", vec![("rows", head_loss_scratch(b * t, 1)), v]),
            dx: slot(None, "dx", if_train(rows(d))),
            d_normed: slot(None, "d_normed", if_train(rows(d))),
            d_wide: slot(None, "d_wide", if_train(rows(if wide.1 > f.1 { wide } else { f }))),
        },
    }
}

impl<'a> Activations<&'a mut [f32]> {
    /// What block `i` reads, and where it writes.
    pub(super) fn block(&mut self, i: usize) -> (&[f32], &mut Block<&'a mut [f32]>, &mut Work<&'a mut [f32]>) {
        let n = self.blocks.len();
        let (x, block) = match i {
            0 => (&*self.embedded, &mut self.blocks[0]),
            _ => {
                let [before, block] = self
                    .blocks
                    .get_disjoint_mut([(i - 1) % n, i % n])
                    .expect("two different blocks");
                (&*before.out, block)
            }
        };
        (x, block, &mut self.work)
    }
}
