//! Everything that decides a run: what `run.toml` holds, and how what was left out is filled in.

mod derived;
mod learning;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::examples::LossOn;
use crate::optimizer::Hyperparameters;
use crate::schedule::{LearningRate, Schedule};
use foretoken_model::registry::{Arch, PRESETS, Preset, Sizes};
use foretoken_model::{Model, OptimizerKind, Recompute, StateDtype, sizes};
use foretoken_text::{ConversationOptions, DataFormat};
use serde::{Deserialize, Serialize};

/// Version of the form of `run.toml`.
pub const RUN_VERSION: u32 = 1;

/// The column of a text, unless another is named.
pub(crate) const TEXT_FIELD: &str = "text";

/// The largest whole number of a TOML file.
const MOST: u64 = i64::MAX as u64;

/// A run, field by field as the flags are named. `None` is filled in by [`RunConfig::resolve`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// [`RUN_VERSION`].
    pub version: u32,
    /// Files, folders, globs, `-`, or `corpus[:STORIES]` or `strangers[:STORIES]`, the built-in corpus.
    pub data: Vec<String>,
    /// Columns of CSV and JSONL that hold the text, separated by commas.
    pub text_field: String,
    /// What the rows of the data hold; guessed unless given.
    pub format: Option<DataFormat>,
    /// The column or field of questions; guessed unless given.
    pub question_field: Option<String>,
    /// The column or field of answers; guessed unless given.
    pub answer_field: Option<String>,
    /// Which tokens of conversations carry loss.
    pub loss_on: LossOn,
    /// Validation texts; without them `val_fraction` is cut off.
    pub val_data: Vec<String>,
    /// Part of the data that is kept for validation; 0 trains without.
    pub val_fraction: f64,
    /// `byte`, `char`, `bpe[:SIZE]`, or a `tokenizer.json`.
    pub tokenizer: String,
    /// Named sizes.
    pub preset: String,
    /// What kind of model.
    pub arch: Arch,
    /// The model to begin from, as any command takes one; it brings its sizes and its tokeniser.
    pub init: Option<String>,
    /// What its weights hash to.
    pub init_weights: Option<String>,
    /// Special tokens that are new to it.
    pub add_tokens: Vec<String>,
    /// Patterns of tensors that do not learn.
    pub freeze: Vec<String>,
    /// r of pairs of low rank that learn in the model's stead.
    pub lora_rank: Option<usize>,
    /// alpha of those pairs; 2 r unless given.
    pub lora_alpha: Option<f64>,
    /// Modules that have a pair; PEFT's choice unless given.
    pub lora_targets: Vec<String>,
    /// L
    pub n_layer: Option<usize>,
    /// h
    pub n_head: Option<usize>,
    /// Heads of keys and values, where heads share them.
    pub n_kv_head: Option<usize>,
    /// d
    pub n_embd: Option<usize>,
    /// The longest context the model can see.
    pub n_positions: Option<usize>,
    /// V: at least the tokeniser's.
    pub vocab_size: Option<usize>,
    /// T of training, at most n_positions.
    pub seq_len: Option<usize>,
    /// Dropout of embeddings, attention and residuals.
    pub dropout: f32,
    /// B: sequences of a micro-batch.
    pub batch_size: Option<usize>,
    /// Micro-batches of a step.
    pub grad_accum: usize,
    /// What the backward makes again instead of keeping it.
    pub recompute: Recompute,
    /// Steps in all.
    pub steps: u64,
    /// Peak of the learning rate.
    pub lr: Option<f64>,
    /// Its end; a tenth of the peak unless given.
    pub min_lr: Option<f64>,
    /// Steps of linear warm-up.
    pub warmup: Option<u64>,
    /// Shape of the learning rate.
    pub schedule: Schedule,
    /// What updates the weights.
    pub optimizer: OptimizerKind,
    /// How the optimizer keeps its moments.
    pub optimizer_state: StateDtype,
    /// AdamW's first decay.
    pub beta1: f32,
    /// AdamW's second decay.
    pub beta2: Option<f32>,
    /// Decoupled weight decay of matrices.
    pub weight_decay: Option<f32>,
    /// Largest norm of the gradient; 0 clips nothing.
    pub grad_clip: f32,
    /// Steps between evaluations; 0 evaluates only at the end.
    pub eval_every: Option<u64>,
    /// Batches of an evaluation.
    pub eval_batches: usize,
    /// Steps between sample texts; 0 writes none.
    pub sample_every: Option<u64>,
    /// Steps between checkpoints; one is always written at the end.
    pub checkpoint_every: Option<u64>,
    /// Checkpoints to keep beside the best; 0 keeps all.
    pub keep: usize,
    /// Evaluations without a better loss after which training stops; 0 never.
    pub patience: u64,
    /// Seed of weights, data order and dropout.
    pub seed: u64,
    /// Threads; 0 is one a core.
    pub threads: usize,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            version: RUN_VERSION,
            data: vec!["corpus".into()],
            text_field: TEXT_FIELD.into(),
            format: None,
            question_field: None,
            answer_field: None,
            loss_on: LossOn::Answers,
            val_data: Vec::new(),
            val_fraction: 0.1,
            tokenizer: "bpe:2048".into(),
            preset: "tiny".into(),
            arch: Arch::Gpt2,
            init: None,
            init_weights: None,
            add_tokens: Vec::new(),
            freeze: Vec::new(),
            lora_rank: None,
            lora_alpha: None,
            lora_targets: Vec::new(),
            n_layer: None,
            n_head: None,
            n_kv_head: None,
            n_embd: None,
            n_positions: None,
            vocab_size: None,
            seq_len: None,
            dropout: 0.0,
            batch_size: None,
            grad_accum: 1,
            recompute: Recompute::Selective,
            steps: 700,
            lr: None,
            min_lr: None,
            warmup: None,
            schedule: Schedule::Cosine,
            optimizer: OptimizerKind::AdamW,
            optimizer_state: StateDtype::F32,
            beta1: 0.9,
            beta2: None,
            weight_decay: None,
            grad_clip: 1.0,
            eval_every: None,
            eval_batches: 20,
            sample_every: None,
            checkpoint_every: None,
            keep: 3,
            patience: 0,
            seed: 1337,
            threads: 0,
        }
    }
}

impl RunConfig {
    /// Reads the form of `run.toml`.
    ///
    /// # Errors
    /// [`Error::ConfigFile`] for a key that is unknown or of the wrong type, [`Error::RunVersion`].
    pub fn from_toml(text: &str, path: &str) -> Result<Self, Error> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| Error::config_file(path, text, &error))?;
        if let Some(found) = table
            .get("version")
            .filter(|v| v.as_integer() != Some(RUN_VERSION.into()))
        {
            return Err(Error::RunVersion {
                path: path.into(),
                found: found.to_string(),
                expected: RUN_VERSION,
            });
        }
        toml::from_str(text).map_err(|error| Error::config_file(path, text, &error))
    }

    /// Whole numbers of TOML are signed.
    fn fits_toml(&self) -> Result<(), Error> {
        let sizes = [
            ("n-layer", self.n_layer),
            ("n-head", self.n_head),
            ("n-kv-head", self.n_kv_head),
            ("n-embd", self.n_embd),
            ("n-positions", self.n_positions),
            ("vocab-size", self.vocab_size),
            ("seq-len", self.seq_len),
            ("batch-size", self.batch_size),
            ("grad-accum", Some(self.grad_accum)),
            ("eval-batches", Some(self.eval_batches)),
            ("keep", Some(self.keep)),
            ("threads", Some(self.threads)),
            ("lora-rank", self.lora_rank),
        ];
        let counts = [
            ("steps", Some(self.steps)),
            ("warmup", self.warmup),
            ("eval-every", self.eval_every),
            ("sample-every", self.sample_every),
            ("checkpoint-every", self.checkpoint_every),
            ("patience", Some(self.patience)),
            ("seed", Some(self.seed)),
        ];
        let sizes = sizes.map(|(flag, size)| (flag, size.map(|size| size as u64)));
        for (flag, value) in sizes.into_iter().chain(counts) {
            let value = value.unwrap_or(0);
            check(
                flag,
                value <= MOST,
                value,
                format!("at most {MOST}, the largest whole number of run.toml"),
            )?;
        }
        Ok(())
    }

    /// The form of `run.toml`.
    ///
    /// # Panics
    /// Where a whole number is above `i64::MAX`, which [`RunConfig::resolve`] refuses.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("plain fields")
    }

    /// Fills in what was left out, from the preset and the sizes, and checks the rest.
    ///
    /// # Errors
    /// [`Error::Value`] naming the flag.
    pub fn resolve(mut self) -> Result<Self, Error> {
        self.fits_toml()?;
        let preset = Preset::find(&self.preset).ok_or_else(|| {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            Error::value("preset", &self.preset, format!("one of {}", names.join(", ")))
        })?;
        let derived = self.derived(preset);
        self.n_layer = self.n_layer.or(derived.n_layer);
        self.n_head = self.n_head.or(derived.n_head);
        self.n_embd = self.n_embd.or(derived.n_embd);
        self.n_positions = self.n_positions.or(derived.n_positions);
        self.seq_len = self.seq_len.or(derived.seq_len);
        self.batch_size = self.batch_size.or(derived.batch_size);
        self.lr = self.lr.or(derived.lr);
        self.min_lr = self.min_lr.or(derived.min_lr);
        self.warmup = self.warmup.or(derived.warmup);
        self.beta2 = self.beta2.or(derived.beta2);
        self.weight_decay = self.weight_decay.or(derived.weight_decay);
        self.lora_alpha = self.lora_alpha.or(derived.lora_alpha);
        self.eval_every = self.eval_every.or(derived.eval_every);
        self.sample_every = self.sample_every.or(derived.sample_every);
        self.checkpoint_every = self.checkpoint_every.or(derived.checkpoint_every);
        let rate = self.learning_rate();
        let (b, t, lr, min_lr) = (self.b(), self.t(), rate.lr, rate.min_lr);
        let n_positions = self.n_positions.unwrap_or(preset.n_positions);
        check(
            "seq-len",
            (1..=n_positions).contains(&t),
            t,
            format!("1 to n_positions = {n_positions} (--n-positions)"),
        )?;
        check("batch-size", (1..=1 << 20).contains(&b), b, "1 to 1048576".into())?;
        check(
            "grad-accum",
            (1..=1 << 20).contains(&self.grad_accum),
            self.grad_accum,
            "1 to 1048576".into(),
        )?;
        check("steps", self.steps > 0, self.steps, "at least 1".into())?;
        check("lr", lr > 0.0 && (lr as f32).is_finite(), lr, "above 0".into())?;
        check(
            "min-lr",
            (0.0..=lr).contains(&min_lr),
            min_lr,
            format!("0 to lr = {lr}"),
        )?;
        for (name, value, below) in [
            ("beta1", self.beta1, 1.0),
            ("beta2", self.beta2.unwrap_or(0.0), 1.0),
            ("dropout", self.dropout, 1.0),
        ] {
            check(
                name,
                (0.0..below).contains(&value),
                value,
                format!("at least 0 and below {below}"),
            )?;
        }
        let weight_decay = self.weight_decay.unwrap_or(0.0);
        for (name, value) in [("weight-decay", weight_decay), ("grad-clip", self.grad_clip)] {
            check(name, value >= 0.0 && value.is_finite(), value, "0 or more".into())?;
        }
        check(
            "val-fraction",
            (0.0..1.0).contains(&self.val_fraction),
            self.val_fraction,
            "at least 0 and below 1".into(),
        )?;
        check(
            "eval-batches",
            self.eval_batches > 0,
            self.eval_batches,
            "at least 1".into(),
        )?;
        check(
            "data",
            !self.data.is_empty(),
            "empty",
            "at least one path, or `corpus`".into(),
        )?;
        self.check_learning()?;
        Ok(self)
    }

    /// The model of a resolved run whose tokeniser has `vocab_size` tokens and ends texts with `eos`.
    ///
    /// # Errors
    /// [`Error::Value`] where `--vocab-size` is below the tokeniser's; sizes that are impossible.
    pub fn model(&self, vocab_size: usize, eos: u32) -> Result<Box<dyn Model>, Error> {
        let padded = self.vocab_size.unwrap_or(vocab_size);
        check(
            "vocab-size",
            padded >= vocab_size,
            padded,
            format!("at least the tokeniser's {vocab_size}"),
        )?;
        let size = |field: Option<usize>| field.expect("the run is resolved");
        Ok(self.arch.model(&Sizes {
            vocab_size: padded,
            n_positions: size(self.n_positions),
            n_embd: size(self.n_embd),
            n_layer: size(self.n_layer),
            n_head: size(self.n_head),
            n_kv_head: self.n_kv_head,
            dropout: self.dropout,
            eos,
        })?)
    }

    /// T of training.
    pub fn t(&self) -> usize {
        self.seq_len.expect("the run is resolved")
    }

    /// B of a micro-batch.
    pub fn b(&self) -> usize {
        self.batch_size.expect("the run is resolved")
    }

    /// Tokens of a step.
    pub fn tokens_a_step(&self) -> u64 {
        (self.b() * self.t() * self.grad_accum) as u64
    }

    /// The learning rate of a resolved run.
    pub fn learning_rate(&self) -> LearningRate {
        LearningRate {
            schedule: self.schedule,
            lr: self.lr.expect("the run is resolved"),
            min_lr: self.min_lr.expect("the run is resolved"),
            warmup: self.warmup.expect("the run is resolved"),
            steps: self.steps,
        }
    }

    /// How conversations are read.
    pub fn conversations(&self) -> ConversationOptions {
        ConversationOptions {
            question_field: self.question_field.clone(),
            answer_field: self.answer_field.clone(),
            format: None,
        }
    }

    /// What the sizes of a resolved run depend on beside its model and batch.
    pub fn size_options(&self, threads: usize) -> sizes::Options {
        sizes::Options {
            threads,
            micro_batches: self.grad_accum,
            recompute: self.recompute,
            optimizer: self.optimizer,
            optimizer_state: self.optimizer_state,
            ..Default::default()
        }
    }

    /// What the optimizer needs.
    pub fn hyperparameters(&self) -> Hyperparameters {
        Hyperparameters {
            beta1: self.beta1,
            beta2: self.beta2.expect("the run is resolved"),
            eps: 1e-8,
            weight_decay: self.weight_decay.expect("the run is resolved"),
            grad_clip: self.grad_clip,
            seed: self.seed,
        }
    }
}

fn check(flag: &'static str, holds: bool, found: impl ToString, expected: String) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::value(flag, &found.to_string(), expected))
    }
}
