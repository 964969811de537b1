//! The flags of a run: each is a field of `run.toml` with `-` for `_`.

use super::init::Begin;
use crate::optimizer::{Optimizer, OptimizerState};
use clap::{Args, ValueEnum};
use serde::Serialize;

/// The largest whole number of a TOML file.
const TOML: u64 = i64::MAX as u64;

/// What was given on the command line; the rest comes from `--config`, the run, or the defaults.
#[derive(Debug, Default, Args, Serialize)]
pub(super) struct Flags {
    /// Files, folders, patterns, - for standard input, or corpus[:STORIES], the built-in stories, which --format qa asks
    /// one question about and --format chat up to six; strangers[:STORIES] tells them of people whose names cannot be
    /// known by heart [corpus]
    #[arg(long, num_args = 1.., value_name = "PATH", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Vec<String>>,
    /// Columns of CSV and JSONL that hold the text, separated by commas [text]
    #[arg(long, value_name = "NAMES", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    text_field: Option<String>,
    /// What rows hold: text to go on with, a question and an answer, or a chat of several turns [guessed]
    #[arg(long, value_name = "WHAT", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    /// Column or field of questions [guessed: question, Q, prompt, instruction, 질문]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    question_field: Option<String>,
    /// Column or field of answers [guessed: answer, A, completion, response, output, 답변]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_field: Option<String>,
    /// Which tokens of questions and answers carry loss [answers]
    #[arg(long, value_name = "WHICH", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_on: Option<LossOn>,
    /// Texts to validate on, instead of a part of --data
    #[arg(long, num_args = 1.., value_name = "PATH", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    val_data: Option<Vec<String>>,
    /// Part of the data kept for validation; 0 trains without [0.1]
    #[arg(long, value_name = "X", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    val_fraction: Option<f64>,
    /// byte, char, bpe[:SIZE], or a tokenizer.json [bpe:2048]
    #[arg(long, value_name = "KIND|FILE", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenizer: Option<String>,

    /// Named sizes; `foretoken size list` shows them [tiny]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    preset: Option<String>,
    /// What kind of model [gpt2]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<Arch>,
    /// L: number of blocks
    #[arg(long, value_name = "L", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_layer: Option<usize>,
    /// h: number of heads
    #[arg(long, value_name = "H", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_head: Option<usize>,
    /// Heads of keys and values, where heads of a llama share them [n_head]
    #[arg(long, value_name = "H", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_kv_head: Option<usize>,
    /// d: width of the residual stream
    #[arg(long, value_name = "D", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_embd: Option<usize>,
    /// The longest context the model can see
    #[arg(long, value_name = "N", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_positions: Option<usize>,
    /// V: pads the embedding past the tokenizer's vocabulary
    #[arg(long, value_name = "V", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    vocab_size: Option<usize>,
    /// Dropout of embeddings, attention and residuals [0]
    #[arg(long, value_name = "P", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    dropout: Option<f32>,

    #[command(flatten)]
    #[serde(flatten)]
    begin: Begin,

    /// T of training, up to n_positions [n_positions; with --init at most 512]
    #[arg(long, value_name = "T", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seq_len: Option<usize>,
    /// B: sequences of a micro-batch [2048 / T]
    #[arg(long, value_name = "B", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<usize>,
    /// Micro-batches of a step [1]
    #[arg(long, value_name = "N", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    grad_accum: Option<usize>,
    /// What the backward makes again instead of keeping it [selective]
    #[arg(long, value_name = "WHAT", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    recompute: Option<Recompute>,
    /// Steps in all [700]
    #[arg(long, value_name = "N", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    /// Peak of the learning rate [by width: 2e-3 below 192, 1e-3 below 512, 6e-4 below 1024, …;
    /// with --init 5e-5, of LoRA 2e-4]
    #[arg(long, value_name = "X", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
    /// Where the learning rate ends [lr / 10]
    #[arg(long, value_name = "X", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_lr: Option<f64>,
    /// Steps of linear warm-up [steps / 20, at most 2000]
    #[arg(long, value_name = "N", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup: Option<u64>,
    /// Shape of the learning rate after the warm-up [cosine]
    #[arg(long, value_name = "SHAPE", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<Schedule>,
    /// What updates the weights; the rate and the weight decay serve both [adamw]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    optimizer: Option<Optimizer>,
    /// How the optimizer keeps its moments: bf16 takes half the memory [f32]
    #[arg(long, value_name = "TYPE", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    optimizer_state: Option<OptimizerState>,
    /// AdamW's first decay [0.9]
    #[arg(long, value_name = "X", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    beta1: Option<f32>,
    /// AdamW's second decay [0.99; with --init 0.999]
    #[arg(long, value_name = "X", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    beta2: Option<f32>,
    /// Decoupled weight decay of matrices [0.1; with --init 0.01, of LoRA 0]
    #[arg(long, value_name = "X", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_decay: Option<f32>,
    /// Largest norm of the gradient; 0 clips nothing [1]
    #[arg(long, value_name = "X", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    grad_clip: Option<f32>,
    /// Seed of weights, data order and dropout [1337]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=TOML), value_name = "N", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Threads; 0 is one a core; the bits do not depend on it [0]
    #[arg(long, value_name = "N", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<usize>,

    /// Steps between evaluations; 0 evaluates only at the end [steps / 10]
    #[arg(long, value_name = "N", help_heading = "Watching and saving")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_every: Option<u64>,
    /// Batches of an evaluation [20]
    #[arg(long, value_name = "N", help_heading = "Watching and saving")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_batches: Option<usize>,
    /// Steps between sample texts; 0 writes none [steps / 10]
    #[arg(long, value_name = "N", help_heading = "Watching and saving")]
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_every: Option<u64>,
    /// Steps between checkpoints; one is always written at the end [steps / 10]
    #[arg(long, value_name = "N", help_heading = "Watching and saving")]
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_every: Option<u64>,
    /// Newest checkpoints to keep beside the best; 0 keeps all [3]
    #[arg(long, value_name = "N", help_heading = "Watching and saving")]
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<usize>,
    /// Evaluations without a better loss after which training stops; 0 never [0]
    #[arg(long, value_name = "N", help_heading = "Watching and saving")]
    #[serde(skip_serializing_if = "Option::is_none")]
    patience: Option<u64>,
}

/// As [`foretoken::text::DataFormat`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Text to go on with
    Text,
    /// A question and an answer a row
    Qa,
    /// Messages of several turns a row
    Chat,
}

/// As [`foretoken::train::LossOn`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum LossOn {
    /// Answers, and the token that ends each
    Answers,
    /// Everything: questions are learned as well
    All,
}

/// As [`foretoken::model::registry::Arch`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Arch {
    /// GPT-2: learnt positions, layernorm, GELU
    Gpt2,
    /// Llama: turned positions, RMSNorm, SwiGLU, keys that heads may share
    Llama,
}

/// As [`foretoken::train::Schedule`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Schedule {
    /// Stays at the peak
    Constant,
    /// Falls in a straight line
    Linear,
    /// Falls along half a cosine
    Cosine,
    /// Warm-up, stable, decay over the last fifth
    Wsd,
}

/// As [`foretoken::model::Recompute`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Recompute {
    /// Keep everything
    None,
    /// Make the outputs of layernorm and GELU again
    Selective,
    /// Keep only what each block reads: a quarter of the activations, a sixth more work
    Block,
}

impl Recompute {
    /// As the flag takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Recompute::None => "none",
            Recompute::Selective => "selective",
            Recompute::Block => "block",
        }
    }
}

impl From<Recompute> for foretoken::model::Recompute {
    fn from(recompute: Recompute) -> Self {
        match recompute {
            Recompute::None => Self::None,
            Recompute::Selective => Self::Selective,
            Recompute::Block => Self::Block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::init::Learns;
    use foretoken::train::RunConfig;

    /// Every field of a run has its flag, and the other way round.
    #[test]
    fn flags_and_run_have_the_same_fields() {
        let all = Flags {
            data: Some(vec!["a".into()]),
            text_field: Some("t".into()),
            format: Some(Format::Qa),
            question_field: Some("q".into()),
            answer_field: Some("a".into()),
            loss_on: Some(LossOn::All),
            val_data: Some(vec!["v".into()]),
            val_fraction: Some(0.2),
            tokenizer: Some("char".into()),
            preset: Some("mini".into()),
            arch: Some(Arch::Llama),
            begin: Begin {
                init: Some("m".into()),
                add_tokens: Some(vec!["<|a|>".into()]),
                learns: Learns {
                    freeze: Some(vec!["*wte*".into()]),
                    lora_rank: Some(4),
                    lora_alpha: Some(8.0),
                    lora_targets: Some(vec!["c_attn".into()]),
                },
            },
            n_layer: Some(1),
            n_head: Some(1),
            n_kv_head: Some(1),
            n_embd: Some(8),
            n_positions: Some(16),
            vocab_size: Some(300),
            dropout: Some(0.1),
            seq_len: Some(8),
            batch_size: Some(2),
            grad_accum: Some(3),
            recompute: Some(Recompute::Block),
            steps: Some(4),
            lr: Some(1e-3),
            min_lr: Some(1e-4),
            warmup: Some(1),
            schedule: Some(Schedule::Wsd),
            optimizer: Some(Optimizer::Muon),
            optimizer_state: Some(OptimizerState::Bf16),
            beta1: Some(0.8),
            beta2: Some(0.9),
            weight_decay: Some(0.0),
            grad_clip: Some(0.5),
            seed: Some(7),
            threads: Some(1),
            eval_every: Some(2),
            eval_batches: Some(3),
            sample_every: Some(0),
            checkpoint_every: Some(4),
            keep: Some(1),
            patience: Some(2),
        };
        let table = toml::Table::try_from(&all).unwrap();
        let run = RunConfig::default().overlay(table.clone()).unwrap();
        let mut fields: Vec<String> = toml::Table::try_from(&run).unwrap().keys().cloned().collect();
        fields.retain(|field| field != "version" && field != "init_weights");
        let mut flags: Vec<String> = table.keys().cloned().collect();
        fields.sort();
        flags.sort();
        assert_eq!(fields, flags);
        assert_eq!(
            RunConfig::default()
                .overlay(toml::Table::try_from(Flags::default()).unwrap())
                .unwrap(),
            RunConfig::default()
        );
    }

    #[test]
    fn flags_win_and_a_preset_brings_its_sizes() {
        let resolved = RunConfig {
            preset: "gpt2".into(),
            ..RunConfig::default()
        }
        .resolve()
        .unwrap();
        let flags = Flags {
            preset: Some("tiny".into()),
            n_layer: Some(2),
            ..Flags::default()
        };
        let run = resolved
            .overlay(toml::Table::try_from(&flags).unwrap())
            .unwrap()
            .resolve()
            .unwrap();
        assert_eq!(
            (run.n_layer, run.n_embd, run.n_positions),
            (Some(2), Some(128), Some(256))
        );
    }
}
