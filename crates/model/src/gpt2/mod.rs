//! GPT-2 (Radford et al., Language Models are Unsupervised Multitask Learners, 2019), names and shapes as Hugging Face's.
//!
//! ```text
//! x = wte[id] + wpe[position]
//! L times:  x += attention(layernorm(x));  x += mlp(layernorm(x))
//! logits = layernorm(x) wteᵀ
//! ```

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

/// A GPT-2 of given sizes.
#[derive(Clone, Debug)]
pub struct Gpt2 {
    config: Config,
    dims: Dims,
    table: ParamTable,
}

impl Gpt2 {
    /// `model_type` in the config.
    pub const MODEL_TYPE: &'static str = "gpt2";

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
            h_kv: self.dims.n_head,
            dh: self.dims.head_dim(),
        }
    }

    fn weights<'a>(&'a self, arena: &'a [f32]) -> Params<&'a [f32]> {
        Params::from_parts(&self.dims, self.table.cut(arena))
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
        activations::build(&self.config, &self.dims, (b, t), pass, |_| {
            parts.next().expect("the plan has every slot")
        })
    }
}

impl Model for Gpt2 {
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
        "transformer."
    }

    fn lora_targets(&self) -> &'static [&'static str] {
        &["c_attn"]
    }

    fn config(&self) -> serde_json::Value {
        self.config.to_json(&self.dims)
    }

    fn gguf_tensors(&self) -> Vec<GgufTensor> {
        gguf::tensors(self)
    }

    fn gguf_metadata(&self) -> Vec<(&'static str, Value<'static>)> {
        gguf::metadata(self)
    }

    fn activations(&self, b: usize, t: usize, pass: Pass) -> Plan {
        let mut plan = Plan::new(pass);
        activations::build(&self.config, &self.dims, (b, t), pass, |slot| plan.add(slot));
        plan
    }

    fn losses(&self, pool: &Pool, weights: &[f32], arena: &mut Arena, batch: &Batch<'_>, losses: &mut [f32]) {
        let (w, pass) = (self.weights(weights), arena.plan().pass());
        let mut a = self.open(arena, batch);
        forward::forward(self, pool, &w, &mut a, batch, pass, None);
        head_loss(pool, losses, a.ln_f.out, w.wte, batch.targets, a.work.logits);
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
        let pass = arena.plan().pass();
        let Pass::Train(recompute) = pass else {
            panic!("the backward needs what training keeps");
        };
        // Sums over rows are added to; every product of a matrix is stored.
        crate::gradient::zero_sums(&self.table, &mut gradients);
        let mut dw = Params::from_parts(&self.dims, gradients.into_iter());
        let mut a = self.open(arena, batch);
        forward::forward(self, pool, &w, &mut a, batch, pass, dropout);
        let x = &mut *a.ln_f.out;
        head_loss_backward(
            pool,
            losses,
            x,
            dw.wte.full(),
            w.wte,
            batch.targets,
            scale,
            a.work.logits,
        );
        backward::backward(self, pool, &w, &mut dw, &mut a, batch, recompute, dropout);
    }

    fn logits(&self, pool: &Pool, weights: &[f32], arena: &mut Arena, batch: &Batch<'_>, logits: &mut [f32]) {
        let (w, pass) = (self.weights(weights), arena.plan().pass());
        let mut a = self.open(arena, batch);
        forward::forward(self, pool, &w, &mut a, batch, pass, None);
        let (n, d, v) = (batch.b * batch.t, self.dims.n_embd, self.dims.vocab_size);
        matmul(
            pool,
            logits,
            Mat::new(a.ln_f.out, n, d),
            Mat::new(w.wte, v, d).t(),
            Epilogue::Store,
        );
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
        let w = Params::from_parts(&self.dims, weights.parts(&self.table));
        decode::extend(self, pool, &w, sequences, logits, probe);
    }

    fn unembed(&self, pool: &Pool, weights: Weights<'_>, x: &[f32], logits: &mut [f32]) {
        let w = Params::from_parts(&self.dims, weights.parts(&self.table));
        decode::unembed(self, pool, &w, x, logits);
    }

    fn anatomy(&self) -> Anatomy {
        let place = Params::from_parts(&self.dims, 0..);
        Anatomy {
            embedding: place.wte,
            positions: Some(place.wpe),
            heads_out: place.h.iter().map(|block| block.attn_c_proj_weight).collect(),
            norm: NormAnatomy {
                weight: place.ln_f_weight,
                bias: Some(place.ln_f_bias),
                epsilon: self.config.layer_norm_epsilon,
                centred: true,
            },
            head: place.wte,
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
        let per_token = 2.0 * (l * (4 * d * d + 2 * d * f) + v * d) as f64;
        // Scores and their product with V: two products of T (T + 1) / 2 pairs; the backward has five.
        let attention = 2.0 * (l * d) as f64 * (t + 1) as f64;
        (b * t) as f64 * (3.0 * per_token + 3.5 * attention)
    }
}
