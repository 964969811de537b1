//! One file under a temporary name until it is complete.

use super::{failed, parent, steps, temporary};
use crate::{Error, Result};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Bytes gathered before the system is called; larger writes go through as they are.
const BUFFER: usize = 1 << 18;

/// Size and BLAKE3 sum of what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Length in bytes.
    pub size: u64,
    /// BLAKE3 sum, 64 hexadecimal digits in lower case.
    pub blake3: String,
}

/// A file written in pieces, such as a token cache: it has its name only once [`DurableFile::commit`] was successful.
///
/// Dropped without it, the temporary is removed and what was at the path before stays.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("tokens.bin");
/// use foretoken_formats::{durable::DurableFile, map::MappedFile};
/// use std::io::Write;
/// let mut file = DurableFile::create(&path)?;
/// for token in [15496_u16, 11, 995] {
///     file.write_all(&token.to_le_bytes())?;
/// }
/// assert!(!path.exists());
/// let sum = file.commit()?;
/// assert_eq!(sum.size, 6);
/// assert_eq!(MappedFile::open(&path)?.as_u16()?, [15496, 11, 995]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DurableFile {
    target: PathBuf,
    temporary: PathBuf,
    /// `None` once the file was closed or given up.
    writer: Option<BufWriter<Summed>>,
}

impl DurableFile {
    /// Begins to write what shall be `path`.
    ///
    /// # Errors
    /// Where the temporary cannot be created, or `path` is a directory.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let target = path.as_ref();
        if target.is_dir() {
            return Err(Error::NotAFile {
                path: target.to_owned(),
            });
        }
        loop {
            let temporary = temporary(target)?;
            match Summed::create(&temporary) {
                // Left behind by a killed process of the same id.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("create", target, 0)(error)),
                Ok(writer) => {
                    return Ok(Self {
                        target: target.to_owned(),
                        temporary,
                        writer: Some(BufWriter::with_capacity(BUFFER, writer)),
                    });
                }
            }
        }
    }

    /// Runs `write` on this file, with this crate's errors.
    pub(super) fn write_with(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        write(self).map_err(|error| failed("write", &self.target, self.written())(error))
    }

    /// Bytes that reached the system so far.
    fn written(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.get_ref().size)
    }

    /// Makes everything durable and gives the file its name, replacing atomically what is there.
    ///
    /// # Errors
    /// Of the disk, also those of earlier writes that were not looked at; the old file is then untouched, unless the
    /// last step, the fsync of the directory, failed: then the new file is in place.
    pub fn commit(mut self) -> Result<Sum> {
        let writer = self.writer.take().expect("only commit and drop take the writer");
        let sum = finish(writer, &self.temporary, &self.target).inspect_err(|_| give_up(&self.temporary))?;
        steps::rename(&self.temporary, &self.target)
            .map_err(failed("rename to", &self.target, sum.size))
            .inspect_err(|_| give_up(&self.temporary))?;
        let parent = parent(&self.target);
        steps::sync_dir(parent).map_err(failed("fsync", parent, sum.size))?;
        Ok(sum)
    }
}

impl Write for DurableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.as_mut().expect("taken by commit only").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().expect("taken by commit only").flush()
    }
}

impl Drop for DurableFile {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // Not flushed: what is left in the buffer is thrown away with the file.
            drop(writer.into_parts());
            give_up(&self.temporary);
        }
    }
}

/// Writes one file at its final name, for a directory that is itself temporary.
pub(super) fn write_in_place(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Sum> {
    let file = Summed::create(path).map_err(failed("create", path, 0))?;
    let mut writer = BufWriter::with_capacity(BUFFER, file);
    if let Err(error) = write(&mut writer) {
        let (file, _) = writer.into_parts();
        return Err(failed("write", path, file.size)(error));
    }
    finish(writer, path, path)
}

/// Flushes, fsyncs and closes; `name` is for messages.
fn finish(writer: BufWriter<Summed>, path: &Path, name: &Path) -> Result<Sum> {
    let file = match writer.into_inner() {
        Ok(file) => file,
        Err(error) => {
            let (error, writer) = error.into_parts();
            let (file, _) = writer.into_parts();
            return Err(failed("write", name, file.size)(error));
        }
    };
    // A failed write that the caller overlooked must not become a file with a hole.
    if file.failed {
        let error = io::Error::other("an earlier write to it failed");
        return Err(failed("write", name, file.size)(error));
    }
    steps::sync(&file.file, path).map_err(failed("fsync", name, file.size))?;
    Ok(Sum {
        size: file.size,
        blake3: file.hasher.finalize().to_hex().to_string(),
    })
}

/// Removes a temporary; where that fails too there is nothing left to do, and `remove_leftovers` finds it.
fn give_up(temporary: &Path) {
    let _ = steps::remove_file(temporary);
}

/// A file that counts and sums what goes through it.
#[derive(Debug)]
struct Summed {
    file: File,
    path: PathBuf,
    size: u64,
    hasher: blake3::Hasher,
    failed: bool,
}

impl Summed {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: steps::create(path)?,
            path: path.to_owned(),
            size: 0,
            hasher: blake3::Hasher::new(),
            failed: false,
        })
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = steps::write(&mut self.file, &self.path, bytes) {
            self.failed = true;
            return Err(error);
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
