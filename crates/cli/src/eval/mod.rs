//! `foretoken eval`

mod answers;
mod progress;
mod report;

use crate::Usage;
use crate::dtype::Dtype;
use crate::terminal::{FAINT, paint, say_error, stderr_color};
use anyhow::Context;
use clap::Args;
use foretoken::eval::{
    AnswerScore, ChoiceScore, Limit, Question, TextOptions, TextScore, Texts, read_questions, score_answers,
    score_choices, score_texts,
};
use foretoken::kernels::Pool;
use foretoken::{Gpt, Held};
use progress::Progress;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

/// The value of `--answers` that stands for what a run kept for validation.
const HELD_OUT: &str = "held-out";

/// Measures how well a model expects a text and answers questions, and compares models.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
A text longer than the context is read in windows of --context tokens, each --stride after the one before. In a window only the \
last --stride tokens count, in the first all: each token counts exactly once, after at least context - stride others of \
its document. A small stride lets every token see more, which lowers the loss, and costs context / stride passes over the \
text; a stride of the whole context is the quickest, and the first tokens of each window then see next to nothing. Losses \
compare only where both are the same.

--choices takes a JSON object a line: a prompt (query, prompt, question or ctx), choices (choices, endings or options: a list, \
or {\"text\": [..], \"label\": [..]}), and the right one (gold, answer, label or answerKey: its place from 0, its letter or \
label, or its text). acc takes the choice of the highest log-probability after the prompt, acc_norm the highest a byte; of k \
that share the first place, the right one counts 1/k.

--answers asks questions whose answers are known: those that a run kept for validation, or --answers FILE.csv or .jsonl, or \
--answers corpus, the stories no training has seen. loss is that of the known answers, exact counts answers of the model that are \
the known one but for white space around them, F1 compares characters as multisets, so that a particle more is no wrong word.

Every further --model is compared with the first: with the same tokenizer token by token, which is far surer than two losses \
side by side; otherwise only bits per byte compare. What follows ± is one standard \
error, as if tokens were independent. Speed counts the tokens that count, each once.

Examples:
  foretoken eval --file held-out.txt
  foretoken eval --model runs/a --model runs/b --data corpus
  foretoken eval --model gpt2 --quantize f32,q8_0,q4_0 --file book.txt     what each type costs
  foretoken eval --model gpt2 --data test.jsonl --text-field body --stride 256 --limit-tokens 100000
  foretoken eval --choices arc.jsonl --json
  foretoken eval --model runs/qa --answers                  the questions it has not seen
  foretoken eval --answers corpus:500 --worst 20
  cat book.txt | foretoken eval --file -"
)]
pub(crate) struct Eval {
    /// A run, a checkpoint or a model directory; the latest run unless given; several are compared with the first
    #[arg(long, value_name = "PATH")]
    model: Vec<PathBuf>,
    /// Types that the weights of each model are rounded to as it is opened, a row each; as stored unless given
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    quantize: Vec<Dtype>,
    /// A text to score as one document; - for standard input
    #[arg(long, value_name = "TEXT", conflicts_with = "data")]
    file: Option<String>,
    /// Documents to score, each on its own with the end-of-text token after it: files, folders, patterns, - for standard
    /// input, or corpus[:STORIES] or strangers[:STORIES], validation stories of the built-in corpus and their floor
    #[arg(long, num_args = 1.., value_name = "PATH")]
    data: Vec<String>,
    /// Columns of CSV and JSONL that hold the text, separated by commas
    #[arg(long, default_value = "text", value_name = "NAMES")]
    text_field: String,
    /// Multiple-choice questions, a JSON object a line; - for standard input
    #[arg(long, value_name = "FILE")]
    choices: Option<String>,
    /// What stands between a prompt and a choice, unless white space does
    #[arg(long, default_value = " ", value_name = "TEXT")]
    delimiter: String,
    /// Questions with known answers: FILE, corpus[:STORIES], strangers[:STORIES], or, without a value, what a run kept for validation
    #[arg(long, num_args = 0..=1, default_missing_value = HELD_OUT, value_name = "FILE")]
    answers: Option<String>,
    /// Column or field of questions [guessed]
    #[arg(long, value_name = "NAME", requires = "answers")]
    question_field: Option<String>,
    /// Column or field of answers [guessed]
    #[arg(long, value_name = "NAME", requires = "answers")]
    answer_field: Option<String>,
    /// Ask only the first N questions
    #[arg(long, value_name = "N", requires = "answers", value_parser = clap::value_parser!(u64).range(1..))]
    limit_questions: Option<u64>,
    /// Tokens of an answer at most
    #[arg(long, value_name = "N", requires = "answers", default_value = "64")]
    max_tokens: usize,
    /// Of how many answers that agree least the report tells
    #[arg(long, value_name = "N", requires = "answers", default_value = "10")]
    worst: usize,
    /// Tokens that the model sees at once, up to n_positions [n_positions]
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Tokens from one window to the next [context / 2]
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Score only the first N tokens of the text
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit_tokens: Option<u64>,
    /// Threads; one a core unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One JSON object on standard output, nothing else
    #[arg(long)]
    json: bool,
}

/// What was measured of one model.
struct Row {
    name: String,
    model_type: &'static str,
    held: Held,
    /// Whether its tokeniser is the first model's.
    same_tokenizer: bool,
    text: Option<TextScore>,
    choices: Option<ChoiceScore>,
    answers: Option<AnswerScore>,
}

/// What the first model leaves for those compared with it. The model itself is gone by then.
struct First {
    tokenizer: String,
    /// Bytes of text that were scored.
    bytes: u64,
    losses: Vec<f32>,
    credits: Vec<[f64; 2]>,
}

impl Eval {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.file.is_none() && self.data.is_empty() && self.choices.is_none() && self.answers.is_none() {
            return Err(Usage(
                "nothing to measure: give a text with --file or --data, questions with --choices or --answers".into(),
            )
            .into());
        }
        let (questions, texts) = (self.questions()?, self.texts()?);
        let asked = answers::asked(&self)?;
        let models = match self.model.is_empty() {
            true => vec![foretoken::latest_run(Path::new(crate::train::RUNS))?],
            false => self.model.clone(),
        };
        // Before the first is measured for an hour.
        for path in &models {
            foretoken::locate(path)?;
        }
        if self.model.is_empty() && !self.json {
            say_error(&paint(&models[0].display().to_string(), FAINT, stderr_color()));
        }
        let progress = Progress::new(texts.as_ref().and_then(Texts::bytes), self.limit_tokens);
        let types: Vec<Option<Dtype>> = match self.quantize.is_empty() {
            true => vec![None],
            false => self.quantize.iter().copied().map(Some).collect(),
        };
        let each = models
            .iter()
            .flat_map(|path| types.iter().map(move |dtype| (path.as_path(), *dtype)));
        let count = models.len() * types.len();
        let (mut rows, mut first) = (Vec::new(), None);
        for opened in each {
            let row = self.measure(
                opened,
                texts.as_ref(),
                questions.as_deref(),
                asked.as_ref(),
                &mut first,
                count > 1,
                &progress,
            );
            // Of several, it is said which one.
            rows.push(match count {
                1 => row?,
                _ => row.with_context(|| opened.0.display().to_string())?,
            });
        }
        progress.end();
        let source = self.file.clone().unwrap_or_else(|| self.data.join(", "));
        let page = match self.json {
            true => report::json(&rows, &source, self.choices.as_deref(), self.answers.as_deref()),
            false => {
                let mut page = report::page(&rows, &source, self.choices.as_deref());
                if let Some(asked) = &self.answers {
                    page += &answers::page(&rows, asked, self.worst);
                }
                page
            }
        };
        std::io::stdout().lock().write_all(page.as_bytes())?;
        Ok(())
    }

    fn questions(&self) -> anyhow::Result<Option<Vec<Question>>> {
        let Some(path) = &self.choices else { return Ok(None) };
        if path == "-" {
            if self.file.as_deref() == Some("-") || self.data.iter().any(|path| path == "-") {
                return Err(Usage(
                    "standard input is both the text and the questions: give one of them as a file".into(),
                )
                .into());
            }
            return Ok(Some(read_questions("standard input", std::io::stdin().lock())?));
        }
        let file = std::fs::File::open(path).with_context(|| path.clone())?;
        Ok(Some(read_questions(path, BufReader::new(file))?))
    }

    fn texts(&self) -> anyhow::Result<Option<Texts>> {
        Ok(match &self.file {
            Some(file) => Some(Texts::file(file)?),
            None if self.data.is_empty() => None,
            None => Some(Texts::data(&self.data, &self.text_field)?),
        })
    }

    /// Opens one model, measures it, and closes it again.
    fn measure(
        &self,
        (path, dtype): (&Path, Option<Dtype>),
        texts: Option<&Texts>,
        questions: Option<&[Question]>,
        asked: Option<&answers::Questions>,
        first: &mut Option<First>,
        keep: bool,
        progress: &Progress,
    ) -> anyhow::Result<Row> {
        let name = path.display().to_string();
        progress.model(&name);
        let pool: Pool = crate::train::pool(self.threads)?;
        let gpt = foretoken::open_as(path, pool, dtype.map(Into::into))?;
        let tokenizer = gpt.tokenizer().fingerprint().to_string();
        let same_tokenizer = first.as_ref().is_none_or(|first| first.tokenizer == tokenizer);
        let mut text = match texts {
            Some(texts) => Some(self.text(&gpt, texts, first.as_ref(), same_tokenizer, keep, progress)?),
            None => None,
        };
        let choices = match questions {
            Some(questions) => {
                let against = first.as_ref().map(|first| first.credits.as_slice());
                let named = (self.choices.as_deref().unwrap_or_default(), questions);
                Some(score_choices(
                    &gpt,
                    named,
                    &self.delimiter,
                    self.context,
                    against,
                    &mut |score| {
                        progress.choices(score, questions.len());
                    },
                )?)
            }
            None => None,
        };
        let answers = match asked {
            Some(asked) => {
                let asked = asked.of(path, self.limit_questions)?;
                let mut told = |score: &AnswerScore| progress.answers(score, asked.len());
                Some(score_answers(&gpt, &asked, self.max_tokens, &mut told)?)
            }
            None => None,
        };
        first.get_or_insert_with(|| First {
            tokenizer,
            bytes: text.as_ref().map_or(0, |text| text.bytes),
            losses: text
                .as_mut()
                .map_or_else(Vec::new, |text| std::mem::take(&mut text.losses)),
            credits: choices
                .as_ref()
                .map_or_else(Vec::new, |choices| choices.credits.clone()),
        });
        Ok(Row {
            name,
            model_type: gpt.model().model_type(),
            held: gpt.held(),
            same_tokenizer,
            text,
            choices,
            answers,
        })
    }

    fn text(
        &self,
        gpt: &Gpt,
        texts: &Texts,
        first: Option<&First>,
        same_tokenizer: bool,
        keep: bool,
        progress: &Progress,
    ) -> anyhow::Result<TextScore> {
        let limit = match first {
            // Other tokens end elsewhere: the same text is meant.
            Some(first) if !same_tokenizer => self.limit_tokens.map(|_| Limit::Bytes(first.bytes)),
            _ => self.limit_tokens.map(Limit::Tokens),
        };
        let options = TextOptions {
            context: self.context,
            stride: self.stride,
            limit,
            keep: keep && first.is_none(),
        };
        let against = first.filter(|_| same_tokenizer).map(|first| first.losses.as_slice());
        Ok(score_texts(gpt, texts, &options, against, &mut |score| {
            progress.text(score)
        })?)
    }
}
