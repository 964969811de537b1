//! What a person watches while a model trains.

use crate::profile_table;
use crate::terminal::{FAINT, STRONG, duration, paint, paint_warning, say_error, short, stdout_color};
use foretoken::generate::Sampling;
use foretoken::kernels::{Limits, Pool};
use foretoken::model::human_bytes;
use foretoken::text::{Example, Tokenizer};
use foretoken::train::report::{Sample, SampleLog};
use foretoken::train::{Data, DataSummary, Metrics, Preparing, Run, StepProfile, Trainer};
use foretoken::{GenerateOptions, write};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Tokens of a sample text.
const SAMPLE: usize = 160;
/// Seconds between lines where there is no terminal to draw on.
const QUIET: Duration = Duration::from_secs(10);

/// Lines on standard output, a live line on standard error; with `--json` the objects of [`Metrics`] alone.
pub(super) struct Progress {
    quiet: bool,
    json: bool,
    bar: ProgressBar,
    color: bool,
    steps: u64,
    first_step: u64,
    sample_every: u64,
    begun: Instant,
    last_line: Instant,
    summary: DataSummary,
    /// Held-out questions that are answered in turn as samples; none where texts are learned.
    questions: Vec<Vec<u32>>,
    /// Where samples are kept; none where the disk takes none.
    samples: Option<SampleLog>,
    /// Smoothed training loss.
    smooth: Option<f64>,
    last_val: Option<f64>,
}

impl Progress {
    pub(super) fn new(quiet: bool, json: bool) -> Self {
        let target = if quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(8)
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a fixed template"));
        Self {
            quiet,
            json,
            bar,
            color: stdout_color(),
            steps: 0,
            first_step: 0,
            sample_every: 0,
            begun: Instant::now(),
            last_line: Instant::now(),
            summary: DataSummary::default(),
            questions: Vec::new(),
            samples: None,
            smooth: None,
            last_val: None,
        }
    }

    /// Text for people.
    pub(super) fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        self.bar.suspend(|| {
            // Somebody who stopped reading does not stop the training.
            let _ = if self.json {
                write!(std::io::stderr(), "{text}")
            } else {
                write!(std::io::stdout(), "{text}")
            };
        });
    }

    pub(super) fn warn(&self, message: &str) {
        self.bar
            .suspend(|| say_error(&format!("{} {message}", paint_warning("warning:"))));
    }

    /// A large model takes its time, and a quantised one longer.
    pub(super) fn open(&self, init: Option<&str>) {
        if let Some(init) = init {
            self.bar.set_message(format!("opening {init}"));
        }
    }

    pub(super) fn prepare(&self, preparing: Preparing) {
        let (what, bytes) = match preparing {
            Preparing::Tokenizer { bytes } => ("reading text for the tokenizer", bytes),
            Preparing::Tokens { bytes } => ("turning text into tokens", bytes),
        };
        self.bar.set_message(format!("{what}: {}", human_bytes(bytes)));
    }

    pub(super) fn start(&mut self, run: &Run) {
        self.steps = run.trainer.config().steps;
        self.first_step = run.step();
        self.sample_every = run.trainer.config().sample_every.unwrap_or(0);
        self.summary = run.data.summary.clone();
        self.questions = questions(run);
        self.samples = match SampleLog::open(&run.dir, self.first_step) {
            Ok(log) => Some(log),
            Err(error) => {
                self.warn(&format!("samples are not kept: {error}"));
                None
            }
        };
        self.bar.set_message("");
        self.bar.set_length(self.steps);
        self.bar.set_position(self.first_step);
        let template = "{bar:24.blue/dim} {msg}";
        self.bar.set_style(
            ProgressStyle::with_template(template)
                .expect("a fixed template")
                .progress_chars("━╸─"),
        );
        self.begun = Instant::now();
        self.last_line = self.begun;
    }

    pub(super) fn step(&mut self, metrics: &Metrics) {
        if let Some(loss) = metrics.train_loss {
            self.smooth = Some(self.smooth.map_or(loss, |smooth| 0.95 * smooth + 0.05 * loss));
        }
        if self.json {
            self.bar.suspend(|| {
                let _ = writeln!(std::io::stdout(), "{}", metrics.to_line());
            });
        }
        if self.quiet {
            return;
        }
        self.bar.set_position(metrics.step);
        self.bar.set_message(self.line(metrics));
        let evaluated = metrics.val_loss.is_some();
        let waited = self.bar.is_hidden() && self.last_line.elapsed() > QUIET;
        if (evaluated || waited) && !self.json {
            self.last_line = Instant::now();
            self.say(&self.row(metrics));
        }
        self.last_val = metrics.val_loss.or(self.last_val);
    }

    /// The live line.
    fn line(&self, m: &Metrics) -> String {
        let mut parts = vec![format!("{}/{}", m.step, self.steps)];
        if let Some(loss) = self.smooth {
            parts.push(format!("loss {loss:.3}"));
        }
        if let Some(loss) = m.val_loss.or(self.last_val) {
            parts.push(format!("val {loss:.3}"));
        }
        parts.push(format!("lr {:.1e}", m.lr));
        if let Some(norm) = m.grad_norm {
            parts.push(format!("|g| {norm:.2}"));
        }
        parts.push(format!("{} tok/s", short(m.tokens_per_s)));
        if let Some(share) = m.share_of_limit {
            parts.push(format!("{:.0}% of limit", 100.0 * share));
        }
        if let Some(memory) = m.memory {
            parts.push(human_bytes(memory));
        }
        parts.push(format!("{} left", duration(self.seconds_left(m))));
        parts.join("  ")
    }

    fn seconds_left(&self, m: &Metrics) -> f64 {
        let done = m.step.saturating_sub(self.first_step).max(1) as f64;
        self.begun.elapsed().as_secs_f64() / done * (self.steps - m.step) as f64
    }

    /// A line that stays.
    fn row(&self, m: &Metrics) -> String {
        let loss = |loss: Option<f64>| loss.map_or("   -   ".into(), |loss| format!("{loss:7.4}"));
        let mut row = format!("step {:>6}  train {}  ", m.step, loss(self.smooth));
        let val = format!("val {}", loss(m.val_loss));
        row += &paint(&val, STRONG, self.color && m.val_loss.is_some());
        if let Some(bits) = m.val_bits_per_byte {
            row += &format!("  {bits:.3} bits/byte");
            if let Some(floor) = self.summary.floor_bits_per_byte {
                row += &paint(&format!(" (floor {floor:.3})"), FAINT, self.color);
            }
        }
        let share = m
            .share_of_limit
            .map_or(String::new(), |share| format!("  {:.0}% of limit", 100.0 * share));
        let rest = format!(
            "  {} tok/s{share}  {} left",
            short(m.tokens_per_s),
            duration(self.seconds_left(m))
        );
        row + &paint(&rest, FAINT, self.color) + "\n"
    }

    /// Writes a sample for the report, which somebody who does not watch wants all the more, and shows it to who does.
    pub(super) fn sample(&mut self, trainer: &Trainer, tokenizer: &Tokenizer, pool: &Pool) {
        let nth = usize::try_from(trainer.step / self.sample_every.max(1)).unwrap_or(0);
        let question = self.questions.get(nth % self.questions.len().max(1));
        let options = GenerateOptions {
            sampling: match question {
                // An answer is what is likeliest.
                Some(_) => Sampling::greedy(),
                None => Sampling {
                    temperature: 0.8,
                    top_k: 50,
                    ..Sampling::default()
                },
            },
            max_tokens: SAMPLE,
            index: u32::try_from(trainer.step).unwrap_or(u32::MAX),
            ..GenerateOptions::default()
        };
        let prompt = question.map_or(&[][..], Vec::as_slice);
        let mut sample = Sample {
            step: trainer.step,
            prompt: tokenizer.decode(prompt).unwrap_or_default(),
            text: String::new(),
        };
        let written = write(
            (&*trainer.model, (&trainer.weights).into()),
            tokenizer,
            pool,
            prompt,
            &options,
            |part| {
                sample.text.push_str(part);
                true
            },
        );
        match written {
            Ok(_) => self.keep(&sample),
            Err(error) => self.warn(&format!("no sample: {error}")),
        }
    }

    fn keep(&mut self, sample: &Sample) {
        if let Some(Err(error)) = self.samples.as_mut().map(|log| log.append(sample)) {
            self.warn(&format!("this sample is not kept: {error}"));
        }
        if !self.json {
            let text = format!("{}{}", sample.prompt, sample.text);
            self.say(&paint(&indented(text.trim()), FAINT, self.color));
        }
    }

    /// Where the time of the steps went.
    pub(super) fn profile(&self, profile: &StepProfile, limits: &Limits, pool: &Pool) {
        if self.json {
            let _ = writeln!(
                std::io::stdout(),
                "{}",
                profile_table::json("train", profile, limits, pool)
            );
        } else {
            let table = profile_table::text("step", profile, limits, pool, self.color);
            self.say(&format!("\n{table}{}", profile_table::LIMIT));
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The first held-out examples up to their first answers.
fn questions(run: &Run) -> Vec<Vec<u32>> {
    const MOST: usize = 32;
    let Some(Data::Examples(val)) = &run.data.val else {
        return Vec::new();
    };
    let examples = (0..val.examples().len()).filter_map(|i| val.examples().get(i).ok());
    let question = |example: Example| {
        let answer = example.learn.iter().position(|learn| *learn)?;
        Some(example.ids[..answer].to_vec())
    };
    examples.filter_map(question).take(MOST).collect()
}

/// A sample, set off from the lines around it.
fn indented(text: &str) -> String {
    let width = crate::terminal::width().saturating_sub(4);
    let options = textwrap::Options::new(width)
        .initial_indent("  │ ")
        .subsequent_indent("  │ ");
    let mut out = String::new();
    for line in text.lines() {
        for line in textwrap::wrap(line, &options) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}
