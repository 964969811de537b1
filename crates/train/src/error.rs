//! What can stop a run.

use std::path::PathBuf;

/// Why a run cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value that no run can have.
    #[error("--{flag} is {found}: expected {expected}")]
    Value {
        /// The flag, which is also the key in `run.toml` with `_` for `-`.
        flag: &'static str,
        /// What was given.
        found: String,
        /// What may be given.
        expected: String,
    },
    /// A run file that does not parse.
    #[error("{path}: {message}")]
    ConfigFile {
        /// The file.
        path: String,
        /// Line, key and what is wrong.
        message: String,
    },
    /// A run file of another version.
    #[error("{path} is of version {found}: this foretoken reads version {expected}; start a new run with its flags")]
    RunVersion {
        /// The file.
        path: String,
        /// Its version.
        found: String,
        /// What is read.
        expected: u32,
    },
    /// Too little text.
    #[error("the {part} data have {tokens} tokens, but a sequence of --seq-len {seq_len} needs {}: {help}", .seq_len + 1)]
    TooShort {
        /// `training` or `validation`.
        part: &'static str,
        /// What there is.
        tokens: u64,
        /// T.
        seq_len: usize,
        /// What to do.
        help: &'static str,
    },
    /// A run is already there.
    #[error("{} already holds a run: go on with `--resume --out {}`, or choose another --out", .path.display(), .path.display())]
    RunExists {
        /// Its directory.
        path: PathBuf,
    },
    /// Nothing to resume.
    #[error("{} holds no run to resume: expected {expected}", .path.display())]
    NoRun {
        /// Where it was looked for.
        path: PathBuf,
        /// What was expected there.
        expected: &'static str,
    },
    /// No checkpoint is whole.
    #[error("no checkpoint in {} is whole, start a new run: {}", .path.display(), .reasons.join("; "))]
    NoCheckpoint {
        /// The run.
        path: PathBuf,
        /// Each checkpoint, and what is wrong with it.
        reasons: Vec<String>,
    },
    /// What is resumed does not go with what was saved.
    #[error("{what} changed since {} was saved: now {found}, then {expected}; {help}", .checkpoint.display())]
    Changed {
        /// Which thing.
        what: &'static str,
        /// The checkpoint.
        checkpoint: PathBuf,
        /// What it is now.
        found: String,
        /// What it was.
        expected: String,
        /// What to do.
        help: &'static str,
    },
    /// The model that a run began from has other weights than then.
    #[error(
        "the weights of {init} are others than those the run began from ({} instead of {}): restore them, or start a new run",
        short(.found), short(.expected)
    )]
    OtherInit {
        /// The model.
        init: String,
        /// What its weights hash to.
        found: String,
        /// What they did.
        expected: String,
    },
    /// A token file with an id past the vocabulary.
    #[error("{}: token {id} at {position} is past the vocabulary of {vocab_size}: delete the file, it is made again", .path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The id.
        id: u32,
        /// Where.
        position: usize,
        /// V.
        vocab_size: usize,
    },
    /// Examples whose two files do not belong together.
    #[error("{}: {found} ids, but examples of {expected} together: delete the directory, it is made again", .path.display())]
    ExampleFile {
        /// The file of ids.
        path: PathBuf,
        /// Ids there are.
        found: usize,
        /// What the lengths add up to.
        expected: usize,
    },
    /// No example to train on, or to validate on.
    #[error("of {examples} {part} examples none carries loss within a sequence of --seq-len {seq_len}: {help}")]
    NoExamples {
        /// `training` or `validation`.
        part: &'static str,
        /// How many there are.
        examples: usize,
        /// T.
        seq_len: usize,
        /// What to do.
        help: &'static str,
    },
    /// The gradient was not finite too often in a row.
    #[error(
        "the gradient was not finite in {skipped} steps in a row (step {step}): lower --lr, or look at the data; the last good checkpoint is kept"
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// How many.
        skipped: u64,
    },
    /// Weights or moments that are no numbers any more.
    #[error("{tensor} holds a number that is not finite at step {step}: lower --lr; the last good checkpoint is kept")]
    Diverged {
        /// Which.
        tensor: String,
        /// The step.
        step: u64,
    },
    /// Another process trains there.
    #[error("{} is in use by another foretoken process: wait for it, or choose another --out", .path.display())]
    InUse {
        /// The run.
        path: PathBuf,
    },
    /// The lock of a run cannot be had.
    #[error("cannot lock {}: {source}", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file in the place of a run's directory.
    #[error("{} is a file: expected a directory for the run, or a name that is free", .path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// A run file that cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of a log that says nothing.
    #[error("{}, line {line}: {message}; expected one JSON object a line, as `foretoken train` writes it", .path.display())]
    LogLine {
        /// The log.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// More memory than there is.
    #[error("this run needs about {needed}, and {available} are free: {help}")]
    Memory {
        /// Predicted.
        needed: String,
        /// Free now.
        available: String,
        /// What to do.
        help: &'static str,
    },
    /// The model.
    #[error(transparent)]
    Model(#[from] foretoken_model::Error),
    /// Files.
    #[error(transparent)]
    File(#[from] foretoken_formats::Error),
    /// Text and tokenisers.
    #[error(transparent)]
    Text(#[from] foretoken_text::Error),
}

fn short(sum: &str) -> &str {
    sum.get(..8).unwrap_or(sum)
}

impl Error {
    pub(crate) fn value(flag: &'static str, found: &str, expected: String) -> Self {
        Self::Value {
            flag,
            found: found.into(),
            expected,
        }
    }

    /// `text` is what the error's place is counted in; empty where there is no text.
    pub(crate) fn config_file(path: &str, text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start));
        let place = before.filter(|_| !text.is_empty()).map_or(String::new(), |before| {
            let line = before.matches('\n').count();
            let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
            let shown: String = text.lines().nth(line).unwrap_or("").trim().chars().take(60).collect();
            format!("line {}, column {column} (`{shown}`): ", line + 1)
        });
        // One line, whatever the parser draws.
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        Self::ConfigFile {
            path: path.into(),
            message: place + &message,
        }
    }
}
