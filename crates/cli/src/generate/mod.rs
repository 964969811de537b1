//! `foretoken generate [PROMPT]`

mod beams;

use crate::Usage;
use crate::dtype::Dtype;
use crate::sampling::SamplingFlags;
use crate::terminal::{FAINT, paint, paint_warning, say_error, stderr_color};
use beams::BeamFlags;
use clap::Args;
use foretoken::formats::json;
use foretoken::{GenerateOptions, Grammar, Stopped, Text, Writer};
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
  foretoken generate --regex \"(yes|no)\" \"Is it raining? Answer: \"
  cat prompt.txt | foretoken generate --max-tokens 500 --json"
)]
pub(crate) struct Generate {
    /// The beginning of the text; standard input where it is a pipe, else none
    prompt: Option<String>,
    /// A run, a checkpoint, a model directory, a GGUF file or the name of a pulled model; the latest run unless given
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Tokens after which a text ends at the latest
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_tokens: usize,
    /// The same seed gives the same text
    #[arg(long, default_value_t = 1337)]
    seed: u64,
    /// End the text before this string; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Number of texts
    #[arg(short = 'n', long = "samples", default_value_t = 1, value_name = "N")]
    n: u32,
    /// Round the weights as the model is opened: less memory, and faster; as stored unless given
    #[arg(long, value_name = "TYPE")]
    quantize: Option<Dtype>,
    /// Threads; one a core unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One JSON object a text on standard output, nothing else
    #[arg(long)]
    json: bool,
    /// Guess up to N tokens from what the text said before, and read them at once: the same text, faster where it repeats
    #[arg(long, default_value_t = 0, value_name = "N")]
    speculate: usize,
    /// Keep what the prompt leaves behind in FILE, and read the same prompt or beginning from there the next time
    #[arg(long, value_name = "FILE")]
    prompt_cache: Option<PathBuf>,
    /// The text is JSON that this schema admits
    #[arg(long, value_name = "FILE|JSON", group = "form", help_heading = "Form of the text")]
    json_schema: Option<String>,
    /// The text matches this regular expression from its beginning to its end
    #[arg(long, value_name = "PATTERN", group = "form", help_heading = "Form of the text")]
    regex: Option<String>,
    /// The text matches this grammar, in llguidance's form of Lark
    #[arg(long, value_name = "FILE", group = "form", help_heading = "Form of the text")]
    grammar: Option<PathBuf>,
    #[command(flatten)]
    sampling: SamplingFlags,
    #[command(flatten)]
    beam_flags: BeamFlags,
}

/// The largest schema or grammar that is read.
const FORM_BYTES: u64 = 1 << 20;

impl Generate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.n == 0 {
            return Err(Usage("-n is 0: expected at least 1".into()).into());
        }
        let path = match &self.model {
            Some(path) => path.clone(),
            None => foretoken::latest_run(Path::new(crate::train::RUNS))?,
        };
        let mut options = self.options()?;
        options.sampling.validate()?;
        let gpt = foretoken::open_as(&path, crate::train::pool(self.threads)?, self.quantize.map(Into::into))?;
        let prompt = self.prompt()?;
        if self.model.is_none() && !self.json {
            say_error(&paint(&path.display().to_string(), FAINT, stderr_color()));
        }
        if let Some(dry) = &mut options.sampling.dry {
            dry.sequence_breakers = self.sampling.breakers(gpt.tokenizer())?;
        }
        let mut writer = gpt.writer(&prompt)?;
        if let Some(path) = &self.prompt_cache
            && let Some(error) = writer.use_prompt_cache(&gpt, path)?
        {
            say_error(&format!("{} {error}", paint_warning("warning:")));
        }
        if let Some(beams) = self.beam_flags.beams() {
            return self.search(&mut writer, &prompt, beams);
        }
        for index in 0..self.n {
            options.index = index;
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

    fn options(&self) -> anyhow::Result<GenerateOptions> {
        Ok(GenerateOptions {
            sampling: self.sampling.sampling(),
            seed: self.seed,
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            grammar: self.form()?,
            speculate: self.speculate,
            ..GenerateOptions::default()
        })
    }

    fn form(&self) -> anyhow::Result<Option<Grammar>> {
        if let Some(schema) = &self.json_schema {
            // No file is called `{`: what looks like JSON is JSON.
            let value = match schema.trim_start().starts_with('{') {
                true => serde_json::from_str(schema).map_err(|error| Usage(format!("--json-schema: {error}")))?,
                false => json::read_bounded(schema, FORM_BYTES)?,
            };
            return Ok(Some(Grammar::JsonSchema(value)));
        }
        if let Some(path) = &self.grammar {
            let bytes = json::read_bytes(path, FORM_BYTES)?;
            let grammar = String::from_utf8(bytes)
                .map_err(|error| anyhow::anyhow!("{} is not UTF-8: {}", path.display(), error.utf8_error()))?;
            return Ok(Some(Grammar::Lark(grammar)));
        }
        Ok(self.regex.clone().map(Grammar::Regex))
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
        say_dropped(&text);
        if options.grammar.is_some() && text.stopped != Stopped::EndOfText {
            say_error(&format!(
                "{} the text ended before it matched ({}): raise --max-tokens",
                paint_warning("warning:"),
                reason(&text.stopped)
            ));
        }
        if std::io::stderr().is_terminal() {
            let rate = text.ids.len() as f64 / begun.elapsed().as_secs_f64();
            let note = format!(
                "{} tokens, {rate:.0} a second, {}{}",
                text.ids.len(),
                reason(&text.stopped),
                guesses(&text)
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
        let mut object = text_object(options.index as usize, prompt, &written, &text, seconds);
        object["seed"] = options.seed.into();
        object["proposed_tokens"] = text.speculated.proposed.into();
        object["accepted_tokens"] = text.speculated.accepted.into();
        writeln!(std::io::stdout().lock(), "{object}")?;
        Ok(())
    }
}

/// Warns of a prompt that did not fit.
fn say_dropped(text: &Text) {
    if text.dropped_tokens > 0 {
        // What was left fills the context.
        let (warning, context) = (paint_warning("warning:"), text.prompt_tokens);
        say_error(&format!(
            "{warning} the prompt is longer than the context of {context} tokens: its first {} were left out",
            text.dropped_tokens
        ));
    }
}

/// What `--json` tells of a text, however it was made.
fn text_object(index: usize, prompt: &str, written: &str, text: &Text, seconds: f64) -> serde_json::Value {
    serde_json::json!({
        "index": index,
        "prompt": prompt,
        "text": written,
        "ids": text.ids,
        "prompt_tokens": text.prompt_tokens,
        "cached_tokens": text.cached_tokens,
        "dropped_tokens": text.dropped_tokens,
        "tokens": text.ids.len(),
        "stopped": reason(&text.stopped),
        "time_s": seconds,
        "tokens_per_s": text.ids.len() as f64 / seconds,
    })
}

/// What guessing brought, where there was some.
fn guesses(text: &Text) -> String {
    let (proposed, accepted) = (text.speculated.proposed, text.speculated.accepted);
    match proposed {
        0 => String::new(),
        _ => format!(
            ", {:.0}% of {proposed} guesses right",
            100.0 * accepted as f64 / proposed as f64
        ),
    }
}

pub(crate) fn reason(stopped: &Stopped) -> &'static str {
    match stopped {
        Stopped::EndOfText => "end_of_text",
        Stopped::MaxTokens => "max_tokens",
        Stopped::StopString => "stop_string",
        Stopped::Caller => "interrupted",
    }
}
