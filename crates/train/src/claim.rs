//! A run's directory in the hands of one process.

use crate::error::Error;
use foretoken_formats::durable;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LOCK: &str = "lock";

/// A lock on a run's directory, held as long as it lives. A killed process holds none: the system lets go of it.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Keeps the lock.
    _file: File,
    /// What a start that fails takes away again: files, then directories, the deepest first.
    undo: Option<(Vec<PathBuf>, Vec<PathBuf>)>,
}

impl Claim {
    /// Makes the directory of a run that is about to start. Until [`Claim::keep`], dropping it leaves what was there
    /// before; of `files` those go that the start made.
    pub(crate) fn make(dir: &Path, files: &[&str]) -> Result<Self, Error> {
        let new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made: Vec<PathBuf> = dir.ancestors().take_while(new).map(Path::to_owned).collect();
        let names = files.iter().chain(&[LOCK]).map(|name| dir.join(name));
        let files = names.filter(|path| !path.exists()).collect();
        durable::create_dir_all(dir)?;
        Ok(Self {
            _file: lock(dir)?,
            undo: Some((files, made)),
        })
    }

    /// Takes the directory of a run that is there.
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            _file: lock(dir)?,
            undo: None,
        })
    }

    /// The run has begun: its directory stays.
    pub(crate) fn keep(&mut self) {
        self.undo = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some((files, made)) = self.undo.take() else { return };
        for file in files {
            let _ = std::fs::remove_file(file);
        }
        for dir in made {
            // Only where it is empty.
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// Whether a process holds the lock of a run. Nothing is made where there is none.
pub(crate) fn is_taken(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join(LOCK)) else {
        return false;
    };
    match file.try_lock_shared() {
        Ok(()) => {
            let _ = file.unlock();
            false
        }
        Err(error) => matches!(error, TryLockError::WouldBlock),
    }
}

fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let failed = |source| Error::Lock {
        path: path.clone(),
        source,
    };
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match locked(&file) {
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: dir.into() }),
        // Some network file systems have no locks; training there is better than none.
        Err(TryLockError::Error(error)) if error.kind() != std::io::ErrorKind::Unsupported => Err(failed(error)),
        _ => Ok(file),
    }
}

/// Locks a file. Whoever looks whether a run goes on holds its lock for some microseconds.
fn locked(file: &File) -> Result<(), TryLockError> {
    for _ in 0..3 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            taken => return taken,
        }
    }
    file.try_lock()
}

/// Says that this process makes entries of a cache, as long as the file lives. Whoever is alone there clears away what
/// killed processes left. Where the system has no locks nothing is cleared.
pub(crate) fn share(cache: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    let path = cache.join(LOCK);
    let file = options.write(true).create(true).truncate(false).open(path).ok()?;
    if file.try_lock().is_ok() {
        let _ = durable::remove_leftovers(cache);
        file.unlock().ok()?;
    }
    file.lock_shared().ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_a_failed_start_leaves_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("a/b");
        let claim = Claim::make(&dir, &["stdin.txt"]).unwrap();
        std::fs::write(dir.join("stdin.txt"), "text").unwrap();
        assert!(matches!(Claim::take(&dir), Err(Error::InUse { .. })));
        drop(claim);
        assert!(!tmp.path().join("a").exists());

        let mut claim = Claim::make(&dir, &[]).unwrap();
        claim.keep();
        drop(claim);
        Claim::take(&dir).unwrap();
        // What was there before stays.
        std::fs::write(dir.join("stdin.txt"), "mine").unwrap();
        std::fs::remove_file(dir.join(LOCK)).unwrap();
        drop(Claim::make(&dir, &["stdin.txt"]).unwrap());
        assert!(dir.join("stdin.txt").exists() && !dir.join(LOCK).exists());
    }

    #[test]
    fn leftovers_in_a_cache_go_when_nobody_works_there() {
        let tmp = tempfile::tempdir().unwrap();
        let leftover = tmp.path().join("key.tmp-1-0");
        std::fs::create_dir(&leftover).unwrap();
        let first = share(tmp.path()).unwrap();
        assert!(!leftover.exists());
        std::fs::create_dir(&leftover).unwrap();
        let second = share(tmp.path()).unwrap();
        assert!(leftover.exists());
        drop((first, second));
        share(tmp.path()).unwrap();
        assert!(!leftover.exists());
    }
}
