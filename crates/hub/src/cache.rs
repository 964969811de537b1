//! The cache as it lies on the disk, and what is in it already.
//!
//! The layout is Hugging Face's, which describes it for reimplementations
//! (<https://huggingface.co/docs/hub/local-cache>): whoever reads it finds what the others fetched.
//!
//! ```text
//! HUB/models--ORG--NAME/blobs/SUM                     each file once, named by its sum
//! HUB/models--ORG--NAME/blobs/SUM.incomplete          on its way
//! HUB/models--ORG--NAME/snapshots/COMMIT/NAME         links to ../../blobs/SUM
//! HUB/models--ORG--NAME/refs/REVISION                 the commit that a branch or tag is at
//! HUB/.locks/models--ORG--NAME/SUM.lock               held by the process that writes SUM
//! ```

use crate::name::{RepoId, RepoRef, Revision, is_hex};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A cache of the hub's repositories; it need not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    hub: PathBuf,
}

impl Cache {
    /// The cache in the folder `hub`.
    pub fn new(hub: impl Into<PathBuf>) -> Self {
        Self { hub: hub.into() }
    }

    /// Where everybody looks for it: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, which is `huggingface` in `XDG_CACHE_HOME` or
    /// in `~/.cache` unless set. `None` where there is no home directory either.
    pub fn from_env() -> Option<Self> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let home = || {
            let cache = variable("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
            Some(cache.join("huggingface"))
        };
        let hub = variable("HF_HUB_CACHE").or_else(|| Some(variable("HF_HOME").or_else(home)?.join("hub")))?;
        Some(Self { hub })
    }

    /// The folder of all repositories.
    pub fn path(&self) -> &Path {
        &self.hub
    }

    /// The folder of a repository.
    pub fn folder(&self, repo: &RepoId) -> PathBuf {
        self.hub.join(folder_name(repo))
    }

    /// The directory with a repository's files at a revision, where some of them were fetched before. It asks nobody
    /// whether a branch has moved on since.
    pub fn snapshot(&self, wanted: &RepoRef) -> Option<PathBuf> {
        let folder = self.folder(&wanted.repo);
        let commit = if wanted.revision.is_commit() {
            wanted.revision.as_str().to_owned()
        } else {
            let mut text = String::new();
            let file = std::fs::File::open(ref_path(&folder, &wanted.revision)).ok()?;
            file.take(64).read_to_string(&mut text).ok()?;
            text.trim().to_owned()
        };
        // It is about to be a part of a path.
        let dir = is_hex(&commit, 40).then(|| folder.join("snapshots").join(commit))?;
        dir.is_dir().then_some(dir)
    }

    /// The lock of the process that writes a blob: the same file and the same kind of lock as `huggingface_hub`'s.
    #[cfg(feature = "http")]
    pub(crate) fn lock_path(&self, repo: &RepoId, etag: &str) -> PathBuf {
        let locks = self.hub.join(".locks").join(folder_name(repo));
        locks.join(format!("{etag}.lock"))
    }
}

/// The file that says at which commit a branch or tag is.
pub(crate) fn ref_path(folder: &Path, revision: &Revision) -> PathBuf {
    folder.join("refs").join(revision.as_str())
}

fn folder_name(repo: &RepoId) -> String {
    format!("models--{}", repo.as_str().replace('/', "--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_by_branch_and_by_commit_and_a_bad_ref_leads_nowhere() {
        let tmp = tempfile::tempdir().unwrap();
        let cache = Cache::new(tmp.path());
        let find = |name: &str| cache.snapshot(&name.parse().unwrap());
        let folder = tmp.path().join("models--a--b");
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(find("a/b"), None);
        std::fs::create_dir_all(folder.join("refs/refs/pr")).unwrap();
        std::fs::create_dir_all(folder.join("snapshots").join(commit)).unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.join("refs").join(name), text).unwrap();
        let dir = Some(folder.join("snapshots").join(commit));
        assert_eq!(find(&format!("a/b@{commit}")), dir);
        assert_eq!(find("a/b"), None);
        put("main", commit);
        put("refs/pr/1", &format!("{commit}\n"));
        assert_eq!((find("a/b"), find("a/b@refs/pr/1")), (dir.clone(), dir));
        // A commit that is not there, and refs that are none.
        let other = commit.replace('0', "f");
        for text in ["", "..", "../../../..", &other, &"0".repeat(10_000)] {
            put("main", text);
            assert_eq!(find("a/b"), None, "{text}");
        }
    }
}
