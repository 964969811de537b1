//! What can go wrong between a path and a text.

use foretoken_formats::dtype::Dtype;
use std::path::PathBuf;

/// Why a model cannot be opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no model at a path.
    #[error("{} holds no model: expected a run, a checkpoint, a directory with config.json and model.safetensors, an adapter's, or a .gguf file", .path.display())]
    NoModel {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// What could be a repository's name is neither a path nor in the cache.
    #[error(
        "{repo} is no path here, and no model of that name was pulled: expected a run, a checkpoint, a directory with \
         config.json and model.safetensors, or a .gguf file; `foretoken pull {repo}` fetches it"
    )]
    NotPulled {
        /// As it was given.
        repo: String,
    },
    /// No run was made yet.
    #[error("there is no run in {}: train one first (`foretoken train`), or name a model with --model", .path.display())]
    NoRun {
        /// Where runs are looked for.
        path: PathBuf,
    },
    /// More tokens than the model has positions.
    #[error(
        "the text has {tokens} tokens, and the model sees {n_positions} at once: look at a shorter text, or at its end"
    )]
    TooLong {
        /// Of the text.
        tokens: usize,
        /// Of the model.
        n_positions: usize,
    },
    /// What was named is not one token.
    #[error(
        "{named:?} is not one token of this model ({found}): name one by its text, with the space before it if it has one, or by its number, as #42"
    )]
    NoToken {
        /// As it was given.
        named: String,
        /// What it is.
        found: String,
    },
    /// A position outside of the text.
    #[error("there is no token {position}: the text has {tokens}, counted from 0, or from the end as -1")]
    NoPosition {
        /// As it was given.
        position: isize,
        /// Of the text.
        tokens: usize,
    },
    /// A head or layer that the model does not have.
    #[error("there is no head {layer}.{head}: the model has {layers} layers of {heads} heads, each counted from 0")]
    NoHead {
        /// As it was given.
        layer: usize,
        /// As it was given.
        head: usize,
        /// L.
        layers: usize,
        /// h.
        heads: usize,
    },
    /// Two texts that cannot be laid beside each other.
    #[error("the texts have {tokens} and {other} tokens: a patch takes two texts that differ in single tokens")]
    PatchLength {
        /// Of the text.
        tokens: usize,
        /// Of the other.
        other: usize,
    },
    /// Two models that differ in more than their weights.
    #[error("{} and {} are not of one architecture and size: compare two checkpoints of a run, or a model with what was tuned from it", .path.display(), .other.display())]
    OtherModel {
        /// The second.
        path: PathBuf,
        /// The first.
        other: PathBuf,
    },
    /// A directory without a tokeniser.
    #[error("{} holds no tokenizer: expected tokenizer.json, or vocab.json and merges.txt", .path.display())]
    NoTokenizer {
        /// The directory.
        path: PathBuf,
    },
    /// An adapter without the model it stands beside.
    #[error("the base of the adapter in {} is {}: {why}", .path.display(), if .base.is_empty() { "not known" } else { .base })]
    AdapterBase {
        /// The adapter.
        path: PathBuf,
        /// What it names.
        base: String,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// The tokeniser has ids that the model does not.
    #[error(
        "the tokenizer in {} has {tokenizer} tokens, but the model's vocab_size is {model}: they do not belong together",
        .path.display()
    )]
    Tokenizer {
        /// The directory.
        path: PathBuf,
        /// Tokens of the tokeniser.
        tokenizer: usize,
        /// V of the model.
        model: usize,
    },
    /// A GGUF file's tokeniser that is not read here, or contradicts the rest of the file.
    #[error("{}: `{key}` is {found}: expected {expected}", .path.display())]
    GgufTokenizer {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What it holds.
        found: String,
        /// What is read.
        expected: String,
    },
    /// A tokeniser that a GGUF file cannot hold.
    #[error("{} has a tokenizer of characters with the character {token}, which stands for a space in GGUF: take a byte or bpe tokenizer", .path.display())]
    NotInGguf {
        /// The model.
        path: PathBuf,
        /// The character.
        token: &'static str,
    },
    /// A type that the target of a conversion does not hold.
    #[error("{} is a directory in Hugging Face's layout, which holds f32, f16 and bf16: {dtype} is for a .gguf file", .path.display())]
    NoSuchDtype {
        /// The target.
        path: PathBuf,
        /// What was asked for.
        dtype: Dtype,
    },
    /// A type that is only read.
    #[error("{dtype} is only read; written are f32, f16, bf16, q8_0, q4_0 and q4_1")]
    ReadOnlyDtype {
        /// What was asked for.
        dtype: Dtype,
    },
    /// The target of a conversion may not be replaced.
    #[error("{} is not replaced: {reason}", .path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// More memory than there is.
    #[error("{} needs about {needed} to generate with its context of {context} tokens, and {available} are free: {help}", .path.display())]
    Memory {
        /// The directory.
        path: PathBuf,
        /// Predicted.
        needed: String,
        /// The longest context, which its key/value cache is for.
        context: usize,
        /// Free now.
        available: String,
        /// What to do.
        help: &'static str,
    },
    /// A benchmark that needs more memory than there is.
    #[error(
        "{what} needs about {needed}, and {available} are free: take a smaller --preset, --batch-size or --seq-len"
    )]
    BenchMemory {
        /// Which one.
        what: String,
        /// Predicted.
        needed: String,
        /// Free now.
        available: String,
    },
    /// More memory for beam search than there is.
    #[error("{beams} beams need about {needed}, and {available} are free: take fewer")]
    BeamMemory {
        /// Texts followed at once.
        beams: usize,
        /// For their key/value caches, at the whole context.
        needed: String,
        /// Free now.
        available: String,
    },
    /// More memory for a window of tokens than there is.
    #[error(
        "scoring with a context of {context} tokens needs about {needed}, and {available} are free: take a smaller --context"
    )]
    ScoreMemory {
        /// Tokens of a window.
        context: usize,
        /// Predicted.
        needed: String,
        /// Free now.
        available: String,
    },
    /// Windows that the model cannot read, or that would leave out tokens.
    #[error(
        "a context of {context} tokens{}: expected a context from 1 to the model's n_positions of {n_positions}, and a \
         stride from 1 to the context",
        .stride.map_or_else(String::new, |stride| format!(" with a stride of {stride}"))
    )]
    Windows {
        /// Tokens of a window.
        context: usize,
        /// Tokens from one window to the next, where it was said.
        stride: Option<usize>,
        /// The model's longest context.
        n_positions: usize,
    },
    /// A weight that is no number.
    #[error(
        "{}: the tensor {tensor} holds a weight that is NaN or infinite; take another checkpoint, or get the file again",
        .path.display()
    )]
    NotFinite {
        /// The model.
        path: PathBuf,
        /// Which one.
        tensor: String,
    },
    /// A loss that is no number though every weight is one.
    #[error(
        "{} gives a loss that is not a number: its weights are far too large for f32, training must have diverged; take \
         another checkpoint",
        .path.display()
    )]
    NoLoss {
        /// The model.
        path: PathBuf,
    },
    /// A text that a second model finds to be another than the first.
    #[error("the text has another number of tokens than it had for the first model: it must not change meanwhile")]
    TextChanged,
    /// A line of multiple-choice questions that is none.
    #[error("{origin}:{line}: {message}")]
    Question {
        /// The file, or `standard input`.
        origin: String,
        /// The line, counted from 1.
        line: u64,
        /// What was found and what was expected.
        message: String,
    },
    /// Multiple-choice questions that cannot be read at all.
    #[error("{origin}: {message}")]
    Questions {
        /// The file, or `standard input`.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// A text without a single token to score.
    #[error("the text is empty: there is nothing to score")]
    Empty,
    /// A grammar that no text can be held to.
    #[error("the {what} cannot be used: {message}")]
    Grammar {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// A prompt cache that is of no use.
    #[error("prompt cache {}: {reason}", .path.display())]
    PromptCache {
        /// The file.
        path: PathBuf,
        /// Why, and what becomes of it.
        reason: &'static str,
    },
    /// The machine.
    #[error("{0}")]
    Machine(String),
    /// The model.
    #[error(transparent)]
    Model(#[from] foretoken_model::Error),
    /// Files.
    #[error(transparent)]
    File(#[from] foretoken_formats::Error),
    /// Text and tokenisers.
    #[error(transparent)]
    Text(#[from] foretoken_text::Error),
    /// Runs and their data.
    #[error(transparent)]
    Train(#[from] foretoken_train::Error),
    /// Sampling.
    #[error(transparent)]
    Generate(#[from] foretoken_generate::Error),
}

/// Whether a model has a head.
///
/// # Errors
/// [`Error::NoHead`].
pub(crate) fn check_head(model: &dyn foretoken_model::Model, layer: usize, head: usize) -> Result<(), Error> {
    let dims = model.dims();
    if layer < dims.n_layer && head < dims.n_head {
        return Ok(());
    }
    Err(Error::NoHead {
        layer,
        head,
        layers: dims.n_layer,
        heads: dims.n_head,
    })
}
