//! What the forward leaves for the backward, listed once, as [`crate::gpt2`] has it.

use super::Llama;
use crate::arena::{Slot, either};
use crate::contract::Pass;
use foretoken_kernels::head_loss_scratch;

/// One value a tensor: a slice of the arena, or its description.
pub(super) struct Activations<T> {
    /// Token embedding, (N,d): what the first block reads.
    pub(super) embedded: T,
    /// Cosines and sines of every position, (T,dh).
    pub(super) angles: T,
    /// One a layer in training; two that take turns where nothing is kept. What a layer does not keep is empty.
    pub(super) blocks: Vec<Block<T>>,
    /// What no layer keeps.
    pub(super) shared: Block<T>,
    /// The last norm; its output becomes its own gradient.
    pub(super) norm: Norm<T>,
    /// A chunk of logits.
    pub(super) logits: T,
    /// Gradient of the residual stream (N,d).
    pub(super) dx: T,
    /// Gradient of qkv where the MLP is too narrow to take it.
    pub(super) d_qkv: T,
}

/// What a block makes, in its order.
pub(super) struct Block<T> {
    pub(super) input_norm: Norm<T>,
    /// Queries and keys, turned, and values: (N,(h + 2 h_kv) dh).
    pub(super) qkv: T,
    /// Heads concatenated (N,d).
    pub(super) heads: T,
    /// Log of the softmax's denominator, (B,h,T).
    pub(super) lse: T,
    /// Residual stream after attention (N,d).
    pub(super) mid: T,
    pub(super) post_norm: Norm<T>,
    /// (N,f); in the backward its gradient, then that of qkv where it is wide enough.
    pub(super) gate: T,
    /// (N,f); in the backward its gradient.
    pub(super) up: T,
    /// silu(gate) up (N,f); in the backward its gradient.
    pub(super) hidden: T,
    /// Residual stream after the MLP (N,d).
    pub(super) out: T,
}

/// An RMSNorm.
pub(super) struct Norm<T> {
    /// (N,d); in the backward its gradient.
    pub(super) out: T,
    pub(super) rstd: T,
}

/// A block's tensors, wherever they lie, what it reads, and what belongs to no block.
pub(super) struct Layer<'a> {
    pub(super) x: &'a [f32],
    pub(super) angles: &'a [f32],
    pub(super) block: Block<&'a mut [f32]>,
    pub(super) dx: &'a mut [f32],
    pub(super) d_qkv: &'a mut [f32],
}

type Shape = Vec<(&'static str, usize)>;

/// Calls `make` for every tensor in the order they lie.
pub(super) fn build<T>(
    model: &Llama,
    (b, t): (usize, usize),
    pass: Pass,
    mut make: impl FnMut(Slot) -> T,
) -> Activations<T> {
    let (dims, row) = (&model.dims, model.attention_dims(b, t).row());
    let (b_t, d) = ([("B", b), ("T", t)], ("d", dims.n_embd));
    let rows = |width| vec![b_t[0], b_t[1], width];
    let train = pass != Pass::Score;
    let only = |wanted: bool, shape: Shape| if wanted { shape } else { vec![("0", 0)] };
    let mut slot = |layer, name, shape| make(Slot { name, layer, shape });
    let mut block = |layer: Option<usize>| block(model, (b, t), pass, layer, &mut slot);
    let count = if train { dims.n_layer } else { dims.n_layer.min(2) };
    let blocks = (0..count).map(|i| block(Some(i))).collect();
    let shared = block(None);
    Activations {
        embedded: slot(None, "embedded", rows(d)),
        angles: slot(None, "angles", vec![b_t[1], ("dh", dims.head_dim())]),
        blocks,
        shared,
        norm: Norm {
            out: slot(None, "norm", rows(d)),
            rstd: slot(None, "norm rstd", b_t.to_vec()),
        },
        logits: slot(
            None,
            "logits chunk",
            vec![("rows", head_loss_scratch(b * t, 1)), ("V", dims.vocab_size)],
        ),
        dx: slot(None, "dx", only(train, rows(d))),
        d_qkv: slot(None, "d_qkv", only(train && dims.n_inner < row, rows(("qkv", row)))),
    }
}

/// What a layer keeps, or, without one, what all of them share.
fn block<T>(
    model: &Llama,
    (b, t): (usize, usize),
    pass: Pass,
    layer: Option<usize>,
    slot: &mut impl FnMut(Option<usize>, &'static str, Shape) -> T,
) -> Block<T> {
    let (dims, row) = (&model.dims, model.attention_dims(b, t).row());
    let (b_t, d, f) = ([("B", b), ("T", t)], ("d", dims.n_embd), ("f", dims.n_inner));
    let rows = |width| vec![b_t[0], b_t[1], width];
    let (cheap, costly) = pass.keeps();
    let mut slot = |kept: bool, name, shape| {
        let shape = if kept == layer.is_some() { shape } else { vec![("0", 0)] };
        slot(layer, name, shape)
    };
    Block {
        input_norm: Norm {
            out: slot(cheap, "input_norm", rows(d)),
            rstd: slot(costly, "input_norm rstd", b_t.to_vec()),
        },
        qkv: slot(costly, "qkv", rows(("qkv", row))),
        heads: slot(costly, "heads", rows(d)),
        lse: slot(costly, "lse", vec![b_t[0], ("h", dims.n_head), b_t[1]]),
        mid: slot(costly, "mid", rows(d)),
        post_norm: Norm {
            out: slot(cheap, "post_norm", rows(d)),
            rstd: slot(costly, "post_norm rstd", b_t.to_vec()),
        },
        gate: slot(costly, "gate", rows(f)),
        up: slot(costly, "up", rows(f)),
        hidden: slot(cheap, "hidden", rows(f)),
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
            angles: self.angles,
            block: Block {
                input_norm: Norm {
                    out: either(&mut own.input_norm.out, &mut shared.input_norm.out),
                    rstd: either(&mut own.input_norm.rstd, &mut shared.input_norm.rstd),
                },
                qkv: either(&mut own.qkv, &mut shared.qkv),
                heads: either(&mut own.heads, &mut shared.heads),
                lse: either(&mut own.lse, &mut shared.lse),
                mid: either(&mut own.mid, &mut shared.mid),
                post_norm: Norm {
                    out: either(&mut own.post_norm.out, &mut shared.post_norm.out),
                    rstd: either(&mut own.post_norm.rstd, &mut shared.post_norm.rstd),
                },
                gate: either(&mut own.gate, &mut shared.gate),
                up: either(&mut own.up, &mut shared.up),
                hidden: either(&mut own.hidden, &mut shared.hidden),
                out: own.out,
            },
            dx: self.dx,
            d_qkv: self.d_qkv,
        }
    }
}
