//! Fine-tuning: what a run begins from, and what of it learns.

use clap::Args;
use foretoken::model::human_bytes;
use foretoken::train::{Learning, Run, RunConfig};
use serde::Serialize;
use std::path::{Path, PathBuf};

use crate::Usage;
use crate::terminal::grouped;

/// Where a run begins.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct Begin {
    /// Go on from this model instead of from nothing: a run, a checkpoint, a directory, a .gguf file, ORG/NAME that was
    /// pulled; sizes and tokenizer are its own
    #[arg(long, value_name = "PATH", help_heading = "Fine-tuning", conflicts_with_all = ["preset", "arch", "tokenizer"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) init: Option<String>,
    /// New special tokens, separated by commas: each gets a row of the embedding, the mean of the others
    #[arg(long, value_delimiter = ',', value_name = "NAMES", help_heading = "Fine-tuning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) add_tokens: Option<Vec<String>>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) learns: Learns,
}

/// What of a model learns.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct Learns {
    /// Tensors that do not learn, as patterns: '*wte*', '*.h.[0-5].*'
    #[arg(long, value_delimiter = ',', value_name = "PATTERN", help_heading = "Fine-tuning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) freeze: Option<Vec<String>>,
    /// LoRA: pairs of this rank learn beside the frozen model, and are saved as PEFT has them
    #[arg(long, value_name = "R", help_heading = "Fine-tuning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lora_rank: Option<usize>,
    /// Pairs are scaled by alpha / R [2 R]
    #[arg(long, value_name = "X", help_heading = "Fine-tuning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lora_alpha: Option<f64>,
    /// Matrices that have a pair, separated by commas, or all-linear [c_attn; of a llama q_proj,v_proj]
    #[arg(long, value_delimiter = ',', value_name = "NAMES", help_heading = "Fine-tuning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lora_targets: Option<Vec<String>>,
}

impl Learns {
    /// As the library has it.
    pub(crate) fn learning(&self) -> Learning {
        Learning {
            freeze: self.freeze.clone().unwrap_or_default(),
            lora_rank: self.lora_rank,
            lora_alpha: self.lora_alpha,
            lora_targets: self.lora_targets.clone().unwrap_or_default(),
        }
    }
}

/// Fails where flags choose what the model of a run has already.
pub(super) fn check(config: &RunConfig, flags: &toml::Table) -> anyhow::Result<()> {
    let (Some(init), given) = (&config.init, ["preset", "arch", "tokenizer"]) else {
        return Ok(());
    };
    match given.iter().find(|flag| flags.contains_key(**flag)) {
        Some(flag) => Err(Usage(format!(
            "--{flag}: the run begins from {init}, which has its own; leave the flag out"
        ))
        .into()),
        None => Ok(()),
    }
}

/// What the name of a run says it is: the preset, or the model it begins from.
pub(super) fn name(config: &RunConfig) -> String {
    let Some(init) = &config.init else {
        return config.preset.clone();
    };
    let path = PathBuf::from(init.split('@').next().unwrap_or(init));
    let stem = match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("gguf") => path.file_stem(),
        _ => path.file_name(),
    };
    let stem = stem.map_or_else(|| "tuned".into(), |stem| stem.to_string_lossy().to_lowercase());
    let plain = |c: char| {
        if c.is_alphanumeric() || ".-_".contains(c) {
            c
        } else {
            '-'
        }
    };
    stem.trim_start_matches('.').chars().map(plain).take(40).collect()
}

/// Where a run begins, and what of its model learns: a line each, where there is something to say.
pub(super) fn lines(run: &Run, line: &mut impl FnMut(&str, String)) {
    let config = run.trainer.config();
    if let Some(init) = &config.init {
        let sum = config.init_weights.as_deref().unwrap_or_default();
        let added = match config.add_tokens.len() {
            0 => String::new(),
            _ => format!(", with the new tokens {}", config.add_tokens.join(" ")),
        };
        line(
            "begins",
            format!("from {init} (weights {}){added}", &sum[..sum.len().min(8)]),
        );
    }
    let (trainable, model) = (run.trainer.trainable(), &run.trainer.model);
    if trainable.is_all() {
        return;
    }
    let (count, all) = (trainable.table().count(), model.params().count());
    let share = 100.0 * count as f64 / all as f64;
    let of = format!("{} of {} parameters ({share:.2}%)", grouped(count), grouped(all));
    let how = match config.lora_rank {
        Some(rank) => format!(
            "pairs of rank {rank}, alpha {}, beside {} of its matrices: {}",
            config.learning().alpha(),
            trainable.targets(model.params()).count(),
            foretoken::model::adapter::target_modules(&**model, trainable).join(", ")
        ),
        None => format!(
            "{} tensors are frozen ({})",
            model.params().specs().len() - trainable.table().specs().len(),
            config.freeze.join(", ")
        ),
    };
    line("learns", format!("{of}: {how}"));
}

/// What lies in a run's directory at the end, and what to do with it.
pub(super) fn adapter_hint(dir: &Path) -> String {
    let size = |name: &str| std::fs::metadata(dir.join("latest").join(name)).map_or(0, |data| data.len());
    let bytes = human_bytes(size(foretoken::model::adapter::WEIGHTS));
    format!("the adapter ({bytes}), as PEFT opens it; the base stays where it is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_after_what_it_begins_from() {
        let name = |init: Option<&str>| {
            name(&RunConfig {
                init: init.map(str::to_owned),
                ..RunConfig::default()
            })
        };
        assert_eq!(name(None), "tiny");
        assert_eq!(name(Some("models/SmolLM2 135M.gguf")), "smollm2-135m");
        assert_eq!(name(Some("openai-community/gpt2@main")), "gpt2");
        assert_eq!(name(Some("runs/001-tiny/")), "001-tiny");
        assert_eq!(name(Some("..")), "tuned");
    }
}
