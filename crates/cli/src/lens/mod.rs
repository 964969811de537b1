//! `foretoken lens`

mod color;
mod draw;
mod png;
mod svg;
mod table;

use crate::Usage;
use crate::dtype::Dtype;
use crate::sampling::SamplingFlags;
use crate::terminal::{FAINT, paint, say_error, stderr_color};
use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use foretoken::Gpt;
use foretoken::kernels::Pool;
use foretoken::lens::Weighing;
use foretoken::look::{Granularity, Look, difference, history};
use serde::Serialize;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Looks inside a model: what it does with a text, step by step.
#[derive(Debug, Args)]
#[command(after_help = "\
Positions, layers, heads and neurons count from 0; a position may count from the end, as -1. A token is named by its text, with the space \
before it if it has one, or by its number, as #42. A character that is spread over several tokens is drawn with the part of each: 안 2/3.

Examples:
  foretoken lens tokens \"안녕하세요\" --by syllable
  foretoken lens attn \"One sunny morning, Mina found a kite.\"
  foretoken lens attn --head 3.1 --file story.txt --svg head.svg
  foretoken lens stream \"The capital of France is\" --model openai-community/gpt2
  foretoken lens why --token \" Paris\" --not \" London\" --ablate \"The capital of France is\" --model openai-community/gpt2
  foretoken lens next --top-p 0.9 \"Once upon a\"
  foretoken lens history runs/001-tiny --probe \"One sunny morning, \" --json")]
pub(crate) struct LensCommand {
    #[command(subcommand)]
    view: View,
}

#[derive(Debug, Subcommand)]
enum View {
    /// The walk of the tensors for this text: shapes, bytes, flops, and how long the vectors are
    Shape(Of),
    /// Tokens, syllables or words, and how much each surprises the model
    Tokens(TokensView),
    /// Neighbours of the text's tokens, the tokens in the plane, and how alike positions are
    Embed(EmbedView),
    /// What heads look at: all in small, or one in full
    Attn(AttnView),
    /// What the model would say after each step of each layer
    Stream(StreamView),
    /// Who raised a logit: embeddings, attention, MLPs and heads
    Why(WhyView),
    /// What could come next, and what of it the sampler keeps
    Next(NextView),
    /// Neurons of an MLP, and where they fire
    Neurons(NeuronsView),
    /// Two models: how far each tensor went, and what each does with a prompt
    Diff(DiffView),
    /// The checkpoints of a run: what each does with a prompt, and how far tensors went
    History(HistoryView),
    /// The JSON schema of what the views write with --json
    Schema,
}

/// A text under a model, and where the picture goes.
#[derive(Debug, Args)]
struct Of {
    /// The text
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// A file with the text; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<String>,
    #[command(flatten)]
    model: Opened,
    #[command(flatten)]
    out: Out,
}

#[derive(Debug, Args)]
struct Opened {
    /// A run, a checkpoint, a model directory, a GGUF file or a pulled model's name; the latest run unless given
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Round the weights to this type as the model is opened
    #[arg(long, value_name = "TYPE")]
    quantize: Option<Dtype>,
    /// Threads; one a core unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
struct Out {
    /// One JSON object on standard output, nothing else
    #[arg(long)]
    json: bool,
    /// Also write the picture as SVG
    #[arg(long, value_name = "OUT")]
    svg: Option<PathBuf>,
    /// Also write the picture as PNG, with the fonts of this machine
    #[arg(long, value_name = "OUT")]
    png: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum By {
    #[default]
    Token,
    Syllable,
    Word,
}

impl From<By> for Granularity {
    fn from(by: By) -> Self {
        match by {
            By::Token => Granularity::Token,
            By::Syllable => Granularity::Syllable,
            By::Word => Granularity::Word,
        }
    }
}

#[derive(Debug, Args)]
struct TokensView {
    #[command(flatten)]
    of: Of,
    /// How finely
    #[arg(long, value_enum, default_value_t)]
    by: By,
}

#[derive(Debug, Args)]
struct EmbedView {
    #[command(flatten)]
    of: Of,
    /// Neighbours of each token
    #[arg(long, value_name = "N", default_value_t = 8)]
    nearest: usize,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Cells {
    /// softmax(q kᵀ / √dh)
    #[default]
    Weight,
    /// The weight times the length of what the token writes
    Value,
    /// q kᵀ / √dh
    Score,
}

#[derive(Debug, Args)]
struct AttnView {
    #[command(flatten)]
    of: Of,
    /// One head, as 3.1 for head 1 of layer 3; all unless given
    #[arg(long, value_name = "LAYER.HEAD", value_parser = layer_head)]
    head: Option<(usize, usize)>,
    /// With --head: what stands in the cells
    #[arg(long, value_enum, default_value_t)]
    cells: Cells,
    /// With --head: how finely
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// With --head: what this token looks at, and who looks at it
    #[arg(long, value_name = "POSITION", allow_negative_numbers = true, requires = "head")]
    at: Option<isize>,
}

#[derive(Debug, Args)]
struct StreamView {
    #[command(flatten)]
    of: Of,
    /// The positions that are read, as 3,7,-1; the last that find room unless given
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', allow_negative_numbers = true)]
    at: Vec<isize>,
    /// Tokens of each reading
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
}

#[derive(Debug, Args)]
struct WhyView {
    #[command(flatten)]
    of: Of,
    /// Whose logit; the likeliest unless given
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// How far it is above this one's
    #[arg(long = "not", value_name = "TOKEN")]
    against: Option<String>,
    /// Behind which token
    #[arg(long, value_name = "POSITION", default_value_t = -1, allow_negative_numbers = true)]
    at: isize,
    /// Heads that are named
    #[arg(long, value_name = "N", default_value_t = 8)]
    heads: usize,
    /// Also measure the logit without each of these heads
    #[arg(long)]
    ablate: bool,
    /// Also put the stream of this text in, place by place: as many tokens, some of them others
    #[arg(long, value_name = "TEXT")]
    patch: Option<String>,
}

#[derive(Debug, Args)]
struct NextView {
    #[command(flatten)]
    of: Of,
    /// Candidates
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    #[command(flatten)]
    sampling: SamplingFlags,
}

#[derive(Debug, Args)]
struct NeuronsView {
    #[command(flatten)]
    of: Of,
    /// The layer; the middle one unless given
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Neurons
    #[arg(long, value_name = "N", default_value_t = 10)]
    count: usize,
    /// Places of each
    #[arg(long, value_name = "N", default_value_t = 5)]
    contexts: usize,
}

#[derive(Debug, Args)]
struct DiffView {
    /// The first model
    #[arg(value_name = "MODEL_A")]
    before: PathBuf,
    /// The second
    #[arg(value_name = "MODEL_B")]
    after: PathBuf,
    #[command(flatten)]
    probes: Probes,
}

#[derive(Debug, Args)]
struct HistoryView {
    /// A run with checkpoints; the latest unless given
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    #[command(flatten)]
    probes: Probes,
}

#[derive(Debug, Args)]
struct Probes {
    /// A fixed prompt; may be given several times
    #[arg(long = "probe", value_name = "TEXT")]
    prompts: Vec<String>,
    /// Tokens that each model writes after it
    #[arg(long, value_name = "N", default_value_t = 24)]
    max_tokens: usize,
    /// Threads; one a core unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    out: Out,
}

/// `3.1`: a layer and a head.
pub(crate) fn layer_head(text: &str) -> Result<(usize, usize), String> {
    let numbers = text
        .split_once('.')
        .and_then(|(layer, head)| Some((layer.parse().ok()?, head.parse().ok()?)));
    numbers.ok_or_else(|| "expected LAYER.HEAD, such as 3.1".into())
}

impl LensCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.view {
            View::Shape(of) => of.look(|look, out| {
                out.show(&look.shape()?, draw::shape, |v| {
                    let title = format!("The walk of {} tokens through {}", v.tokens.len(), v.model);
                    svg::table(&title, draw::MEAN_LENGTH, &draw::shape_rows(v))
                })
            }),
            View::Tokens(TokensView { of, by }) => {
                of.look(|look, out| out.show(&look.tokens(by.into())?, draw::tokens, svg::tokens))
            }
            View::Embed(EmbedView { of, nearest }) => {
                of.look(|look, out| out.show(&look.embedding(nearest), draw::embedding, svg::embedding))
            }
            View::Attn(view) => view.run(),
            View::Stream(view) => view.run(),
            View::Why(view) => view.run(),
            View::Next(NextView { of, top, sampling }) => of.look(|look, out| {
                let mut parameters = sampling.sampling();
                if let Some(dry) = &mut parameters.dry {
                    dry.sequence_breakers = sampling.breakers(look.gpt().tokenizer())?;
                }
                out.show(&look.next(look.position(-1)?, parameters, top)?, draw::next, svg::next)
            }),
            View::Neurons(NeuronsView {
                of,
                layer,
                count,
                contexts,
            }) => of.look(|look, out| {
                let layer = layer.unwrap_or(look.gpt().model().dims().n_layer / 2);
                out.show(&look.neurons(layer, count, contexts)?, draw::neurons, |v| {
                    svg::table(
                        &format!("Neurons of {}", v.model),
                        &draw::neurons_what(v),
                        &draw::neuron_rows(v),
                    )
                })
            }),
            View::Diff(view) => view.run(),
            View::History(view) => view.run(),
            View::Schema => {
                let mut out = std::io::stdout().lock();
                serde_json::to_writer_pretty(&mut out, &foretoken::look::schema())?;
                writeln!(out)?;
                Ok(())
            }
        }
    }
}

impl Opened {
    fn open(&self, json: bool) -> anyhow::Result<Gpt> {
        let path = match &self.model {
            Some(path) => path.clone(),
            None => {
                let path = foretoken::latest_run(Path::new(crate::train::RUNS))?;
                if !json {
                    say_error(&paint(&path.display().to_string(), FAINT, stderr_color()));
                }
                path
            }
        };
        open(&path, self.threads, self.quantize)
    }
}

fn open(path: &Path, threads: Option<usize>, quantize: Option<Dtype>) -> anyhow::Result<Gpt> {
    let threads = threads.filter(|&n| n > 0).unwrap_or_else(crate::train::cores);
    let pool = Pool::new(threads).map_err(anyhow::Error::msg)?;
    let gpt = foretoken::open_as(path, pool, quantize.map(Into::into))?;
    gpt.check_weights()?;
    Ok(gpt)
}

impl Of {
    fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        match (&self.text, self.file.as_deref()) {
            (Some(given), _) => text.clone_from(given),
            (None, Some("-")) => {
                std::io::stdin()
                    .lock()
                    .read_to_string(&mut text)
                    .context("standard input")?;
            }
            (None, Some(path)) => text = std::fs::read_to_string(path).with_context(|| path.to_owned())?,
            (None, None) => return Err(Usage("nothing to look at: give a TEXT, or --file".into()).into()),
        }
        Ok(text)
    }

    fn look(&self, show: impl FnOnce(&Look<'_>, &Out) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let text = self.text()?;
        let gpt = self.model.open(self.out.json)?;
        show(&gpt.look(&text)?, &self.out)
    }
}

impl Out {
    /// Writes a view as it was asked for.
    fn show<V: Serialize>(
        &self,
        view: &V,
        draw: impl FnOnce(&V, draw::Page) -> String,
        picture: impl FnOnce(&V) -> String,
    ) -> anyhow::Result<()> {
        if self.is_picture() {
            let svg = picture(view);
            if let Some(path) = &self.svg {
                foretoken_formats::durable::write_bytes(path, svg.as_bytes())?;
            }
            if let Some(path) = &self.png {
                let (png, missing) = png::render(&svg)?;
                foretoken_formats::durable::write_bytes(path, &png)?;
                if !missing.is_empty() {
                    let missing: String = missing.into_iter().collect();
                    let what = "has no glyph in any font of this machine and is not drawn: install one, or use --svg";
                    say_error(&format!("{}: {missing} {what}", path.display()));
                }
            }
        }
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        match self.json {
            true => {
                serde_json::to_writer(&mut out, view)?;
                writeln!(out)?;
            }
            false => out.write_all(draw(view, draw::Page::of_terminal()).as_bytes())?,
        }
        out.flush()?;
        Ok(())
    }

    fn is_picture(&self) -> bool {
        self.svg.is_some() || self.png.is_some()
    }
}

impl AttnView {
    fn run(self) -> anyhow::Result<()> {
        let Some((layer, head)) = self.head else {
            // Cells of a head's small map: what a terminal has room for, and what a picture shows.
            let side = if self.of.out.json || self.of.out.is_picture() {
                16
            } else {
                8
            };
            return self
                .of
                .look(|look, out| out.show(&look.attention(side)?, draw::attention, svg::attention));
        };
        let weighing = match self.cells {
            Cells::Weight => Weighing::Weight,
            Cells::Value => Weighing::Value,
            Cells::Score => Weighing::Score,
        };
        self.of.look(|look, out| {
            let view = look.head(layer, head, weighing, self.by.into())?;
            let at = self.at.map(|at| look.position(at)).transpose()?;
            out.show(&view, |view, page| draw::head(view, at, page), svg::head)
        })
    }
}

impl StreamView {
    fn run(self) -> anyhow::Result<()> {
        self.of.look(|look, out| {
            let t = look.ids().len();
            let positions = match self.at.is_empty() {
                true => (t.saturating_sub(draw::stream_columns())..t).collect(),
                false => self
                    .at
                    .iter()
                    .map(|&at| look.position(at))
                    .collect::<Result<Vec<_>, _>>()?,
            };
            out.show(&look.stream(&positions, self.top)?, draw::stream, svg::stream)
        })
    }
}

impl WhyView {
    fn run(self) -> anyhow::Result<()> {
        self.of.look(|look, out| {
            let position = look.position(self.at)?;
            let token = self.token.as_deref().map(|named| look.gpt().token(named)).transpose()?;
            let against = self
                .against
                .as_deref()
                .map(|named| look.gpt().token(named))
                .transpose()?;
            if against.is_some() && against == token {
                return Err(
                    Usage("--token and --not are the same token: there is no difference to explain".into()).into(),
                );
            }
            let mut view = look.why(position, token, against, self.heads, self.ablate)?;
            if let Some(other) = &self.patch {
                view.patched = look.patched(&look.gpt().look(other)?, position, view.token.0, against)?;
            }
            out.show(&view, draw::why, svg::why)
        })
    }
}

impl DiffView {
    fn run(self) -> anyhow::Result<()> {
        let [before, after] = [&self.before, &self.after].map(|path| open(path, self.probes.threads, None));
        let view = difference(&before?, &after?, &self.probes.prompts, self.probes.max_tokens)?;
        self.probes.out.show(&view, draw::difference, |v| {
            let title = format!("{} and {}", v.models[0], v.models[1]);
            svg::table(&title, "how far each tensor went", &draw::change_rows(&v.tensors))
        })
    }
}

impl HistoryView {
    fn run(self) -> anyhow::Result<()> {
        let run = match &self.run {
            Some(run) => run.clone(),
            None => foretoken::latest_run(Path::new(crate::train::RUNS))?,
        };
        let open = |path: &Path| open(path, self.probes.threads, None);
        let view = history(&run, open, &self.probes.prompts, self.probes.max_tokens)?;
        self.probes.out.show(&view, draw::history, svg::history)
    }
}
