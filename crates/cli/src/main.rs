//! The foretoken binary: one file a command; errors are printed here, once.
#![forbid(unsafe_code)]

mod bench;
mod chat;
mod completions;
mod convert;
mod dtype;
mod eval;
mod generate;
mod lens;
mod optimizer;
mod plot;
mod profile_table;
mod pull;
mod report;
mod sampling;
mod serve;
mod size;
mod size_table;
mod terminal;
mod tokenizer;
mod train;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// From raw text to a working GPT, and a look inside.
#[derive(Debug, Parser)]
#[command(name = "foretoken", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  foretoken train                                   a small model on the built-in stories, in two minutes
  foretoken train --data book.txt --out runs/book   on your own text
  foretoken generate \"Once upon a time\"             go on with the latest run
  foretoken chat --model SmolLM2.gguf               talk with a model that learnt to answer
  foretoken serve runs/001-tiny                     answer programs that speak OpenAI's interface
  foretoken pull openai-community/gpt2              fetch a model; then generate --model openai-community/gpt2
  foretoken eval --file held-out.txt                how well the latest run expects a text
  foretoken lens attn \"One sunny morning, \"       what its heads look at; there are nine more views
  foretoken report runs/001-tiny runs/002-tiny      a page of curves, samples and configs; for TensorBoard too
  foretoken convert runs/001-tiny model.gguf        for llama.cpp, or back again
  foretoken size gpt2 --memory 8GiB                 what it takes, and what fits
  foretoken bench --only train                      how fast this machine trains GPT-2, and where the time goes

Environment: NO_COLOR; FORETOKEN_ISA=portable|avx2|avx512|avx512vnni; FORETOKEN_CACHE, where token files are kept;
HF_HOME, where pulled models are kept; HF_ENDPOINT and HF_TOKEN, where they come from.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model on text
    Train(Box<train::Train>),
    /// Write text with a model
    Generate(Box<generate::Generate>),
    /// Talk with a model: it remembers what was said
    Chat(Box<chat::ChatCommand>),
    /// Serve models over HTTP, with OpenAI's interface
    Serve(Box<serve::Serve>),
    /// Fetch a model from the Hugging Face hub
    Pull(pull::Pull),
    /// Measure loss, perplexity, bits per byte and multiple-choice accuracy; compare models
    Eval(Box<eval::Eval>),
    /// Look inside: tokens, attention, the stream, why a token was chosen, what training changed
    Lens(Box<lens::LensCommand>),
    /// Write a page about runs: curves, speed, samples, configs; several side by side
    Report(report::Report),
    /// Convert a model between Hugging Face's layout and GGUF, quantised or not
    Convert(convert::Convert),
    /// Show the sizes of a model: tensors, parameters, memory, flops, and what fits
    Size(size::Size),
    /// Measure kernels, training steps and decoding beside the machine's limit
    Bench(bench::Bench),
    /// Train a tokenizer, or turn text into token ids and back
    Tokenizer(tokenizer::TokenizerCommand),
    /// Print completions for a shell
    Completions(completions::Completions),
}

/// Wrong usage that is only seen after parsing.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Train(train) => train.run(),
        Command::Generate(generate) => generate.run(),
        Command::Chat(chat) => chat.run(),
        Command::Serve(serve) => serve.run(),
        Command::Pull(pull) => pull.run(),
        Command::Eval(eval) => eval.run(),
        Command::Lens(lens) => lens.run(),
        Command::Report(report) => report.run(),
        Command::Convert(convert) => convert.run(),
        Command::Size(size) => size.run(),
        Command::Bench(bench) => bench.run(),
        Command::Tokenizer(tokenizer) => tokenizer.run(),
        Command::Completions(completions) => completions.run(),
    };
    ExitCode::from(result.map_or_else(|error| end(&error), |()| 0))
}

/// Says what went wrong, and gives the exit code.
fn end(error: &anyhow::Error) -> u8 {
    // Whoever read our output has gone: nothing is wrong.
    if is_broken_pipe(error) {
        return 0;
    }
    terminal::say_error(&format!("{} {}", terminal::paint_error("error:"), message(error)));
    if is_usage(error) { 2 } else { 1 }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(broken)
}

/// The error and its causes on one line. Many errors already say what caused them: nothing is said twice.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text
}

/// A value that no run or sampler can have is wrong usage; what the world holds is a failure.
fn is_usage(error: &anyhow::Error) -> bool {
    use foretoken::train::Error as Train;
    use foretoken::{Error as Open, generate, model, text};
    let sizes = |error: &model::Error| matches!(error, model::Error::Config { .. } | model::Error::Batch { .. });
    let sampling =
        |error: &generate::Error| matches!(error, generate::Error::Sampling { .. } | generate::Error::Bias { .. });
    let vocabulary = |error: &text::Error| matches!(error, text::Error::VocabularySize { .. });
    // A transparent error is not among its own causes: it is looked for in the enum around it.
    let train = |error: &Train| match error {
        Train::Value { .. } | Train::ConfigFile { .. } | Train::RunExists { .. } => true,
        Train::Model(error) => sizes(error),
        Train::Text(error) => vocabulary(error),
        _ => false,
    };
    let setting = |error: &foretoken_hub::Error| matches!(error, foretoken_hub::Error::Setting { .. });
    error.chain().any(|cause| {
        cause.is::<Usage>()
            || cause.downcast_ref().is_some_and(setting)
            || cause.downcast_ref().is_some_and(train)
            || cause.downcast_ref().is_some_and(sizes)
            || cause.downcast_ref().is_some_and(sampling)
            || cause.downcast_ref().is_some_and(vocabulary)
            || match cause.downcast_ref() {
                Some(Open::Generate(error)) => sampling(error),
                Some(Open::Train(error)) => train(error),
                Some(
                    Open::Windows { .. }
                    | Open::NoSuchDtype { .. }
                    | Open::Target { .. }
                    | Open::NoToken { .. }
                    | Open::NoPosition { .. }
                    | Open::NoHead { .. },
                ) => true,
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
