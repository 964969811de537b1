//! Which files there are to read.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use walkdir::WalkDir;

use crate::{Error, Fingerprint};

/// How a source holds its documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `.txt`, `.md`, or no extension: the whole file is one document.
    Text,
    /// `.jsonl`: a JSON object a line, each a document.
    JsonLines,
    /// `.csv`: a line of column names, then each row is a document.
    Csv,
    /// `.parquet`: each row is a document, its columns named as the fields of an object.
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Option<Format> {
        let Some(extension) = path.extension() else {
            return Some(Format::Text);
        };
        match extension.to_str()?.to_ascii_lowercase().as_str() {
            "txt" | "md" => Some(Format::Text),
            "jsonl" => Some(Format::JsonLines),
            "csv" => Some(Format::Csv),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// A file to read, or standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    path: Option<PathBuf>,
    name: String,
    format: Format,
}

impl Source {
    fn file(path: PathBuf, format: Format) -> Source {
        let name = path.display().to_string();
        Source {
            path: Some(path),
            name,
            format,
        }
    }

    /// The file; none for standard input.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Its name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The size of the file in bytes; none for standard input or a pipe.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn size(&self) -> Result<Option<u64>, Error> {
        let Some(path) = &self.path else { return Ok(None) };
        let metadata = path.metadata().map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }
}

/// The sources that `paths` name: `-` is standard input, a folder is all files of known extension under it, anything
/// that is not there by its own name is a pattern (`data/**/*.txt`). What a folder or pattern gives is sorted by name,
/// hidden files left out; the order of `paths` stays. `format` overrides what extensions say.
///
/// # Errors
/// Where a path leads to nothing, or a file named by itself has an unknown extension.
pub fn find_sources<P: AsRef<str>>(paths: &[P], format: Option<Format>) -> Result<Vec<Source>, Error> {
    let mut sources: Vec<Source> = Vec::new();
    for name in paths {
        let name = name.as_ref();
        let path = Path::new(name);
        let before = sources.len();
        if name == "-" {
            if sources.iter().all(|source| source.path.is_some()) {
                let name = "standard input".to_owned();
                sources.push(Source {
                    path: None,
                    name,
                    format: format.unwrap_or(Format::Text),
                });
            }
            continue;
        } else if path.is_dir() {
            walk(path, format, &mut sources)?;
        } else if path.exists() {
            let found = format.or_else(|| Format::of(path));
            let found = found.ok_or_else(|| Error::UnknownFormat { path: path.to_owned() })?;
            sources.push(Source::file(path.to_owned(), found));
        } else if name.contains(['*', '?', '[']) {
            expand(name, format, &mut sources)?;
        } else {
            // What the system says of it, where it says something: a link that leads nowhere, a folder that is closed.
            let said = path.metadata().err();
            return Err(Error::Io {
                path: path.to_owned(),
                source: said.unwrap_or_else(|| std::io::ErrorKind::NotFound.into()),
            });
        }
        if sources.len() == before {
            return Err(Error::NoFiles {
                pattern: name.to_owned(),
            });
        }
    }
    if sources.is_empty() {
        return Err(Error::NoFiles {
            pattern: "no path".to_owned(),
        });
    }
    Ok(sources)
}

/// Adds the files of known kind under `folder`, by name.
fn walk(folder: &Path, format: Option<Format>, sources: &mut Vec<Source>) -> Result<(), Error> {
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        let entry = entry.map_err(|error| Error::Io {
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into(),
        })?;
        // A file without extension is taken where it is named, not where it only lies about (`LICENSE`, `Makefile`).
        let known = Format::of(entry.path()).filter(|_| entry.path().extension().is_some());
        if let Some(found) = known
            .map(|found| format.unwrap_or(found))
            .filter(|_| entry.file_type().is_file())
        {
            sources.push(Source::file(entry.into_path(), found));
        }
    }
    Ok(())
}

/// Adds the files that match `pattern`, by name. Files of unknown kind are left out, as in a folder.
fn expand(pattern: &str, format: Option<Format>, sources: &mut Vec<Source>) -> Result<(), Error> {
    // As a shell has it.
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let paths = glob::glob_with(pattern, options).map_err(|error| Error::Pattern {
        pattern: pattern.to_owned(),
        message: error.to_string(),
    })?;
    for path in paths {
        let path = path.map_err(|error| Error::Io {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if let Some(found) = format.or_else(|| Format::of(&path)).filter(|_| path.is_file()) {
            sources.push(Source::file(path, found));
        }
    }
    Ok(())
}

/// A name for what the sources hold, from their paths, sizes and times of change: cheap, for keying caches. None where
/// standard input or a pipe is among them, for those cannot be known before they are read.
///
/// # Errors
/// Where the system does not tell.
pub fn sources_fingerprint(sources: &[Source]) -> Result<Option<Fingerprint>, Error> {
    let mut hasher = blake3::Hasher::new();
    for source in sources {
        let Some(path) = source.path() else { return Ok(None) };
        let io = |error| Error::Io {
            path: path.to_owned(),
            source: error,
        };
        // The same file by another working directory is the same.
        let full = path.canonicalize().map_err(io)?;
        let metadata = full.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        // Before 1970, or where there is no such time, the size has to do.
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let name = full.as_os_str().as_encoded_bytes();
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
        hasher
            .update(&[source.format as u8])
            .update(&metadata.len().to_le_bytes());
        hasher.update(&modified.map_or(0, |time| time.as_nanos()).to_le_bytes());
    }
    Ok(Some(Fingerprint(*hasher.finalize().as_bytes())))
}
