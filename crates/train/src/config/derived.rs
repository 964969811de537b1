//! The values of a run that follow from others: how they follow, and how they give way to other choices.

use super::RunConfig;
use crate::error::Error;
use foretoken_model::registry::Preset;

/// Tokens that a step looks at unless told otherwise; the batch follows from it.
const TOKENS_A_STEP: usize = 2048;

/// Tokens of a sequence of fine-tuning, at most, unless told otherwise.
const FINE_TUNING_SEQ_LEN: usize = 512;

/// The fields that [`RunConfig::resolve`] derives; the first [`OF_PRESET`] follow from the preset.
const DERIVED: [&str; 15] = [
    "n_layer",
    "n_head",
    "n_embd",
    "n_positions",
    "seq_len",
    "batch_size",
    "lr",
    "min_lr",
    "warmup",
    "beta2",
    "weight_decay",
    "lora_alpha",
    "eval_every",
    "sample_every",
    "checkpoint_every",
];
const OF_PRESET: usize = 8;

impl RunConfig {
    /// Lays `flags` over this run, field by field. A preset among them also takes the place of the sizes and rates that
    /// were resolved from the preset before, and a rate that of the minimum that was derived from the one before.
    ///
    /// # Errors
    /// [`Error::ConfigFile`] for a field of the wrong type, [`Error::Value`] for a number of this run that no TOML file
    /// holds.
    pub fn overlay(&self, flags: toml::Table) -> Result<Self, Error> {
        self.fits_toml()?;
        let mut table = toml::Table::try_from(self).expect("plain fields");
        if flags.contains_key("preset") {
            for field in &DERIVED[..OF_PRESET] {
                table.remove(*field);
            }
        }
        // What followed from the rate before follows from the new one.
        if flags.contains_key("lr") && self.min_lr == self.lr.map(|lr| lr / 10.0) {
            table.remove("min_lr");
        }
        lay(table, flags)
    }

    /// The run that repeats what was chosen in this one, with `flags` over it: a value that the others lead to anyway is
    /// left out, so that it follows what the flags change. One that was chosen stays, whatever the preset.
    ///
    /// # Errors
    /// [`Error::ConfigFile`] for a field of the wrong type, [`Error::Value`] for a number of this run that no TOML file
    /// holds.
    pub fn repeat(&self, flags: toml::Table) -> Result<Self, Error> {
        self.fits_toml()?;
        let table = |run: &Self| toml::Table::try_from(run).expect("plain fields");
        let mut chosen = table(self);
        // Another model brings its own sizes, and the checks of its own weights.
        if flags.contains_key("init") {
            for field in ["init_weights", "n_kv_head", "vocab_size", "tokenizer", "arch"]
                .iter()
                .chain(&DERIVED[..4])
            {
                chosen.remove(*field);
            }
        }
        // A preset that is unknown led to nothing.
        if let Some(preset) = Preset::find(&self.preset) {
            let derived = table(&self.derived(preset));
            for field in DERIVED {
                if chosen.get(field) == derived.get(field) {
                    chosen.remove(field);
                }
            }
        }
        lay(chosen, flags)
    }

    /// Every field of [`DERIVED`] as the preset and the other fields, as they are, lead to it.
    pub(super) fn derived(&self, preset: &Preset) -> Self {
        let n_positions = self.n_positions.unwrap_or(preset.n_positions);
        let seq_len = match self.init {
            // A model that sees far need not be trained as far.
            Some(_) => n_positions.min(FINE_TUNING_SEQ_LEN),
            None => n_positions,
        };
        let t = self.seq_len.unwrap_or(seq_len);
        // Fine-tuning takes small steps of what has been learnt, and pairs of low rank larger ones, as their authors have it.
        let (lr, beta2, weight_decay) = match (&self.init, self.lora_rank) {
            (None, _) => (default_lr(self.n_embd.unwrap_or(preset.n_embd)), 0.99, 0.1),
            (Some(_), None) => (5e-5, 0.999, 0.01),
            (Some(_), Some(_)) => (2e-4, 0.999, 0.0),
        };
        let every = (self.steps / 10).max(1);
        Self {
            n_layer: Some(preset.n_layer),
            n_head: Some(preset.n_head),
            n_embd: Some(preset.n_embd),
            n_positions: Some(preset.n_positions),
            seq_len: Some(seq_len),
            batch_size: Some((TOKENS_A_STEP / t.max(1)).max(1)),
            lr: Some(lr),
            min_lr: Some(self.lr.unwrap_or(lr) / 10.0),
            warmup: Some((self.steps / 20).min(2000)),
            beta2: Some(beta2),
            weight_decay: Some(weight_decay),
            lora_alpha: self.lora_rank.map(|rank| 2.0 * rank as f64),
            eval_every: Some(every),
            sample_every: Some(every),
            checkpoint_every: Some(every),
            ..self.clone()
        }
    }
}

fn lay(mut under: toml::Table, flags: toml::Table) -> Result<RunConfig, Error> {
    under.extend(flags);
    under
        .try_into()
        .map_err(|error| Error::config_file("the command line", "", &error))
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
