//! Llama (Touvron et al., arXiv 2302.13971 and 2307.09288), names and shapes as Hugging Face's: SmolLM2, TinyLlama and the like.
//!
//! ```text
//! x = embed_tokens[id]
//! L times:  x += attention(rmsnorm(x));  x += down(silu(gate(rmsnorm(x))) up(rmsnorm(x)))
//! logits = rmsnorm(x) lm_headᵀ
//! ```
//!
//! Positions turn queries and keys; groups of heads may share keys and values; the head may be the embedding.

mod activations;
mod backward;
mod config;
mod decode;
mod forward;
mod gguf;
mod params;
mod scratch;
mod walk;

pub use config::Config;

use crate::arena::{Arena, Plan};
use crate::contract::{Batch, DecodePlan, Dims, DropoutSeed, Model, Pass, Recompute, Scratch};
use crate::error::Error;
use crate::gguf::GgufTensor;
use crate::gradient::Gradient;
use crate::params::ParamTable;
use crate::probe::{Anatomy, NormAnatomy, Probe};
use crate::state::{DecodeState, NewTokens};
use crate::walk::Step;
use crate::weights::Weights;
use activations::Activations;
use foretoken_formats::gguf::Value;
use foretoken_kernels::{AttentionDims, CacheType, Epilogue, Mat, Pool, head_loss, head_loss_backward, matmul};
use params::Params;

/// A llama of given sizes.
#[derive(Clone, Debug)]
pub struct Llama {
    config: Config,
    dims: Dims,
    table: ParamTable,
}

impl Llama {
    /// `model_type` in the config.
    pub const MODEL_TYPE: &'static str = "llama";

    /// Checks the config and lays out the parameters.
    ///
    /// # Errors
    /// [`Error::Config`] where a size is impossible.
    pub fn new(config: Config) -> Result<Self, Error> {
        let dims = config.dims()?;
        let table = params::table(&config, &dims);
        Ok(Self { config, dims, table })
    }

    fn attention_dims(&self, b: usize, t: usize) -> AttentionDims {
        AttentionDims {
            b,
            t,
            h: self.dims.n_head,
            h_kv: self.config.n_kv_head(),
            dh: self.dims.head_dim(),
        }
    }

    fn weights<'a>(&'a self, arena: &'a [f32]) -> Params<&'a [f32]> {
        Params::from_parts(&self.config, &self.dims, self.table.cut(arena))
    }

    /// The activations of a batch, cut from the arena that was planned for it.
    fn open<'a>(&self, arena: &'a mut Arena, batch: &Batch<'_>) -> Activations<&'a mut [f32]> {
        let Batch { b, t, .. } = *batch;
        batch.check();
        assert!(
            t <= self.dims.n_positions,
            "T = {t} of {} positions",
            self.dims.n_positions
        );
        let pass = arena.plan().pass();
        let mut parts = arena.cut(&self.activations(b, t, pass));
        activations::build(self, (b, t), pass, |_| parts.next().expect("the plan has every slot"))
    }
}

impl Model for Llama {
    fn model_type(&self) -> &'static str {
        Self::MODEL_TYPE
    }

    fn dims(&self) -> &Dims {
        &self.dims
    }

    fn params(&self) -> &ParamTable {
        &self.table
    }

    fn hf_prefix(&self) -> &'static str {
        ""
    }

    fn lora_targets(&self) -> &'static [&'static str] {
        &["q_proj", "v_proj"]
    }

    fn config(&self) -> serde_json::Value {
        self.config.to_json()
    }

    fn gguf_tensors(&self) -> Vec<GgufTensor> {
        gguf::tensors(self)
    }

    fn gguf_metadata(&self) -> Vec<(&'static str, Value<'static>)> {
        gguf::metadata(self)
    }

    fn activations(&self, b: usize, t: usize, pass: Pass) -> Plan {
        let mut plan = Plan::new(pass);
        activations::build(self, (b, t), pass, |slot| plan.add(slot));
        plan
    }

    fn losses(&self, pool: &Pool, weights: &[f32], arena: &mut Arena, batch: &Batch<'_>, losses: &mut [f32]) {
        let w = self.weights(weights);
        let mut a = self.open(arena, batch);
        forward::forward(self, pool, &w, &mut a, batch, None);
        head_loss(pool, losses, a.norm.out, w.head(), batch.targets, a.logits);
    }

    fn losses_and_some_gradients(
        &self,
        pool: &Pool,
        weights: &[f32],
        mut gradients: Vec<Gradient<'_>>,
        arena: &mut Arena,
        batch: &Batch<'_>,
        scale: f32,
        dropout: Option<DropoutSeed>,
        losses: &mut [f32],
    ) {
        let w = self.weights(weights);
        let Pass::Train(recompute) = arena.plan().pass() else {
            panic!("the backward needs what training keeps");
        };
        // Sums over rows are added to; every product of a matrix is stored.
        crate::gradient::zero_sums(&self.table, &mut gradients);
        let mut dw = Params::from_parts(&self.config, &self.dims, gradients.into_iter());
        let mut a = self.open(arena, batch);
        forward::forward(self, pool, &w, &mut a, batch, dropout);
        let d_head = match &mut dw.lm_head {
            Some(d_head) => {
                dw.embed.zero(pool);
                d_head
            }
            None => &mut dw.embed,
        };
        head_loss_backward(
            pool,
            losses,
            a.norm.out,
            d_head.full(),
            w.head(),
            batch.targets,
            scale,
            a.logits,
        );
        backward::backward(self, pool, &w, &mut dw, &mut a, batch, recompute, dropout);
    }

    fn logits(&self, pool: &Pool, weights: &[f32], arena: &mut Arena, batch: &Batch<'_>, logits: &mut [f32]) {
        let w = self.weights(weights);
        let mut a = self.open(arena, batch);
        forward::forward(self, pool, &w, &mut a, batch, None);
        let (n, d, v) = (batch.b * batch.t, self.dims.n_embd, self.dims.vocab_size);
        let (x, head) = (Mat::new(a.norm.out, n, d), Mat::new(w.head(), v, d));
        matmul(pool, logits, x, head.t(), Epilogue::Store);
    }

    fn decode_state(&self, capacity: usize, kind: CacheType) -> Result<DecodeState, Error> {
        decode::state(self, (capacity, kind))
    }

    fn decode_plan(&self, capacity: usize, kind: CacheType) -> DecodePlan {
        decode::memory(self, (capacity, kind))
    }

    fn extend(
        &self,
        pool: &Pool,
        weights: Weights<'_>,
        sequences: &mut [NewTokens<'_>],
        logits: &mut [f32],
        probe: Option<&mut dyn Probe>,
    ) {
        let w = Params::from_parts(&self.config, &self.dims, weights.parts(&self.table));
        decode::extend(self, pool, &w, sequences, logits, probe);
    }

    fn unembed(&self, pool: &Pool, weights: Weights<'_>, x: &[f32], logits: &mut [f32]) {
        let w = Params::from_parts(&self.config, &self.dims, weights.parts(&self.table));
        decode::unembed(self, pool, &w, x, logits);
    }

    fn anatomy(&self) -> Anatomy {
        let place = Params::from_parts(&self.config, &self.dims, 0..);
        Anatomy {
            embedding: place.embed,
            positions: None,
            heads_out: place.layers.iter().map(|block| block.o_proj).collect(),
            norm: NormAnatomy {
                weight: place.norm,
                bias: None,
                epsilon: self.config.rms_norm_eps,
                centred: false,
            },
            head: place.head(),
            attention: self.attention_dims(1, 1),
        }
    }

    fn scratch(&self, b: usize, t: usize, pass: Pass) -> Scratch {
        scratch::of_pass(self, b, t, pass)
    }

    fn walk(&self, b: usize, t: usize, recompute: Recompute) -> Vec<Step> {
        walk::walk(self, b, t, recompute)
    }

    fn training_flops(&self, b: usize, t: usize) -> f64 {
        let Dims {
            vocab_size: v,
            n_embd: d,
            n_layer: l,
            n_inner: f,
            ..
        } = self.dims;
        let kv = self.config.n_kv_head() * self.dims.head_dim();
        let per_token = 2.0 * (l * (2 * d * d + 2 * d * kv + 3 * d * f) + v * d) as f64;
        // Scores and their product with V: two products of T (T + 1) / 2 pairs; the backward has five.
        let attention = 2.0 * (l * d) as f64 * (t + 1) as f64;
        (b * t) as f64 * (3.0 * per_token + 3.5 * attention)
    }
}
