//! `manifest.json`: what a directory holds, written last, so that its presence says that the rest is complete.
//!
//! The last line of the text is the BLAKE3 sum of all text before it: a changed bit in the manifest shows as well as
//! one in a file.

use crate::map::open_regular;
use crate::{Error, Result, error::shown, json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::{ErrorKind, Read};
use std::path::{Component, Path};

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";

/// The version of the manifest that is written and read.
pub const MANIFEST_FORMAT: u32 = 1;

/// A manifest lists a few files and says a few words about them.
const MAX_BYTES: u64 = 1 << 20;

/// What comes before and after the 64 digits of the manifest's own sum.
const SUM_BEFORE: &[u8] = b"  \"blake3\": \"";
const SUM_AFTER: &[u8] = b"\"\n}\n";
const SUM_DIGITS: usize = 64;

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// Every file but the manifest, in the order they were written.
    pub files: Vec<ManifestFile>,
    /// What the writer wanted to be known: step, hash of the config, versions.
    pub extra: Map<String, Value>,
}

/// One file of a [`Manifest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its name: no path.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its BLAKE3 sum, 64 hexadecimal digits in lower case.
    pub blake3: String,
}

impl Manifest {
    /// Reads and checks the manifest of `dir`, but none of the files it lists.
    ///
    /// # Errors
    /// [`Error::NoManifest`], [`Error::Manifest`] where it was altered, [`Error::ManifestFormat`].
    pub fn read(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let path = dir.join(MANIFEST);
        let damaged = |message: String| Error::Manifest {
            path: path.clone(),
            message,
        };
        let bytes = match json::read_bytes(&path, MAX_BYTES) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound && dir.is_dir() => {
                return Err(Error::NoManifest { path: dir.to_owned() });
            }
            bytes => bytes?,
        };
        let (text, sum) = split_sum(&bytes).ok_or_else(|| damaged("it does not end in its own sum".to_owned()))?;
        let expected = blake3::hash(text).to_hex();
        if sum != expected.as_bytes() {
            return Err(damaged(format!(
                "its BLAKE3 sum is {expected}; it says {}",
                String::from_utf8_lossy(sum)
            )));
        }

        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = json::parse(&path, &bytes)?;
        if format != MANIFEST_FORMAT {
            return Err(Error::ManifestFormat {
                path,
                found: format,
                supported: MANIFEST_FORMAT,
            });
        }
        let manifest: Self = json::parse(&path, &bytes)?;
        for file in &manifest.files {
            if !is_plain_name(&file.name) {
                let name = shown(&file.name);
                return Err(damaged(format!("{name:?} is not a plain file name")));
            }
        }
        Ok(manifest)
    }

    /// The text of the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("maps with text keys have a JSON form");
        // The closing brace gives way to the line with the sum.
        text.truncate(text.len() - "\n}".len());
        text.extend_from_slice(b",\n");
        let sum = blake3::hash(&text).to_hex();
        text.extend_from_slice(SUM_BEFORE);
        text.extend_from_slice(sum.as_bytes());
        text.extend_from_slice(SUM_AFTER);
        text
    }
}

/// Splits a manifest into the text that is summed and the digits of the sum.
fn split_sum(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_suffix(SUM_AFTER)?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(SUM_DIGITS)?)?;
    Some((rest.strip_suffix(SUM_BEFORE)?, digits))
}

/// Reads every file that the manifest of `dir` lists and checks its size and sum. Files that it does not list are none
/// of its business.
///
/// Takes the time to read and sum the files once, and little memory.
///
/// # Errors
/// Those of [`Manifest::read`]; [`Error::MissingFile`], [`Error::FileSize`], [`Error::FileSum`] for the first file that
/// is not what was written.
pub fn verify_dir(dir: impl AsRef<Path>) -> Result<Manifest> {
    let dir = dir.as_ref();
    let manifest = Manifest::read(dir)?;
    verify(dir, manifest.files.iter())?;
    Ok(manifest)
}

/// [`verify_dir`] for some of the files only, such as those a reader is going to open: the others are not looked at, and
/// may be damaged or missing. A name that the manifest does not list is passed over.
///
/// # Errors
/// As [`verify_dir`].
pub fn verify_files(dir: impl AsRef<Path>, names: &[&str]) -> Result<Manifest> {
    let dir = dir.as_ref();
    let manifest = Manifest::read(dir)?;
    verify(dir, manifest.files.iter().filter(|file| names.contains(&&*file.name)))?;
    Ok(manifest)
}

fn verify<'a>(dir: &Path, files: impl Iterator<Item = &'a ManifestFile> + Clone) -> Result<()> {
    // Sizes first: they are had at once, and a missing shard should not be noticed after a minute of reading.
    for file in files.clone() {
        let path = dir.join(&file.name);
        let found = match open_regular(&path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(Error::MissingFile { path });
            }
            opened => opened?.1,
        };
        if found != file.size {
            return Err(Error::FileSize {
                path,
                expected: file.size,
                found,
            });
        }
    }
    for file in files {
        let path = dir.join(&file.name);
        let found = sum(&path)?;
        if found != file.blake3 {
            return Err(Error::FileSum {
                path,
                expected: file.blake3.clone(),
                found,
            });
        }
    }
    Ok(())
}

/// BLAKE3 sum of a file. Read, not mapped: it is touched once, and a file cut short meanwhile is then only a wrong sum.
fn sum(path: &Path) -> Result<String> {
    let mut file = open_regular(path)?.0;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().to_hex().to_string()),
            Ok(read) => _ = hasher.update(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path)(error)),
        }
    }
}

/// True for a name that stays in its directory on every system.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let one = matches!(components.next(), Some(Component::Normal(_))) && components.next().is_none();
    one && !name.contains(['/', '\\', ':', '\0'])
}
