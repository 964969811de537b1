//! A file that grows over several processes until it is whole.

use super::{failed, parent, steps};
use crate::map::open_regular;
use crate::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A file that may take more than one process to write, such as a download: what a killed one wrote stays for the next,
/// under a name of its own, and it has its final name only once [`PartialFile::commit`] was successful.
///
/// What an earlier process left is not known to be right: a machine that lost power may have kept the length and not the
/// bytes. Read it again with [`PartialFile::read`], and hold the whole to a sum before it is committed. One process at a
/// time: that is the caller's to see to.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (part, path) = (dir.path().join("weights.incomplete"), dir.path().join("weights"));
/// use foretoken_formats::durable::PartialFile;
/// let mut file = PartialFile::open(&part)?;
/// file.append(b"first ")?;
/// drop(file); // the process dies
///
/// let mut file = PartialFile::open(&part)?;
/// assert_eq!(file.size(), 6);
/// file.append(b"second")?;
/// file.commit(&path)?;
/// assert_eq!(std::fs::read_to_string(&path)?, "first second");
/// assert!(!part.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PartialFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl PartialFile {
    /// Opens `path` with what is there, or creates it empty.
    ///
    /// # Errors
    /// [`Error::NotAFile`], and those of the disk.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.exists() {
            open_regular(path)?; // a pipe would wait
        }
        let mut file = steps::open_log(path).map_err(failed("open", path, 0))?;
        let size = file.seek(SeekFrom::End(0)).map_err(Error::io("read", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
        })
    }

    /// Bytes that are there.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Gives the bytes that are there to `each`, from the beginning, piece by piece.
    ///
    /// # Errors
    /// Of the disk.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        let failed = |error| Error::io("read", &self.path)(error);
        let mut buffer = vec![0; 1 << 18];
        self.file.rewind().map_err(failed)?;
        let mut left = self.size;
        while left > 0 {
            let part = left.min(buffer.len() as u64) as usize;
            self.file.read_exact(&mut buffer[..part]).map_err(failed)?;
            each(&buffer[..part]);
            left -= part as u64;
        }
        Ok(())
    }

    /// Adds `bytes` at the end, without a buffer: they outlive the process.
    ///
    /// # Errors
    /// [`Error::DiskFull`], and others of the disk; what was written of them stays, the next [`PartialFile::open`] counts it.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        steps::write(&mut self.file, &self.path, bytes).map_err(failed("write", &self.path, self.size))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what is there and begins again.
    ///
    /// # Errors
    /// Of the disk.
    pub fn clear(&mut self) -> Result<()> {
        steps::truncate(&self.file, &self.path, 0).map_err(failed("truncate", &self.path, 0))?;
        self.file.rewind().map_err(Error::io("read", &self.path))?;
        self.size = 0;
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// Of the disk.
    pub fn discard(self) -> Result<()> {
        steps::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }

    /// Fsyncs it and gives it the name `target`, replacing atomically what is there.
    ///
    /// # Errors
    /// Of the disk. Where the fsync failed the file is removed: nobody knows which of its bytes are on the disk.
    pub fn commit(self, target: impl AsRef<Path>) -> Result<()> {
        let target = target.as_ref();
        if let Err(error) = steps::sync(&self.file, &self.path) {
            let _ = steps::remove_file(&self.path);
            return Err(failed("fsync", &self.path, self.size)(error));
        }
        steps::rename(&self.path, target).map_err(failed("rename to", target, self.size))?;
        let parent = parent(target);
        steps::sync_dir(parent).map_err(failed("fsync", parent, self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::super::failpoint::plan::{self, Failure};
    use super::*;

    fn write(part: &Path, target: &Path) -> Result<()> {
        let mut file = PartialFile::open(part)?;
        file.append(b"abcd")?;
        file.append(b"efgh")?;
        file.commit(target)
    }

    #[test]
    fn what_is_there_is_read_again_and_thrown_away_when_asked() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a.incomplete");
        let long = vec![7; (1 << 18) + 5];
        PartialFile::open(&path).unwrap().append(&long).unwrap();
        let mut file = PartialFile::open(&path).unwrap();
        let mut seen = Vec::new();
        file.read(|bytes| seen.extend_from_slice(bytes)).unwrap();
        assert_eq!(seen, long);
        file.append(b"x").unwrap();
        assert_eq!(file.size(), std::fs::metadata(&path).unwrap().len());
        file.clear().unwrap();
        file.append(b"y").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"y");
        file.discard().unwrap();
        assert!(!path.exists());
        assert!(matches!(PartialFile::open(tmp.path()), Err(Error::NotAFile { .. })));
    }

    #[test]
    fn a_failure_at_any_step_leaves_no_file_that_looks_whole() {
        let dir = || tempfile::tempdir().unwrap();
        let tmp = dir();
        let (_, steps) = plan::run(None, || write(&tmp.path().join("p"), &tmp.path().join("t")).unwrap());
        assert!(steps.len() >= 5, "{steps:?}");
        for failure in [Failure::Error, Failure::DiskFull, Failure::Crash] {
            for step in 0..steps.len() {
                let tmp = dir();
                let (part, target) = (tmp.path().join("p"), tmp.path().join("t"));
                let (result, _) = plan::run(Some((step, failure)), || write(&part, &target));
                assert!(result.is_err(), "{failure:?} at {step}");
                match std::fs::read(&target) {
                    Ok(bytes) => assert_eq!(bytes, b"abcdefgh", "{failure:?} at {step}"),
                    Err(_) => {
                        let left = std::fs::read(&part).unwrap_or_default();
                        assert!(b"abcdefgh".starts_with(&left), "{failure:?} at {step}: {left:?}");
                    }
                }
            }
        }
    }
}
