//! Everything that decides a run: what `run.toml` holds, and how what was left out is filled in.

use crate::error::Error;
use crate::optimizer::Hyperparameters;
use crate::schedule::{LearningRate, Schedule};
use foretoken_model::gpt2;
use foretoken_model::registry::{PRESETS, Preset};
use serde::{Deserialize, Serialize};

/// Version of the form of `run.toml`.
pub const RUN_VERSION: u32 = 1;

/// Tokens that a step looks at unless told otherwise; the batch follows from it.
const TOKENS_A_STEP: usize = 2048;

/// A run, field by field as the flags are named. `None` is filled in by [`RunConfig::resolve`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// [`RUN_VERSION`].
    pub version: u32,
    /// Files, folders, globs, `-`, or `corpus[:STORIES]`, the built-in corpus.
    pub data: Vec<String>,
    /// Columns of CSV and JSONL that hold the text, separated by commas.
    pub text_field: String,
    /// Validation texts; without them `val_fraction` is cut off.
    pub val_data: Vec<String>,
    /// Part of the data that is kept for validation; 0 trains without.
    pub val_fraction: f64,
    /// `byte`, `char`, `bpe[:SIZE]`, or a `tokenizer.json`.
    pub tokenizer: String,
    /// Named sizes.
    pub preset: String,
    /// L
    pub n_layer: Option<usize>,
    /// h
    pub n_head: Option<usize>,
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
    /// AdamW's first decay.
    pub beta1: f32,
    /// AdamW's second decay.
    pub beta2: f32,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f32,
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
            text_field: "text".into(),
            val_data: Vec::new(),
            val_fraction: 0.1,
            tokenizer: "bpe:2048".into(),
            preset: "tiny".into(),
            n_layer: None,
            n_head: None,
            n_embd: None,
            n_positions: None,
            vocab_size: None,
            seq_len: None,
            dropout: 0.0,
            batch_size: None,
            grad_accum: 1,
            steps: 700,
            lr: None,
            min_lr: None,
            warmup: None,
            schedule: Schedule::Cosine,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 0.1,
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

    /// Lays `flags` over this run, field by field. A preset among them also takes the place of the sizes and rates that
    /// were resolved from the preset before, and a rate that of the minimum that was derived from the one before.
    ///
    /// # Errors
    /// [`Error::ConfigFile`] for a field of the wrong type.
    pub fn overlay(&self, flags: toml::Table) -> Result<Self, Error> {
        let mut table = toml::Table::try_from(self).expect("plain fields");
        if flags.contains_key("preset") {
            for field in [
                "n_layer",
                "n_head",
                "n_embd",
                "n_positions",
                "seq_len",
                "batch_size",
                "lr",
                "min_lr",
            ] {
                table.remove(field);
            }
        }
        // What followed from the rate before follows from the new one.
        if flags.contains_key("lr") && self.min_lr == self.lr.map(|lr| lr / 10.0) {
            table.remove("min_lr");
        }
        table.extend(flags);
        table
            .try_into()
            .map_err(|error| Error::config_file("the command line", "", &error))
    }

    /// The form of `run.toml`.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("plain fields")
    }

    /// Fills in what was left out, from the preset and the sizes, and checks the rest.
    ///
    /// # Errors
    /// [`Error::Value`] naming the flag.
    pub fn resolve(mut self) -> Result<Self, Error> {
        let preset = Preset::find(&self.preset).ok_or_else(|| {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            Error::value("preset", &self.preset, format!("one of {}", names.join(", ")))
        })?;
        let n_positions = *self.n_positions.get_or_insert(preset.n_positions);
        self.n_layer.get_or_insert(preset.n_layer);
        self.n_head.get_or_insert(preset.n_head);
        let d = *self.n_embd.get_or_insert(preset.n_embd);
        let t = *self.seq_len.get_or_insert(n_positions);
        check(
            "seq-len",
            (1..=n_positions).contains(&t),
            t,
            format!("1 to n_positions = {n_positions} (--n-positions)"),
        )?;
        let b = *self.batch_size.get_or_insert((TOKENS_A_STEP / t).max(1));
        check("batch-size", (1..=1 << 20).contains(&b), b, "1 to 1048576".into())?;
        check(
            "grad-accum",
            (1..=1 << 20).contains(&self.grad_accum),
            self.grad_accum,
            "1 to 1048576".into(),
        )?;
        check("steps", self.steps > 0, self.steps, "at least 1".into())?;
        let lr = *self.lr.get_or_insert(default_lr(d));
        check("lr", lr > 0.0 && (lr as f32).is_finite(), lr, "above 0".into())?;
        let min_lr = *self.min_lr.get_or_insert(lr / 10.0);
        check(
            "min-lr",
            (0.0..=lr).contains(&min_lr),
            min_lr,
            format!("0 to lr = {lr}"),
        )?;
        self.warmup.get_or_insert((self.steps / 20).min(2000));
        for (name, value, below) in [
            ("beta1", self.beta1, 1.0),
            ("beta2", self.beta2, 1.0),
            ("dropout", self.dropout, 1.0),
        ] {
            check(
                name,
                (0.0..below).contains(&value),
                value,
                format!("at least 0 and below {below}"),
            )?;
        }
        for (name, value) in [("weight-decay", self.weight_decay), ("grad-clip", self.grad_clip)] {
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
        let every = (self.steps / 10).max(1);
        self.eval_every.get_or_insert(every);
        self.sample_every.get_or_insert(every);
        self.checkpoint_every.get_or_insert(every);
        check(
            "data",
            !self.data.is_empty(),
            "empty",
            "at least one path, or `corpus`".into(),
        )?;
        Ok(self)
    }

    /// The model of a resolved run whose tokeniser has `vocab_size` tokens and ends texts with `eos`.
    ///
    /// # Errors
    /// [`Error::Value`] where `--vocab-size` is below the tokeniser's.
    pub fn model_config(&self, vocab_size: usize, eos: u32) -> Result<gpt2::Config, Error> {
        let padded = self.vocab_size.unwrap_or(vocab_size);
        check(
            "vocab-size",
            padded >= vocab_size,
            padded,
            format!("at least the tokeniser's {vocab_size}"),
        )?;
        let size = |field: Option<usize>| field.expect("the run is resolved");
        Ok(gpt2::Config {
            vocab_size: padded,
            n_positions: size(self.n_positions),
            n_embd: size(self.n_embd),
            n_layer: size(self.n_layer),
            n_head: size(self.n_head),
            resid_pdrop: self.dropout,
            embd_pdrop: self.dropout,
            attn_pdrop: self.dropout,
            bos_token_id: Some(eos),
            eos_token_id: Some(eos),
            ..gpt2::Config::default()
        })
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

    /// What AdamW needs.
    pub fn hyperparameters(&self) -> Hyperparameters {
        Hyperparameters {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: 1e-8,
            weight_decay: self.weight_decay,
            grad_clip: self.grad_clip,
        }
    }
}

/// GPT-3's rates by width (arXiv 2005.14165, table 2.1); narrower models take more.
fn default_lr(d: usize) -> f64 {
    match d {
        0..=191 => 2e-3,
        192..=511 => 1e-3,
        512..=1023 => 6e-4,
        1024..=1535 => 3e-4,
        1536..=2047 => 2.5e-4,
        2048..=2559 => 2e-4,
        _ => 1e-4,
    }
}

fn check(flag: &'static str, holds: bool, found: impl ToString, expected: String) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::value(flag, &found.to_string(), expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_survives_its_file() {
        let run = RunConfig {
            preset: "gpt2".into(),
            lr: Some(6e-4),
            ..RunConfig::default()
        }
        .resolve()
        .unwrap();
        assert_eq!(RunConfig::from_toml(&run.to_toml(), "run.toml").unwrap(), run);
        assert_eq!(run.clone().resolve().unwrap(), run);
        assert_eq!((run.b(), run.t(), run.min_lr), (2, 1024, Some(6e-4 / 10.0)));
    }

    #[test]
    fn a_new_rate_brings_its_minimum_unless_one_was_given() {
        let min_lr = |min_lr| {
            let given = RunConfig {
                lr: Some(1e-3),
                min_lr,
                ..RunConfig::default()
            };
            let flags = "lr = 1e-5".parse().unwrap();
            let run = given.resolve().unwrap().overlay(flags).unwrap().resolve();
            run.map(|run| run.min_lr.unwrap())
        };
        assert_eq!(min_lr(None).unwrap(), 1e-5 / 10.0);
        assert_eq!(min_lr(Some(1e-6)).unwrap(), 1e-6);
        assert!(
            min_lr(Some(2e-4))
                .unwrap_err()
                .to_string()
                .contains("--min-lr is 0.0002")
        );
    }

    #[test]
    fn unknown_keys_other_versions_and_impossible_values_are_named() {
        let error = |text: &str| RunConfig::from_toml(text, "run.toml").unwrap_err().to_string();
        assert!(error("batchsize = 3").contains("line 1, column 1 (`batchsize = 3`): unknown field `batchsize`"));
        assert!(error("seed = 1\nsteps =").contains("line 2"));
        assert!(error("steps = \"many\"").contains("steps"));
        assert!(error("version = 9\nnew_key = 1").contains("version 9"));
        let resolve = |edit: fn(&mut RunConfig)| {
            let mut run = RunConfig::default();
            edit(&mut run);
            run.resolve().unwrap_err().to_string()
        };
        assert!(resolve(|r| r.preset = "huge".into()).contains("gpt2-xl"));
        assert!(resolve(|r| (r.seq_len, r.n_positions) = (Some(65), Some(64))).contains("seq-len"));
        assert!(resolve(|r| r.lr = Some(f64::NAN)).contains("lr"));
        assert!(resolve(|r| r.dropout = 1.0).contains("dropout"));
        assert!(resolve(|r| r.steps = 0).contains("steps"));
        let run = RunConfig {
            vocab_size: Some(10),
            ..RunConfig::default()
        }
        .resolve()
        .unwrap();
        assert!(run.model_config(11, 10).unwrap_err().to_string().contains("vocab-size"));
    }
}
