//! The header of a safetensors file: parsed and checked whole before anything is believed.

use super::Dtype;
use crate::map::is_git_lfs_pointer;
use crate::{Error, Result, error::shown};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// The longest header of the format.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The most tensors that are accepted in one file: twice and more what the largest public models hold over all shards.
pub const MAX_TENSORS: usize = 1 << 18;
/// The most dimensions of a tensor.
pub const MAX_RANK: usize = 64;
/// The most entries of `__metadata__`.
pub const MAX_METADATA: usize = 1 << 16;
/// The longest name or text in a header.
pub const MAX_STRING_BYTES: usize = 1 << 23;

/// The key that is no tensor.
pub(super) const METADATA: &str = "__metadata__";
/// The format nests three levels deep; this leaves room for entries that are skipped.
const MAX_DEPTH: usize = 64;
/// No number of a header has more digits than a `u64`; this leaves room for fractions in entries that are skipped.
const MAX_NUMBER_BYTES: usize = 64;

/// One tensor of a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Box<str>,
    pub(super) dtype: Dtype,
    pub(super) shape: Box<[usize]>,
    /// Bytes of the file, within its length.
    pub(super) range: Range<usize>,
}

/// A checked header.
#[derive(Debug)]
pub(super) struct Header {
    /// In the order of their bytes.
    pub(super) entries: Vec<Entry>,
    /// Places in `entries`, sorted by name.
    by_name: Vec<u32>,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Header {
    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        let entry = |&i: &u32| &self.entries[i as usize];
        let at = self.by_name.binary_search_by(|i| (*entry(i).name).cmp(name)).ok()?;
        Some(entry(&self.by_name[at]))
    }
}

/// Reads and checks the header of the file `path`, whose bytes are `bytes`.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Header> {
    let text = header_text(path, bytes)?;
    scan(text).map_err(|message| malformed(path, message))?;
    let raw: RawHeader = serde_json::from_str(text).map_err(|error| malformed(path, shown(&error.to_string())))?;
    let mut entries = raw.tensors;
    entries.sort_by_key(|(_, tensor)| tensor.offsets);
    let by_name = sorted_by_name(path, &entries)?;

    let data = 8 + text.len();
    let limit = (bytes.len() - data) as u64;
    let mut expected = 0;
    let mut checked = Vec::with_capacity(entries.len());
    for (name, tensor) in entries {
        let (begin, end) = tensor.offsets;
        if begin != expected || end < begin || end > limit {
            return Err(Error::Offsets {
                path: path.to_owned(),
                tensor: shown(&name),
                begin,
                end,
                expected,
                limit,
            });
        }
        expected = end;
        checked.push(check(path, name, tensor, data)?);
    }
    if expected != limit {
        return Err(Error::TrailingBytes {
            path: path.to_owned(),
            expected: data as u64 + expected,
            found: bytes.len() as u64,
        });
    }

    Ok(Header {
        entries: checked,
        by_name,
        metadata: raw.metadata.unwrap_or_default(),
    })
}

/// Places in `entries` sorted by name; a name that stands twice is an error.
fn sorted_by_name(path: &Path, entries: &[(Box<str>, RawTensor)]) -> Result<Vec<u32>> {
    let name = |i: u32| &*entries[i as usize].0;
    let mut by_name: Vec<u32> = (0..entries.len() as u32).collect();
    by_name.sort_unstable_by_key(|&i| name(i));
    match by_name.windows(2).find(|pair| name(pair[0]) == name(pair[1])) {
        None => Ok(by_name),
        Some(pair) => Err(Error::DuplicateTensor {
            path: path.to_owned(),
            tensor: shown(name(pair[0])),
        }),
    }
}

/// The text of the header, of the length that the first 8 bytes give.
fn header_text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    if is_git_lfs_pointer(bytes) {
        return Err(Error::GitLfsPointer { path: path.to_owned() });
    }
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(Error::TooShort {
            path: path.to_owned(),
            found: bytes.len(),
        });
    };
    let found = u64::from_le_bytes(*length);
    let limit = MAX_HEADER_BYTES.min(rest.len() as u64);
    if found < 2 || found > limit {
        return Err(Error::HeaderLength {
            path: path.to_owned(),
            found,
            limit,
        });
    }
    let header = &rest[..found as usize];
    if header[0] != b'{' {
        let message = format!("it starts with byte {:#04x}; expected a brace", header[0]);
        return Err(malformed(path, message));
    }
    std::str::from_utf8(header)
        .map_err(|error| malformed(path, format!("byte {} is not UTF-8", 8 + error.valid_up_to())))
}

/// One look at the text before it is parsed: with bounded strings, numbers and depth the parser's buffers are bounded.
fn scan(text: &str) -> std::result::Result<(), String> {
    let mut string: Option<usize> = None; // bytes since the opening quote
    let mut escaped = false;
    let (mut number, mut depth) = (0, 0_usize);
    for (at, byte) in text.bytes().enumerate() {
        if let Some(length) = &mut string {
            *length += 1;
            if *length > MAX_STRING_BYTES + 1 {
                return Err(format!(
                    "the string at byte {} is longer than {MAX_STRING_BYTES} bytes",
                    8 + at - *length
                ));
            }
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if byte == b'"' {
                string = None;
            }
        } else if byte == b'"' {
            string = Some(0);
        } else if byte.is_ascii_digit() {
            number += 1;
            if number > MAX_NUMBER_BYTES {
                return Err(format!(
                    "the number at byte {} has more than {MAX_NUMBER_BYTES} digits",
                    9 + at - number
                ));
            }
        } else {
            number = 0;
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return Err(format!("it nests deeper than {MAX_DEPTH} levels at byte {}", 8 + at));
            }
        }
    }
    Ok(())
}

/// Checks dtype, shape and size of one tensor whose offsets were checked.
fn check(path: &Path, name: Box<str>, tensor: RawTensor, data: usize) -> Result<Entry> {
    let dtype: std::result::Result<Dtype, serde::de::value::Error> =
        Dtype::deserialize((&*tensor.dtype).into_deserializer());
    let Ok(dtype) = dtype else {
        return Err(Error::UnknownDtype {
            path: path.to_owned(),
            tensor: shown(&name),
            found: shown(&tensor.dtype),
        });
    };
    let (begin, end) = tensor.offsets;
    let bits = tensor
        .shape
        .iter()
        .try_fold(dtype.bitsize() as u64, |product, &size| product.checked_mul(size));
    if bits != (end - begin).checked_mul(8) || bits.is_none() {
        return Err(Error::TensorSize {
            path: path.to_owned(),
            tensor: shown(&name),
            dtype,
            shape: tensor.shape.into(),
            found: end - begin,
        });
    }
    // The data are no longer than the file, which is mapped, so offsets fit; a size beside a zero may still not.
    let shape: Option<Box<[usize]>> = tensor.shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let shape = shape.ok_or_else(|| malformed(path, format!("tensor {:?} is too large here", shown(&name))))?;
    Ok(Entry {
        name,
        dtype,
        shape,
        range: data + begin as usize..data + end as usize,
    })
}

fn malformed(path: &Path, message: String) -> Error {
    Error::Header {
        path: path.to_owned(),
        message,
    }
}

/// The header as it stands, duplicates included.
struct RawHeader {
    tensors: Vec<(Box<str>, RawTensor)>,
    metadata: Option<BTreeMap<String, String>>,
}

struct RawTensor {
    dtype: Box<str>,
    shape: Box<[u64]>,
    offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Header;
        impl<'de> Visitor<'de> for Header {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawHeader, A::Error> {
                let mut tensors = Vec::new();
                let mut metadata = None;
                while let Some(name) = map.next_key::<Box<str>>()? {
                    if &*name == METADATA {
                        if metadata.is_some() {
                            return Err(A::Error::custom(format_args!("{METADATA} stands twice")));
                        }
                        metadata = Some(
                            map.next_value::<Option<Metadata>>()?
                                .map_or_else(BTreeMap::new, |m| m.0),
                        );
                        continue;
                    }
                    if tensors.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
                    }
                    let tensor = map
                        .next_value::<RawTensor>()
                        .map_err(|error| A::Error::custom(format_args!("tensor {:?}: {error}", shown(&name))))?;
                    tensors.push((name, tensor));
                }
                Ok(RawHeader { tensors, metadata })
            }
        }
        deserializer.deserialize_map(Header)
    }
}

impl<'de> Deserialize<'de> for RawTensor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Tensor;
        impl<'de> Visitor<'de> for Tensor {
            type Value = RawTensor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tensor's dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawTensor, A::Error> {
                let (mut dtype, mut shape, mut offsets) = (None, None, None);
                while let Some(key) = map.next_key::<Box<str>>()? {
                    let twice = match &*key {
                        "dtype" => dtype.replace(map.next_value::<Box<str>>()?).is_some(),
                        "shape" => shape.replace(map.next_value::<Sizes<MAX_RANK>>()?.0).is_some(),
                        "data_offsets" => offsets.replace(map.next_value::<Sizes<2>>()?.0).is_some(),
                        // As the reference does: a later version of the format may say more.
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            false
                        }
                    };
                    if twice {
                        return Err(A::Error::custom(format_args!("{key} stands twice")));
                    }
                }
                let missing = |key| move || A::Error::missing_field(key);
                let offsets: Box<[u64]> = offsets.ok_or_else(missing("data_offsets"))?;
                let &[begin, end] = &*offsets else {
                    return Err(A::Error::invalid_length(offsets.len(), &"two data_offsets"));
                };
                Ok(RawTensor {
                    dtype: dtype.ok_or_else(missing("dtype"))?,
                    shape: shape.ok_or_else(missing("shape"))?,
                    offsets: (begin, end),
                })
            }
        }
        deserializer.deserialize_map(Tensor)
    }
}

/// At most `MAX` numbers.
struct Sizes<const MAX: usize>(Box<[u64]>);

impl<'de, const MAX: usize> Deserialize<'de> for Sizes<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Numbers<const MAX: usize>;
        impl<'de, const MAX: usize> Visitor<'de> for Numbers<MAX> {
            type Value = Box<[u64]>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} numbers of at least 0")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Box<[u64]>, A::Error> {
                let mut numbers = Vec::new();
                while let Some(number) = seq.next_element()? {
                    if numbers.len() == MAX {
                        return Err(A::Error::invalid_length(MAX + 1, &self));
                    }
                    numbers.push(number);
                }
                Ok(numbers.into())
            }
        }
        deserializer.deserialize_seq(Numbers::<MAX>).map(Self)
    }
}

/// `__metadata__`: text by text.
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map of text to text in {METADATA}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Metadata, A::Error> {
                let mut texts = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if texts.contains_key(&key) {
                        return Err(A::Error::custom(format_args!(
                            "{:?} stands twice in {METADATA}",
                            shown(&key)
                        )));
                    }
                    if texts.len() == MAX_METADATA {
                        return Err(A::Error::custom(format_args!(
                            "more than {MAX_METADATA} entries in {METADATA}"
                        )));
                    }
                    texts.insert(key, map.next_value()?);
                }
                Ok(Metadata(texts))
            }
        }
        deserializer.deserialize_map(Texts)
    }
}
