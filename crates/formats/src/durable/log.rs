//! A text file that only grows, one line at a time.

use super::{failed, parent, steps};
use crate::map::open_regular;
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// No line of a log is longer; one that is can only be damage.
const MAX_LINE: u64 = 1 << 20;

/// A log such as `metrics.jsonl`, to which lines are appended.
///
/// It is the one file that is changed in place. Opening it cuts off what a resumed run will write again, and a last line
/// that was torn by a crash.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("metrics.jsonl");
/// use foretoken_formats::durable::AppendLog;
/// let mut log = AppendLog::open(&path, |_| true)?;
/// log.append("1 0.5")?;
/// log.append("2 0.4")?;
/// drop(log);
/// // Resumed at step 1: the line of step 2 goes.
/// let mut log = AppendLog::open(&path, |line| line.starts_with("1 "))?;
/// log.append("2 0.3")?;
/// log.sync()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "1 0.5\n2 0.3\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AppendLog {
    path: PathBuf,
    file: File,
    /// Length up to the last complete line.
    len: u64,
    /// A line was written in part; it is cut off before the next one.
    torn: bool,
}

impl AppendLog {
    /// Opens `path`, creates it where there is none, keeps the leading lines for which `keep` is true and cuts off the
    /// rest: from the first line that `keep` refuses, is not UTF-8, is longer than 1 MiB or has no end.
    ///
    /// # Errors
    /// Of the disk; the log then holds the old lines or the kept ones.
    pub fn open(path: impl AsRef<Path>, keep: impl Fn(&str) -> bool) -> Result<Self> {
        let path = path.as_ref();
        if path.exists() {
            open_regular(path)?; // a pipe would wait
        }
        let mut file = steps::open_log(path).map_err(failed("open", path, 0))?;
        let len = kept(&file, keep).map_err(Error::io("read", path))?;
        if len < file.metadata().map_err(Error::io("read", path))?.len() {
            steps::truncate(&file, path, len).map_err(failed("truncate", path, 0))?;
        }
        steps::sync(&file, path).map_err(failed("fsync", path, 0))?;
        let parent = parent(path);
        steps::sync_dir(parent).map_err(failed("fsync", parent, 0))?;
        file.seek(SeekFrom::Start(len)).map_err(Error::io("read", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            len,
            torn: false,
        })
    }

    /// Appends `line` and a newline in one write: it survives the process, and the machine after [`AppendLog::sync`].
    ///
    /// # Errors
    /// Of the disk; the log then ends in the line before, and the next append is a new try.
    ///
    /// # Panics
    /// Where `line` holds a newline, or is longer than the 1 MiB that [`AppendLog::open`] keeps.
    pub fn append(&mut self, line: &str) -> Result<()> {
        assert!(!line.contains('\n'), "a line holds no newline: {line:?}");
        assert!(
            (line.len() as u64) < MAX_LINE,
            "a line of {} bytes; at most {MAX_LINE}",
            line.len()
        );
        self.mend()?;
        let bytes = format!("{line}\n");
        if let Err(error) = steps::write(&mut self.file, &self.path, bytes.as_bytes()) {
            self.torn = true;
            let _ = self.mend(); // else before the next line
            return Err(failed("write", &self.path, self.len)(error));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Waits until all lines are on the disk.
    ///
    /// # Errors
    /// Of the disk: lines since the last sync may be lost, and a later sync will not notice it.
    pub fn sync(&mut self) -> Result<()> {
        self.mend()?;
        steps::sync(&self.file, &self.path).map_err(failed("fsync", &self.path, self.len))
    }

    fn mend(&mut self) -> Result<()> {
        if self.torn {
            steps::truncate(&self.file, &self.path, self.len).map_err(failed("truncate", &self.path, self.len))?;
            let to = SeekFrom::Start(self.len);
            self.file.seek(to).map_err(Error::io("write", &self.path))?;
            self.torn = false;
        }
        Ok(())
    }
}

/// Bytes of the leading lines that are complete and that `keep` wants.
fn kept(file: &File, keep: impl Fn(&str) -> bool) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut len = 0;
    loop {
        line.clear();
        reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        match line.split_last() {
            Some((b'\n', text)) if std::str::from_utf8(text).is_ok_and(&keep) => len += line.len() as u64,
            _ => return Ok(len),
        }
    }
}
