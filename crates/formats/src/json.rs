//! Small JSON files from outside, bounded in size and depth.

use crate::map::{is_git_lfs_pointer, open_regular};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::path::Path;

/// Reads `path` into a `T`, often a [`serde_json::Value`] or a struct.
///
/// Nesting is bounded at 128 levels. `max_bytes` bounds the memory too: a `Value` can take 40 bytes a byte of text, so
/// 1 MiB is right for a config, and a larger file wants a struct.
///
/// # Errors
/// [`Error::TooLarge`] before anything is read; [`Error::Json`] with line and column for what is not UTF-8, not JSON,
/// nested too deep or not a `T`; [`Error::GitLfsPointer`].
pub fn read_bounded<T: DeserializeOwned>(path: impl AsRef<Path>, max_bytes: u64) -> Result<T> {
    let path = path.as_ref();
    parse(path, &read_bytes(path, max_bytes)?)
}

/// The bytes of `path`, at most `max_bytes`.
///
/// # Errors
/// It is not a file that can be read, or is larger.
pub fn read_bytes(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let too_large = |found| Error::TooLarge {
        path: path.to_owned(),
        found,
        limit: max_bytes,
    };
    let (file, size) = open_regular(path)?;
    if size > max_bytes {
        return Err(too_large(size));
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read: one byte more than allowed shows it.
    let mut bounded = file.take(max_bytes.saturating_add(1));
    bounded.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Parses the bytes of `path`.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let at = |line, column, message: &str| Error::Json {
        path: path.to_owned(),
        line,
        column,
        // A name from the file may hold what moves a terminal's cursor.
        message: crate::error::shown(message).replace(char::is_control, "\u{fffd}"),
    };
    if is_git_lfs_pointer(bytes) {
        return Err(Error::GitLfsPointer { path: path.to_owned() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|&&b| b != b'\n').count();
        at(line, column, "the text is not UTF-8")
    })?;
    serde_json::from_str(text).map_err(|error| {
        // serde_json appends the position, which is said once already.
        let message = error.to_string();
        let message = message
            .rsplit_once(" at line ")
            .map_or(&*message, |(message, _)| message);
        at(error.line(), error.column(), message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(bytes: impl AsRef<[u8]>, max_bytes: u64) -> Result<Value> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, bytes).unwrap();
        read_bounded(&path, max_bytes)
    }

    #[test]
    fn values_and_structs_come_back() {
        assert_eq!(read(r#"{"이름": [1, 2.5]}"#, 64).unwrap(), json!({"이름": [1, 2.5]}));
    }

    #[test]
    fn floats_come_back_to_the_last_bit() {
        for x in [
            0.1 + 0.2,
            1.0 / 3.0,
            f64::MIN_POSITIVE,
            2.225_073_858_507_201e-308,
            f64::MAX,
        ] {
            let text = serde_json::to_string(&x).unwrap();
            assert_eq!(
                read(&text, 64).unwrap().as_f64().unwrap().to_bits(),
                x.to_bits(),
                "{text}"
            );
        }
    }

    #[test]
    fn errors_name_line_and_column() {
        match read("{\n  \"n_head\": ,\n}", 64) {
            Err(Error::Json {
                line: 2,
                column: 13,
                message,
                ..
            }) => assert_eq!(message, "expected value"),
            other => panic!("{other:?}"),
        }
        match read(b"{\n\"a\": \"\xff\"}", 64) {
            Err(Error::Json {
                line: 2,
                column: 7,
                message,
                ..
            }) => assert!(message.contains("UTF-8")),
            other => panic!("{other:?}"),
        }
        assert!(matches!(read("", 64), Err(Error::Json { line: 1, .. })));
        assert!(matches!(read("{} {}", 64), Err(Error::Json { .. })));
    }

    #[test]
    fn messages_hold_no_control_characters() {
        #[derive(Debug, serde::Deserialize)]
        enum Kind {
            #[serde(rename = "gpt2")]
            Gpt2,
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, r#""\u001b[2J""#).unwrap();
        match read_bounded::<Kind>(&path, 64) {
            Err(Error::Json { message, .. }) => {
                assert!(message.contains("\u{fffd}[2J") && message.contains("gpt2"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        std::fs::write(&path, r#""gpt2""#).unwrap();
        assert!(matches!(read_bounded(&path, 64), Ok(Kind::Gpt2)));
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert!(read("[1]", 3).is_ok());
        assert!(matches!(
            read("[12]", 3),
            Err(Error::TooLarge { found: 4, limit: 3, .. })
        ));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        match read(deep, 1 << 20) {
            Err(Error::Json { message, .. }) => assert!(message.contains("recursion"), "{message}"),
            other => panic!("{other:?}"),
        }
        // An endless device has size 0 and is refused, not read.
        #[cfg(target_os = "linux")]
        assert!(matches!(
            read_bounded::<Value>("/dev/zero", 64),
            Err(Error::NotAFile { .. })
        ));
    }

    #[test]
    fn a_git_lfs_pointer_is_named() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
        assert!(matches!(read(pointer, 1024), Err(Error::GitLfsPointer { .. })));
    }
}
