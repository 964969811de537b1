//! Names that point at a directory, and directories that go away whole.

use super::{failed, parent, steps, temporary};
use crate::{Error, Result};
use std::path::Path;

/// Makes `link` a symbolic link to `target` (as given, relative to the link's directory), replacing atomically the link
/// that is there: a reader sees the old target or the new one.
///
/// # Errors
/// Of the disk; the old link is then untouched, unless the fsync of the directory failed.
pub fn point(link: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<()> {
    let link = link.as_ref();
    let made = temporary(link)?;
    // Left behind by a killed process of the same id.
    let _ = steps::remove_file(&made);
    steps::symlink(target.as_ref(), &made).map_err(failed("create", link, 0))?;
    if let Err(error) = steps::rename(&made, link) {
        let _ = steps::remove_file(&made);
        return Err(failed("rename to", link, 0)(error));
    }
    steps::sync_dir(parent(link)).map_err(failed("fsync", parent(link), 0))
}

/// Removes a directory: renamed first, so that a half-removed one is never taken for a whole one. What a killed process
/// leaves is cleared by [`super::remove_leftovers`].
///
/// # Errors
/// Of the disk.
pub fn remove_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let gone = temporary(path)?;
    steps::rename(path, &gone).map_err(Error::io("remove", path))?;
    steps::remove_dir(&gone).map_err(Error::io("remove", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_moves_and_a_directory_goes() {
        let tmp = tempfile::tempdir().unwrap();
        let link = tmp.path().join("latest");
        for name in ["a", "b"] {
            std::fs::create_dir(tmp.path().join(name)).unwrap();
            point(&link, name).unwrap();
            assert_eq!(
                std::fs::canonicalize(&link).unwrap(),
                tmp.path().join(name).canonicalize().unwrap()
            );
        }
        remove_dir(tmp.path().join("a")).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(tmp.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["b", "latest"]);
        assert!(remove_dir(tmp.path().join("a")).is_err());
    }
}
