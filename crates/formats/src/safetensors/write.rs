//! Writing safetensors straight from the caller's slices.

use super::Dtype;
use super::header::{MAX_HEADER_BYTES, METADATA};
use crate::dtype;
use crate::write::Counted;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// A tensor to be written.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Its name, unique in the file.
    pub name: &'a str,
    /// Sizes, the slowest first; empty for a scalar.
    pub shape: &'a [usize],
    /// Elements in row-major order.
    pub data: Data<'a>,
}

/// A tensor to be written whose bytes come later: see [`write_streamed`].
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// Its name, unique in the file.
    pub name: &'a str,
    /// Sizes, the slowest first; empty for a scalar.
    pub shape: &'a [usize],
    /// Type of an element, of whole bytes.
    pub dtype: Dtype,
}

impl Described<'_> {
    /// Bytes of the elements in the file.
    pub fn size(&self) -> usize {
        self.shape.iter().product::<usize>() * (self.dtype.bitsize() / 8)
    }
}

/// The elements of a [`Tensor`].
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 32-bit floats that are rounded to binary16 while they are written, ties to even; from 65520 on to infinity.
    F16(&'a [f32]),
    /// 32-bit floats that are rounded to bfloat16 while they are written, ties to even.
    BF16(&'a [f32]),
    /// bf16: the upper halves of 32-bit floats' bits.
    BF16Bits(&'a [u16]),
    /// 64-bit counters.
    U64(&'a [u64]),
    /// Bytes.
    U8(&'a [u8]),
}

impl<'a> Tensor<'a> {
    /// A tensor of 32-bit floats.
    pub fn f32(name: &'a str, shape: &'a [usize], data: &'a [f32]) -> Self {
        let data = Data::F32(data);
        Self { name, shape, data }
    }

    /// A tensor of halves (IEEE 754 binary16), from 32-bit floats.
    pub fn f16(name: &'a str, shape: &'a [usize], data: &'a [f32]) -> Self {
        let data = Data::F16(data);
        Self { name, shape, data }
    }

    /// A tensor of bfloat16, from 32-bit floats.
    pub fn bf16(name: &'a str, shape: &'a [usize], data: &'a [f32]) -> Self {
        let data = Data::BF16(data);
        Self { name, shape, data }
    }

    /// A tensor in bf16, given as the upper halves of 32-bit floats' bits.
    pub fn bf16_bits(name: &'a str, shape: &'a [usize], data: &'a [u16]) -> Self {
        let data = Data::BF16Bits(data);
        Self { name, shape, data }
    }

    /// A tensor of 64-bit counters.
    pub fn u64(name: &'a str, shape: &'a [usize], data: &'a [u64]) -> Self {
        let data = Data::U64(data);
        Self { name, shape, data }
    }

    /// A tensor of bytes.
    pub fn u8(name: &'a str, shape: &'a [usize], data: &'a [u8]) -> Self {
        let data = Data::U8(data);
        Self { name, shape, data }
    }

    fn dtype(&self) -> Dtype {
        match self.data {
            Data::F32(_) => Dtype::F32,
            Data::F16(_) => Dtype::F16,
            Data::BF16(_) | Data::BF16Bits(_) => Dtype::BF16,
            Data::U64(_) => Dtype::U64,
            Data::U8(_) => Dtype::U8,
        }
    }

    fn elements(&self) -> usize {
        match self.data {
            Data::F32(data) | Data::F16(data) | Data::BF16(data) => data.len(),
            Data::BF16Bits(data) => data.len(),
            Data::U64(data) => data.len(),
            Data::U8(data) => data.len(),
        }
    }

    fn described(&self) -> Described<'a> {
        Described {
            name: self.name,
            shape: self.shape,
            dtype: self.dtype(),
        }
    }

    fn write(&self, w: &mut dyn Write) -> io::Result<()> {
        match self.data {
            Data::F32(data) => w.write_all(bytemuck::cast_slice(data)),
            Data::F16(data) => dtype::Dtype::F16.write(data, w),
            Data::BF16(data) => dtype::Dtype::BF16.write(data, w),
            Data::BF16Bits(data) => w.write_all(bytemuck::cast_slice(data)),
            Data::U64(data) => w.write_all(bytemuck::cast_slice(data)),
            Data::U8(data) => w.write_all(data),
        }
    }
}

/// Writes `tensors` to `w`, with `metadata` as pairs of key and text.
///
/// The same arguments give the same bytes. Tensors keep their order, except that wider elements come first (U64, F32,
/// F16 and BF16, U8): every tensor is then aligned in the file, which PyTorch asks for. `"format":"pt"` is in the metadata unless
/// `metadata` says something else under `format`; without it some versions of `transformers` refuse the file.
///
/// Meant for [`crate::durable::write_file`] and [`crate::durable::DurableDir::file`].
///
/// # Errors
/// Those of `w`, and a header longer than the format allows (some hundred thousand tensors).
///
/// # Panics
/// Where a shape's product is not the number of elements, or a name stands twice or is `__metadata__`.
pub fn write(w: &mut dyn Write, tensors: &[Tensor<'_>], metadata: &[(&str, &str)]) -> io::Result<()> {
    check(tensors);
    let described: Vec<Described<'_>> = tensors.iter().map(Tensor::described).collect();
    write_streamed(w, &described, metadata, |index, w| tensors[index].write(w))
}

/// [`write()`] of tensors whose bytes come while they are written, so that no more than one of them need be in memory.
/// `data` is called for each, in the order of the file, with its index in `tensors` and a place to write its bytes to.
///
/// # Errors
/// Those of `w` and of `data`, and a header longer than the format allows.
///
/// # Panics
/// Where a name stands twice or is `__metadata__`, and where `data` writes another number of bytes than the tensor has.
pub fn write_streamed(
    w: &mut dyn Write,
    tensors: &[Described<'_>],
    metadata: &[(&str, &str)],
    mut data: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let order = order(tensors);
    let header = header(tensors, &order, metadata);
    if header.len() as u64 > MAX_HEADER_BYTES {
        let message = format!(
            "a header of {} bytes; safetensors allows {MAX_HEADER_BYTES}",
            header.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    w.write_all(&(header.len() as u64).to_le_bytes())?;
    w.write_all(&header)?;
    for index in order {
        let mut counted = Counted { to: w, written: 0 };
        data(index, &mut counted)?;
        let (tensor, written) = (&tensors[index], counted.written);
        assert!(
            written == tensor.size() as u64,
            "{}: {} bytes, {written} were written",
            tensor.name,
            tensor.size()
        );
    }
    Ok(())
}

/// Bytes that [`write()`] writes for the same arguments, for [`crate::durable::check_space`].
///
/// # Panics
/// As [`write()`].
pub fn encoded_len(tensors: &[Tensor<'_>], metadata: &[(&str, &str)]) -> u64 {
    check(tensors);
    let described: Vec<Described<'_>> = tensors.iter().map(Tensor::described).collect();
    encoded_len_of(&described, metadata)
}

/// Bytes that [`write_streamed`] writes for the same arguments.
///
/// # Panics
/// Where a name stands twice or is `__metadata__`.
pub fn encoded_len_of(tensors: &[Described<'_>], metadata: &[(&str, &str)]) -> u64 {
    let order = order(tensors);
    let data: u64 = tensors.iter().map(|tensor| tensor.size() as u64).sum();
    8 + header(tensors, &order, metadata).len() as u64 + data
}

fn check(tensors: &[Tensor<'_>]) {
    for tensor in tensors {
        let found = tensor.elements();
        assert!(
            tensor.shape.iter().product::<usize>() == found,
            "{}: shape {:?}, {found} elements",
            tensor.name,
            tensor.shape
        );
    }
}

/// The tensors' indices in the order of their bytes; names are checked.
fn order(tensors: &[Described<'_>]) -> Vec<usize> {
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert!(pair[0] != pair[1], "two tensors of the name {:?}", pair[0]);
    }
    for name in names {
        assert!(name != METADATA, "{METADATA} is no name for a tensor");
    }
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(tensors[index].dtype.bitsize())); // stable
    order
}

/// The header, padded with spaces so that the data begin at a multiple of 8.
fn header(tensors: &[Described<'_>], order: &[usize], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut texts = BTreeMap::from([("format", "pt")]);
    texts.extend(metadata.iter().copied());
    let header = Header { tensors, order, texts };
    let mut header = serde_json::to_vec(&header).expect("text, numbers and lists have a JSON form");
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

struct Header<'a> {
    tensors: &'a [Described<'a>],
    order: &'a [usize],
    texts: BTreeMap<&'a str, &'a str>,
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.order.len()))?;
        map.serialize_entry(METADATA, &self.texts)?;
        let mut begin = 0;
        for &index in self.order {
            let tensor = &self.tensors[index];
            let end = begin + tensor.size();
            let place = Place {
                tensor,
                offsets: [begin, end],
            };
            map.serialize_entry(tensor.name, &place)?;
            begin = end;
        }
        map.end()
    }
}

struct Place<'a> {
    tensor: &'a Described<'a>,
    offsets: [usize; 2],
}

impl Serialize for Place<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut place = serializer.serialize_struct("Place", 3)?;
        place.serialize_field("dtype", &self.tensor.dtype)?;
        place.serialize_field("shape", self.tensor.shape)?;
        place.serialize_field("data_offsets", &self.offsets)?;
        place.end()
    }
}
