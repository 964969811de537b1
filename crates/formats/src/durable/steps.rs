//! The steps that the write protocol is made of, each behind a failpoint.
//!
//! Nothing else in [`super`] touches the disk for writing, so a test that fails every step has failed everything.

use super::failpoint::{Step, reach};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A new file, open for writing; one that exists is an error.
pub(super) fn create(path: &Path) -> io::Result<File> {
    reach(Step::Create, path, path)?;
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// The file of a log, created where there is none.
pub(super) fn open_log(path: &Path) -> io::Result<File> {
    reach(Step::Create, path, path)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// A new directory; one that exists is an error.
pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    reach(Step::CreateDir, path, path)?;
    fs::create_dir(path)
}

/// A symbolic link; one that exists is an error.
pub(super) fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    reach(Step::Create, link, link)?;
    #[cfg(unix)]
    return std::os::unix::fs::symlink(target, link);
    #[cfg(windows)]
    return std::os::windows::fs::symlink_dir(target, link);
}

/// All of `bytes` at the file's position.
pub(super) fn write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Err(error) = reach(Step::Write, path, path) {
        // A write that fails has often written something.
        file.write_all(&bytes[..bytes.len() / 2])?;
        return Err(error);
    }
    file.write_all(bytes)
}

/// Cuts the file to `len` bytes.
pub(super) fn truncate(file: &File, path: &Path, len: u64) -> io::Result<()> {
    reach(Step::Truncate, path, path)?;
    file.set_len(len)
}

/// Waits until contents and length are on the disk. After a failure the system counts the pages as clean: the same
/// file must not be tried again.
pub(super) fn sync(file: &File, path: &Path) -> io::Result<()> {
    reach(Step::Sync, path, path)?;
    file.sync_all()
}

/// Waits until the names in the directory are on the disk.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    reach(Step::SyncDir, path, path)?;
    // Windows has no such call for directories.
    if cfg!(unix) {
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}

/// Gives `from` the name `to`, atomically.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    reach(Step::Rename, from, to)?;
    fs::rename(from, to)
}

/// Removes a file.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    reach(Step::Remove, path, path)?;
    fs::remove_file(path)
}

/// Removes a directory and what is in it.
pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    reach(Step::Remove, path, path)?;
    fs::remove_dir_all(path)
}
