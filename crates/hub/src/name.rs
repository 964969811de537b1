//! Names of repositories, revisions and files, before they become paths and URLs.

use crate::error::{Error, Result, shown};
use std::fmt;
use std::str::FromStr;

/// The hub's own limit for the name of a repository.
const MAX_REPO: usize = 96;
const MAX_REVISION: usize = 250;
#[cfg(feature = "http")]
const MAX_PATH: usize = 1024;
/// A file system gives a name 255 bytes, and `.incomplete` with a part of a sum is appended.
#[cfg(feature = "http")]
const MAX_COMPONENT: usize = 200;

/// A repository: `ORG/NAME`, or `NAME` alone for the oldest ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoId(String);

impl RepoId {
    /// `ORG/NAME`, as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoId {
    type Err = Error;

    /// The rules are those of `huggingface_hub`'s `validate_repo_id`: letters, digits, `-`, `_` and `.`, at most 96; no
    /// part begins or ends with `-` or `.`; no `--`, which stands for the `/` in the cache, and no `..`.
    fn from_str(name: &str) -> Result<Self> {
        let refuse = |reason| Error::Name {
            what: "repository",
            name: shown(name),
            reason,
        };
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
            return Err(refuse("expected ORG/NAME"));
        }
        if name.len() > MAX_REPO {
            return Err(refuse("at most 96 characters are allowed"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if !name.chars().all(allowed) {
            return Err(refuse("only letters, digits, `-`, `_` and `.` are allowed"));
        }
        let edge = |part: &&str| part.starts_with(['-', '.']) || part.ends_with(['-', '.']);
        if name.contains("--") || name.contains("..") || parts.iter().any(edge) {
            return Err(refuse(
                "no part may begin or end with `-` or `.`, nor hold `--` or `..`",
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A branch, a tag, a commit, or a pull request as `refs/pr/1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a whole commit, which never changes.
    pub fn is_commit(&self) -> bool {
        is_hex(&self.0, 40)
    }
}

impl Default for Revision {
    /// `main`, the branch that the hub makes for everyone.
    fn default() -> Self {
        Self("main".into())
    }
}

impl FromStr for Revision {
    type Err = Error;

    /// Git's rules for names of refs, and no longer than a file's name: it becomes a path in the cache.
    fn from_str(name: &str) -> Result<Self> {
        let refuse = |reason| Error::Name {
            what: "revision",
            name: shown(name),
            reason,
        };
        if name.is_empty() || name.len() > MAX_REVISION {
            return Err(refuse("expected 1 to 250 bytes"));
        }
        if name.contains(|c: char| c.is_control() || " \\:~^?*[@".contains(c)) {
            return Err(refuse(
                "a character in it is not allowed in the name of a branch or tag",
            ));
        }
        let bad =
            |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with('.') || part.ends_with(".lock");
        if name.contains("..") || name.split('/').any(bad) {
            return Err(refuse("it is not the name of a branch or tag"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository at a revision: `ORG/NAME` or `ORG/NAME@REVISION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoRef {
    /// The repository.
    pub repo: RepoId,
    /// `main` unless given.
    pub revision: Revision,
}

impl FromStr for RepoRef {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let (repo, revision) = match name.split_once('@') {
            Some((repo, revision)) => (repo, revision.parse()?),
            None => (name, Revision::default()),
        };
        Ok(Self {
            repo: repo.parse()?,
            revision,
        })
    }
}

impl fmt::Display for RepoRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repo)?;
        if self.revision != Revision::default() {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// Whether text is `digits` hexadecimal digits in lower case.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Refuses a file's name that could lead out of the directory it belongs into, on any system.
#[cfg(feature = "http")]
pub(crate) fn check_path(name: &str) -> Result<()> {
    let refuse = |reason| Error::Name {
        what: "file",
        name: shown(name),
        reason,
    };
    if name.is_empty() || name.len() > MAX_PATH || name.split('/').any(|part| part.len() > MAX_COMPONENT) {
        return Err(refuse("it is empty or too long"));
    }
    if name.contains(|c: char| c.is_control() || c == '\\' || c == ':') {
        return Err(refuse("a character in it is not allowed in the name of a file"));
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(refuse("it leads out of its directory"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        for good in ["gpt2", "openai-community/gpt2", "Qwen/Qwen2.5-0.5B", "a/b_c.d-e", "0/1"] {
            assert_eq!(good.parse::<RepoId>().unwrap().as_str(), good);
        }
        let long = format!("a/{}", "b".repeat(95));
        for bad in [
            "", "/", "a/", "/a", "a/b/c", "../a", "a/..", "a/b..c", ".a/b", "a/b.", "-a/b", "a/b-", "a/b--c", "a b/c",
            "한/글", "a/b?c", "a\\b", "a:b", "a/b\n", "a\0b", &long,
        ] {
            assert!(matches!(bad.parse::<RepoId>(), Err(Error::Name { .. })), "{bad:?}");
        }
    }

    #[test]
    fn revisions() {
        for good in ["main", "v1.0", "refs/pr/1", "feature/x-y_z", &"0a".repeat(20)] {
            let parsed: RepoRef = format!("a/b@{good}").parse().unwrap();
            assert_eq!(parsed.revision.as_str(), good);
            assert_eq!(parsed.revision.is_commit(), good.len() == 40);
            assert_eq!(
                parsed.to_string(),
                if good == "main" {
                    "a/b".into()
                } else {
                    format!("a/b@{good}")
                }
            );
        }
        let long = "a".repeat(251);
        for bad in [
            "", "/", "..", "../x", "a/../b", "a..b", "/main", "main/", "a//b", ".a", "a/.b", "a.", "x.lock", "a b",
            "a:b", "a\\b", "a\n", "a\0", "a@b", &long,
        ] {
            assert!(matches!(bad.parse::<Revision>(), Err(Error::Name { .. })), "{bad:?}");
        }
    }

    #[test]
    #[cfg(feature = "http")]
    fn files() {
        for good in ["config.json", "onnx/model.onnx", "a b.txt", "…", "..a", "a.."] {
            check_path(good).unwrap();
        }
        let (deep, wide) = ("a/".repeat(600) + "a", "a".repeat(201));
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".",
            "a//b",
            "a/",
            "a\\b",
            "..\\a",
            "C:",
            "C:/a",
            "a\0",
            "a\nb",
            "a\u{1b}[2J",
            &deep,
            &wide,
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
    }
}
