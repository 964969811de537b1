//! What can be wrong with text, files of text and tokenisers.

use std::io;
use std::path::PathBuf;

/// Something outside the program is not as it should be: what was found, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to open or read a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path, folder or pattern leads to no file of text.
    #[error(
        "{pattern}: no text found; give a file, a folder or a pattern with .txt, .md, .jsonl, .csv or .parquet files"
    )]
    NoFiles {
        /// What was asked for.
        pattern: String,
    },
    /// A pattern of file names that cannot be read as one.
    #[error("{pattern}: not a pattern of file names: {message}")]
    Pattern {
        /// What was asked for.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
    /// A named file whose extension says nothing about how to read it.
    #[error("{}: unknown kind of file; known are .txt, .md, .jsonl, .csv and .parquet: rename it, or give it to standard input where it is text", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Every source was read and none held a character.
    #[error("{sources}: empty; there is nothing to learn from")]
    NoText {
        /// The sources, separated by commas.
        sources: String,
    },
    /// A NUL byte: not text.
    #[error("{origin}: NUL byte at byte {offset}; this is a binary or UTF-16 file, text must be UTF-8")]
    Binary {
        /// The file, or `standard input`.
        origin: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// Bytes that are not UTF-8.
    #[error("{origin}: not UTF-8 at byte {offset}; convert it first, as in `iconv -f CP949 -t UTF-8`")]
    NotUtf8 {
        /// The file, or `standard input`.
        origin: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// A row of a `.jsonl`, `.csv` or `.parquet` file that cannot be read.
    #[error("{origin}:{line}: {message}")]
    Row {
        /// The file, or `standard input`.
        origin: String,
        /// The line on which the row starts, counted from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A text where conversations are wanted.
    #[error("{origin}: a text has no questions and answers; give a .csv, .jsonl or .parquet file")]
    NoRows {
        /// The file, or `standard input`.
        origin: String,
    },
    /// A chat template that cannot be used, or does not fit a conversation.
    #[error("chat template: {0}")]
    Template(String),
    /// A row without the field that holds the text.
    #[error("{origin}:{line}: no field `{field}`; there is {found}: name one with --text-field")]
    MissingField {
        /// The file, or `standard input`.
        origin: String,
        /// The line on which the row starts, counted from 1.
        line: u64,
        /// The field that was asked for.
        field: String,
        /// The fields there are, separated by commas.
        found: String,
    },
    /// A validation split that cannot be made.
    #[error("validation split: {message}")]
    Split {
        /// What is wrong and what to do.
        message: String,
    },
    /// A vocabulary size that no tokeniser of this kind can have.
    #[error("vocabulary of {size} tokens: a byte-level BPE needs 257 (256 bytes and the end of text) to {limit}")]
    VocabularySize {
        /// What was asked for.
        size: usize,
        /// The most there may be.
        limit: usize,
    },
    /// A file that is not the tokeniser it should be.
    #[error("{} is no tokenizer that can be read: {source}", path.display())]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A tokeniser file too large to be one.
    #[error("tokenizer file of {bytes} bytes; at most {limit} are read")]
    TokenizerTooLarge {
        /// Its size.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A tokeniser file that is not the JSON it should be.
    #[error("{part}: {message}")]
    TokenizerJson {
        /// `tokenizer.json`, `vocab.json` or `merges.txt`.
        part: &'static str,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A tokeniser of a kind that is not read here.
    #[error("tokenizer: {part} is {found}, expected {expected}")]
    TokenizerUnsupported {
        /// The part of `tokenizer.json`.
        part: &'static str,
        /// What it says, shortened.
        found: String,
        /// What is read.
        expected: &'static str,
    },
    /// A vocabulary, merge or special token that contradicts the rest of its file.
    #[error("tokenizer: {0}")]
    TokenizerInvalid(String),
    /// An id outside the vocabulary.
    #[error("token id {id}: the vocabulary has {vocab_size} tokens, 0 to {}", vocab_size.saturating_sub(1))]
    UnknownId {
        /// The id.
        id: u32,
        /// V.
        vocab_size: usize,
    },
}

/// The start of `text`, short enough for a message.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", text[..end].escape_debug()),
        None => format!("`{}`", text.escape_debug()),
    }
}
