//! What the forward leaves for the backward, listed once: the plan, the arena and the walk are cut from this list.
//!
//! How much of it stays for every layer is [`Recompute`]'s choice; the rest lies in memory that the layers share. By default
//! 10 N d floats a layer stay. Gradients on their way back take the place of what the backward has read.

use super::Config;
use crate::arena::{Slot, either};
use crate::contract::{Dims, Pass, Recompute};
use foretoken_kernels::head_loss_scratch;

/// One value a tensor: a slice of the arena, or its description.
pub(super) struct Activations<T> {
    /// Token and position embedding, (N,d): what the first block reads.
    pub(super) embedded: T,
    /// One a layer in training; two that take turns where nothing is kept. What a layer does not keep is empty.
    pub(super) blocks: Vec<Block<T>>,
    /// What no layer keeps.
    pub(super) shared: Block<T>,
    /// The last layernorm; its output becomes its own gradient.
    pub(super) ln_f: Norm<T>,
    pub(super) work: Work<T>,
}

/// What a block makes, in its order.
pub(super) struct Block<T> {
    pub(super) ln_1: Norm<T>,
    /// (N,3d)
    pub(super) qkv: T,
    /// Heads concatenated (N,d).
    pub(super) heads: T,
    /// Log of the softmax's denominator, (B,h,T).
    pub(super) lse: T,
    /// Residual stream after attention (N,d).
    pub(super) mid: T,
    pub(super) ln_2: Norm<T>,
    /// What the GELU is applied to (N,f), or its slope there where the output is kept too. In the backward the gradient of
    /// what it is applied to, then that of qkv where it is wide enough.
    pub(super) fc: T,
    /// Output of the GELU (N,f).
    pub(super) gelu: T,
    /// Residual stream after the MLP (N,d).
    pub(super) out: T,
}

/// A layernorm.
pub(super) struct Norm<T> {
    /// (N,d); in the backward its gradient.
    pub(super) out: T,
    pub(super) mean: T,
    pub(super) rstd: T,
}

/// What belongs to no block.
pub(super) struct Work<T> {
    /// A branch before it is dropped and added (N,d); empty without dropout.
    pub(super) branch: T,
    /// A chunk of logits.
    pub(super) logits: T,
    /// Gradient of the residual stream (N,d).
    pub(super) dx: T,
    /// Gradient of what the GELU is applied to (N,f), where its output is kept.
    pub(super) d_fc: T,
    /// Gradient of qkv (N,3d) where f < 3d.
    pub(super) d_qkv: T,
}

/// A block's tensors, wherever they lie, and what it reads.
pub(super) struct Layer<'a> {
    pub(super) x: &'a [f32],
    pub(super) block: Block<&'a mut [f32]>,
    pub(super) work: Work<&'a mut [f32]>,
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
        n_layer,
        ..
    } = *dims;
    let (b_t, d) = ([("B", b), ("T", t)], ("d", n_embd));
    let rows = |width| vec![b_t[0], b_t[1], width];
    let train = pass != Pass::Score;
    let only = |wanted: bool, shape: Vec<(&'static str, usize)>| if wanted { shape } else { vec![("0", 0)] };
    let mut slot = |layer, name, shape| make(Slot { name, layer, shape });
    let mut block = |layer: Option<usize>| block(dims, (b, t), pass, layer, &mut slot);
    let blocks = (0..if train { n_layer } else { n_layer.min(2) })
        .map(|i| block(Some(i)))
        .collect();
    let shared = block(None);
    Activations {
        embedded: slot(None, "embedded", rows(d)),
        blocks,
        shared,
        ln_f: Norm {
            out: slot(None, "ln_f", rows(d)),
            mean: slot(None, "ln_f mean", b_t.to_vec()),
            rstd: slot(None, "ln_f rstd", b_t.to_vec()),
        },
        work: Work {
            branch: slot(None, "branch", only(train && config.resid_pdrop > 0.0, rows(d))),
            logits: slot(
                None,
                "logits chunk",
                vec![("rows", head_loss_scratch(b * t, 1)), ("V", vocab_size)],
            ),
            dx: slot(None, "dx", only(train, rows(d))),
            d_fc: slot(
                None,
                "d_fc",
                only(pass == Pass::Train(Recompute::None), rows(("f", n_inner))),
            ),
            d_qkv: slot(
                None,
                "d_qkv",
                only(train && n_inner < 3 * n_embd, rows(("3d", 3 * n_embd))),
            ),
        },
    }
}

/// What a layer keeps, or, without one, what all of them share.
fn block<T>(
    dims: &Dims,
    (b, t): (usize, usize),
    pass: Pass,
    layer: Option<usize>,
    slot: &mut impl FnMut(Option<usize>, &'static str, Vec<(&'static str, usize)>) -> T,
) -> Block<T> {
    let (b_t, d, f) = ([("B", b), ("T", t)], ("d", dims.n_embd), ("f", dims.n_inner));
    let rows = |width| vec![b_t[0], b_t[1], width];
    let (cheap, costly) = pass.keeps();
    let mut slot = |kept: bool, name, shape| {
        let shape = if kept == layer.is_some() { shape } else { vec![("0", 0)] };
        slot(layer, name, shape)
    };
    Block {
        ln_1: Norm {
            out: slot(cheap, "ln_1", rows(d)),
            mean: slot(costly, "ln_1 mean", b_t.to_vec()),
            rstd: slot(costly, "ln_1 rstd", b_t.to_vec()),
        },
        qkv: slot(costly, "qkv", rows(("3d", 3 * dims.n_embd))),
        heads: slot(costly, "heads", rows(d)),
        lse: slot(costly, "lse", vec![b_t[0], ("h", dims.n_head), b_t[1]]),
        mid: slot(costly, "mid", rows(d)),
        ln_2: Norm {
            out: slot(cheap, "ln_2", rows(d)),
            mean: slot(costly, "ln_2 mean", b_t.to_vec()),
            rstd: slot(costly, "ln_2 rstd", b_t.to_vec()),
        },
        fc: slot(costly, "fc", rows(f)),
        gelu: slot(cheap, "gelu", rows(f)),
        // What the next layer reads, whatever is kept.
        out: slot(true, "out", rows(d)),
    }
}

impl Activations<&mut [f32]> {
    /// What block `i` reads and writes.
    pub(super) fn layer(&mut self, i: usize) -> Layer<'_> {
        let n = self.blocks.len();
        let (x, own) = match i {
            0 => (&*self.embedded, &mut self.blocks[0]),
            _ => {
                let [before, block] = self
                    .blocks
                    .get_disjoint_mut([(i - 1) % n, i % n])
                    .expect("two different blocks");
                (&*before.out, block)
            }
        };
        let shared = &mut self.shared;
        Layer {
            x,
            block: Block {
                ln_1: either_norm(&mut own.ln_1, &mut shared.ln_1),
                qkv: either(&mut own.qkv, &mut shared.qkv),
                heads: either(&mut own.heads, &mut shared.heads),
                lse: either(&mut own.lse, &mut shared.lse),
                mid: either(&mut own.mid, &mut shared.mid),
                ln_2: either_norm(&mut own.ln_2, &mut shared.ln_2),
                fc: either(&mut own.fc, &mut shared.fc),
                gelu: either(&mut own.gelu, &mut shared.gelu),
                out: own.out,
            },
            work: Work {
                branch: self.work.branch,
                logits: self.work.logits,
                dx: self.work.dx,
                d_fc: self.work.d_fc,
                d_qkv: self.work.d_qkv,
            },
        }
    }
}

fn either_norm<'s, 'a>(own: &'s mut Norm<&'a mut [f32]>, shared: &'s mut Norm<&'a mut [f32]>) -> Norm<&'s mut [f32]> {
    Norm {
        out: either(&mut own.out, &mut shared.out),
        mean: either(&mut own.mean, &mut shared.mean),
        rstd: either(&mut own.rstd, &mut shared.rstd),
    }
}
