//! A directory that appears whole or not at all.

use super::manifest::{self, MANIFEST, MANIFEST_FORMAT, Manifest, ManifestFile};
use super::{failed, file, parent, steps, temporary};
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A directory under construction, such as a checkpoint: it has its name only once [`DurableDir::commit`] was
/// successful.
///
/// The target must not exist, neither at the beginning nor at the end: a directory cannot be replaced atomically, and
/// checkpoints have fresh names; only [`DurableDir::replace`] does it all the same. Dropped without commit, or after an error there, everything is removed.
///
/// ```
/// # let tmp = tempfile::tempdir()?;
/// use foretoken_formats::durable::{DurableDir, verify_dir};
/// let target = tmp.path().join("step-00000100");
/// let mut dir = DurableDir::create(&target)?;
/// dir.file("train_state.json", |w| w.write_all(br#"{"step":100}"#))?;
/// let mut extra = serde_json::Map::new();
/// extra.insert("step".into(), 100.into());
/// dir.commit(extra)?;
///
/// let manifest = verify_dir(&target)?;
/// assert_eq!((manifest.files[0].size, &manifest.extra["step"]), (12, &100.into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DurableDir {
    target: PathBuf,
    temporary: PathBuf,
    files: Vec<ManifestFile>,
    /// What is at the target may go.
    replace: bool,
    /// A file could not be written.
    broken: bool,
    committed: bool,
}

impl DurableDir {
    /// Begins a directory that shall be `target`. Where the size is known, ask [`super::check_space`] first.
    ///
    /// # Errors
    /// [`Error::Exists`], and where the temporary directory cannot be created.
    pub fn create(target: impl AsRef<Path>) -> Result<Self> {
        refuse_existing(target.as_ref())?;
        Self::begin(target.as_ref(), false)
    }

    /// As [`DurableDir::create`], in the place of a directory that may be there: it goes when the new one is whole. A
    /// process that is killed between the two leaves neither at the target, and the old one beside it as `NAME.tmp-PID-N`.
    ///
    /// # Errors
    /// Where the temporary directory cannot be created.
    pub fn replace(target: impl AsRef<Path>) -> Result<Self> {
        Self::begin(target.as_ref(), true)
    }

    fn begin(target: &Path, replace: bool) -> Result<Self> {
        loop {
            let temporary = temporary(target)?;
            match steps::create_dir(&temporary) {
                // Left behind by a killed process of the same id.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("create", target, 0)(error)),
                Ok(()) => {
                    return Ok(Self {
                        target: target.to_owned(),
                        temporary,
                        files: Vec::new(),
                        replace,
                        broken: false,
                        committed: false,
                    });
                }
            }
        }
    }

    /// Writes and fsyncs the file `name`.
    ///
    /// # Errors
    /// Those of `write`, and of the disk. The directory can then not be committed any more.
    ///
    /// # Panics
    /// Where `name` is not a plain file name, was written before, or is that of the manifest.
    pub fn file(&mut self, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        assert!(manifest::is_plain_name(name), "{name:?} is not a plain file name");
        assert!(name != MANIFEST, "commit writes {MANIFEST}");
        assert!(
            self.files.iter().all(|file| file.name != name),
            "{name} was written before"
        );
        let sum = file::write_in_place(&self.temporary.join(name), write).inspect_err(|_| self.broken = true)?;
        self.files.push(ManifestFile {
            name: name.to_owned(),
            size: sum.size,
            blake3: sum.blake3,
        });
        Ok(())
    }

    /// Writes the manifest, with `extra` in it, and gives the directory its name.
    ///
    /// # Errors
    /// [`Error::Exists`], and those of the disk. Everything is then removed, unless the last step, the fsync of the
    /// parent, failed: then the new directory is in place.
    pub fn commit(mut self, extra: Map<String, Value>) -> Result<Manifest> {
        if self.broken {
            let error = io::Error::other("one of its files could not be written");
            return Err(Error::io("commit", &self.target)(error));
        }
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            files: std::mem::take(&mut self.files),
            extra,
        };
        file::write_in_place(&self.temporary.join(MANIFEST), |w| w.write_all(&manifest.encode()))?;
        // Before the rename: the names in the directory have to be on the disk when the directory is.
        steps::sync_dir(&self.temporary).map_err(failed("fsync", &self.temporary, 0))?;
        let old = self.set_aside()?;
        refuse_existing(&self.target)?;
        steps::rename(&self.temporary, &self.target).map_err(|error| match error.kind() {
            // Made by another process since the line above.
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => Error::Exists {
                path: self.target.clone(),
            },
            _ => failed("rename to", &self.target, 0)(error),
        })?;
        self.committed = true;
        if let Some(old) = old {
            // Where that fails there is nothing left to do, and `remove_leftovers` finds it.
            let _ = steps::remove_dir(&old);
        }
        let parent = parent(&self.target);
        steps::sync_dir(parent).map_err(failed("fsync", parent, 0))?;
        Ok(manifest)
    }
}

impl DurableDir {
    /// Gives what may be replaced a temporary name.
    fn set_aside(&self) -> Result<Option<PathBuf>> {
        if !self.replace || !self.target.is_dir() {
            return Ok(None);
        }
        let old = temporary(&self.target)?;
        steps::rename(&self.target, &old).map_err(failed("rename", &self.target, 0))?;
        Ok(Some(old))
    }
}

impl Drop for DurableDir {
    fn drop(&mut self) {
        if !self.committed {
            // Where that fails there is nothing left to do, and `remove_leftovers` finds it.
            let _ = steps::remove_dir(&self.temporary);
        }
    }
}

fn refuse_existing(target: &Path) -> Result<()> {
    // Not `exists`: a dangling symlink is in the way too.
    match std::fs::symlink_metadata(target) {
        Ok(_) => Err(Error::Exists {
            path: target.to_owned(),
        }),
        Err(_) => Ok(()),
    }
}
