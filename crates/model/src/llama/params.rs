//! The parameter tensors of a llama, listed once.

use super::Config;
use crate::contract::Dims;
use crate::params::{Init, ParamTable, Product, Tensor};

/// One value a tensor: a slice of an arena, or its description.
pub(super) struct Params<T> {
    pub(super) embed: T,
    pub(super) layers: Vec<BlockParams<T>>,
    pub(super) norm: T,
    /// The head; none where it is the embedding.
    pub(super) lm_head: Option<T>,
}

/// The tensors of a block, matrices as (out,in).
pub(super) struct BlockParams<T> {
    pub(super) input_norm: T,
    pub(super) q_proj: T,
    pub(super) k_proj: T,
    pub(super) v_proj: T,
    pub(super) o_proj: T,
    pub(super) post_norm: T,
    pub(super) gate_proj: T,
    pub(super) up_proj: T,
    pub(super) down_proj: T,
}

/// Calls `make(layer, name, shape)` for every tensor in the order of the data flow.
fn build<T>(
    config: &Config,
    dims: &Dims,
    mut make: impl FnMut(Option<usize>, &'static str, &[usize]) -> T,
) -> Params<T> {
    let (d, f) = (dims.n_embd, dims.n_inner);
    let kv = config.n_kv_head() * dims.head_dim();
    Params {
        embed: make(None, "model.embed_tokens.weight", &[dims.vocab_size, d]),
        layers: (0..dims.n_layer)
            .map(|i| {
                let mut make = |name, shape: &[usize]| make(Some(i), name, shape);
                BlockParams {
                    input_norm: make("input_layernorm.weight", &[d]),
                    q_proj: make("self_attn.q_proj.weight", &[d, d]),
                    k_proj: make("self_attn.k_proj.weight", &[kv, d]),
                    v_proj: make("self_attn.v_proj.weight", &[kv, d]),
                    o_proj: make("self_attn.o_proj.weight", &[d, d]),
                    post_norm: make("post_attention_layernorm.weight", &[d]),
                    gate_proj: make("mlp.gate_proj.weight", &[f, d]),
                    up_proj: make("mlp.up_proj.weight", &[f, d]),
                    down_proj: make("mlp.down_proj.weight", &[d, f]),
                }
            })
            .collect(),
        norm: make(None, "model.norm.weight", &[d]),
        lm_head: (!config.tie_word_embeddings).then(|| make(None, "lm_head.weight", &[dims.vocab_size, d])),
    }
}

impl<T> BlockParams<T> {
    /// Whether something holds for any tensor of the block.
    pub(super) fn any(&self, holds: impl Fn(&T) -> bool) -> bool {
        let tensors = [
            &self.input_norm,
            &self.q_proj,
            &self.k_proj,
            &self.v_proj,
            &self.o_proj,
            &self.post_norm,
            &self.gate_proj,
            &self.up_proj,
            &self.down_proj,
        ];
        tensors.into_iter().any(holds)
    }
}

impl<T> Params<T> {
    /// The tensors from parts in the table's order.
    pub(super) fn from_parts(config: &Config, dims: &Dims, mut parts: impl Iterator<Item = T>) -> Self {
        build(config, dims, |_, _, _| parts.next().expect("one part a tensor"))
    }
}

impl<T: Copy> Params<T> {
    /// The head's weight (V,d).
    pub(super) fn head(&self) -> T {
        self.lm_head.unwrap_or(self.embed)
    }
}

/// The table of [`crate::Model::params`].
pub(super) fn table(config: &Config, dims: &Dims) -> ParamTable {
    let mut tensors = Vec::new();
    build(config, dims, |layer, name, shape| {
        let name = layer.map_or_else(|| name.to_owned(), |i| format!("model.layers.{i}.{name}"));
        let init = match shape.len() {
            1 => Init::Ones,
            _ => Init::Normal(config.initializer_range),
        };
        // Matrices of a block are hidden ones.
        let hidden = (shape.len() > 1 && layer.is_some()).then_some(1);
        tensors.push(Tensor {
            name,
            shape: shape.to_vec(),
            init,
            decay: shape.len() > 1,
            hidden,
            product: (shape.len() > 1).then_some(Product::OutIn),
        });
    });
    ParamTable::new(tensors)
}
