//! `foretoken generate [PROMPT]`

use crate::Usage;
use crate::terminal::{FAINT, paint, paint_warning, say_error, stderr_color};
use clap::Args;
use foretoken::generate::Sampling;
use foretoken::{GenerateOptions, Stopped, Writer};
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Writes text with a model.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  foretoken generate \"Once upon a time\"
  foretoken generate --model runs/book --temperature 0.7 --top-p 0.9 -n 3 \"ROMEO:\"
  cat prompt.txt | foretoken generate --max-tokens 500 --json"
)]
pub(crate) struct Generate {
    /// The beginning of the text; standard input where it is a pipe, else none
    prompt: Option<String>,
    /// A run, a checkpoint or a model directory; the latest run unless given
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Tokens after which a text ends at the latest
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_tokens: usize,
    /// Above 1 more surprising, below 1 safer, 0 always the likeliest token
    #[arg(long, default_value_t = 0.8, value_name = "X")]
    temperature: f32,
    /// Choose among the K likeliest tokens; 0 is all
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// Choose among the likeliest tokens that together have probability P
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    top_p: f32,
    /// Choose among tokens at least P times as likely as the likeliest
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    min_p: f32,
    /// Above 1, tokens that were seen become less likely
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    repetition_penalty: f32,
    /// The same seed gives the same text
    #[arg(long, default_value_t = 1337)]
    seed: u64,
    /// End the text before this string; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Number of texts
    #[arg(short = 'n', long = "samples", default_value_t = 1, value_name = "N")]
    n: u32,
    /// Threads; one a core unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One JSON object a text on standard output, nothing else
    #[arg(long)]
    json: bool,
}

impl Generate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.n == 0 {
            return Err(Usage("-n is 0: expected at least 1".into()).into());
        }
        let path = match &self.model {
            Some(path) => path.clone(),
            None => foretoken::latest_run(Path::new(crate::train::RUNS))?,
        };
        self.options(0).sampling.validate()?;
        let gpt = foretoken::open_with(&path, crate::train::pool(self.threads)?)?;
        let prompt = self.prompt()?;
        if self.model.is_none() && !self.json {
            say_error(&paint(&path.display().to_string(), FAINT, stderr_color()));
        }
        let mut writer = gpt.writer(&prompt)?;
        for index in 0..self.n {
            let options = self.options(index);
            if self.json {
                self.print_json(&mut writer, &prompt, &options)?
            } else {
                self.print(&mut writer, &prompt, &options)?
            }
        }
        Ok(())
    }

    fn prompt(&self) -> anyhow::Result<String> {
        if let Some(prompt) = &self.prompt {
            return Ok(prompt.clone());
        }
        let mut prompt = String::new();
        if !std::io::stdin().is_terminal() {
            let read = std::io::stdin().read_to_string(&mut prompt);
            read.map_err(crate::tokenizer::not_text)?;
        }
        // `echo prompt |` adds a newline that nobody meant.
        Ok(prompt.strip_suffix('\n').map_or_else(|| prompt.clone(), str::to_owned))
    }

    fn options(&self, index: u32) -> GenerateOptions {
        GenerateOptions {
            sampling: Sampling {
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
                repetition_penalty: self.repetition_penalty,
                ..Sampling::default()
            },
            seed: self.seed,
            index,
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            grammar: None,
        }
    }

    fn print(&self, writer: &mut Writer<'_>, prompt: &str, options: &GenerateOptions) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if options.index > 0 {
            writeln!(out, "\n{}\n", "─".repeat(40))?;
        }
        write!(out, "{prompt}")?;
        out.flush()?;
        let begun = Instant::now();
        let mut failed = None;
        let text = writer.write(options, |part| {
            let written = write!(out, "{part}").and_then(|()| out.flush());
            failed = written.err();
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        writeln!(out)?;
        if text.dropped_tokens > 0 {
            // What was left fills the context.
            let (warning, context) = (paint_warning("warning:"), text.prompt_tokens);
            say_error(&format!(
                "{warning} the prompt is longer than the context of {context} tokens: its first {} were left out",
                text.dropped_tokens
            ));
        }
        if std::io::stderr().is_terminal() {
            let rate = text.ids.len() as f64 / begun.elapsed().as_secs_f64();
            let note = format!(
                "{} tokens, {rate:.0} a second, {}",
                text.ids.len(),
                reason(&text.stopped)
            );
            say_error(&paint(&note, FAINT, stderr_color()));
        }
        Ok(())
    }

    fn print_json(&self, writer: &mut Writer<'_>, prompt: &str, options: &GenerateOptions) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut written = String::new();
        let text = writer.write(options, |part| {
            written.push_str(part);
            true
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        let object = serde_json::json!({
            "index": options.index,
            "prompt": prompt,
            "text": written,
            "ids": text.ids,
            "prompt_tokens": text.prompt_tokens,
            "dropped_tokens": text.dropped_tokens,
            "tokens": text.ids.len(),
            "stopped": reason(&text.stopped),
            "seed": options.seed,
            "time_s": seconds,
            "tokens_per_s": text.ids.len() as f64 / seconds,
        });
        writeln!(std::io::stdout().lock(), "{object}")?;
        Ok(())
    }
}

fn reason(stopped: &Stopped) -> &'static str {
    match stopped {
        Stopped::EndOfText => "end_of_text",
        Stopped::MaxTokens => "max_tokens",
        Stopped::StopString => "stop_string",
        Stopped::Caller => "interrupted",
    }
}
