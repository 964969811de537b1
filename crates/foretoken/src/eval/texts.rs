//! Which texts are scored: one file, documents, or the built-in stories.

use crate::error::Error;
use foretoken_text::corpus::Corpus;
use foretoken_text::{Document, DocumentOptions, Documents, Format, Source, find_sources};
use foretoken_train::{BuiltIn, validation_stories};
use std::ops::Range;

/// Stories of the built-in corpus unless told otherwise: their floor is known to within half a percent.
const STORIES: u64 = 1000;

/// Documents that can be read as often as there are models.
#[derive(Debug)]
pub struct Texts {
    origin: Origin,
    ends: bool,
}

#[derive(Debug)]
enum Origin {
    Corpus(Corpus, Range<u64>),
    Sources(Vec<Source>, DocumentOptions),
    /// Standard input, which comes once.
    Held(Vec<Document>),
}

impl Texts {
    /// A file, or standard input for `-`, as one document whatever its name says. Only its own tokens are scored.
    ///
    /// # Errors
    /// It is a directory or not there. [`Error::Empty`] and what is no text show while it is read; of standard input, here.
    pub fn file(path: &str) -> Result<Self, Error> {
        let io = |source| foretoken_text::Error::Io {
            path: path.into(),
            source,
        };
        // What it is not, it would otherwise be taken for: a folder of documents, a pattern.
        if path != "-" && std::fs::metadata(path).map_err(io)?.is_dir() {
            return Err(io(std::io::ErrorKind::IsADirectory.into()).into());
        }
        let sources = find_sources(&[path], Some(Format::Text))?;
        Self::of(sources, DocumentOptions::default(), false)
    }

    /// The documents of files, folders, patterns and standard input, as training reads them; or `corpus[:STORIES]` or
    /// `strangers[:STORIES]`, the validation stories of the built-in corpus. The end-of-text token after each is scored with it: a model that was
    /// trained on documents knows where they end, and the corpus's floor counts it.
    ///
    /// # Errors
    /// A path leads nowhere, a file is of unknown kind, a number of stories is none. What is wrong with a document shows
    /// while it is read; of standard input, here.
    pub fn data(paths: &[String], text_field: &str) -> Result<Self, Error> {
        if let Some(BuiltIn { corpus, stories, .. }) = BuiltIn::of(paths)? {
            let range = validation_stories(stories.unwrap_or(STORIES));
            return Ok(Self {
                origin: Origin::Corpus(corpus, range),
                ends: true,
            });
        }
        let options = DocumentOptions {
            text_field: text_field.to_owned(),
            ..Default::default()
        };
        Self::of(find_sources(paths, None)?, options, true)
    }

    fn of(sources: Vec<Source>, options: DocumentOptions, ends: bool) -> Result<Self, Error> {
        let origin = match sources.iter().any(|source| source.path().is_none()) {
            true => Origin::Held(
                Documents::of(sources, &options)
                    .collect::<Result<_, _>>()
                    .map_err(empty)?,
            ),
            false => Origin::Sources(sources, options),
        };
        Ok(Self { origin, ends })
    }

    /// Whether the end-of-text token after a document is scored with it.
    pub fn scores_ends(&self) -> bool {
        self.ends
    }

    /// Every document, or piece of one.
    pub(super) fn documents(&self) -> Box<dyn Iterator<Item = Result<Document, Error>> + '_> {
        match &self.origin {
            Origin::Held(documents) => Box::new(documents.iter().cloned().map(Ok)),
            Origin::Sources(sources, options) => {
                Box::new(Documents::of(sources.clone(), options).map(|document| document.map_err(empty)))
            }
            Origin::Corpus(corpus, range) => Box::new(range.clone().map(|index| {
                Ok(Document {
                    text: corpus.story(index).text,
                    source: "corpus".into(),
                    line: index - range.start + 1,
                    ends: true,
                })
            })),
        }
    }

    /// The source's entropy in bits per byte over its first `documents`, where the source is known.
    pub(super) fn floor(&self, documents: u64) -> Option<f64> {
        match &self.origin {
            Origin::Corpus(corpus, range) if documents > 0 => {
                let range = range.start..range.end.min(range.start + documents);
                Some(corpus.entropy_estimate(range).bits_per_byte())
            }
            _ => None,
        }
    }

    /// Bytes of all documents, where that is known before they are read.
    pub fn bytes(&self) -> Option<u64> {
        match &self.origin {
            Origin::Corpus(corpus, range) => Some(corpus.entropy_estimate(range.clone()).bytes),
            Origin::Held(documents) => Some(documents.iter().map(|document| document.text.len() as u64).sum()),
            Origin::Sources(sources, _) => {
                let size = |source: &Source| match source.format() {
                    Format::Text => source.size().ok().flatten(),
                    _ => None,
                };
                sources.iter().map(size).sum()
            }
        }
    }
}

/// There is nothing to score where there would be nothing to learn from.
fn empty(error: foretoken_text::Error) -> Error {
    match error {
        foretoken_text::Error::NoText { .. } => Error::Empty,
        error => Error::Text(error),
    }
}
