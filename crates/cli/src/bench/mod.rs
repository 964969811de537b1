//! `foretoken bench`

mod against;
mod out;
mod random;

use crate::Usage;
use crate::dtype::Dtype;
use crate::profile_table::{self, byte_rate, duration, flop_rate, threads, whole_percent};
use crate::terminal::grouped;
use clap::{Args, ValueEnum};
use foretoken::bench;
use foretoken::kernels::{Limits, Pool};
use foretoken::model::registry::{PRESETS, Preset};
use foretoken::model::{Model, PackedWeights, Source, Weights, gpt2, human_bytes, init, sizes};
use out::{Out, kernel_head};
use std::path::PathBuf;

/// Seed of the random weights.
const SEED: u64 = 1337;

/// Measures this machine's limit, then kernels, training steps and decoding as a share of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foretoken bench                                 GPT-2 124M, in some minutes
  foretoken bench --only train --preset nano      where a small step's time goes
  foretoken bench --only limits,kernels --json    one object a measurement
  foretoken bench --against torch --seq-len 64    beside PyTorch, in turn
  foretoken bench --against llama.cpp --dtype q8_0  beside llama.cpp, in turn

Weights are random, nothing is downloaded. Every time is a median, and what runs
first is not counted. The limit of a kernel is the flops or the bytes it needs at
the machine's measured peak, whichever take longer; over 100% where its operands
lie in a cache, which is faster than memory, or where a large gradient is made of
seven products for eight, counted as a plain one. Whatever else the machine does
meanwhile is measured as well.")]
pub(crate) struct Bench {
    /// Sections to run [all]
    #[arg(long, value_delimiter = ',', value_name = "SECTION")]
    only: Vec<Section>,
    /// Named sizes; `foretoken size list` shows them
    #[arg(long, default_value = "gpt2", value_name = "NAME")]
    preset: String,
    /// V: size of the vocabulary [GPT-2's]
    #[arg(long, value_name = "V")]
    vocab_size: Option<usize>,
    /// B: sequences of a training step
    #[arg(long, default_value_t = 4, value_name = "B")]
    batch_size: usize,
    /// T: tokens of a sequence [the preset's context]
    #[arg(long, value_name = "T")]
    seq_len: Option<usize>,
    /// Threads; one a core unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// What the backward of a training step makes again instead of keeping it
    #[arg(long, default_value = "selective", value_name = "WHAT")]
    recompute: crate::train::Recompute,
    /// Training steps; the first is not counted
    #[arg(long, default_value_t = 4, value_name = "N")]
    steps: usize,
    /// The model that decodes, instead of the preset with random weights: as every --model, best a GGUF file
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Types of the random weights that decode, one after the other
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "f32,f16,q8_0,q4_0",
        value_name = "TYPE"
    )]
    dtype: Vec<Dtype>,
    /// Runs of a kernel at least, and rounds of decoding
    #[arg(long, default_value_t = 5, value_name = "N")]
    repeat: usize,
    /// Run training steps, or generation, here and in another program in turn, each in a process of its own
    #[arg(long, value_name = "PEER", conflicts_with = "only")]
    against: Option<Peer>,
    /// The Python that has PyTorch or llama_cpp
    #[arg(long, default_value = if cfg!(windows) { "python" } else { "python3" }, value_name = "PATH", requires = "against")]
    python: PathBuf,
    /// Turns of each side
    #[arg(long, default_value_t = 3, value_name = "N", requires = "against")]
    rounds: usize,
    /// Let PyTorch compile its model
    #[arg(long, requires = "against")]
    torch_compile: bool,
    /// One JSON object a measurement on standard output, nothing else
    #[arg(long)]
    json: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Multiply-adds and reading, on one thread and on all
    Limits,
    /// Each kernel of a training step
    Kernels,
    /// Whole training steps, op by op
    Train,
    /// Reading a prompt and writing after it
    Decode,
}

/// What can be measured against.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Peer {
    /// Training in PyTorch, with benches/peers/torch_train.py
    Torch,
    /// Generation in llama.cpp through llama_cpp, with benches/peers/llama_cpp_generate.py
    #[value(name = "llama.cpp")]
    Llama,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        for (flag, value, least) in [
            ("steps", self.steps, 2),
            ("repeat", self.repeat, 1),
            ("rounds", self.rounds, 1),
        ] {
            if value < least {
                return Err(Usage(format!("--{flag} is {value}: expected at least {least}")).into());
            }
        }
        let model = self.preset()?;
        let t = self.seq_len.unwrap_or(model.dims().n_positions);
        // Sizes that the model cannot have are refused before anything is measured.
        sizes::report(&model, self.batch_size, t, &sizes::Options::default())?;
        if model.dims().vocab_size < 2 {
            return Err(Usage("--vocab-size is 1: expected at least 2, one token is always right".into()).into());
        }
        match self.against {
            Some(Peer::Torch) => against::torch(&self, &model, t),
            Some(Peer::Llama) => against::llama(&self, &model),
            None => {
                let pool = crate::train::pool(self.threads)?;
                let mut out = Out::new(self.json);
                self.sections(&model, t, &pool, &mut out)
            }
        }
    }

    fn preset(&self) -> anyhow::Result<gpt2::Gpt2> {
        let preset = Preset::find(&self.preset).ok_or_else(|| {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            Usage(format!(
                "there is no preset {}: expected one of {}",
                self.preset,
                names.join(", ")
            ))
        })?;
        let config = preset.config();
        Ok(gpt2::Gpt2::new(gpt2::Config {
            vocab_size: self.vocab_size.unwrap_or(config.vocab_size),
            ..config
        })?)
    }

    fn sections(&self, model: &gpt2::Gpt2, t: usize, pool: &Pool, out: &mut Out) -> anyhow::Result<()> {
        let wanted = |section| self.only.is_empty() || self.only.contains(&section);
        out.text(&self.title(
            model,
            t,
            &format!("{} on {}", threads(pool.threads()), pool.isa().name()),
        ))?;
        if wanted(Section::Limits) && pool.threads() > 1 {
            out.phase("the limit of one thread");
            let one = crate::train::pool(Some(1))?;
            let limits = bench::limits(&one);
            out.limits(&one, &limits)?;
        }
        out.phase(&format!("the limit of {}", threads(pool.threads())));
        let limits = bench::limits(pool);
        if wanted(Section::Limits) {
            out.limits(pool, &limits)?;
        }
        if wanted(Section::Kernels) {
            out.text(&kernel_head())?;
            let batch = (self.batch_size, t);
            bench::kernels(pool, &limits, model, batch, self.repeat, &mut |event| {
                out.event(pool, event)
            })?;
        }
        if wanted(Section::Train) {
            self.train(model, t, pool, &limits, out)?;
        }
        if wanted(Section::Decode) {
            self.decodes(model, pool, &limits, out)?;
        }
        out.end();
        Ok(())
    }

    fn train(&self, model: &gpt2::Gpt2, t: usize, pool: &Pool, limits: &Limits, out: &mut Out) -> anyhow::Result<()> {
        out.heading("training step")?;
        let (weights, batch) = (|| Ok(init(model.params(), SEED)?), (self.batch_size, t));
        let report = bench::train(
            pool,
            model,
            weights,
            batch,
            self.recompute.into(),
            self.steps,
            &mut |event| out.event(pool, event),
        )?;
        let flops_per_s = report.step_flops / report.step_seconds;
        let share = flops_per_s / limits.flops_per_s;
        let memory = report.peak_memory.map_or(String::new(), |peak| {
            format!(", at most {} of memory", human_bytes(peak))
        });
        out.text(&format!(
            "{}, {:.1} tokens/s; {} of products are {} of the limit{memory}\n",
            duration(report.step_seconds),
            report.tokens_per_s,
            flop_rate(flops_per_s),
            whole_percent(share),
        ))?;
        out.json(pool, || {
            serde_json::json!({
                "event": "train",
                "preset": self.preset,
                "batch_size": self.batch_size,
                "seq_len": t,
                "steps": self.steps,
                "step_seconds": report.step_seconds,
                "tokens_per_s": report.tokens_per_s,
                "flops_per_s": flops_per_s,
                "share_of_limit": share,
                "peak_memory": report.peak_memory,
                "loss": report.loss,
            })
        })?;
        out.text(&profile_table::text("step", &report.profile, limits, pool, out.color))?;
        out.json(pool, || profile_table::json("train", &report.profile, limits, pool))
    }

    /// Decode of the model that is named, or of the preset with random weights, one type after the other.
    fn decodes(&self, model: &gpt2::Gpt2, pool: &Pool, limits: &Limits, out: &mut Out) -> anyhow::Result<()> {
        if let Some(path) = &self.model {
            let gpt = foretoken::open_as(path, crate::train::pool(Some(pool.threads()))?, None)?;
            return self.decode(
                (gpt.model(), gpt.weights()),
                &path.display().to_string(),
                pool,
                limits,
                out,
            );
        }
        let report = sizes::report(model, 1, model.dims().n_positions, &sizes::Options::default())?;
        bench::fits("the decode benchmark", 2 * report.generation.bytes)?;
        for &dtype in &self.dtype {
            let arena = init(model.params(), SEED)?;
            let weights = PackedWeights::new(model, pool, Source::Arena(&arena), Some(dtype.into()))?;
            drop(arena);
            self.decode((model, (&weights).into()), &self.preset, pool, limits, out)?;
        }
        Ok(())
    }

    fn decode(
        &self,
        (model, weights): (&dyn Model, Weights<'_>),
        name: &str,
        pool: &Pool,
        limits: &Limits,
        out: &mut Out,
    ) -> anyhow::Result<()> {
        let dtype = weights.dtype().to_lowercase();
        out.heading(&format!("decode, {name}, {dtype}"))?;
        let report = bench::decode(pool, model, weights, self.repeat, &mut |event| out.event(pool, event))?;
        let (together, alone) = report.together_tokens_per_s;
        let bytes_per_s = report.bytes_a_token * report.decode_tokens_per_s;
        let share = bytes_per_s / limits.bytes_per_s;
        out.text(&format!(
            "{} tokens after a prompt of {}: {:.1} tokens/s, {} are {} of the read bandwidth; the prompt {:.0} tokens/s\n",
            report.tokens,
            report.prompt_tokens,
            report.decode_tokens_per_s,
            byte_rate(bytes_per_s),
            whole_percent(share),
            report.prefill_tokens_per_s,
        ))?;
        out.text(&format!(
            "{} sequences together {together:.1} tokens/s, {:.1} times one ({alone:.1}), after short prompts\n",
            bench::TOGETHER,
            together / alone
        ))?;
        out.json(pool, || {
            serde_json::json!({
                "event": "decode",
                "model": name,
                "dtype": dtype,
                "sequences_together": bench::TOGETHER,
                "together_tokens_per_s": together,
                "alone_tokens_per_s": alone,
                "prompt_tokens": report.prompt_tokens,
                "tokens": report.tokens,
                "prefill_tokens_per_s": report.prefill_tokens_per_s,
                "decode_tokens_per_s": report.decode_tokens_per_s,
                "bytes_a_token": report.bytes_a_token,
                "bytes_per_s": bytes_per_s,
                "share_of_limit": share,
            })
        })?;
        out.text(&profile_table::text("token", &report.profile, limits, pool, out.color))?;
        out.json(pool, || profile_table::json("decode", &report.profile, limits, pool))
    }

    /// What is measured, and on what.
    fn title(&self, model: &gpt2::Gpt2, t: usize, machine: &str) -> String {
        let dims = model.dims();
        format!(
            "foretoken {}: {} with L={} h={} d={} V={}, B={} T={t}; {machine}\n",
            env!("CARGO_PKG_VERSION"),
            self.preset,
            dims.n_layer,
            dims.n_head,
            dims.n_embd,
            grouped(dims.vocab_size as u64),
            self.batch_size,
        )
    }
}
