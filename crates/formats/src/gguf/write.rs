//! Writing GGUF, a tensor at a time.

use super::header::{self, ALIGNMENT, DEFAULT_ALIGNMENT, MAGIC, MAX_ALIGNMENT, MAX_NAME_BYTES, MAX_RANK};
use super::value::{Value, ValueType};
use crate::dtype::Dtype;
use crate::write::Counted;
use std::collections::HashSet;
use std::io::{self, Write};

/// A GGUF file to be written: metadata and the tensors' descriptions. The tensors' bytes come while it is written, so
/// that no more than one of them need be in memory.
///
/// The same calls give the same bytes. The alignment is that of the value `general.alignment`, a U32, else 32.
///
/// # Panics
/// Names that stand twice or are longer than [`MAX_NAME_BYTES`], and an alignment that is no power of two from 8 to
/// [`MAX_ALIGNMENT`], are the caller's mistakes.
#[derive(Debug)]
pub struct Writer {
    alignment: u32,
    keys: HashSet<String>,
    /// Keys, types and values as they will stand in the file.
    metadata: Vec<u8>,
    names: HashSet<String>,
    tensors: Vec<Described>,
}

#[derive(Debug)]
struct Described {
    name: String,
    shape: Vec<u64>,
    dtype: Dtype,
    size: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// A file without metadata and tensors.
    pub fn new() -> Self {
        Self {
            alignment: DEFAULT_ALIGNMENT,
            keys: HashSet::new(),
            metadata: Vec::new(),
            names: HashSet::new(),
            tensors: Vec::new(),
        }
    }

    /// Adds an entry to the metadata.
    pub fn value<'a>(&mut self, key: &str, value: impl Into<Value<'a>>) {
        let value = value.into();
        if key == ALIGNMENT {
            let Value::U32(alignment) = value else {
                panic!("{ALIGNMENT} is {value}, no U32");
            };
            assert!(
                alignment.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&alignment),
                "{ALIGNMENT} is {alignment}"
            );
            self.alignment = alignment;
        }
        self.key(key, value.value_type());
        value.write(&mut self.metadata);
    }

    /// Adds an array to the metadata, of `values` that are all of type `element`.
    ///
    /// # Panics
    /// Where one is of another type, and as the type says.
    pub fn array<'a, V: Into<Value<'a>>>(
        &mut self,
        key: &str,
        element: ValueType,
        values: impl IntoIterator<Item = V>,
    ) {
        self.key(key, ValueType::Array);
        self.metadata.extend((element as u32).to_le_bytes());
        let at = self.metadata.len();
        self.metadata.extend([0; 8]);
        let mut len = 0_u64;
        for value in values {
            let value = value.into();
            assert!(
                value.value_type() == element,
                "{key}: {value} in an array of {element:?}"
            );
            value.write(&mut self.metadata);
            len += 1;
        }
        self.metadata[at..at + 8].copy_from_slice(&len.to_le_bytes());
    }

    fn key(&mut self, key: &str, kind: ValueType) {
        assert!(key.len() <= MAX_NAME_BYTES, "a key of {} bytes", key.len());
        assert!(self.keys.insert(key.to_owned()), "two values of the key {key:?}");
        Value::String(key).write(&mut self.metadata);
        self.metadata.extend((kind as u32).to_le_bytes());
    }

    /// Adds a tensor; its sizes are given the slowest first.
    ///
    /// # Panics
    /// Where it has more than [`MAX_RANK`] sizes, a size of 0, or rows that are no whole number of blocks, and as the
    /// type says.
    pub fn tensor(&mut self, name: &str, shape: &[usize], dtype: Dtype) {
        assert!(name.len() <= MAX_NAME_BYTES, "a name of {} bytes", name.len());
        assert!(self.names.insert(name.to_owned()), "two tensors of the name {name:?}");
        assert!(shape.len() <= MAX_RANK, "{name}: shape {shape:?}");
        let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        let size = match header::size(dtype, &shape) {
            Ok((_, size)) => size,
            Err(reason) => panic!("{name}: {dtype} of shape {shape:?}, {reason}"),
        };
        self.tensors.push(Described {
            name: name.to_owned(),
            shape,
            dtype,
            size,
        });
    }

    /// Bytes that [`Writer::write`] writes, for [`crate::durable::check_space`].
    pub fn encoded_len(&self) -> u64 {
        let data: u64 = self.tensors.iter().map(|tensor| self.padded(tensor.size)).sum();
        self.header().len() as u64 + data
    }

    /// Writes the file to `w`. `data` is called for every tensor, in the order they were added, with its name and a
    /// place to write its bytes to.
    ///
    /// Meant for [`crate::durable::write_file`].
    ///
    /// # Errors
    /// Those of `w` and of `data`.
    ///
    /// # Panics
    /// Where `data` writes another number of bytes than the tensor has.
    pub fn write(
        &self,
        w: &mut dyn Write,
        mut data: impl FnMut(&str, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        w.write_all(&self.header())?;
        for tensor in &self.tensors {
            let mut counted = Counted { to: w, written: 0 };
            data(&tensor.name, &mut counted)?;
            let written = counted.written;
            assert!(
                written == tensor.size,
                "{}: {} bytes, {written} were written",
                tensor.name,
                tensor.size
            );
            w.write_all(&vec![0; (self.padded(written) - written) as usize])?;
        }
        Ok(())
    }

    /// All before the tensors' bytes, padded.
    fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(self.metadata.len() + 128 * self.tensors.len());
        header.extend(MAGIC);
        header.extend(3_u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.keys.len() as u64).to_le_bytes());
        header.extend(&self.metadata);
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            Value::String(&tensor.name).write(&mut header);
            header.extend((tensor.shape.len() as u32).to_le_bytes());
            for size in tensor.shape.iter().rev() {
                header.extend(size.to_le_bytes());
            }
            header.extend(tensor.dtype.ggml_type().to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset += self.padded(tensor.size);
        }
        header.resize(self.padded(header.len() as u64) as usize, 0);
        header
    }

    fn padded(&self, bytes: u64) -> u64 {
        bytes.next_multiple_of(self.alignment.into())
    }
}
