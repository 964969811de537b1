//! Malformed safetensors files: each gives the typed error that names what is wrong, and no panic.

use foretoken_formats::safetensors::{
    Dtype, MAX_HEADER_BYTES, MAX_METADATA, MAX_STRING_BYTES, MAX_TENSORS, Safetensors,
};
use foretoken_formats::{Error, Result};

/// Opens a file of these bytes.
fn open(bytes: impl AsRef<[u8]>) -> Result<Safetensors> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    Safetensors::open(path)
}

/// A file with this header and `data` bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(std::iter::repeat_n(0, data));
    bytes
}

/// A file whose header holds these tensors and `data` bytes of data.
fn tensors(tensors: &str, data: usize) -> Result<Safetensors> {
    open(file(&format!("{{{tensors}}}"), data))
}

/// Asserts that the header is called malformed, with a message that holds `expected`.
#[track_caller]
fn assert_header(found: Result<Safetensors>, expected: &str) {
    match found {
        Err(Error::Header { message, .. }) => assert!(message.contains(expected), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn well_formed_files_open() {
    open(file("{}", 0)).unwrap();
    open(file("{}      ", 0)).unwrap();
    let file = tensors(
        r#""b":{"dtype":"F32","shape":[2],"data_offsets":[2,10]},"a":{"dtype":"F16","shape":[],"data_offsets":[0,2]}"#,
        10,
    );
    assert_eq!(
        file.unwrap().names().collect::<Vec<_>>(),
        ["a", "b"],
        "in the order of their bytes"
    );
    tensors(
        r#""__metadata__":null,"a":{"dtype":"U8","shape":[0,18446744073709551615],"data_offsets":[0,0]}"#,
        0,
    )
    .unwrap();
    // Entries that a later version of the format may add.
    tensors(
        r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"note":[[{"x":1e3}]]}"#,
        1,
    )
    .unwrap();
}

#[test]
fn fewer_than_eight_bytes() {
    for len in 0..8 {
        match open(vec![0; len]) {
            Err(Error::TooShort { found, .. }) => assert_eq!(found, len),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn header_lengths_that_cannot_be() {
    for length in [0, 1, u64::MAX, u64::MAX - 7, 1 << 63, MAX_HEADER_BYTES + 1, 93, 101] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend([b' '; 92]); // a file of 100 bytes, so 93 is its size - 7
        match open(bytes) {
            Err(Error::HeaderLength { found, limit: 92, .. }) => assert_eq!(found, length),
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn header_of_the_largest_length_is_parsed_and_of_one_more_is_not() {
    // The file is sparse: only the header's beginning is on the disk, and zeros are no JSON.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let mut found = Vec::new();
    for length in [MAX_HEADER_BYTES, MAX_HEADER_BYTES + 1] {
        std::fs::write(&path, [&length.to_le_bytes()[..], b"{"].concat()).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(length + 8).unwrap();
        found.push(Safetensors::open(&path).unwrap_err());
    }
    assert!(matches!(found[0], Error::Header { .. }), "{}", found[0]);
    assert!(matches!(found[1], Error::HeaderLength { .. }), "{}", found[1]);
}

#[test]
fn header_that_is_not_utf8() {
    assert_header(open(b"\x08\0\0\0\0\0\0\0{\"\xff\": 1}"), "byte 10 is not UTF-8");
}

#[test]
fn header_that_does_not_start_with_a_brace() {
    assert_header(open(file(" {}", 0)), "starts with byte 0x20");
    assert_header(open(file("[]", 0)), "starts with byte 0x5b");
}

#[test]
fn header_that_is_not_json() {
    for header in ["{\"a\"", "{]", "{}{}", "{} x", "{\"a\":}", "{,}", "{}\0"] {
        assert_header(open(file(header, 0)), "line 1");
    }
}

#[test]
fn header_nested_a_hundred_thousand_deep() {
    let deep = "{\"a\":".repeat(100_000);
    assert_header(open(file(&deep, 0)), "deeper than 64 levels");
    let deep = format!("\"a\":{{\"x\":{}", "[".repeat(100_000));
    assert_header(tensors(&deep, 0), "deeper than 64 levels");
}

#[test]
fn duplicate_tensor_names() {
    let same = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    let other = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}"#;
    // The same name, once written with an escape.
    let escaped = r#""\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}"#;
    for (pair, data) in [
        ([same, same], 1),
        ([same, other], 2),
        ([other, same], 2),
        ([same, escaped], 2),
    ] {
        match tensors(&pair.join(","), data) {
            Err(Error::DuplicateTensor { tensor, .. }) => assert_eq!(tensor, "a"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn duplicate_keys_inside_a_tensor_or_the_metadata() {
    for (extra, expected) in [
        (
            r#""a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}"#,
            "dtype stands twice",
        ),
        (
            r#""a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}"#,
            "shape stands twice",
        ),
        (
            r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]}"#,
            "data_offsets stands twice",
        ),
        (
            r#""__metadata__":{"format":"pt","format":"tf"}"#,
            "\"format\" stands twice in __metadata__",
        ),
        (r#""__metadata__":{},"__metadata__":{}"#, "__metadata__ stands twice"),
        (r#""__metadata__":null,"__metadata__":{}"#, "__metadata__ stands twice"),
    ] {
        assert_header(tensors(extra, 1), expected);
    }
}

#[test]
fn missing_or_mistyped_entries() {
    for (extra, expected) in [
        (r#""a":{"shape":[1],"data_offsets":[0,1]}"#, "missing field `dtype`"),
        (r#""a":{"dtype":"U8","data_offsets":[0,1]}"#, "missing field `shape`"),
        (r#""a":{"dtype":"U8","shape":[1]}"#, "missing field `data_offsets`"),
        (
            r#""a":{"dtype":1,"shape":[1],"data_offsets":[0,1]}"#,
            "tensor \"a\": invalid type: integer",
        ),
        (
            r#""a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}"#,
            "invalid type: integer",
        ),
        (
            r#""a":{"dtype":"U8","shape":[null],"data_offsets":[0,1]}"#,
            "invalid type: null",
        ),
        (
            r#""a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}"#,
            "invalid value: integer `-1`",
        ),
        (
            r#""a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}"#,
            "invalid type: floating point",
        ),
        (r#""a":[]"#, "expected a tensor's dtype, shape and data_offsets"),
        (r#""a":null"#, "tensor \"a\""),
        (r#""__metadata__":[]"#, "expected a map of text to text in __metadata__"),
        (r#""__metadata__":{"a":1}"#, "expected a string"),
    ] {
        assert_header(tensors(extra, 1), expected);
    }
}

#[test]
fn offsets_that_are_no_two_whole_numbers() {
    for offsets in [
        "[-1,0]",
        "[0,1.0]",
        "[0,1e0]",
        "[0]",
        "[]",
        "[0,1,2]",
        "[0,18446744073709551616]",
        "\"01\"",
        "[\"0\",1]",
    ] {
        let tensor = format!(r#""wte":{{"dtype":"U8","shape":[1],"data_offsets":{offsets}}}"#);
        assert_header(tensors(&tensor, 1), "tensor \"wte\"");
    }
}

#[test]
fn offsets_reversed_with_a_hole_overlapping_or_past_the_end() {
    let tensor = |name, begin, end| format!(r#""{name}":{{"dtype":"U8","shape":[4],"data_offsets":[{begin},{end}]}}"#);
    let max = u64::MAX;
    for (header, data, expected) in [
        (tensor("reversed", 4, 0), 4, ("reversed", 4, 0, 0)),
        (tensor("late", 1, 5), 5, ("late", 1, 5, 0)),
        (
            [tensor("a", 0, 4), tensor("hole", 5, 9)].join(","),
            9,
            ("hole", 5, 9, 4),
        ),
        (
            [tensor("a", 0, 4), tensor("overlaps", 3, 7)].join(","),
            7,
            ("overlaps", 3, 7, 4),
        ),
        (
            [tensor("a", 0, 4), tensor("same", 0, 4)].join(","),
            4,
            ("same", 0, 4, 4),
        ),
        (tensor("past", 0, 4), 3, ("past", 0, 4, 0)),
        (tensor("far", 0, max), 4, ("far", 0, max, 0)),
        (
            [tensor("a", 0, 4), tensor("wraps", 4, 3)].join(","),
            4,
            ("wraps", 4, 3, 4),
        ),
    ] {
        match tensors(&header, data) {
            Err(Error::Offsets {
                tensor,
                begin,
                end,
                expected: from,
                limit,
                ..
            }) => {
                assert_eq!((tensor.as_str(), begin, end, from), expected);
                assert_eq!(limit, data as u64);
            }
            other => panic!("{header}: {other:?}"),
        }
    }
}

#[test]
fn shapes_that_do_not_fit_their_bytes_or_wrap() {
    for (dtype, shape, bytes) in [
        ("F32", "2", 4),
        ("F32", "1", 8),
        ("F32", "", 8),
        ("F32", "0", 4),
        ("F4", "3", 1),
        ("U8", "4294967296,4294967296", 0),
        ("U8", "4294967296,4294967297,4294967296", 0),
        ("F32", "4611686018427387905", 4),
        ("U64", "2305843009213693952", 0),
        ("U8", "18446744073709551615,2,0", 0),
    ] {
        let tensor = format!(r#""w":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[0,{bytes}]}}"#);
        match tensors(&tensor, bytes) {
            Err(Error::TensorSize { tensor, found, .. }) => assert_eq!((tensor.as_str(), found), ("w", bytes as u64)),
            other => panic!("{dtype} [{shape}]: {other:?}"),
        }
    }
}

#[test]
fn unknown_dtypes() {
    for dtype in ["F33", "f32", "", "Q4_0", "가"] {
        let tensor = format!(r#""w":{{"dtype":"{dtype}","shape":[0],"data_offsets":[0,0]}}"#);
        match tensors(&tensor, 0) {
            Err(Error::UnknownDtype { tensor, found, .. }) => {
                assert_eq!((tensor.as_str(), found.as_str()), ("w", dtype))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn bytes_after_the_last_tensor() {
    let mut bytes = file(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1);
    let whole = bytes.len() as u64;
    bytes.extend(b"PK\x05\x06\0\0\0\0"); // a zip archive behind the tensors makes the file two things at once
    match open(bytes) {
        Err(Error::TrailingBytes { expected, found, .. }) => assert_eq!((expected, found), (whole, whole + 8)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(open(file("{}", 1)), Err(Error::TrailingBytes { .. })));
}

#[test]
fn a_file_cut_short_at_any_byte() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let whole = file(header, 8);
    for len in 0..whole.len() {
        match open(&whole[..len]) {
            Err(Error::TooShort { .. }) if len < 8 => {}
            Err(Error::HeaderLength { .. }) if (8..8 + header.len()).contains(&len) => {}
            Err(Error::Offsets { .. }) if len >= 8 + header.len() => {}
            other => panic!("{len}: {other:?}"),
        }
    }
    open(whole).unwrap();
}

#[test]
fn git_lfs_pointer() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    let error = open(pointer).unwrap_err();
    assert!(matches!(error, Error::GitLfsPointer { .. }));
    assert!(error.to_string().contains("git lfs pull"), "{error}");
}

#[test]
fn counts_and_lengths_are_bounded() {
    let many = (0..=MAX_TENSORS).map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#));
    let mut many: Vec<String> = many.collect();
    assert_header(tensors(&many.join(","), 0), "more than");
    many.pop();
    assert_eq!(tensors(&many.join(","), 0).unwrap().names().len(), MAX_TENSORS);

    let shape = |rank| {
        format!(
            r#""a":{{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}}"#,
            vec!["1"; rank].join(",")
        )
    };
    tensors(&shape(64), 1).unwrap();
    assert_header(tensors(&shape(65), 1), "at most 64 numbers");

    let texts: Vec<_> = (0..=MAX_METADATA).map(|i| format!(r#""{i}":"""#)).collect();
    assert_header(
        tensors(&format!(r#""__metadata__":{{{}}}"#, texts.join(",")), 0),
        "more than",
    );

    let text = |len| format!(r#""__metadata__":{{"a":"{}"}}"#, "x".repeat(len));
    assert_eq!(
        tensors(&text(MAX_STRING_BYTES), 0)
            .unwrap()
            .metadata("a")
            .unwrap()
            .len(),
        MAX_STRING_BYTES
    );
    assert_header(tensors(&text(MAX_STRING_BYTES + 1), 0), "is longer than");

    let number = "9".repeat(65);
    assert_header(tensors(&format!(r#""a":{{"x":{number}}}"#), 0), "digits");
}

#[test]
fn long_names_do_not_fill_the_message() {
    let name = "가".repeat(100_000);
    let error = tensors(
        &format!(r#""{name}":{{"dtype":"F9","shape":[],"data_offsets":[0,0]}}"#),
        0,
    )
    .unwrap_err();
    assert!(matches!(error, Error::UnknownDtype { .. }));
    assert!(error.to_string().len() < 1000, "{error}");
    let error = tensors(&format!(r#""a":{{"dtype":"U8","shape":"{name}"}}"#), 0).unwrap_err();
    assert!(error.to_string().len() < 2000, "{error}");
}

#[test]
fn reading_another_dtype_or_size_names_the_tensor() {
    let file = tensors(r#""ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]}"#, 16).unwrap();
    let ids = file.tensor("ids").unwrap();
    match ids.read_f32(&mut [0.0; 2]) {
        Err(Error::Dtype {
            tensor,
            found: Dtype::I64,
            ..
        }) => assert_eq!(tensor, "ids"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(ids.read_u64(), Err(Error::Dtype { .. })));
    assert!(matches!(ids.read_bf16(&mut [0; 2]), Err(Error::Dtype { .. })));
    assert!(matches!(ids.read_bf16(&mut [0; 3]), Err(Error::Shape { .. })));
    assert!(matches!(ids.read_f32(&mut [0.0; 3]), Err(Error::Shape { .. })));
    match ids.expect_shape(&[2, 1]) {
        Err(Error::Shape { found, expected, .. }) => assert_eq!((found, expected), (vec![1, 2], vec![2, 1])),
        other => panic!("{other:?}"),
    }
    ids.expect_shape(&[1, 2]).unwrap();
    assert!(file.tensor("none").is_none());
}
