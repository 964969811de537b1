//! The header of a GGUF file: parsed and checked whole before anything is believed.

use super::cursor::{Cursor, Fault};
use super::value::ValueType;
use crate::dtype::Dtype;
use crate::map::is_git_lfs_pointer;
use crate::{Error, Result, error::shown};
use std::ops::Range;
use std::path::Path;

/// The first bytes of every file.
pub(super) const MAGIC: [u8; 4] = *b"GGUF";
/// The key of the alignment, which is a U32.
pub(super) const ALIGNMENT: &str = "general.alignment";
/// The alignment of a file that does not say another.
pub const DEFAULT_ALIGNMENT: u32 = 32;
/// The largest alignment that is accepted.
pub const MAX_ALIGNMENT: u32 = 1 << 16;
/// The most tensors that are accepted in one file.
pub const MAX_TENSORS: usize = 1 << 18;
/// The most metadata entries that are accepted.
pub const MAX_METADATA: usize = 1 << 16;
/// The longest name of a tensor or key.
pub const MAX_NAME_BYTES: usize = (1 << 16) - 1;
/// The most dimensions of a tensor.
pub const MAX_RANK: usize = 4;

/// Name length, type, and a byte of value.
const MIN_METADATA_BYTES: usize = 8 + 4 + 1;
/// Name length, rank, type, offset.
const MIN_TENSOR_BYTES: usize = 8 + 4 + 4 + 8;

/// One metadata entry.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: Box<str>,
    pub(super) kind: ValueType,
    /// Bytes of the value in the file.
    pub(super) range: Range<usize>,
}

/// One tensor.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Box<str>,
    pub(super) dtype: Dtype,
    /// The slowest first.
    pub(super) shape: Box<[usize]>,
    /// Bytes of the file, within its length.
    pub(super) range: Range<usize>,
}

/// A checked header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) alignment: u32,
    pub(super) fields: Vec<Field>,
    pub(super) entries: Vec<Entry>,
    fields_by_key: Vec<u32>,
    entries_by_name: Vec<u32>,
}

impl Header {
    pub(super) fn field(&self, key: &str) -> Option<&Field> {
        find(&self.fields, &self.fields_by_key, key, |field| &field.key)
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        find(&self.entries, &self.entries_by_name, name, |entry| &entry.name)
    }
}

/// Reads and checks the header of the file `path`, whose bytes are `bytes`.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Header> {
    let mut cursor = Cursor::new(bytes);
    let version = version(path, bytes, &mut cursor)?;
    let mut count = || -> Result<u64> { number(path, "the number of tensors and keys", cursor.number()) };
    let (tensors, keys) = (count()?, count()?);
    let keys = bounded(
        path,
        "metadata entries",
        keys,
        MAX_METADATA,
        cursor.left() / MIN_METADATA_BYTES,
    )?;
    let most = cursor.left().saturating_sub(keys * MIN_METADATA_BYTES) / MIN_TENSOR_BYTES;
    let tensors = bounded(path, "tensors", tensors, MAX_TENSORS, most)?;

    let mut fields = Vec::with_capacity(keys);
    for index in 0..keys {
        fields.push(field(path, index, &mut cursor)?);
    }
    let fields_by_key = sorted(&fields, |field| &field.key).map_err(|key| Error::DuplicateKey {
        path: path.to_owned(),
        key: shown(key),
    })?;
    let mut header = Header {
        version,
        alignment: DEFAULT_ALIGNMENT,
        fields,
        entries: Vec::with_capacity(tensors),
        fields_by_key,
        entries_by_name: Vec::new(),
    };
    if let Some(field) = header.field(ALIGNMENT) {
        header.alignment = alignment(path, field, bytes)?;
    }

    let mut raw = Vec::with_capacity(tensors);
    for index in 0..tensors {
        raw.push(tensor(path, index, &mut cursor)?);
    }
    header.entries = place(path, raw, cursor.at(), bytes.len(), header.alignment)?;
    header.entries_by_name = sorted(&header.entries, |entry| &entry.name).map_err(|name| Error::DuplicateTensor {
        path: path.to_owned(),
        tensor: shown(name),
    })?;
    Ok(header)
}

/// The magic bytes and the version.
fn version(path: &Path, bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<u32> {
    if is_git_lfs_pointer(bytes) {
        return Err(Error::GitLfsPointer { path: path.to_owned() });
    }
    if cursor.number().ok() != Some(MAGIC) {
        return Err(Error::NotGguf {
            path: path.to_owned(),
            found: bytes[..bytes.len().min(4)].escape_ascii().to_string(),
        });
    }
    let bytes = cursor.number().map_err(|fault| malformed(path, "the version", fault))?;
    match u32::from_le_bytes(bytes) {
        found @ (2 | 3) => Ok(found),
        // No version will ever be a multiple of 65536.
        _ if (1..1 << 16).contains(&u32::from_be_bytes(bytes)) => Err(Error::GgufBigEndian { path: path.to_owned() }),
        found => Err(Error::GgufVersion {
            path: path.to_owned(),
            found,
        }),
    }
}

/// A number of things that there is room for.
fn bounded(path: &Path, what: &'static str, found: u64, accepted: usize, room: usize) -> Result<usize> {
    let limit = accepted.min(room);
    if found <= limit as u64 {
        return Ok(found as usize);
    }
    Err(Error::GgufCount {
        path: path.to_owned(),
        what,
        found,
        limit: limit as u64,
    })
}

fn field(path: &Path, index: usize, cursor: &mut Cursor<'_>) -> Result<Field> {
    let key = name(path, "metadata entry", index, cursor)?;
    let mut read = || {
        let number = u32::from_le_bytes(cursor.number()?);
        let kind = ValueType::from_number(number).ok_or(Fault::UnknownType(number))?;
        let begin = cursor.at();
        cursor.value(kind)?;
        Ok((kind, begin..cursor.at()))
    };
    match read() {
        Ok((kind, range)) => Ok(Field {
            key: key.into(),
            kind,
            range,
        }),
        Err(fault) => Err(match fault {
            Fault::End { .. } => malformed(path, &format!("the value of {:?}", shown(key)), fault),
            Fault::UnknownType(found) => Error::GgufValueType {
                path: path.to_owned(),
                key: shown(key),
                found,
            },
            Fault::Malformed(reason) => Error::GgufValue {
                path: path.to_owned(),
                key: shown(key),
                reason,
            },
        }),
    }
}

/// The name of a key or tensor.
fn name<'a>(path: &Path, what: &'static str, index: usize, cursor: &mut Cursor<'a>) -> Result<&'a str> {
    let refuse = |reason| Error::GgufName {
        path: path.to_owned(),
        what,
        index,
        reason,
    };
    match cursor.string() {
        Ok(name) if name.len() > MAX_NAME_BYTES => Err(refuse(format!(
            "has {} bytes; there can be at most {MAX_NAME_BYTES}",
            name.len()
        ))),
        Ok(name) => Ok(name),
        Err(Fault::Malformed(reason)) => Err(refuse(reason)),
        Err(fault) => Err(malformed(path, &format!("the name of {what} {index}"), fault)),
    }
}

fn alignment(path: &Path, field: &Field, bytes: &[u8]) -> Result<u32> {
    let value = &bytes[field.range.clone()];
    let found = match (field.kind, value.as_array()) {
        (ValueType::U32, Some(value)) => u32::from_le_bytes(*value),
        _ => {
            return Err(Error::KeyType {
                path: path.to_owned(),
                key: ALIGNMENT.to_owned(),
                found: format!("of type {:?}", field.kind),
                expected: "a U32",
            });
        }
    };
    if !found.is_power_of_two() || !(8..=MAX_ALIGNMENT).contains(&found) {
        return Err(Error::Alignment {
            path: path.to_owned(),
            found,
            limit: MAX_ALIGNMENT,
        });
    }
    Ok(found)
}

/// A tensor as the header describes it.
struct Raw {
    name: Box<str>,
    dtype: Dtype,
    shape: Box<[usize]>,
    /// Bytes of its data.
    size: u64,
    offset: u64,
}

fn tensor(path: &Path, index: usize, cursor: &mut Cursor<'_>) -> Result<Raw> {
    let name = name(path, "tensor", index, cursor)?;
    let what = || format!("tensor {:?}", shown(name));
    let rank = u32::from_le_bytes(cursor.number().map_err(|fault| malformed(path, &what(), fault))?);
    if rank as usize > MAX_RANK {
        return Err(Error::GgufRank {
            path: path.to_owned(),
            tensor: shown(name),
            found: rank,
            limit: MAX_RANK,
        });
    }
    let mut read = || {
        let mut shape = Vec::with_capacity(rank as usize);
        for _ in 0..rank {
            shape.push(u64::from_le_bytes(cursor.number()?));
        }
        shape.reverse(); // the file has the fastest first
        let dtype = u32::from_le_bytes(cursor.number()?);
        Ok((shape, dtype, u64::from_le_bytes(cursor.number()?)))
    };
    let (shape, number, offset) = read().map_err(|fault| malformed(path, &what(), fault))?;
    let Some(dtype) = Dtype::from_ggml_type(number) else {
        return Err(Error::UnsupportedDtype {
            path: path.to_owned(),
            tensor: shown(name),
            found: unsupported(number).map_or_else(|| format!("number {number}"), str::to_owned),
            read: Dtype::ALL.map(Dtype::name).join(", "),
        });
    };
    match size(dtype, &shape) {
        Ok((shape, size)) => Ok(Raw {
            name: name.into(),
            dtype,
            shape,
            size,
            offset,
        }),
        Err(reason) => Err(Error::GgufShape {
            path: path.to_owned(),
            tensor: shown(name),
            dtype,
            shape,
            reason,
        }),
    }
}

/// A shape that has a number of bytes, and that number.
pub(super) fn size(dtype: Dtype, shape: &[u64]) -> std::result::Result<(Box<[usize]>, u64), &'static str> {
    if shape.contains(&0) {
        return Err("with a size of 0");
    }
    let too_large = "whose product is too large";
    let sizes: Option<Box<[usize]>> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let sizes = sizes.ok_or(too_large)?;
    if sizes.last().copied().unwrap_or(1) % dtype.block_len() != 0 {
        return Err("whose rows are no whole number of blocks");
    }
    let elements = sizes
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size));
    let bytes = elements.and_then(|elements| dtype.bytes(elements)).ok_or(too_large)?;
    Ok((sizes, bytes as u64))
}

/// Gives every tensor its bytes: in the order of the header, each at the next multiple of the alignment, as llama.cpp
/// reads and writes them. So there are no holes, and no byte belongs to two.
fn place(path: &Path, raw: Vec<Raw>, header_end: usize, len: usize, alignment: u32) -> Result<Vec<Entry>> {
    let alignment = u64::from(alignment);
    let data = (header_end as u64).next_multiple_of(alignment);
    let limit = (len as u64).saturating_sub(data);
    let mut expected = 0;
    let mut entries = Vec::with_capacity(raw.len());
    for tensor in raw {
        let end = tensor.offset.checked_add(tensor.size);
        match end {
            Some(end) if tensor.offset == expected && end <= limit => {
                entries.push(Entry {
                    name: tensor.name,
                    dtype: tensor.dtype,
                    shape: tensor.shape,
                    range: (data + tensor.offset) as usize..(data + end) as usize,
                });
                expected = end.next_multiple_of(alignment); // at most the file's length and an alignment
            }
            _ => {
                return Err(Error::Offsets {
                    path: path.to_owned(),
                    tensor: shown(&tensor.name),
                    begin: tensor.offset,
                    end: end.unwrap_or(u64::MAX),
                    expected,
                    limit,
                });
            }
        }
    }
    // The padding after the last tensor may be missing.
    if limit > expected {
        return Err(Error::TrailingBytes {
            path: path.to_owned(),
            expected: data + expected,
            found: len as u64,
        });
    }
    Ok(entries)
}

fn number(path: &Path, what: &str, bytes: std::result::Result<[u8; 8], Fault>) -> Result<u64> {
    bytes
        .map(u64::from_le_bytes)
        .map_err(|fault| malformed(path, what, fault))
}

/// The error of a place where only the end of the file can be wrong.
fn malformed(path: &Path, what: &str, fault: Fault) -> Error {
    match fault {
        Fault::End { at, needed, left } => Error::GgufTruncated {
            path: path.to_owned(),
            what: what.to_owned(),
            at: at as u64,
            needed,
            left: left as u64,
        },
        Fault::UnknownType(_) | Fault::Malformed(_) => unreachable!("numbers have no type and any bytes"),
    }
}

/// Places in `items` sorted by name; a name that stands twice is an error.
fn sorted<T>(items: &[T], name: impl Fn(&T) -> &str) -> std::result::Result<Vec<u32>, &str> {
    let name = |i: u32| name(&items[i as usize]);
    let mut order: Vec<u32> = (0..items.len() as u32).collect();
    order.sort_unstable_by_key(|&i| name(i));
    match order.windows(2).find(|pair| name(pair[0]) == name(pair[1])) {
        None => Ok(order),
        Some(pair) => Err(name(pair[0])),
    }
}

fn find<'a, T>(items: &'a [T], order: &[u32], wanted: &str, name: impl Fn(&T) -> &str) -> Option<&'a T> {
    let at = order.binary_search_by(|&i| name(&items[i as usize]).cmp(wanted)).ok()?;
    items.get(order[at] as usize)
}

/// The name of an element type of ggml that is not read here.
fn unsupported(number: u32) -> Option<&'static str> {
    Some(match number {
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        40 => "NVFP4",
        41 => "Q1_0",
        _ => return None,
    })
}
