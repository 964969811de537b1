//! safetensors: named tensors in one file, read where they lie.
//!
//! A file is 8 bytes of little-endian header length, a JSON header of that length, and the tensors' bytes without holes.
//! The header gives every tensor its dtype, shape and place: `{"wte.weight":{"dtype":"F32","shape":[50257,768],
//! "data_offsets":[0,154389504]},…}`, and may hold text under `__metadata__`.
//!
//! The header is parsed here and not by the crate `safetensors`, from which only the dtypes come: that crate lets
//! duplicate names collapse, names no tensor in most of its errors, and takes about 20 times the size of a hostile header in
//! memory (a shape of 12 million zeros). Its writer holds the metadata in a map without order, so that the same tensors give different bytes.

mod header;
mod model_dir;
mod write;

pub use ::safetensors::Dtype;
pub use header::{MAX_HEADER_BYTES, MAX_METADATA, MAX_RANK, MAX_STRING_BYTES, MAX_TENSORS};
pub use model_dir::{INDEX, MODEL, Weights, index_shards, open_model_dir};
pub use write::{Data, Described, Tensor, encoded_len, encoded_len_of, write, write_streamed};

use crate::dtype;
use crate::map::MappedFile;
use crate::{Error, Result};
use header::{Entry, Header};
use std::path::Path;

/// An open safetensors file: its header, checked whole, and its bytes, mapped.
#[derive(Debug)]
pub struct Safetensors {
    file: MappedFile,
    header: Header,
}

impl Safetensors {
    /// Maps `path` and checks its header whole; the tensors' bytes are not touched.
    ///
    /// # Errors
    /// Whatever is wrong with the file, naming the tensor where it is about one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(MappedFile::open(path)?)
    }

    /// As [`Safetensors::open`], from a copy of `bytes` in memory.
    ///
    /// # Errors
    /// As [`Safetensors::open`].
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

    /// The tensors' names in the order of their bytes.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.header.entries.iter().map(|entry| &*entry.name)
    }

    /// The tensor `name`.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let entry = self.header.find(name)?;
        Some(self.view(entry))
    }

    /// All tensors in the order of their bytes.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.header.entries.iter().map(|entry| self.view(entry))
    }

    /// The text under `key` of `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata.get(key).map(String::as_str)
    }

    /// All of `__metadata__`, sorted by key.
    pub fn all_metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.header
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
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
    /// Type of an element.
    pub dtype: Dtype,
    /// Sizes, the slowest first; empty for a scalar.
    pub shape: &'a [usize],
    /// Elements in row-major order, little-endian; at any alignment.
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

    /// All elements as 32-bit floats into `out`; exact for F32, F16 and BF16.
    ///
    /// # Errors
    /// [`Error::Dtype`] for any other dtype; [`Error::Shape`] where `out` has another number of elements.
    pub fn read_f32(&self, out: &mut [f32]) -> Result<()> {
        if out.len() != self.elements() {
            return self.expect_shape(&[out.len()]);
        }
        self.float_type()?.decode(self.bytes, out);
        Ok(())
    }

    /// The type of floats it holds.
    ///
    /// # Errors
    /// [`Error::Dtype`] where they are none.
    pub fn float_type(&self) -> Result<dtype::Dtype> {
        match self.dtype {
            Dtype::F32 => Ok(dtype::Dtype::F32),
            Dtype::F16 => Ok(dtype::Dtype::F16),
            Dtype::BF16 => Ok(dtype::Dtype::BF16),
            _ => Err(self.wrong_dtype("F32, F16 or BF16")),
        }
    }

    /// All elements of a BF16 tensor as they are, the upper halves of 32-bit floats' bits, into `out`.
    ///
    /// # Errors
    /// [`Error::Dtype`] for any other dtype; [`Error::Shape`] where `out` has another number of elements.
    pub fn read_bf16(&self, out: &mut [u16]) -> Result<()> {
        if out.len() != self.elements() {
            return self.expect_shape(&[out.len()]);
        }
        if self.dtype != Dtype::BF16 {
            return Err(self.wrong_dtype("BF16"));
        }
        bytemuck::cast_slice_mut(out).copy_from_slice(self.bytes);
        Ok(())
    }

    /// All elements of a U64 tensor.
    ///
    /// # Errors
    /// [`Error::Dtype`] for any other dtype.
    pub fn read_u64(&self) -> Result<Vec<u64>> {
        if self.dtype != Dtype::U64 {
            return Err(self.wrong_dtype("U64"));
        }
        let mut out = vec![0; self.elements()];
        bytemuck::cast_slice_mut(&mut out).copy_from_slice(self.bytes);
        Ok(out)
    }

    fn wrong_dtype(&self, expected: &'static str) -> Error {
        Error::Dtype {
            path: self.path.to_owned(),
            tensor: self.name.to_owned(),
            found: self.dtype,
            expected,
        }
    }
}
