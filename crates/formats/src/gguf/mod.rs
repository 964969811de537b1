//! GGUF: metadata and named tensors in one file, read where they lie. It is the format of llama.cpp.
//!
//! A file is the bytes `GGUF`, a version, the number of tensors, the number of metadata entries, the entries (key, type,
//! value), the tensors' descriptions (name, sizes, type, offset), and the tensors' bytes, each at a multiple of
//! `general.alignment` (32 where the file does not say it). Numbers are little-endian, texts are UTF-8 after a length in
//! 8 bytes. Source: `docs/gguf.md` in the repository of ggml.
//!
//! **Read** are versions 2 and 3, which differ in nothing that matters here; **written** is version 3.
//!
//! **The layout is the canonical one, or the file is refused:** tensors lie in the order of their descriptions, each at the
//! next multiple of the alignment, nothing follows the last. So it is in llama.cpp, which opens no other. Then what was
//! read and is written again, version 3, padded with zeros to the end, is the same file byte for byte.
//!
//! **Shapes** are given as everywhere in this project, the slowest size first: what GGUF stores as `ne` is turned round.
//! A matrix of `shape` `[rows, columns]` has rows that lie together, and blocks never cross a row.
//!
//! What the keys and names mean, and which matrices a converter has transposed or permuted, is not known here.

mod cursor;
mod header;
mod value;
mod write;

pub use header::{DEFAULT_ALIGNMENT, MAX_ALIGNMENT, MAX_METADATA, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS};
pub use value::{Array, Items, MAX_DEPTH, Value, ValueType};
pub use write::Writer;

use crate::dtype::Dtype;
use crate::map::MappedFile;
use crate::{Error, Result, error::shown};
use cursor::Cursor;
use header::{Entry, Field, Header};
use std::path::Path;

/// An open GGUF file: its header, checked whole, and its bytes, mapped.
///
/// ```
/// use foretoken_formats::{dtype::Dtype, durable, gguf::{Gguf, Value, Writer}};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("model.gguf");
/// let mut writer = Writer::new();
/// writer.value("general.architecture", "gpt2");
/// writer.value("gpt2.block_count", 12_u32);
/// writer.tensor("token_embd.weight", &[2, 32], Dtype::F16);
/// durable::write_file(&path, |w| writer.write(w, |_name, w| Dtype::F16.write(&[0.5; 64], w)))?;
///
/// let file = Gguf::open(&path)?;
/// assert_eq!(file.require("gpt2.block_count", "a number", Value::as_u64)?, 12);
/// let tensor = file.require_tensor("token_embd.weight")?;
/// let mut floats = [0.0; 64];
/// tensor.read_f32(&mut floats)?;
/// assert_eq!((tensor.shape, floats[63]), (&[2, 32][..], 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Gguf {
    file: MappedFile,
    header: Header,
}

impl Gguf {
    /// Maps `path` and checks its header whole; the tensors' bytes are not touched.
    ///
    /// # Errors
    /// Whatever is wrong with the file, naming the key or tensor where it is about one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(MappedFile::open(path)?)
    }

    /// As [`Gguf::open`], from a copy of `bytes` in memory.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::new(MappedFile::of_bytes("(bytes)", bytes)?)
    }

    fn new(file: MappedFile) -> Result<Self> {
        let header = header::parse(file.path(), file.bytes())?;
        Ok(Self { file, header })
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// Every tensor begins at a multiple of it.
    pub fn alignment(&self) -> u32 {
        self.header.alignment
    }

    /// All metadata in the order of the file.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let fields = self.header.fields.iter();
        fields.filter_map(|field| Some((&*field.key, self.value(field)?)))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.value(self.header.field(key)?)
    }

    /// The value of `key`, where there is one, as `read` takes it, such as [`Value::as_u64`]; `expected` is for the
    /// message.
    ///
    /// # Errors
    /// [`Error::KeyType`] where `read` gives none.
    pub fn optional<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(value) {
            Some(found) => Ok(Some(found)),
            None => Err(Error::KeyType {
                path: self.path().to_owned(),
                key: shown(key),
                found: value.to_string(),
                expected,
            }),
        }
    }

    /// The value of `key`, which has to be there, as [`Gguf::optional`] takes it.
    ///
    /// # Errors
    /// [`Error::MissingKey`], and [`Error::KeyType`] where `read` gives none.
    pub fn require<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<T> {
        self.optional(key, expected, read)?.ok_or_else(|| Error::MissingKey {
            path: self.path().to_owned(),
            key: shown(key),
            expected,
        })
    }

    /// All tensors in the order of the file.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.header.entries.iter().map(|entry| self.view(entry))
    }

    /// The tensor `name`.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        Some(self.view(self.header.entry(name)?))
    }

    /// The tensor `name`, which has to be there.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn require_tensor(&self, name: &str) -> Result<TensorView<'_>> {
        self.tensor(name).ok_or_else(|| Error::MissingTensor {
            path: self.path().to_owned(),
            tensor: name.to_owned(),
        })
    }

    /// `None` only where somebody has changed the file since it was checked.
    fn value<'a>(&'a self, field: &Field) -> Option<Value<'a>> {
        let bytes = &self.file.bytes()[field.range.clone()];
        let mut cursor = Cursor::new(bytes);
        if field.kind != ValueType::Array {
            return cursor.value(field.kind).ok();
        }
        // Its end is known, so its elements need not be walked.
        let (element, len) = cursor.array_head().ok()?;
        Some(Value::Array(Array::new(element, len, &bytes[cursor.at()..])))
    }

    fn view<'a>(&'a self, entry: &'a Entry) -> TensorView<'a> {
        TensorView {
            path: self.file.path(),
            name: &entry.name,
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: &self.file.bytes()[entry.range.clone()],
        }
    }
}

/// A tensor in an open file.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// The file it is in.
    pub path: &'a Path,
    /// Its name.
    pub name: &'a str,
    /// How its elements are stored.
    pub dtype: Dtype,
    /// Sizes, the slowest first, none of them 0; empty for a scalar.
    pub shape: &'a [usize],
    /// Its blocks in row-major order; at a multiple of the file's alignment.
    pub bytes: &'a [u8],
}

impl TensorView<'_> {
    /// Number of elements: the product of the shape.
    pub fn elements(&self) -> usize {
        // The header's check has made this product before.
        self.shape.iter().product()
    }

    /// Checks the shape.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn expect_shape(&self, expected: &[usize]) -> Result<()> {
        if self.shape == expected {
            return Ok(());
        }
        Err(Error::Shape {
            path: self.path.to_owned(),
            tensor: self.name.to_owned(),
            found: self.shape.to_vec(),
            expected: expected.to_vec(),
        })
    }

    /// All elements as 32-bit floats into `out`.
    ///
    /// # Errors
    /// [`Error::Shape`] where `out` has another number of elements.
    pub fn read_f32(&self, out: &mut [f32]) -> Result<()> {
        if out.len() != self.elements() {
            return self.expect_shape(&[out.len()]);
        }
        self.dtype.decode(self.bytes, out);
        Ok(())
    }
}
