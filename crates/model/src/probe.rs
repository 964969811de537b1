//! Listening to a forward, and changing what it computes.

use crate::contract::Model;
use crate::state::{DecodeState, NewTokens};
use crate::weights::{Weight, Weights};
use foretoken_kernels::{AttentionDims, Pool};

/// A value of the forward that can be listened to. N tokens go through the layers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// The stream before the first layer (N,d): what the embeddings make.
    Embedded,
    /// Queries, keys and values of all heads side by side (N,(h + 2 h_kv) dh), turned where a model turns them by their position.
    Qkv,
    /// What each head found, side by side (N,d), before the heads are mixed.
    Heads,
    /// The stream after attention (N,d).
    Middle,
    /// The MLP's hidden layer (N,f), after its nonlinearity.
    Hidden,
    /// The stream after the layer (N,d).
    Out,
}

/// Where a forward is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The layer, from 0; 0 at [`Site::Embedded`].
    pub layer: usize,
    /// The value.
    pub site: Site,
    /// The position of the first of its tokens.
    pub first: usize,
}

/// Who listens. The forward goes on with what is left in `values`: whoever leaves them alone changes no bit.
pub trait Probe {
    /// Is shown a value as soon as it is there.
    fn visit(&mut self, at: At, values: &mut [f32]);
}

/// What a variant is made of, for whoever takes a result apart. Numbers are places in [`crate::ParamTable::specs`].
#[derive(Clone, Debug, PartialEq)]
pub struct Anatomy {
    /// Token embedding (V,d).
    pub embedding: usize,
    /// Position embedding (n_positions,d), where positions are learnt.
    pub positions: Option<usize>,
    /// What mixes the heads of each layer and writes into the stream (d,d).
    pub heads_out: Vec<usize>,
    /// The norm after the last layer.
    pub norm: NormAnatomy,
    /// What makes logits (V,d): the embedding itself, or a head of its own.
    pub head: usize,
    /// Heads, with B = T = 1.
    pub attention: AttentionDims,
}

/// A norm: `(x - mean) / sqrt(variance + epsilon)` where it is centred, else `x / sqrt(mean of squares + epsilon)`, times a gain, plus a
/// bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormAnatomy {
    /// The gain (d).
    pub weight: usize,
    /// The bias (d), where there is one.
    pub bias: Option<usize>,
    /// What keeps the root from 0.
    pub epsilon: f32,
    /// Whether the mean is taken away first: layer normalisation, not RMSNorm.
    pub centred: bool,
}

/// Appends `ids` to the sequence while `probe` listens; the bits are those of [`crate::decode`]. The stream after the last layer tells the
/// logits ([`Model::unembed`]).
pub fn decode_probed<'w>(
    model: &dyn Model,
    pool: &Pool,
    weights: impl Into<Weights<'w>>,
    state: &mut DecodeState,
    ids: &[u32],
    probe: &mut dyn Probe,
) {
    let weights = weights.into();
    for ids in ids.chunks(state.rows()) {
        let sequence = NewTokens { state, ids, logits: 0 };
        model.extend(pool, weights, &mut [sequence], &mut [], Some(&mut *probe));
    }
}

impl Weights<'_> {
    /// Row `row` of a matrix as products read it (out,in), or of a table: what it would say in f32.
    ///
    /// # Panics
    /// Where the tensor has no such row, or `out` is not as long as one.
    pub fn row(&self, model: &dyn Model, tensor: usize, row: usize, out: &mut [f32]) {
        let (spec, weight) = self.one(model, tensor);
        match weight {
            Weight::Packed(matrix) => matrix.row(row, out),
            Weight::Floats(floats) if spec.product == Some(crate::Product::InOut) => {
                let columns = floats.iter().skip(row).step_by(spec.shape[1]);
                assert!(
                    row < spec.shape[1] && out.len() == spec.shape[0],
                    "row {row} of {:?}",
                    spec.shape
                );
                out.iter_mut().zip(columns).for_each(|(out, &w)| *out = w);
            }
            Weight::Floats(floats) => {
                let width = *spec.shape.last().expect("a tensor has a shape");
                out.copy_from_slice(&floats[row * width..(row + 1) * width]);
            }
        }
    }

    /// A whole matrix as products read it, (out,in), in f32.
    pub fn matrix(&self, pool: &Pool, model: &dyn Model, tensor: usize) -> Vec<f32> {
        let spec = &model.params().specs()[tensor];
        let [rows, cols] = match spec.product {
            Some(crate::Product::InOut) => [spec.shape[1], spec.shape[0]],
            _ => [spec.shape[0], spec.shape[1]],
        };
        let mut out = vec![0.0; rows * cols];
        let parts: Vec<std::sync::Mutex<&mut [f32]>> = out.chunks_mut(16 * cols).map(std::sync::Mutex::new).collect();
        pool.run(parts.len(), |i| {
            let mut part = parts[i].lock().expect("nobody else has it");
            for (j, out) in part.chunks_exact_mut(cols).enumerate() {
                self.row(model, tensor, 16 * i + j, out);
            }
        });
        drop(parts);
        out
    }

    /// What is no matrix: gains and biases.
    ///
    /// # Panics
    /// Where the tensor is a matrix that is packed.
    pub fn vector(&self, model: &dyn Model, tensor: usize) -> Vec<f32> {
        self.one(model, tensor).1.floats().to_vec()
    }

    fn one<'a>(&'a self, model: &'a dyn Model, tensor: usize) -> (&'a crate::ParamSpec, Weight<'a>) {
        let table = model.params();
        let weight = self.parts(table).nth(tensor).expect("a tensor of this model");
        (&table.specs()[tensor], weight)
    }
}
