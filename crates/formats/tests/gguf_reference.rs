//! A file of llama.cpp's own Python package: what is in it, the same bytes again, and its blocks to the last bit.
//!
//! `fixtures/make_gguf.py` makes it.

use foretoken_formats::dtype::Dtype;
use foretoken_formats::gguf::{Gguf, TensorView, Value, ValueType, Writer};
use std::path::{Path, PathBuf};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference.gguf")
}

fn floats(tensor: TensorView<'_>) -> Vec<f32> {
    let mut floats = vec![f32::NAN; tensor.elements()];
    tensor.read_f32(&mut floats).unwrap();
    floats
}

#[test]
fn metadata_of_every_type_is_read() {
    let file = Gguf::open(path()).unwrap();
    let expected = [
        ("general.architecture", Value::String("none")),
        ("value.uint8", Value::U8(200)),
        ("value.int8", Value::I8(-100)),
        ("value.uint16", Value::U16(60_000)),
        ("value.int16", Value::I16(-30_000)),
        ("value.uint32", Value::U32(4_000_000_000)),
        ("value.int32", Value::I32(-2_000_000_000)),
        ("value.float32", Value::F32(0.1)),
        ("value.bool", Value::Bool(true)),
        ("value.string", Value::String("토큰 token")),
        ("value.uint64", Value::U64(1 << 63)),
        ("value.int64", Value::I64(-(1 << 62))),
        ("value.float64", Value::F64(0.1)),
    ];
    let found: Vec<_> = file.metadata().take(expected.len()).collect();
    assert_eq!(found, expected);
    for (key, value) in expected {
        assert_eq!(file.get(key), Some(value), "{key}");
    }

    let array = |key, element| file.require(key, "an array", |v| v.as_array_of(element)).unwrap();
    let texts = array("array.string", ValueType::String);
    assert_eq!(texts.len(), 4);
    let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
    assert_eq!(texts, ["<0x00>", "", "Ġ", "가"]);
    let numbers: Vec<_> = array("array.int32", ValueType::I32).iter().map(Value::as_i64).collect();
    assert_eq!(numbers, [Some(1), Some(-2), Some(3)]);
    let numbers: Vec<_> = array("array.float32", ValueType::F32)
        .iter()
        .map(Value::as_f64)
        .collect();
    assert_eq!(numbers, [Some(0.5), Some(-1.5)]);
    let truths: Vec<_> = array("array.bool", ValueType::Bool)
        .iter()
        .map(Value::as_bool)
        .collect();
    assert_eq!(truths, [Some(true), Some(false), Some(true)]);
    assert_eq!(file.metadata().count(), expected.len() + 4);
    assert_eq!((file.version(), file.alignment()), (3, 32));
}

#[test]
fn written_again_it_is_the_same_file() {
    let file = Gguf::open(path()).unwrap();
    let mut writer = Writer::new();
    for (key, value) in file.metadata() {
        match value {
            // Both ways to write an array.
            Value::Array(array) if key == "array.string" => writer.array(key, array.element_type(), array),
            value => writer.value(key, value),
        }
    }
    for tensor in file.tensors() {
        writer.tensor(tensor.name, tensor.shape, tensor.dtype);
    }
    let mut bytes = Vec::new();
    writer
        .write(&mut bytes, |name, w| w.write_all(file.tensor(name).unwrap().bytes))
        .unwrap();
    assert_eq!(bytes.len() as u64, writer.encoded_len());
    assert!(bytes == std::fs::read(path()).unwrap(), "other bytes");
}

#[test]
fn shapes_are_the_slowest_first() {
    let file = Gguf::open(path()).unwrap();
    let four = file.require_tensor("four").unwrap();
    assert_eq!((four.shape, four.dtype), (&[2, 3, 1, 5][..], Dtype::F32));
    assert!(floats(four).into_iter().eq((0..30).map(|i| i as f32)));
    assert_eq!(floats(file.require_tensor("one").unwrap()), [2.5]);
    assert_eq!(
        floats(file.require_tensor("odd").unwrap()),
        [0., 1., 2., 3., 4., 5., 6.]
    );
    assert_eq!(file.require_tensor("Q6_K").unwrap().shape, [3, 256]);
}

#[test]
fn every_dtype_decodes_to_the_bits_of_the_reference() {
    let file = Gguf::open(path()).unwrap();
    for dtype in Dtype::ALL {
        let (name, expected) = match dtype {
            Dtype::F32 => ("x", "x".to_owned()),
            _ => (dtype.name(), format!("{dtype}.f32")),
        };
        let blocks = file.require_tensor(name).unwrap();
        assert_eq!(blocks.dtype, dtype);
        let expected = floats(file.require_tensor(&expected).unwrap());
        for (i, (found, expected)) in floats(blocks).iter().zip(&expected).enumerate() {
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{dtype} {i}: {found:e}, {expected:e}"
            );
        }
    }
}

#[test]
fn every_encoding_gives_the_bytes_of_the_reference() {
    let file = Gguf::open(path()).unwrap();
    let x = floats(file.require_tensor("x").unwrap());
    let mut encoded = 0;
    for dtype in Dtype::ALL.into_iter().filter(|dtype| dtype.can_encode()) {
        let expected = file.require_tensor(if dtype == Dtype::F32 { "x" } else { dtype.name() });
        let expected = expected.unwrap().bytes;
        let mut found = vec![0xaa; expected.len()];
        dtype.encode(&x, &mut found);
        let size = dtype.block_bytes();
        for (i, (found, expected)) in found.chunks(size).zip(expected.chunks(size)).enumerate() {
            assert_eq!(found, expected, "block {i} of {dtype}");
        }
        let mut streamed = Vec::new();
        dtype.write(&x, &mut streamed).unwrap();
        assert_eq!(streamed, found);
        encoded += 1;
    }
    assert_eq!(encoded, 6);
}
