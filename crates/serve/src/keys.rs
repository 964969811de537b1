//! API keys.

use crate::error::Error;
use std::path::Path;

/// The largest file of keys that is read.
const LARGEST: u64 = 1 << 20;

/// Keys of which a client must show one. Only their hashes are kept, and these are compared in constant time.
#[derive(Clone, Default)]
pub struct Keys {
    hashes: Vec<blake3::Hash>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.hashes.len())
    }
}

impl Keys {
    /// These keys, each of at least one character.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let keys = keys.into_iter().filter(|key| !key.is_empty());
        Self {
            hashes: keys.map(|key| blake3::hash(key.as_bytes())).collect(),
        }
    }

    /// The keys of a file, one a line; empty lines and those that begin with `#` are none.
    ///
    /// # Errors
    /// A file that cannot be read, is larger than 1 MiB, or holds no key.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = foretoken::formats::json::read_bytes(path, LARGEST)?;
        let text = String::from_utf8_lossy(&bytes);
        let keys = Self::new(text.lines().map(str::trim).filter(|line| !line.starts_with('#')));
        match keys.is_empty() {
            true => Err(Error::NoKeys { path: path.to_owned() }),
            false => Ok(keys),
        }
    }

    /// Whether anybody may come in.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Which key this is. It takes as long for one that is nearly right as for any other, and looks at all of them.
    pub(crate) fn find(&self, given: &str) -> Option<usize> {
        let given = blake3::hash(given.as_bytes());
        let mut found = None;
        for (index, hash) in self.hashes.iter().enumerate() {
            // `Hash` compares in constant time.
            if *hash == given {
                found = Some(index);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lines_and_nobody_reads_them_from_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, "# ours\n first-key \n\r\nsecond\r\n").unwrap();
        let keys = Keys::read(&path).unwrap();
        assert_eq!(
            ["first-key", "second", "", "# ours", "secon", "second "].map(|key| keys.find(key)),
            [Some(0), Some(1), None, None, None, None]
        );
        assert_eq!(format!("{keys:?}"), "2 keys");
        std::fs::write(&path, "# none yet\n\n").unwrap();
        assert!(Keys::read(&path).unwrap_err().to_string().contains("no key"));
        assert!(Keys::read(&dir.path().join("missing")).is_err());
    }
}
