//! `foretoken chat`

mod input;
mod order;

use crate::dtype::Dtype;
use crate::generate::reason;
use crate::sampling::SamplingFlags;
use crate::terminal::{FAINT, paint, paint_error, paint_warning, say_error, stderr_color};
use clap::Args;
use foretoken::text::{ChatTemplate, Message, Role};
use foretoken::{Answer, Chat, GenerateOptions, Gpt, Stopped};
use input::{Input, Line};
use order::Order;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Talks with a model. Each line is a question; lines that begin with / are orders, /help lists them.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Orders: /reset  /system TEXT  /temperature X  /save FILE  /load FILE  /help  /exit
Lines that end with \\ go on; \"\"\" begins and ends text of several lines. Ctrl-C ends an answer, Ctrl-D the conversation.

Examples:
  foretoken chat --model SmolLM2-135M-Instruct.Q4_1.gguf
  foretoken chat --system \"Answer in one sentence.\" --temperature 0
  printf '%s\\n' 'Hello!' 'What did I say?' | foretoken chat --json"
)]
pub(crate) struct ChatCommand {
    /// A run, a checkpoint, a model directory, a GGUF file or the name of a pulled model; the latest run unless given
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// How to answer, said before everything else
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Tokens after which an answer ends at the latest
    #[arg(long, default_value_t = 512, value_name = "N")]
    max_tokens: usize,
    /// The same seed and questions give the same answers
    #[arg(long, default_value_t = 1337)]
    seed: u64,
    /// End an answer before this string; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Round the weights as the model is opened: less memory, and faster; as stored unless given
    #[arg(long, value_name = "TYPE")]
    quantize: Option<Dtype>,
    /// Threads; one a core unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One JSON object an answer on standard output, nothing else
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingFlags,
}

/// Whether an answer is being written, and whether it was asked to end.
static ANSWERING: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);

/// A signal ends the answer; where there is none, or at the second one, it ends the program.
fn on_signal() {
    if !ANSWERING.load(Ordering::SeqCst) || STOP.swap(true, Ordering::SeqCst) {
        std::process::exit(130);
    }
}

impl ChatCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let path = match &self.model {
            Some(path) => path.clone(),
            None => foretoken::latest_run(Path::new(crate::train::RUNS))?,
        };
        let mut options = GenerateOptions {
            sampling: self.sampling.sampling(),
            seed: self.seed,
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            ..GenerateOptions::default()
        };
        options.sampling.validate()?;
        let gpt = foretoken::open_as(&path, crate::train::pool(self.threads)?, self.quantize.map(Into::into))?;
        if let Some(dry) = &mut options.sampling.dry {
            dry.sequence_breakers = self.sampling.breakers(gpt.tokenizer())?;
        }
        let chat = gpt.chat()?;
        let mut input = Input::open(self.json)?;
        ctrlc::set_handler(on_signal)?;
        if input.is_terminal() {
            greet(&chat, &gpt, &path);
        }
        let mut talk = Talk {
            chat,
            options,
            json: self.json,
            terminal: input.is_terminal(),
        };
        talk.begin(self.system.as_deref());
        let mut interrupts = 0;
        loop {
            match input.next()? {
                Line::End => return Ok(()),
                Line::Interrupted if interrupts == 1 => return Ok(()),
                Line::Interrupted => {
                    interrupts += 1;
                    say_error(&paint("once more to leave", FAINT, stderr_color()));
                    continue;
                }
                Line::Text(text) if text.trim().is_empty() => {}
                Line::Text(text) => match Order::parse(&text) {
                    None => talk.say(&text)?,
                    // `//` says a question that begins with a slash.
                    Some(Ok(Order::Say(text))) => talk.say(text)?,
                    Some(Ok(Order::Exit)) => return Ok(()),
                    Some(order) => {
                        if let Err(error) = order.map_err(anyhow::Error::from).and_then(|order| talk.obey(order)) {
                            // Nobody is there who could say it better.
                            if !talk.terminal {
                                return Err(error);
                            }
                            say_error(&format!("{} {error}", paint_error("error:")));
                        }
                    }
                },
            }
            interrupts = 0;
            if STOP.swap(false, Ordering::SeqCst) && !talk.terminal {
                return Ok(());
            }
        }
    }
}

fn greet(chat: &Chat<'_>, gpt: &Gpt, path: &Path) {
    let faint = |text: &str| say_error(&paint(text, FAINT, stderr_color()));
    faint(&format!("{}; /help lists the orders, Ctrl-D leaves", path.display()));
    if chat.template().source() == ChatTemplate::plain(gpt.tokenizer()).source() {
        faint("it names no chat template: question and answer are written on lines of their own");
    }
}

/// A conversation, and how its answers are drawn and shown.
struct Talk<'a> {
    chat: Chat<'a>,
    options: GenerateOptions,
    json: bool,
    terminal: bool,
}

impl Talk<'_> {
    /// Begins anew.
    fn begin(&mut self, system: Option<&str>) {
        let system = system.map(|text| Message::new(Role::System, text));
        self.chat.set_messages(system.into_iter().collect());
        self.options.index = 0;
    }

    fn system(&self) -> Option<String> {
        let first = self.chat.messages().first()?;
        (first.role == Role::System).then(|| first.content.clone())
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let (begun, json) = (Instant::now(), self.json);
        let (mut written, mut failed) = (String::new(), None);
        ANSWERING.store(true, Ordering::SeqCst);
        let answer = self.chat.say(text, &self.options, |part| {
            written.push_str(part);
            if !json {
                failed = write!(out, "{part}").and_then(|()| out.flush()).err();
            }
            failed.is_none() && !STOP.load(Ordering::SeqCst)
        });
        ANSWERING.store(false, Ordering::SeqCst);
        let answer = answer?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let seconds = begun.elapsed().as_secs_f64();
        match json {
            true => writeln!(out, "{}", object(text, &written, &answer, seconds))?,
            false => writeln!(out)?,
        }
        self.note(&answer, seconds);
        self.options.index += 1;
        Ok(())
    }

    fn note(&self, answer: &Answer, seconds: f64) {
        if answer.dropped_messages > 0 || answer.text.dropped_tokens > 0 {
            let dropped = match answer.dropped_messages {
                0 => format!("the first {} tokens of the question", answer.text.dropped_tokens),
                n => format!("the first {n} messages"),
            };
            say_error(&format!(
                "{} the context is full: {dropped} were left out",
                paint_warning("warning:")
            ));
        }
        if self.terminal && !self.json {
            let tokens = answer.text.ids.len();
            let ended = match answer.text.stopped {
                Stopped::EndOfText => String::new(),
                ref other => format!(", {}", reason(other)),
            };
            let note = format!("{tokens} tokens, {:.0} a second{ended}", tokens as f64 / seconds);
            say_error(&paint(&note, FAINT, stderr_color()));
        }
    }

    fn obey(&mut self, order: Order<'_>) -> anyhow::Result<()> {
        let said = match order {
            Order::Reset => {
                let system = self.system();
                self.begin(system.as_deref());
                "forgotten, the system's message apart".to_owned()
            }
            Order::System(text) => {
                self.begin((!text.is_empty()).then_some(text));
                "a new conversation".to_owned()
            }
            Order::Temperature(x) => {
                let mut sampling = self.options.sampling.clone();
                sampling.temperature = x;
                sampling.validate()?;
                self.options.sampling = sampling;
                format!("temperature {x}")
            }
            Order::Save(path) => {
                order::save(path, self.chat.messages())?;
                format!("{} messages in {}", self.chat.messages().len(), path.display())
            }
            Order::Load(path) => {
                let messages = order::load(path)?;
                let said = format!("{} messages from {}", messages.len(), path.display());
                self.options.index = messages.iter().filter(|m| m.role == Role::User).count() as u32;
                self.chat.set_messages(messages);
                said
            }
            Order::Help => order::HELP.to_owned(),
            Order::Say(_) | Order::Exit => unreachable!("the loop's own"),
        };
        if self.terminal {
            say_error(&paint(&said, FAINT, stderr_color()));
        }
        Ok(())
    }
}

/// What `--json` tells of a turn.
fn object(question: &str, written: &str, answer: &Answer, seconds: f64) -> serde_json::Value {
    serde_json::json!({
        "question": question,
        "answer": written,
        "ids": answer.text.ids,
        "prompt_tokens": answer.text.prompt_tokens,
        "cached_tokens": answer.text.cached_tokens,
        "dropped_tokens": answer.text.dropped_tokens,
        "dropped_messages": answer.dropped_messages,
        "tokens": answer.text.ids.len(),
        "stopped": reason(&answer.text.stopped),
        "time_s": seconds,
        "tokens_per_s": answer.text.ids.len() as f64 / seconds,
    })
}
