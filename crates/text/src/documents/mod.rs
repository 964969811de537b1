//! Documents from files, folders, patterns and standard input, one after the other in bounded memory.
//!
//! A text file is one document; a row of `.jsonl`, `.csv` or `.parquet` is one. A text file larger than a piece comes in several
//! [`Document`]s of which only the last [`ends`](Document::ends).

mod parquet;
mod rows;
mod sources;
mod text;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use crate::Error;
use parquet::ParquetLines;
pub use rows::LARGEST_ROW;
use rows::{CsvRows, JsonRows};
pub(crate) use rows::{CsvTable, JsonLines, kind_of};
pub use sources::{Format, Source, find_sources, sources_fingerprint};
pub use text::LARGEST_PIECE;
use text::TextPieces;

/// A document, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its text, not empty. A byte-order mark is gone, line ends are as they were.
    pub text: String,
    /// The file it came from, or `standard input`.
    pub source: Arc<str>,
    /// The line on which it starts, counted from 1.
    pub line: u64,
    /// Whether the document ends here; if not, the next piece follows without anything between. Encoding the pieces
    /// gives the ids of the whole: they are cut before a white space that follows another character.
    pub ends: bool,
}

/// How to read sources.
#[derive(Debug, Clone)]
pub struct DocumentOptions {
    /// The field or column that holds the text of a row; several, separated by commas, are joined by a
    /// line feed. `text` by default.
    pub text_field: String,
    /// How to read all sources, whatever their extensions say; for standard input, which has none. Text by default.
    pub format: Option<Format>,
}

impl Default for DocumentOptions {
    fn default() -> DocumentOptions {
        DocumentOptions {
            text_field: "text".to_owned(),
            format: None,
        }
    }
}

/// The documents of some sources, in order.
///
/// ```
/// use foretoken_text::{DocumentOptions, Documents};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("talk.csv");
/// std::fs::write(&path, "Q,A\n안녕,반가워\n")?;
/// let options = DocumentOptions { text_field: "Q,A".into(), ..Default::default() };
/// for document in Documents::open(&[path.to_str().unwrap()], &options)? {
///     let document = document?;
///     assert_eq!((document.text.as_str(), document.line), ("안녕\n반가워", 2));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Documents {
    sources: std::vec::IntoIter<Source>,
    fields: Vec<String>,
    current: Option<Box<dyn Iterator<Item = Result<Document, Error>>>>,
    /// Nothing found yet: the names to complain about.
    empty: Option<String>,
    failed: bool,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents")
            .field("sources", &self.sources)
            .field("fields", &self.fields)
            .finish()
    }
}

impl Documents {
    /// Finds the sources of `paths` as [`find_sources`] does, and reads them.
    ///
    /// # Errors
    /// Where a path leads nowhere or a file is of unknown kind. Errors of reading come from the iterator, after which
    /// it ends; so does the error that all sources together are empty.
    pub fn open<P: AsRef<str>>(paths: &[P], options: &DocumentOptions) -> Result<Documents, Error> {
        Ok(Documents::of(find_sources(paths, options.format)?, options))
    }

    /// Reads these sources.
    pub fn of(sources: Vec<Source>, options: &DocumentOptions) -> Documents {
        let names: Vec<&str> = sources.iter().map(Source::name).collect();
        // A folder can hold thousands.
        let names = match names.as_slice() {
            [first, _, _, _, ..] => format!("{first} and {} others", names.len() - 1),
            _ => names.join(", "),
        };
        Documents {
            sources: sources.into_iter(),
            fields: options
                .text_field
                .split(',')
                .map(|field| field.trim().to_owned())
                .collect(),
            current: None,
            empty: Some(names),
            failed: false,
        }
    }

    fn start(&self, source: &Source) -> Result<Box<dyn Iterator<Item = Result<Document, Error>>>, Error> {
        let name: Arc<str> = source.name().into();
        let reader = reader(source)?;
        Ok(match source.format() {
            Format::Text => Box::new(TextPieces::new(reader, name)),
            Format::JsonLines | Format::Parquet => Box::new(JsonRows::new(reader, name, self.fields.clone())),
            Format::Csv => Box::new(CsvRows::new(reader, name, self.fields.clone())),
        })
    }
}

impl Iterator for Documents {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Result<Document, Error>> {
        if self.failed {
            return None;
        }
        loop {
            if let Some(item) = self.current.as_mut().and_then(Iterator::next) {
                self.empty = None;
                self.failed = item.is_err();
                return Some(item);
            }
            let started = match self.sources.next() {
                Some(source) => self.start(&source),
                None => Err(Error::NoText {
                    sources: self.empty.take()?,
                }),
            };
            match started {
                Ok(reader) => self.current = Some(reader),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The bytes of a source.
pub(crate) fn reader(source: &Source) -> Result<Box<dyn Read>, Error> {
    let Some(path) = source.path() else {
        return Ok(Box::new(io::stdin()));
    };
    let error = |error| io_error(source.name(), error);
    let file = File::open(path).map_err(error)?;
    Ok(match source.format() {
        Format::Parquet => Box::new(ParquetLines::open(file).map_err(error)?),
        _ => Box::new(file),
    })
}

/// What the system said about `name`.
fn io_error(name: &str, source: io::Error) -> Error {
    Error::Io {
        path: name.into(),
        source,
    }
}
