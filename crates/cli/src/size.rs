//! `foretoken size`

use crate::optimizer::{Optimizer, OptimizerState};
use crate::size_table::{self, Style};
use crate::{Usage, terminal};
use clap::Args;
use foretoken::model::registry::{PRESETS, Preset};
use foretoken::model::{Error, Model, Trainable, gpt2, sizes};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Shows the sizes of a model: tensors, parameters, memory, flops, and what fits.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  foretoken size gpt2 --batch-size 4 --seq-len 1024
  foretoken size gpt3-175b
  foretoken size gpt2-xl --optimizer muon --optimizer-state bf16
  foretoken size --n-layer 6 --n-head 6 --n-embd 384 --vocab-size 4096 --memory 8GiB
  foretoken size --model SmolLM2.gguf --lora-rank 8 --batch-size 1 --seq-len 512
  foretoken size --model runs/001-tiny --json"
)]
pub(crate) struct Size {
    /// A preset; `foretoken size list` names them
    #[arg(value_name = "PRESET", conflicts_with = "model")]
    name: Option<String>,
    /// The same as PRESET
    #[arg(long, value_name = "NAME", conflicts_with_all = ["model", "name"])]
    preset: Option<String>,
    /// A run, a checkpoint, a model directory, a GGUF file or the name of a pulled model
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// L: number of blocks
    #[arg(long, value_name = "L")]
    n_layer: Option<usize>,
    /// h: number of heads
    #[arg(long, value_name = "H")]
    n_head: Option<usize>,
    /// d: width of the residual stream
    #[arg(long, value_name = "D")]
    n_embd: Option<usize>,
    /// The longest context
    #[arg(long, value_name = "N")]
    n_positions: Option<usize>,
    /// V: size of the vocabulary
    #[arg(long, value_name = "V")]
    vocab_size: Option<usize>,
    /// B: sequences in a batch
    #[arg(long, default_value_t = 4, value_name = "B")]
    batch_size: usize,
    /// T: tokens in a sequence; the whole context unless given
    #[arg(long, value_name = "T")]
    seq_len: Option<usize>,
    /// Micro-batches whose gradients make up a step
    #[arg(long, default_value_t = 1, value_name = "N")]
    grad_accum: usize,
    /// What the backward makes again instead of keeping it
    #[arg(long, default_value = "selective", value_name = "WHAT")]
    recompute: crate::train::Recompute,
    /// What updates the weights
    #[arg(long, value_enum, default_value_t = Optimizer::Adamw, value_name = "NAME")]
    optimizer: Optimizer,
    /// How the optimizer keeps its moments
    #[arg(long, value_enum, default_value_t = OptimizerState::F32, value_name = "TYPE")]
    optimizer_state: OptimizerState,
    #[command(flatten)]
    learns: crate::train::Learns,
    /// Also say what fits into this much memory: 8GiB, 500MB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Threads; one a core unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One JSON object on standard output; with `list`, one a preset
    #[arg(long)]
    json: bool,
}

impl Size {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let name = self.name.as_deref().or(self.preset.as_deref());
        if name == Some("list") {
            return list(self.json);
        }
        if self.grad_accum == 0 {
            return Err(Usage("--grad-accum is 0: expected at least 1".into()).into());
        }
        let threads = self.threads.filter(|&n| n > 0).unwrap_or_else(crate::train::cores);
        let options = sizes::Options {
            threads,
            micro_batches: self.grad_accum,
            recompute: self.recompute.into(),
            optimizer: self.optimizer.into(),
            optimizer_state: self.optimizer_state.into(),
            ..Default::default()
        };
        match &self.model {
            Some(path) => self.of_model(path, &options),
            None => self.of_shape(name.unwrap_or("gpt2"), &options),
        }
    }

    fn of_model(&self, path: &Path, options: &sizes::Options) -> anyhow::Result<()> {
        if [
            self.n_layer,
            self.n_head,
            self.n_embd,
            self.n_positions,
            self.vocab_size,
        ]
        .iter()
        .any(Option::is_some)
        {
            return Err(Usage("--model brings its own sizes: leave --n-layer and the like away".into()).into());
        }
        let model = foretoken::open_model(path)?;
        let t = self.seq_len.unwrap_or(model.dims().n_positions);
        let learning = self.learns.learning();
        let trainable = learning.of(&*model)?;
        let report = sizes::report_of(&*model, &trainable, self.batch_size, t, options)?;
        let learns = |model: &dyn Model| learning.of(model).unwrap_or_else(|_| Trainable::all(model.params()));
        let context = sizes::Context::Trained(&*model);
        let fit = |memory| sizes::fit_of(context, &learns, self.batch_size, t, memory, options);
        self.print(&path.display().to_string(), &report, self.memory.map(fit).transpose()?)
    }

    fn of_shape(&self, name: &str, options: &sizes::Options) -> anyhow::Result<()> {
        let preset = Preset::find(name).ok_or_else(|| {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            Usage(format!(
                "there is no preset {name}: expected one of {}",
                names.join(", ")
            ))
        })?;
        let base = preset.config();
        let n_positions = self
            .n_positions
            .unwrap_or(base.n_positions.max(self.seq_len.unwrap_or(0)));
        let config = gpt2::Config {
            n_layer: self.n_layer.unwrap_or(base.n_layer),
            n_head: self.n_head.unwrap_or(base.n_head),
            n_embd: self.n_embd.unwrap_or(base.n_embd),
            vocab_size: self.vocab_size.unwrap_or(base.vocab_size),
            ..base
        };
        let make = |n_positions| -> Result<Box<dyn Model>, Error> {
            Ok(Box::new(gpt2::Gpt2::new(gpt2::Config {
                n_positions,
                ..config.clone()
            })?))
        };
        let t = self.seq_len.unwrap_or(n_positions);
        let (model, learning) = (make(n_positions)?, self.learns.learning());
        let trainable = learning.of(&*model)?;
        let report = sizes::report_of(&*model, &trainable, self.batch_size, t, options)?;
        let learns = |model: &dyn Model| learning.of(model).unwrap_or_else(|_| Trainable::all(model.params()));
        let context = sizes::Context::Shape(&make);
        let fit = |memory| sizes::fit_of(context, &learns, self.batch_size, t, memory, options);
        let changed = [self.n_layer, self.n_head, self.n_embd, self.vocab_size]
            .iter()
            .any(Option::is_some);
        let name = if changed { "gpt2 of your sizes" } else { name };
        self.print(name, &report, self.memory.map(fit).transpose()?)
    }

    fn print(&self, name: &str, report: &sizes::Report, fit: Option<sizes::Fit>) -> anyhow::Result<()> {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        if self.json {
            size_table::print_json(name, report, fit.as_ref(), &mut out)?;
        } else {
            let style = Style {
                color: terminal::stdout_color(),
                unicode: true,
                width: terminal::width(),
            };
            size_table::print(name, report, fit.as_ref(), &mut out, style)?;
        }
        out.flush()?;
        Ok(())
    }
}

/// The presets, one a line.
fn list(json: bool) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for preset in PRESETS {
        let Preset {
            name,
            n_layer: l,
            n_head: h,
            n_embd: d,
            n_positions: t,
            about,
        } = preset;
        if json {
            let config = preset.config();
            let object = serde_json::json!({
                "name": name,
                "n_layer": l,
                "n_head": h,
                "n_embd": d,
                "n_positions": t,
                "vocab_size": config.vocab_size,
                "parameters": gpt2::Gpt2::new(config)?.params().count(),
                "about": about,
            });
            writeln!(out, "{object}")?;
        } else {
            writeln!(out, "{name:<12} L={l:<3} h={h:<3} d={d:<6} n_positions={t:<5} {about}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// `8GiB`, `500MB`, `1.5g` or plain bytes.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024f64.powi(2),
        "g" | "gib" => 1024f64.powi(3),
        "t" | "tib" => 1024f64.powi(4),
        _ => return Err("expected a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, such as 8GiB".into()),
    };
    let bytes = number
        .parse::<f64>()
        .map_err(|_| "expected a number before the unit, such as 8GiB".to_owned())?
        * scale;
    if (1.0..1e18).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err("expected between 1 B and 10^18 B".into())
    }
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("8GiB"), Ok(8 << 30));
        assert_eq!(parse_bytes("1.5 kB"), Ok(1500));
        assert_eq!(parse_bytes("42"), Ok(42));
        assert!(parse_bytes("8 apples").is_err() && parse_bytes("GiB").is_err() && parse_bytes("0").is_err());
    }
}
