//! Malformed GGUF files: each gives the typed error that names what is wrong, and no panic.

use foretoken_formats::gguf::{Gguf, MAX_ALIGNMENT, MAX_METADATA, MAX_NAME_BYTES, MAX_TENSORS, Value};
use foretoken_formats::{Error, Result, dtype::Dtype};

const U8: u32 = 0;
const U32: u32 = 4;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const U64: u32 = 10;

const F32: u32 = 0;
const Q4_0: u32 = 2;

/// A file made by hand, so that everything can be wrong.
#[derive(Clone)]
struct File {
    version: [u8; 4],
    tensors: Vec<Vec<u8>>,
    fields: Vec<Vec<u8>>,
    /// Counts that lie.
    counts: [Option<u64>; 2],
    alignment: usize,
    data: usize,
}

fn file() -> File {
    File {
        version: 3_u32.to_le_bytes(),
        tensors: Vec::new(),
        fields: Vec::new(),
        counts: [None; 2],
        alignment: 32,
        data: 0,
    }
}

impl File {
    fn tensor(mut self, name: &str, dims: &[u64], dtype: u32, offset: u64) -> Self {
        let mut bytes = string(name.as_bytes());
        bytes.extend((dims.len() as u32).to_le_bytes());
        bytes.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        bytes.extend(dtype.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        self.tensors.push(bytes);
        self
    }

    fn field(self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.raw_field(string(key.as_bytes()), kind, value)
    }

    fn raw_field(mut self, key: Vec<u8>, kind: u32, value: &[u8]) -> Self {
        self.fields.push([&key, &kind.to_le_bytes()[..], value].concat());
        self
    }

    fn data(mut self, bytes: usize) -> Self {
        self.data = bytes;
        self
    }

    fn header(&self) -> Vec<u8> {
        let [tensors, fields] = self.counts;
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version);
        bytes.extend(tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(fields.unwrap_or(self.fields.len() as u64).to_le_bytes());
        bytes.extend(self.fields.concat());
        bytes.extend(self.tensors.concat());
        bytes
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(self.alignment) + self.data, 0);
        bytes
    }

    fn open(&self) -> Result<Gguf> {
        Gguf::parse(&self.bytes())
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

/// The beginning of an array: type and number of its elements.
fn array(element: u32, len: u64) -> Vec<u8> {
    [&element.to_le_bytes()[..], &len.to_le_bytes()].concat()
}

#[track_caller]
fn assert_truncated(found: Result<Gguf>, expected: &str, bytes: u64) {
    match found {
        Err(Error::GgufTruncated { what, needed, .. }) => assert_eq!((what.as_str(), needed), (expected, bytes)),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_value(found: Result<Gguf>, expected: &str) {
    match found {
        Err(Error::GgufValue { key, reason, .. }) => {
            assert_eq!(key, "k");
            assert!(reason.contains(expected), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn well_formed_files_open() {
    assert_eq!(file().open().unwrap().tensors().len(), 0);
    let two = file()
        .field("k", U32, &7_u32.to_le_bytes())
        .tensor("a", &[3], F32, 0)
        .tensor("b", &[32, 2], Q4_0, 32)
        .data(32 + 36);
    let opened = two.open().unwrap();
    assert_eq!(opened.get("k"), Some(Value::U32(7)));
    let b = opened.tensor("b").unwrap();
    assert_eq!((b.shape, b.dtype, b.bytes.len()), (&[2, 32][..], Dtype::Q4_0, 36));
    // With the padding after the last tensor, or a part of it.
    for padding in 0..=28 {
        two.clone().data(32 + 36 + padding).open().unwrap();
    }
    // Of no dimension, which is one number; and version 2.
    let mut old = file().tensor("scalar", &[], F32, 0).data(4);
    old.version = 2_u32.to_le_bytes();
    let opened = old.open().unwrap();
    assert_eq!((opened.version(), opened.tensor("scalar").unwrap().elements()), (2, 1));
    // Without tensors there need be no padding.
    Gguf::parse(&file().field("k", U8, &[1]).header()).unwrap();
}

#[test]
fn not_a_gguf_file() {
    for (bytes, shown) in [
        (&b""[..], ""),
        (b"GGU", "GGU"),
        (b"ggml\x01\0\0\0", "ggml"),
        (b"PK\x03\x04rest", "PK\\x03\\x04"),
        (b"\xff\xff\xff\xff", "\\xff\\xff\\xff\\xff"),
    ] {
        match Gguf::parse(bytes) {
            Err(Error::NotGguf { found, .. }) => assert_eq!(found, shown),
            other => panic!("{other:?}"),
        }
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    assert!(matches!(
        Gguf::parse(pointer.as_bytes()),
        Err(Error::GitLfsPointer { .. })
    ));
    assert!(matches!(Gguf::open("/"), Err(Error::NotAFile { .. })));
}

#[test]
fn versions_that_are_not_read() {
    for version in [0, 1, 4, 5, 0x0001_0000 + 3, u32::MAX] {
        let mut file = file();
        file.version = version.to_le_bytes();
        match file.open() {
            Err(Error::GgufVersion { found, .. }) => assert_eq!(found, version),
            other => panic!("{version}: {other:?}"),
        }
    }
}

#[test]
fn big_endian_files() {
    for version in [1_u32, 2, 3, 4] {
        let mut file = file();
        file.version = version.to_be_bytes();
        let error = file.open().unwrap_err();
        assert!(matches!(error, Error::GgufBigEndian { .. }), "{error}");
        assert!(error.to_string().contains("convert it"), "{error}");
    }
}

#[test]
fn counts_that_the_file_has_no_room_for() {
    for count in [1 << 63, u64::MAX, 1 << 32, 2] {
        for (counts, expected) in [
            ([Some(count), None], "tensors"),
            ([None, Some(count)], "metadata entries"),
        ] {
            let mut file = file();
            file.counts = counts;
            match file.open() {
                Err(Error::GgufCount { what, found, limit, .. }) => {
                    assert_eq!((what, found), (expected, count));
                    assert!(limit <= 1, "{limit}"); // padding is room
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn counts_above_what_is_accepted() {
    // Of a size that has room for them: a hole in the file.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    for (counts, limit) in [
        ([MAX_TENSORS as u64 + 1, 0], MAX_TENSORS),
        ([0, MAX_METADATA as u64 + 1], MAX_METADATA),
    ] {
        let mut file = file();
        file.counts = counts.map(Some);
        std::fs::write(&path, file.bytes()).unwrap();
        let grown = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        grown.set_len(1 << 26).unwrap();
        match Gguf::open(&path) {
            Err(Error::GgufCount { limit: found, .. }) => assert_eq!(found, limit as u64),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn lengths_of_strings_that_pass_the_end() {
    for length in [u64::MAX, 1 << 63, 1 << 32, 100] {
        let name = length.to_le_bytes();
        assert_truncated(
            file().raw_field(name.to_vec(), U8, &[0; 8]).open(),
            "the name of metadata entry 0",
            length,
        );
        assert_truncated(file().field("k", STRING, &name).open(), "the value of \"k\"", length);
        let list = [array(STRING, 2), string(b"a"), name.to_vec()].concat();
        assert_truncated(file().field("k", ARRAY, &list).open(), "the value of \"k\"", length);
        let mut tensor = file().tensor("", &[1], F32, 0);
        tensor.tensors[0][..8].copy_from_slice(&name);
        assert_truncated(tensor.open(), "the name of tensor 0", length);
    }
}

#[test]
fn lengths_of_arrays_that_pass_the_end_or_wrap() {
    for (element, size) in [(U8, 1), (U32, 4), (BOOL, 1), (STRING, 8), (ARRAY, 12), (U64, 8)] {
        for len in [100, 1 << 32, 1 << 61, 1 << 62, 1 << 63, u64::MAX, u64::MAX / 8 + 2] {
            let found = file().field("k", ARRAY, &array(element, len)).open();
            assert_truncated(found, "the value of \"k\"", len.saturating_mul(size));
        }
    }
}

#[test]
fn arrays_of_arrays() {
    let pair = [array(U8, 2), vec![1, 2]].concat();
    let nested = [array(ARRAY, 2), pair.clone(), [array(STRING, 1), string(b"x")].concat()].concat();
    let opened = file().field("k", ARRAY, &nested).open().unwrap();
    let outer = opened.get("k").and_then(Value::as_array).unwrap();
    let inner: Vec<Vec<Value<'_>>> = outer.iter().map(|v| v.as_array().unwrap().iter().collect()).collect();
    assert_eq!(inner, [vec![Value::U8(1), Value::U8(2)], vec![Value::String("x")]]);

    let deep = |levels: usize| {
        let value: Vec<u8> = (1..levels).flat_map(|_| array(ARRAY, 1)).chain(pair.clone()).collect();
        file().field("k", ARRAY, &value).open()
    };
    deep(8).unwrap();
    for levels in [9, 100_000] {
        assert_value(deep(levels), "nests arrays deeper than 8 levels");
    }
}

#[test]
fn value_types_that_there_are_not() {
    for kind in [13, 14, 255, u32::MAX] {
        for file in [
            file().field("k", kind, &[0; 16]),
            file().field("k", ARRAY, &array(kind, 1)),
            file().field("k", ARRAY, &[array(ARRAY, 1), array(kind, 0)].concat()),
        ] {
            match file.open() {
                Err(Error::GgufValueType { key, found, .. }) => assert_eq!((key.as_str(), found), ("k", kind)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn truth_values_that_are_none() {
    assert_value(file().field("k", BOOL, &[2]).open(), "byte 2 as a truth value");
    assert_value(
        file()
            .field("k", ARRAY, &[array(BOOL, 2), vec![1, 255]].concat())
            .open(),
        "byte 255",
    );
}

#[test]
fn texts_that_are_not_utf8() {
    assert_value(file().field("k", STRING, &string(b"ab\xff")).open(), "not UTF-8");
    let list = [array(STRING, 2), string("가".as_bytes()), string(b"\xea\xb0")].concat();
    assert_value(file().field("k", ARRAY, &list).open(), "not UTF-8");
    let mut tensor = file().tensor("ab", &[1], F32, 0).data(4);
    tensor.tensors[0][8] = 0xff;
    for (file, expected) in [
        (tensor, "tensor"),
        (file().raw_field(string(b"\xff"), U8, &[0]), "metadata entry"),
    ] {
        match file.open() {
            Err(Error::GgufName {
                what, index: 0, reason, ..
            }) => {
                assert_eq!(what, expected);
                assert!(reason.contains("not UTF-8"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn names_that_are_too_long() {
    let name = |len| "x".repeat(len);
    file().field(&name(MAX_NAME_BYTES), U8, &[0]).open().unwrap();
    let error = file().field(&name(MAX_NAME_BYTES + 1), U8, &[0]).open().unwrap_err();
    assert!(matches!(error, Error::GgufName { .. }), "{error}");
    let tensor = |len| file().tensor(&name(len), &[1], F32, 0).data(4).open();
    tensor(MAX_NAME_BYTES).unwrap();
    assert!(matches!(tensor(MAX_NAME_BYTES + 1), Err(Error::GgufName { .. })));
    // A long one does not fill the message.
    let error = file().tensor(&name(MAX_NAME_BYTES), &[0], F32, 0).open().unwrap_err();
    assert!(error.to_string().len() < 500, "{error}");
}

#[test]
fn duplicate_keys_and_tensors() {
    let twice = file()
        .field("k", U8, &[1])
        .field("other", U8, &[1])
        .field("k", U32, &[0; 4]);
    assert!(matches!(twice.open(), Err(Error::DuplicateKey { key, .. }) if key == "k"));
    let twice = file()
        .tensor("a", &[1], F32, 0)
        .tensor("b", &[1], F32, 32)
        .tensor("a", &[1], F32, 64)
        .data(68);
    assert!(matches!(twice.open(), Err(Error::DuplicateTensor { tensor, .. }) if tensor == "a"));
}

#[test]
fn alignments_that_cannot_be() {
    let aligned = |value: u32| file().field("general.alignment", U32, &value.to_le_bytes());
    for value in [0, 1, 3, 4, 12, 33, 2 * MAX_ALIGNMENT, 0x8000_0000, u32::MAX] {
        match aligned(value).open() {
            Err(Error::Alignment { found, .. }) => assert_eq!(found, value),
            other => panic!("{value}: {other:?}"),
        }
    }
    for (kind, value) in [
        (U64, &32_u64.to_le_bytes()[..]),
        (5, &32_i32.to_le_bytes()),
        (STRING, &string(b"32")),
    ] {
        match file().field("general.alignment", kind, value).open() {
            Err(Error::KeyType { key, expected, .. }) => {
                assert_eq!((key.as_str(), expected), ("general.alignment", "a U32"))
            }
            other => panic!("{other:?}"),
        }
    }
    for value in [8, 64, MAX_ALIGNMENT] {
        let mut file = aligned(value)
            .tensor("a", &[1], F32, 0)
            .tensor("b", &[2], F32, value.into());
        file.alignment = value as usize;
        let opened = file.data(value as usize + 8).open().unwrap();
        assert_eq!(
            (opened.alignment(), opened.tensor("b").unwrap().bytes.len()),
            (value, 8)
        );
    }
}

#[test]
fn shapes_that_cannot_be() {
    for (dims, dtype, expected) in [
        (&[0][..], F32, "with a size of 0"),
        (&[4, 0, 4], F32, "with a size of 0"),
        (&[1 << 32, 1 << 32], F32, "too large"),
        (&[1 << 32, (1 << 32) + 1, 1 << 32], F32, "too large"),
        (&[u64::MAX], F32, "too large"),
        (&[1 << 62], F32, "too large"),
        (&[u64::MAX, u64::MAX, u64::MAX, u64::MAX], F32, "too large"),
        (&[31, 32], Q4_0, "no whole number of blocks"),
        (&[], Q4_0, "no whole number of blocks"),
        (&[128, 2], 14, "no whole number of blocks"),
    ] {
        match file().tensor("w", dims, dtype, 0).data(4096).open() {
            Err(Error::GgufShape {
                tensor, shape, reason, ..
            }) => {
                assert_eq!(tensor, "w");
                assert!(shape.iter().rev().eq(dims), "{shape:?}");
                assert!(reason.contains(expected), "{reason}");
            }
            other => panic!("{dims:?}: {other:?}"),
        }
    }
}

#[test]
fn more_than_four_dimensions() {
    file().tensor("w", &[1, 1, 1, 1], F32, 0).data(4).open().unwrap();
    let five = file().tensor("w", &[1, 1, 1, 1, 1], F32, 0).data(4);
    assert!(matches!(five.open(), Err(Error::GgufRank { found: 5, .. })));
    let mut many = file().tensor("w", &[], F32, 0).data(4);
    many.tensors[0][9..13].fill(0xff);
    assert!(matches!(many.open(), Err(Error::GgufRank { found: u32::MAX, .. })));
}

#[test]
fn dtypes_that_are_not_read() {
    for (dtype, expected) in [
        (10, "Q2_K"),
        (24, "I8"),
        (4, "number 4"),
        (31, "number 31"),
        (u32::MAX, "number 4294967295"),
    ] {
        let error = file().tensor("w", &[256], dtype, 0).data(1024).open().unwrap_err();
        match &error {
            Error::UnsupportedDtype { tensor, found, .. } => {
                assert_eq!((tensor.as_str(), found.as_str()), ("w", expected))
            }
            other => panic!("{other:?}"),
        }
        assert!(error.to_string().contains("Q4_K"), "says what is read: {error}");
    }
}

#[test]
fn offsets_unaligned_with_a_hole_overlapping_or_past_the_end() {
    for (first, second, data, wrong) in [
        (0, 33, 100, ("b", 33, 37, 32)),
        (0, 4, 100, ("b", 4, 8, 32)),
        (0, 0, 100, ("b", 0, 4, 32)),
        (0, 64, 100, ("b", 64, 68, 32)),
        (32, 0, 100, ("a", 32, 36, 0)),
        (0, 32, 35, ("b", 32, 36, 32)),
        (0, 32, 3, ("a", 0, 4, 0)),
        (0, u64::MAX - 3, 36, ("b", u64::MAX - 3, u64::MAX, 32)),
        (0, 1 << 63, 36, ("b", 1 << 63, (1 << 63) + 4, 32)),
    ] {
        match file()
            .tensor("a", &[1], F32, first)
            .tensor("b", &[1], F32, second)
            .data(data)
            .open()
        {
            Err(Error::Offsets {
                tensor,
                begin,
                end,
                expected,
                limit,
                ..
            }) => {
                assert_eq!((tensor.as_str(), begin, end, expected), wrong);
                assert_eq!(limit, data as u64);
            }
            other => panic!("{first} {second}: {other:?}"),
        }
    }
    // Large, and nothing there.
    let huge = file().tensor("a", &[1 << 40], F32, 0).data(4).open();
    assert!(matches!(huge, Err(Error::Offsets { end, limit: 4, .. }) if end == 1 << 42));
}

#[test]
fn bytes_after_the_last_tensor() {
    let one = file().tensor("a", &[1], F32, 0);
    one.clone().data(32).open().unwrap();
    match one.clone().data(33).open() {
        Err(Error::TrailingBytes { expected, found, .. }) => assert_eq!(found, expected + 1),
        other => panic!("{other:?}"),
    }
    assert!(matches!(file().data(1).open(), Err(Error::TrailingBytes { .. })));
}

#[test]
fn a_file_cut_short_at_any_byte() {
    let whole = file()
        .field("k", STRING, &string(b"value"))
        .field("list", ARRAY, &[array(STRING, 2), string(b"a"), string(b"b")].concat())
        .tensor("a", &[2], F32, 0)
        .data(8);
    let (header, bytes) = (whole.header().len(), whole.bytes());
    for len in 0..bytes.len() {
        let error = Gguf::parse(&bytes[..len]).unwrap_err();
        let right = match error {
            Error::NotGguf { .. } => len < 4,
            Error::GgufCount { .. } | Error::GgufTruncated { .. } => (4..header).contains(&len),
            Error::Offsets { .. } => len >= header,
            _ => false,
        };
        assert!(right, "{len}: {error}");
    }
    Gguf::parse(&bytes).unwrap();
}

#[test]
fn keys_that_are_missing_or_of_another_type() {
    let opened = file()
        .field("k", STRING, &string(b"12"))
        .field("n", 5, &(-1_i32).to_le_bytes())
        .open()
        .unwrap();
    assert_eq!(opened.optional("none", "a number", Value::as_u64).unwrap(), None);
    match opened.require("none", "a number", Value::as_u64) {
        Err(Error::MissingKey { key, expected, .. }) => assert_eq!((key.as_str(), expected), ("none", "a number")),
        other => panic!("{other:?}"),
    }
    for (key, shown) in [("k", "\"12\""), ("n", "-1")] {
        match opened.require(key, "a number", Value::as_u64) {
            Err(Error::KeyType { found, .. }) => assert_eq!(found, shown),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(opened.require("n", "a number", Value::as_i64).unwrap(), -1);
    match opened.require_tensor("none") {
        Err(Error::MissingTensor { tensor, .. }) => assert_eq!(tensor, "none"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reading_into_another_size_names_the_tensor() {
    let opened = file().tensor("w", &[3, 2], F32, 0).data(24).open().unwrap();
    let w = opened.tensor("w").unwrap();
    match w.read_f32(&mut [0.0; 5]) {
        Err(Error::Shape {
            tensor,
            found,
            expected,
            ..
        }) => assert_eq!((tensor.as_str(), found, expected), ("w", vec![2, 3], vec![5])),
        other => panic!("{other:?}"),
    }
    assert!(w.expect_shape(&[3, 2]).is_err());
    w.expect_shape(&[2, 3]).unwrap();
}
