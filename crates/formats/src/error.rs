//! What can be wrong with a file, or with the disk under it.

use crate::safetensors::Dtype;
use std::path::{Path, PathBuf};

/// Everything that this crate reports: what was found, what was expected, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as an infinitive: "open", "rename".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is not enough room on the disk; nothing was changed.
    #[error("disk full: {path} needs {needed} bytes and {available} are free; free some space or write elsewhere")]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// Bytes needed: the whole file where its size was known, else the bytes written before the disk was full.
        needed: u64,
        /// Bytes that the file system offers to this user.
        available: u64,
    },
    /// The target is already there, and is never replaced in silence.
    #[error("{path} already exists; remove it or choose another name")]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// A directory, pipe or device where a file was expected.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// What was opened.
        path: PathBuf,
    },
    /// A Git LFS pointer: the text that stands for a large file in a clone made without LFS.
    #[error("{path} is a Git LFS pointer, not the file itself; run `git lfs pull` in the directory it was cloned to")]
    GitLfsPointer {
        /// The pointer.
        path: PathBuf,
    },
    /// The file is larger than its kind may be.
    #[error("{path} holds {found} bytes, and a file of this kind may hold {limit}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes, or one more than the limit where it grew while it was read.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Text that is not JSON, or not the JSON expected here.
    #[error("{path}:{line}:{column}: {message}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 where the problem is not in one place.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What was found and expected.
        message: String,
    },
    /// A file of numbers whose length is not a multiple of their size.
    #[error(
        "{path} holds {found} bytes, which is not a multiple of {unit}; it is cut short or not a file of {unit}-byte numbers"
    )]
    OddLength {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: usize,
        /// Bytes of one number.
        unit: usize,
    },

    /// Fewer than the 8 bytes that a safetensors file starts with.
    #[error("{path} holds {found} bytes; a safetensors file starts with 8 bytes of header length")]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: usize,
    },
    /// A header length that no safetensors file of this size can have.
    #[error(
        "{path}: the header length is {found}, and between 2 and {limit} bytes fit; not a safetensors file, or cut short"
    )]
    HeaderLength {
        /// The file.
        path: PathBuf,
        /// The length found.
        found: u64,
        /// The largest length possible in this file.
        limit: u64,
    },
    /// A safetensors header that is not what the format asks for.
    #[error("{path}: the safetensors header is malformed: {message}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What was found and expected.
        message: String,
    },
    /// Two entries of one name.
    #[error("{path}: the name {tensor:?} stands twice")]
    DuplicateTensor {
        /// The file.
        path: PathBuf,
        /// The name.
        tensor: String,
    },
    /// An element type that the format does not know.
    #[error("{path}: tensor {tensor:?} has the unknown dtype {found:?}")]
    UnknownDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The dtype as written.
        found: String,
    },
    /// Offsets that leave a hole, overlap, run backwards or leave the file.
    #[error(
        "{path}: tensor {tensor:?} has data offsets {begin}..{end}; expected a range from {expected} to at most {limit}"
    )]
    Offsets {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// First offset found.
        begin: u64,
        /// Second offset found.
        end: u64,
        /// Where the tensor before it ends, hence where this one has to begin.
        expected: u64,
        /// Bytes of data in the file.
        limit: u64,
    },
    /// A shape that asks for another number of bytes than the offsets give.
    #[error(
        "{path}: tensor {tensor:?} of dtype {dtype} and shape {shape:?} does not fit the {found} bytes its offsets give"
    )]
    TensorSize {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<u64>,
        /// Bytes between its offsets.
        found: u64,
    },
    /// Bytes after the last tensor.
    #[error("{path}: the tensors end at byte {expected} and the file at byte {found}")]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Length that the header describes.
        expected: u64,
        /// Length of the file.
        found: u64,
    },
    /// A tensor that the file does not hold.
    #[error("{path} holds no tensor {tensor:?}")]
    MissingTensor {
        /// The file or model directory.
        path: PathBuf,
        /// The tensor asked for.
        tensor: String,
    },
    /// A tensor of another shape than the caller's.
    #[error("{path}: tensor {tensor:?} has shape {found:?}; expected {expected:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape the caller needs.
        expected: Vec<usize>,
    },
    /// A tensor whose elements are not of a type that can be read here.
    #[error("{path}: tensor {tensor:?} has dtype {found}; expected {expected}")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its dtype.
        found: Dtype,
        /// What can be read.
        expected: &'static str,
    },
    /// A shard's name in an index that does not stay in the model's directory.
    #[error("{path}: the shard {shard:?} {reason}; an index may only name files of its own directory")]
    ShardPath {
        /// The index.
        path: PathBuf,
        /// The shard's name as written.
        shard: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A shard that the index names and the directory lacks.
    #[error("{path} names the shard {shard:?}, which is not in the directory; copy or download it too")]
    MissingShard {
        /// The index.
        path: PathBuf,
        /// The shard's name.
        shard: String,
    },
    /// A directory without weights in a form that is read here.
    #[error("{path} holds neither model.safetensors nor model.safetensors.index.json{hint}")]
    NoWeights {
        /// The directory.
        path: PathBuf,
        /// What it holds instead, and what to do about it; empty where nothing is known.
        hint: &'static str,
    },

    /// Bytes that do not start as a GGUF file does.
    #[error("{path} starts with \"{found}\"; a GGUF file starts with \"GGUF\"")]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// Its first four bytes, or fewer, with escapes.
        found: String,
    },
    /// A GGUF file with the bytes of its numbers in the other order.
    #[error(
        "{path} is a big-endian GGUF file, and only little-endian ones are read; convert it with gguf_convert_endian.py \
         of llama.cpp"
    )]
    GgufBigEndian {
        /// The file.
        path: PathBuf,
    },
    /// A version of GGUF that is not read.
    #[error("{path} is a GGUF file of version {found}; versions 2 and 3 are read: convert the model again")]
    GgufVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A GGUF header that goes on behind the end of the file.
    #[error(
        "{path} is cut short or damaged: {what} at byte {at} needs {needed} bytes, and {left} are left of the file"
    )]
    GgufTruncated {
        /// The file.
        path: PathBuf,
        /// What was being read.
        what: String,
        /// Where, in bytes from the beginning of the file.
        at: u64,
        /// Bytes that it takes at least; `u64::MAX` for more than that.
        needed: u64,
        /// Bytes from there to the end of the file.
        left: u64,
    },
    /// More tensors or metadata than a file of this size can have, or than are accepted.
    #[error("{path} claims to hold {found} {what}; there can be at most {limit}")]
    GgufCount {
        /// The file.
        path: PathBuf,
        /// What is counted.
        what: &'static str,
        /// The number in the file.
        found: u64,
        /// The largest number possible.
        limit: u64,
    },
    /// The name of a key or tensor that is none.
    #[error("{path}: the name of {what} {index} {reason}")]
    GgufName {
        /// The file.
        path: PathBuf,
        /// "metadata entry" or "tensor".
        what: &'static str,
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A metadata value of a type that the format does not know.
    #[error("{path}: the value of {key:?} has the unknown type {found}; types are 0 to 12")]
    GgufValueType {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The type's number.
        found: u32,
    },
    /// A metadata value that is not what its type asks for.
    #[error("{path}: the value of {key:?} {reason}")]
    GgufValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two metadata entries of one key.
    #[error("{path}: the key {key:?} stands twice")]
    DuplicateKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A key that the metadata lacks.
    #[error("{path} says nothing under {key:?}; expected {expected}")]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key asked for.
        key: String,
        /// What its value should be.
        expected: &'static str,
    },
    /// A metadata value of another type than the caller's.
    #[error("{path}: the value of {key:?} is {found}; expected {expected}")]
    KeyType {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value, shortened.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An alignment that no GGUF file can have.
    #[error("{path}: general.alignment is {found}; expected a power of two from 8 to {limit}")]
    Alignment {
        /// The file.
        path: PathBuf,
        /// The alignment.
        found: u32,
        /// The largest one that is accepted.
        limit: u32,
    },
    /// A shape that no tensor of a GGUF file can have.
    #[error("{path}: tensor {tensor:?} of dtype {dtype} has shape {shape:?}, {reason}")]
    GgufShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: crate::dtype::Dtype,
        /// Its sizes, the slowest first.
        shape: Vec<u64>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More dimensions than a tensor of a GGUF file can have.
    #[error("{path}: tensor {tensor:?} has {found} dimensions; there can be at most {limit}")]
    GgufRank {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its number of dimensions.
        found: u32,
        /// The largest number.
        limit: usize,
    },
    /// An element type of ggml that is not read here, or that there is not.
    #[error("{path}: tensor {tensor:?} has dtype {found}, which is not read; read are {read}")]
    UnsupportedDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The dtype's name, or its number where it has none.
        found: String,
        /// Those that are read.
        read: String,
    },

    /// A directory without a manifest: not written by this project, or not completely.
    #[error("{path} has no manifest.json, so its files cannot be verified")]
    NoManifest {
        /// The directory.
        path: PathBuf,
    },
    /// A manifest that was altered or is not one.
    #[error("{path} is damaged: {message}; use another checkpoint")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A manifest of a later version of this project.
    #[error("{path} has manifest format {found}; this version reads format {supported}")]
    ManifestFormat {
        /// The manifest.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The only version that is read.
        supported: u32,
    },
    /// A file that the manifest lists and the directory lacks.
    #[error("{path} is missing, though the manifest lists it; use another checkpoint")]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A file of another size than the manifest says.
    #[error("{path} holds {found} bytes; the manifest says {expected}; use another checkpoint")]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Size in the manifest.
        expected: u64,
        /// Size found.
        found: u64,
    },
    /// A file whose bytes are not those that were written.
    #[error("{path} is damaged: its BLAKE3 sum is {found}; the manifest says {expected}; use another checkpoint")]
    FileSum {
        /// The file.
        path: PathBuf,
        /// Sum in the manifest.
        expected: String,
        /// Sum found.
        found: String,
    },
}

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// True where more room on the disk would have helped: the caller may go on without this file and say so.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Error::DiskFull { .. })
    }

    /// An [`Error::Io`] of `action` on `path`, to be given to `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// A name from a file as it goes into a message: whole where it is short, else its beginning.
pub(crate) fn shown(name: &str) -> String {
    const LIMIT: usize = 200;
    match name.char_indices().nth(LIMIT) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &name[..end], name.len()),
    }
}
