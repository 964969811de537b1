//! The contract of every variant.

use crate::arena::{Arena, Plan};
use crate::error::Error;
use crate::gguf::GgufTensor;
use crate::params::ParamTable;
use crate::walk::Step;
use foretoken_formats::gguf;
use foretoken_kernels::{Buffer, Pool};
use serde::{Deserialize, Serialize};

/// The sizes that every variant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// V: rows of the token embedding, at least the tokeniser's vocabulary.
    pub vocab_size: usize,
    /// The longest context.
    pub n_positions: usize,
    /// d: width of the residual stream.
    pub n_embd: usize,
    /// L.
    pub n_layer: usize,
    /// h.
    pub n_head: usize,
    /// f: width of the MLP.
    pub n_inner: usize,
}

impl Dims {
    /// dh = d / h.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }
}

/// What an activation arena is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Forward and backward: what the backward needs is kept for every layer, as far as [`Recompute`] says.
    Train(Recompute),
    /// Forward only: layers take turns in the same memory.
    Score,
}

impl Pass {
    /// Whether every layer keeps what a pass over memory makes again (outputs of norms and of the MLP's nonlinearity), and what
    /// only its products make again.
    pub(crate) fn keeps(self) -> (bool, bool) {
        match self {
            Pass::Train(Recompute::None) => (true, true),
            Pass::Train(Recompute::Selective) => (false, true),
            Pass::Train(Recompute::Block) | Pass::Score => (false, false),
        }
    }
}

/// What training keeps of a layer's forward, and what its backward makes again. Bits are the same with each.
///
/// For GPT-2: floats a token and layer that are kept, and what making the rest again costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// Keeps everything: 16 d.
    None,
    /// The outputs of layernorm and GELU are made again: 10 d, and no product of matrices more.
    #[default]
    Selective,
    /// Only a layer's input is kept: d, and most of the layer's forward runs twice (a step of GPT-2 124M has 16% more flops).
    Block,
}

impl Recompute {
    /// Every choice, from the fastest to the smallest.
    pub const ALL: [Recompute; 3] = [Recompute::None, Recompute::Selective, Recompute::Block];
}

/// Floats that kernels take beside the arenas, at most; a pool keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scratch {
    /// Once.
    pub shared: usize,
    /// On every thread.
    pub a_thread: usize,
}

/// What generating one sequence takes beside the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodePlan {
    /// Keys and values of every layer.
    pub cache: Plan,
    /// Working memory of the next tokens.
    pub work: Plan,
    /// What the kernels take; not once more for a second sequence.
    pub scratch: Scratch,
}

/// B sequences of T tokens, and what follows each.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Sequences.
    pub b: usize,
    /// Tokens a sequence.
    pub t: usize,
    /// (B,T), each below V.
    pub ids: &'a [u32],
    /// (B,T): the next token, or [`foretoken_kernels::IGNORE_INDEX`] where there is no loss.
    pub targets: &'a [i32],
}

/// Which numbers dropout draws: every micro-batch of a run its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutSeed {
    /// The run's seed.
    pub seed: u64,
    /// The micro-batch, counted over the whole run.
    pub micro_batch: u64,
}

/// What a sequence has left behind: keys and values of every layer, and the working memory of the next tokens.
#[derive(Debug)]
pub struct DecodeState {
    pub(crate) keys: Buffer,
    pub(crate) values: Buffer,
    pub(crate) work: Arena,
    pub(crate) len: usize,
    pub(crate) capacity: usize,
    /// Floats a token takes in one layer of one cache.
    pub(crate) width: usize,
    /// Heads of all layers: each keeps its keys, and its values, one behind the other.
    pub(crate) heads: usize,
    /// Tokens that [`Model::decode`] takes through the layers together.
    pub(crate) chunk: usize,
}

/// The keys and values of a sequence's first tokens, taken out of a [`DecodeState`]: each (heads of all layers, T, dh).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyValues {
    /// Keys.
    pub keys: Vec<f32>,
    /// Values.
    pub values: Vec<f32>,
}

impl DecodeState {
    /// Tokens seen.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token was seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets all but the first `len` tokens.
    ///
    /// # Panics
    /// Where fewer were seen.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "{len} of {} tokens", self.len);
        self.len = len;
    }

    /// The sizes of [`KeyValues`] of T tokens: (heads of all layers, T, dh).
    pub fn shape(&self, tokens: usize) -> [usize; 3] {
        [self.heads, tokens, self.keys.len() / (self.heads * self.capacity)]
    }

    /// A copy of what all tokens left behind.
    pub fn key_values(&self) -> KeyValues {
        let [_, len, dh] = self.shape(self.len);
        let copy = |cache: &[f32]| -> Vec<f32> {
            let lines = cache.chunks_exact(self.capacity * dh);
            lines.flat_map(|line| &line[..len * dh]).copied().collect()
        };
        KeyValues {
            keys: copy(&self.keys),
            values: copy(&self.values),
        }
    }

    /// Becomes the state of another sequence of the same model, whatever the capacities.
    ///
    /// # Panics
    /// Where the other has seen more tokens than fit.
    pub fn copy_from(&mut self, other: &Self) {
        let [_, len, dh] = other.shape(other.len);
        assert!(len <= self.capacity, "{len} tokens of a capacity of {}", self.capacity);
        for (cache, from) in [(&mut self.keys, &other.keys), (&mut self.values, &other.values)] {
            let lines = cache.chunks_exact_mut(self.capacity * dh);
            for (line, from) in lines.zip(from.chunks_exact(other.capacity * dh)) {
                line[..len * dh].copy_from_slice(&from[..len * dh]);
            }
        }
        self.len = len;
    }

    /// How many of a sequence's first `common` tokens may come from [`KeyValues`] of another that begins with them, if
    /// [`Model::decode`] of the others shall give the bits that it gives for the whole: tokens go through the layers in
    /// chunks, and in other chunks sums are rounded otherwise.
    pub fn resumable(&self, common: usize) -> usize {
        common / self.chunk * self.chunk
    }

    /// Becomes the state after the first `len` of the `tokens` tokens that `from` holds.
    ///
    /// # Panics
    /// Where `from` is not of [`DecodeState::shape`], or `len` is more than it holds or more than fit.
    pub fn resume(&mut self, from: &KeyValues, tokens: usize, len: usize) {
        let [heads, _, dh] = self.shape(tokens);
        let floats = heads * tokens * dh;
        assert_eq!(
            (from.keys.len(), from.values.len()),
            (floats, floats),
            "keys and values of {tokens} tokens"
        );
        assert!(len <= tokens && len <= self.capacity, "{len} of {tokens} tokens");
        for (cache, from) in [(&mut self.keys, &from.keys), (&mut self.values, &from.values)] {
            let lines = cache.chunks_exact_mut(self.capacity * dh);
            for (line, from) in lines.zip(from.chunks_exact((tokens * dh).max(1))) {
                line[..len * dh].copy_from_slice(&from[..len * dh]);
            }
        }
        self.len = len;
    }
}

/// An architecture with its sizes. It owns no weights: `weights` and `gradients` are arenas of [`Model::params`].
///
/// Our own mistakes panic (an arena of another model, an id past V, T past n_positions); the world's faults were found when
/// the model was made.
pub trait Model: Send + Sync + std::fmt::Debug {
    /// `model_type` of the config: the row of [`crate::registry`].
    fn model_type(&self) -> &'static str;

    /// Sizes.
    fn dims(&self) -> &Dims;

    /// Every parameter tensor.
    fn params(&self) -> &ParamTable;

    /// `config.json` as Hugging Face writes it.
    fn config(&self) -> serde_json::Value;

    /// What each tensor is in a GGUF file, in the order of [`ParamTable::specs`].
    fn gguf_tensors(&self) -> Vec<GgufTensor>;

    /// The architecture and its sizes as keys of a GGUF file.
    fn gguf_metadata(&self) -> Vec<(&'static str, gguf::Value<'static>)>;

    /// The activations of B sequences of T tokens.
    fn activations(&self, b: usize, t: usize, pass: Pass) -> Plan;

    /// Loss of every target, in nats; 0 where it is ignored. The arena may be one for training or for scoring.
    fn losses(&self, pool: &Pool, weights: &[f32], arena: &mut Arena, batch: &Batch<'_>, losses: &mut [f32]);

    /// Loss of every target, and `gradients = d(scale * sum of losses)`, whatever lay there before; padding between tensors
    /// is left alone. Dropout where the config has some and `dropout` says which numbers.
    fn losses_and_gradients(
        &self,
        pool: &Pool,
        weights: &[f32],
        gradients: &mut [f32],
        arena: &mut Arena,
        batch: &Batch<'_>,
        scale: f32,
        dropout: Option<DropoutSeed>,
        losses: &mut [f32],
    );

    /// Logits (B,T,V) of every position: for looking at, and for tests. Training never makes them all at once.
    fn logits(&self, pool: &Pool, weights: &[f32], arena: &mut Arena, batch: &Batch<'_>, logits: &mut [f32]);

    /// Memory to generate up to `capacity` tokens (prompt included), at most n_positions.
    ///
    /// # Errors
    /// [`Error::NoMemory`] where the allocator refuses.
    fn decode_state(&self, capacity: usize) -> Result<DecodeState, Error>;

    /// Appends `ids` to the sequence and gives the logits (V) that follow the last.
    fn decode(&self, pool: &Pool, weights: &[f32], state: &mut DecodeState, ids: &[u32], logits: &mut [f32]);

    /// Appends `ids` and gives the logits (T,V) that follow each of them: to the bit those of T calls of
    /// [`Model::decode`] with one token each, so that guessed tokens can be verified together and none changes a text.
    fn decode_each(&self, pool: &Pool, weights: &[f32], state: &mut DecodeState, ids: &[u32], logits: &mut [f32]);

    /// The memory of [`Model::decode_state`], before it is spent.
    fn decode_plan(&self, capacity: usize) -> DecodePlan;

    /// What the kernels take beside [`Model::activations`].
    fn scratch(&self, b: usize, t: usize, pass: Pass) -> Scratch;

    /// What becomes of B sequences of T tokens, one step after another: every parameter tensor belongs to one step, and the
    /// flops of all steps in all layers are [`Model::training_flops`].
    fn walk(&self, b: usize, t: usize, recompute: Recompute) -> Vec<Step>;

    /// Multiplications and additions of a training step's forward and backward over B sequences of T tokens, attention
    /// counted causally (the triangle with its diagonal), each matmul three times its forward.
    fn training_flops(&self, b: usize, t: usize) -> f64;
}
