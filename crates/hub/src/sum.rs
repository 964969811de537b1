//! The sums that a repository names its files by.

use crate::error::{Error, Result};
use crate::name::is_hex;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What the bytes of a file must sum up to. The hub uses it as the file's `ETag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sum {
    /// SHA-256 of the bytes: large files, which Git LFS or Xet keeps.
    Sha256(String),
    /// SHA-1 of `blob SIZE\0` and the bytes, the id of a Git object: small files, which Git itself keeps.
    GitBlob(String),
}

impl Sum {
    /// The sum that an `ETag` is, where it is one.
    pub fn of_etag(etag: &str) -> Option<Self> {
        if is_hex(etag, 64) {
            Some(Self::Sha256(etag.to_owned()))
        } else {
            is_hex(etag, 40).then(|| Self::GitBlob(etag.to_owned()))
        }
    }

    /// Its hexadecimal digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }

    /// What it is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::GitBlob(_) => "Git SHA-1",
        }
    }
}

/// A sum in the making, beside what it should become. Without an expectation everything is right.
pub(crate) struct Summing<'a> {
    expected: Option<&'a Sum>,
    size: u64,
    state: State,
}

enum State {
    Sha256(Sha256),
    GitBlob(Sha1),
    Nothing,
}

impl<'a> Summing<'a> {
    /// Of a file of `size` bytes.
    pub(crate) fn new(expected: Option<&'a Sum>, size: u64) -> Self {
        let state = match expected {
            Some(Sum::Sha256(_)) => State::Sha256(Sha256::new()),
            Some(Sum::GitBlob(_)) => State::GitBlob(Sha1::new_with_prefix(format!("blob {size}\0"))),
            None => State::Nothing,
        };
        Self { expected, size, state }
    }

    /// From the beginning again.
    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.expected, self.size);
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::GitBlob(state) => state.update(bytes),
            State::Nothing => {}
        }
    }

    /// Compares; `name` is for the message.
    pub(crate) fn verify(&self, name: &str) -> Result<()> {
        let found = match &self.state {
            State::Sha256(state) => hex(&state.clone().finalize()),
            State::GitBlob(state) => hex(&state.clone().finalize()),
            State::Nothing => return Ok(()),
        };
        match self.expected {
            Some(expected) if expected.hex() != found => Err(Error::Sum {
                name: name.to_owned(),
                kind: expected.kind(),
                found,
                expected: expected.hex().to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_git_and_of_sha256() {
        // `printf 'abc' | git hash-object --stdin`, `printf 'abc' | sha256sum`.
        for etag in [
            "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            let sum = Sum::of_etag(etag).unwrap();
            let mut summing = Summing::new(Some(&sum), 3);
            summing.update(b"x");
            summing.restart();
            summing.update(b"a");
            assert!(matches!(summing.verify("f"), Err(Error::Sum { .. })));
            summing.update(b"bc");
            summing.verify("f").unwrap();
            let mut other = Summing::new(Some(&sum), 3);
            other.update(b"abd");
            assert!(other.verify("f").unwrap_err().to_string().contains(etag));
        }
        // An MD5, capitals, a weak tag.
        for none in [
            "d41d8cd98f00b204e9800998ecf8427e",
            &"A".repeat(40),
            &"g".repeat(64),
            "W/x",
            "",
        ] {
            assert_eq!(Sum::of_etag(none), None);
        }
    }
}
