//! The one way in which the project writes files.
//!
//! **Protocol.** Check the space where the size is known; write to a temporary sibling `NAME.tmp-PID-N`; fsync it;
//! rename it to its name; fsync the parent directory. A directory ([`DurableDir`]) is built whole under a temporary
//! name: its files are fsynced one by one, `manifest.json` with sizes and BLAKE3 sums comes last, then the directory
//! itself is fsynced and renamed. At whatever point a process dies or a machine loses power, a reader finds the old
//! state or the new one, complete.
//!
//! **Errors.** An error removes the temporary. After a failed fsync the same file is never tried again: the system may
//! have dropped the pages, so only a new file is a new try. An error after the rename (the fsync of the parent) leaves
//! the new state in place, complete, but perhaps not yet on the disk. A killed process leaves its temporary behind;
//! [`remove_leftovers`] clears such away.
//!
//! A symlink in the place of a target is replaced, not followed. Parent directories are not created, except by
//! [`create_dir_all`].
//!
//! **Failpoints.** In a build with the feature `failpoints`, which only tests ask for, the environment variable
//! `FORETOKEN_FAILPOINT=name:n` aborts the process just before the `n`-th step (from 1) of that name: `create`,
//! `createdir`, `write`, `truncate`, `sync`, `syncdir`, `rename`, `remove`, or `any`.

mod dir;
mod failpoint;
mod file;
mod log;
mod manifest;
mod partial;
mod pointer;
mod steps;
#[cfg(test)]
mod tests;

pub use dir::DurableDir;
pub use file::{DurableFile, Sum};
pub use log::AppendLog;
pub(crate) use manifest::is_plain_name;
pub use manifest::{MANIFEST, MANIFEST_FORMAT, Manifest, ManifestFile, verify_dir, verify_files};
pub use partial::PartialFile;
pub use pointer::{point, remove_dir};

use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `path` with `write`, replacing atomically what is there.
///
/// The writer given is buffered. Where the size is known, ask [`check_space`] first.
///
/// # Errors
/// Those of `write`, and of the disk; the old file is then untouched.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use std::io::Write;
/// let path = dir.path().join("latest");
/// foretoken_formats::durable::write_file(&path, |w| writeln!(w, "step-{}", 100))?;
/// assert_eq!(std::fs::read_to_string(&path)?, "step-100\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_file(path: impl AsRef<Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Sum> {
    let mut file = DurableFile::create(path)?;
    file.write_with(write)?;
    file.commit()
}

/// Writes `bytes` to `path`, replacing atomically what is there.
///
/// # Errors
/// [`Error::DiskFull`] before anything is written, and those of [`write_file`].
pub fn write_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Sum> {
    check_space(&path, bytes.len() as u64)?;
    write_file(path, |w| w.write_all(bytes))
}

/// Fails where fewer than `needed` bytes are free on the disk that holds, or will hold, `path`.
///
/// It says nothing about quotas, nor about what others write meanwhile: a disk can still be full later.
///
/// # Errors
/// [`Error::DiskFull`].
pub fn check_space(path: impl AsRef<Path>, needed: u64) -> Result<()> {
    let path = path.as_ref();
    match available_space(path) {
        Some(available) if available < needed => Err(Error::DiskFull {
            path: path.to_owned(),
            needed,
            available,
        }),
        _ => Ok(()),
    }
}

/// Free bytes under the nearest ancestor of `path` that exists; `None` where the file system does not say.
fn available_space(path: &Path) -> Option<u64> {
    let absolute = std::path::absolute(path).ok()?;
    let existing = absolute.ancestors().find(|ancestor| ancestor.exists())?;
    let stats = fs4::statvfs(existing).ok()?;
    // Some network and user-space file systems report no size at all.
    (stats.total_space() > 0).then(|| stats.available_space())
}

/// Creates `path` and its missing parents, each fsynced into its own parent.
///
/// # Errors
/// Where one cannot be created, or is a file.
pub fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    create_dir_all(parent)?;
    match steps::create_dir(path) {
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created.map_err(failed("create", path, 0))?,
    }
    steps::sync_dir(parent).map_err(failed("fsync", parent, 0))
}

/// Removes from `dir` the temporaries of processes that were killed while they wrote there, and gives their paths.
///
/// Only for a directory in which no other process is writing now.
///
/// # Errors
/// Where the directory cannot be read or a temporary not be removed.
pub fn remove_leftovers(dir: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let dir = dir.as_ref();
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        if !is_temporary(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        let is_dir = entry.file_type().map_err(Error::io("read", &path))?.is_dir();
        let result = if is_dir {
            steps::remove_dir(&path)
        } else {
            steps::remove_file(&path)
        };
        result.map_err(Error::io("remove", &path))?;
        removed.push(path);
    }
    removed.sort();
    Ok(removed)
}

/// A sibling of `target` that this process has not used yet.
fn temporary(target: &Path) -> Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = target.file_name() else {
        return Err(Error::io("write", target)(ErrorKind::InvalidFilename.into()));
    };
    let mut name = OsString::from(name);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".tmp-{}-{n}", std::process::id()));
    Ok(target.with_file_name(name))
}

/// True for the names that [`temporary`] makes.
fn is_temporary(name: &OsStr) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let name = name.to_string_lossy();
    let Some((_, numbers)) = name.rsplit_once(".tmp-") else {
        return false;
    };
    numbers.split_once('-').is_some_and(|(pid, n)| number(pid) && number(n))
}

/// The directory that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The error of a write to `path` that failed after `written` bytes: disk full, or what the system says.
fn failed(action: &'static str, path: &Path, written: u64) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull {
            path: path.to_owned(),
            needed: written + 1,
            available: available_space(path).unwrap_or(0),
        },
        _ => Error::io(action, path)(source),
    }
}
