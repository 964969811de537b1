//! The contract of every variant.

use crate::arena::{Arena, Plan};
use crate::error::Error;
use crate::gguf::GgufTensor;
use crate::gradient::Gradient;
use crate::params::ParamTable;
use crate::probe::{Anatomy, Probe};
use crate::state::{DecodeState, NewTokens};
use crate::walk::Step;
use crate::weights::Weights;
use foretoken_formats::gguf;
use foretoken_kernels::{CacheType, Pool};
use serde::{Deserialize, Serialize};
use std::ops::Range;

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
    /// Keys and values of every layer, in numbers of `cache_type`.
    pub cache: Plan,
    /// How they are stored.
    pub cache_type: CacheType,
    /// Working memory of the next tokens.
    pub work: Plan,
    /// What the kernels take; not once more for a second sequence.
    pub scratch: Scratch,
}

impl DecodePlan {
    /// Bytes of keys and values.
    pub fn cache_bytes(&self) -> u64 {
        self.cache.bytes() / 4 * self.cache_type.bytes() as u64
    }
}

/// B sequences of T tokens, and what follows each. A sequence may be several documents: positions begin again at each, and no
/// token sees one of another document.
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
    /// Tokens of each document in order; none where every sequence is one. A document lies in one sequence.
    pub documents: &'a [usize],
}

impl<'a> Batch<'a> {
    /// The documents of some whole sequences.
    ///
    /// # Panics
    /// Where a document does not end in the sequence it begins in.
    pub fn documents_of(&self, sequences: Range<usize>) -> &'a [usize] {
        if self.documents.is_empty() {
            return self.documents;
        }
        let (mut token, mut bounds) = (0, [None; 2]);
        for (i, &len) in self.documents.iter().enumerate() {
            for (bound, sequence) in bounds.iter_mut().zip([sequences.start, sequences.end]) {
                if token == sequence * self.t {
                    *bound = Some(i);
                }
            }
            assert!(
                len > 0 && token % self.t + len <= self.t,
                "a document of {len} tokens begins at {} of a sequence of {}",
                token % self.t,
                self.t
            );
            token += len;
        }
        assert_eq!(token, self.b * self.t, "tokens of all documents, and B T");
        let all = self.documents.len();
        &self.documents[bounds[0].unwrap_or(all)..bounds[1].unwrap_or(all)]
    }

    /// Whether ids, targets and documents fit together.
    pub(crate) fn check(&self) {
        let n = self.b * self.t;
        assert_eq!(
            (self.ids.len(), self.targets.len()),
            (n, n),
            "ids and targets are (B,T)"
        );
        self.documents_of(0..self.b);
    }
}

/// Which numbers dropout draws: every micro-batch of a run its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutSeed {
    /// The run's seed.
    pub seed: u64,
    /// The micro-batch, counted over the whole run.
    pub micro_batch: u64,
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

    /// What `transformers` puts before the names of [`Model::params`] in the model with its head, where they have it not.
    fn hf_prefix(&self) -> &'static str;

    /// The matrices that get a pair of low rank unless told otherwise: PEFT's choice, the last part of a module's name.
    fn lora_targets(&self) -> &'static [&'static str];

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
    ) {
        let gradients = self.params().gradients(gradients);
        self.losses_and_some_gradients(pool, weights, gradients, arena, batch, scale, dropout, losses);
    }

    /// [`Model::losses_and_gradients`] where not every tensor learns: one [`Gradient`] a tensor, in the order of
    /// [`ParamTable::specs`]. Those in full have the bits they have when all are.
    fn losses_and_some_gradients(
        &self,
        pool: &Pool,
        weights: &[f32],
        gradients: Vec<Gradient<'_>>,
        arena: &mut Arena,
        batch: &Batch<'_>,
        scale: f32,
        dropout: Option<DropoutSeed>,
        losses: &mut [f32],
    );

    /// Logits (B,T,V) of every position: for looking at, and for tests. Training never makes them all at once.
    fn logits(&self, pool: &Pool, weights: &[f32], arena: &mut Arena, batch: &Batch<'_>, logits: &mut [f32]);

    /// Memory to generate up to `capacity` tokens (prompt included), at most n_positions, with keys and values stored as
    /// `kind`.
    ///
    /// # Errors
    /// [`Error::NoMemory`] where the allocator refuses.
    fn decode_state(&self, capacity: usize, kind: CacheType) -> Result<DecodeState, Error>;

    /// The memory of [`Model::decode_state`], before it is spent.
    fn decode_plan(&self, capacity: usize, kind: CacheType) -> DecodePlan;

    /// Appends new tokens to sequences, all in one pass over the weights, and gives the logits (rows,V) that follow the last
    /// tokens of each, as many as it wants, one sequence behind the other.
    ///
    /// [`crate::decode`], [`crate::decode_each`] and [`crate::decode_together`] are for whoever has tokens: here there are at
    /// most [`DecodeState::rows`] of the first state. A probe listens to one sequence.
    fn extend(
        &self,
        pool: &Pool,
        weights: Weights<'_>,
        sequences: &mut [NewTokens<'_>],
        logits: &mut [f32],
        probe: Option<&mut dyn Probe>,
    );

    /// Logits (rows,V) of rows (rows,d) of the stream, wherever they come from: the last norm and the head.
    fn unembed(&self, pool: &Pool, weights: Weights<'_>, x: &[f32], logits: &mut [f32]);

    /// Which tensors do what.
    fn anatomy(&self) -> Anatomy;

    /// What the kernels take beside [`Model::activations`].
    fn scratch(&self, b: usize, t: usize, pass: Pass) -> Scratch;

    /// What becomes of B sequences of T tokens, one step after another: every parameter tensor belongs to one step, and the
    /// flops of all steps in all layers are [`Model::training_flops`].
    fn walk(&self, b: usize, t: usize, recompute: Recompute) -> Vec<Step>;

    /// Multiplications and additions of a training step's forward and backward over B sequences of T tokens, attention
    /// counted causally (the triangle with its diagonal), each matmul three times its forward.
    fn training_flops(&self, b: usize, t: usize) -> f64;
}
