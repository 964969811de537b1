//! The parameter tensors of a GPT-2, listed once.

use super::Config;
use crate::contract::Dims;
use crate::params::{Init, ParamTable, Product, Tensor};

/// One value a tensor: a slice of an arena, or its description.
pub(super) struct Params<T> {
    pub(super) wte: T,
    pub(super) wpe: T,
    pub(super) h: Vec<BlockParams<T>>,
    pub(super) ln_f_weight: T,
    pub(super) ln_f_bias: T,
}

/// The tensors of a block.
pub(super) struct BlockParams<T> {
    pub(super) ln_1_weight: T,
    pub(super) ln_1_bias: T,
    pub(super) c_attn_weight: T,
    pub(super) c_attn_bias: T,
    pub(super) attn_c_proj_weight: T,
    pub(super) attn_c_proj_bias: T,
    pub(super) ln_2_weight: T,
    pub(super) ln_2_bias: T,
    pub(super) c_fc_weight: T,
    pub(super) c_fc_bias: T,
    pub(super) mlp_c_proj_weight: T,
    pub(super) mlp_c_proj_bias: T,
}

/// What becomes of a tensor at the start.
#[derive(Clone, Copy)]
enum Role {
    Embedding,
    Position,
    Matrix,
    /// Queries, keys and values: three matrices side by side.
    Fused,
    /// A matrix that writes into the residual stream: its deviation is divided by sqrt(2L).
    Projection,
    Gain,
    Bias,
}

/// Calls `make(layer, name, shape, role)` for every tensor in the order of the data flow.
fn build<T>(dims: &Dims, mut make: impl FnMut(Option<usize>, &'static str, &[usize], Role) -> T) -> Params<T> {
    let Dims {
        vocab_size: v,
        n_positions,
        n_embd: d,
        n_inner: f,
        ..
    } = *dims;
    Params {
        wte: make(None, "wte.weight", &[v, d], Role::Embedding),
        wpe: make(None, "wpe.weight", &[n_positions, d], Role::Position),
        h: (0..dims.n_layer)
            .map(|i| {
                let mut make = |name, shape: &[usize], role| make(Some(i), name, shape, role);
                BlockParams {
                    ln_1_weight: make("ln_1.weight", &[d], Role::Gain),
                    ln_1_bias: make("ln_1.bias", &[d], Role::Bias),
                    c_attn_weight: make("attn.c_attn.weight", &[d, 3 * d], Role::Fused),
                    c_attn_bias: make("attn.c_attn.bias", &[3 * d], Role::Bias),
                    attn_c_proj_weight: make("attn.c_proj.weight", &[d, d], Role::Projection),
                    attn_c_proj_bias: make("attn.c_proj.bias", &[d], Role::Bias),
                    ln_2_weight: make("ln_2.weight", &[d], Role::Gain),
                    ln_2_bias: make("ln_2.bias", &[d], Role::Bias),
                    c_fc_weight: make("mlp.c_fc.weight", &[d, f], Role::Matrix),
                    c_fc_bias: make("mlp.c_fc.bias", &[f], Role::Bias),
                    mlp_c_proj_weight: make("mlp.c_proj.weight", &[f, d], Role::Projection),
                    mlp_c_proj_bias: make("mlp.c_proj.bias", &[d], Role::Bias),
                }
            })
            .collect(),
        ln_f_weight: make(None, "ln_f.weight", &[d], Role::Gain),
        ln_f_bias: make(None, "ln_f.bias", &[d], Role::Bias),
    }
}

impl<T> BlockParams<T> {
    /// Whether something holds for any tensor of the block.
    pub(super) fn any(&self, holds: impl Fn(&T) -> bool) -> bool {
        let tensors = [
            &self.ln_1_weight,
            &self.ln_1_bias,
            &self.c_attn_weight,
            &self.c_attn_bias,
            &self.attn_c_proj_weight,
            &self.attn_c_proj_bias,
            &self.ln_2_weight,
            &self.ln_2_bias,
            &self.c_fc_weight,
            &self.c_fc_bias,
            &self.mlp_c_proj_weight,
            &self.mlp_c_proj_bias,
        ];
        tensors.into_iter().any(holds)
    }
}

impl<T> Params<T> {
    /// The tensors from parts in the table's order.
    pub(super) fn from_parts(dims: &Dims, mut parts: impl Iterator<Item = T>) -> Self {
        build(dims, |_, _, _, _| parts.next().expect("one part a tensor"))
    }
}

/// The table of [`crate::Model::params`].
pub(super) fn table(config: &Config, dims: &Dims) -> ParamTable {
    let mut tensors = Vec::new();
    let std = config.initializer_range;
    build(dims, |layer, name, shape, role| {
        let name = layer.map_or_else(|| name.to_owned(), |i| format!("h.{i}.{name}"));
        let init = match role {
            Role::Embedding | Role::Position | Role::Matrix | Role::Fused => Init::Normal(std),
            Role::Projection => Init::Normal(std / (2.0 * dims.n_layer as f64).sqrt()),
            Role::Gain => Init::Ones,
            Role::Bias => Init::Zeros,
        };
        let hidden = match role {
            Role::Matrix | Role::Projection => Some(1),
            Role::Fused => Some(3),
            Role::Embedding | Role::Position | Role::Gain | Role::Bias => None,
        };
        let product = match role {
            Role::Embedding => Some(Product::OutIn),
            Role::Matrix | Role::Fused | Role::Projection => Some(Product::InOut),
            Role::Position | Role::Gain | Role::Bias => None,
        };
        tensors.push(Tensor {
            name,
            shape: shape.to_vec(),
            init,
            decay: shape.len() > 1,
            hidden,
            product,
        });
    });
    ParamTable::new(tensors)
}
