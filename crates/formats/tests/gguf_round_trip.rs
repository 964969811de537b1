//! What is written comes back, and is written again to the same bytes.

use foretoken_formats::dtype::Dtype;
use foretoken_formats::durable::write_file;
use foretoken_formats::gguf::{Gguf, Value, ValueType, Writer};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// A value that owns its text.
#[derive(Clone, Debug)]
enum Owned {
    Scalar(Value<'static>),
    Text(String),
    Texts(Vec<String>),
    Array(ValueType, Vec<Value<'static>>),
}

fn scalar() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<f32>().prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z._]{0,12}", vec(any::<char>(), 0..6).prop_map(String::from_iter)]
}

fn owned() -> impl Strategy<Value = Owned> {
    prop_oneof![
        scalar().prop_map(Owned::Scalar),
        text().prop_map(Owned::Text),
        vec(text(), 0..5).prop_map(Owned::Texts),
        // One type an array: that of the first, however often it is asked for.
        (scalar(), 0..9_usize).prop_map(|(value, len)| Owned::Array(value.value_type(), vec![value; len])),
    ]
}

fn tensor() -> impl Strategy<Value = (Dtype, Vec<usize>, u8)> {
    let dtype = prop::sample::select(Dtype::ALL.to_vec());
    (dtype, vec(1..4_usize, 0..5), any::<u8>()).prop_map(|(dtype, mut shape, fill)| {
        match shape.last_mut() {
            Some(row) => *row *= dtype.block_len(),
            None if dtype.block_len() > 1 => shape.push(dtype.block_len()),
            None => {}
        }
        (dtype, shape, fill)
    })
}

fn bytes(dtype: Dtype, shape: &[usize], fill: u8) -> Vec<u8> {
    let len = dtype.bytes(shape.iter().product()).unwrap();
    (0..len).map(|i| fill.wrapping_add(i as u8)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn metadata_and_tensors_come_back(
        values in vec(owned(), 0..8),
        tensors in btree_map(text(), tensor(), 0..6),
        alignment in prop::option::of(3..9_u32),
    ) {
        let mut writer = Writer::new();
        for (i, value) in values.iter().enumerate() {
            let key = format!("키.{i}");
            match value {
                Owned::Scalar(value) => writer.value(&key, *value),
                Owned::Text(text) => writer.value(&key, text.as_str()),
                Owned::Texts(texts) => writer.array(&key, ValueType::String, texts.iter().map(String::as_str)),
                Owned::Array(element, values) => writer.array(&key, *element, values.iter().copied()),
            }
        }
        if let Some(power) = alignment {
            writer.value("general.alignment", 1_u32 << power);
        }
        for (name, (dtype, shape, _)) in &tensors {
            writer.tensor(name, shape, *dtype);
        }
        let mut written = Vec::new();
        let data = |name: &str, w: &mut dyn std::io::Write| {
            let (dtype, shape, fill) = &tensors[name];
            w.write_all(&bytes(*dtype, shape, *fill))
        };
        writer.write(&mut written, data).unwrap();
        prop_assert_eq!(written.len() as u64, writer.encoded_len());

        let file = Gguf::parse(&written).unwrap();
        prop_assert_eq!(file.alignment(), 1 << alignment.unwrap_or(5));
        prop_assert_eq!(file.metadata().count(), values.len() + usize::from(alignment.is_some()));
        for (i, value) in values.iter().enumerate() {
            let found = file.get(&format!("키.{i}")).unwrap();
            // Bits, not values: a NaN comes back too.
            match value {
                Owned::Scalar(value) => prop_assert_eq!(format!("{found:?}"), format!("{value:?}")),
                Owned::Text(text) => prop_assert_eq!(found.as_str(), Some(text.as_str())),
                Owned::Texts(texts) => {
                    let found = found.as_array_of(ValueType::String).unwrap();
                    prop_assert!(found.iter().map(|v| v.as_str().unwrap()).eq(texts.iter()));
                }
                Owned::Array(element, values) => {
                    let found: Vec<_> = found.as_array_of(*element).unwrap().iter().collect();
                    prop_assert_eq!(format!("{found:?}"), format!("{values:?}"));
                }
            }
        }
        prop_assert_eq!(file.tensors().len(), tensors.len());
        for (name, (dtype, shape, fill)) in &tensors {
            let found = file.tensor(name).unwrap();
            prop_assert_eq!((found.dtype, found.shape), (*dtype, &shape[..]));
            prop_assert_eq!(found.bytes, bytes(*dtype, shape, *fill));
            let begin = found.bytes.as_ptr() as usize;
            prop_assert_eq!(begin % file.alignment().min(4096) as usize, 0, "aligned in the mapped file");
        }

        // Read and written again, arrays within an array too.
        let mut again = Writer::new();
        for (key, value) in file.metadata() {
            again.value(key, value);
        }
        for tensor in file.tensors() {
            again.tensor(tensor.name, tensor.shape, tensor.dtype);
        }
        let mut rewritten = Vec::new();
        again.write(&mut rewritten, |name, w| w.write_all(file.tensor(name).unwrap().bytes)).unwrap();
        prop_assert!(rewritten == written);
        let mut nested = Writer::new();
        let arrays = || file.metadata().filter(|(_, value)| value.as_array().is_some()).map(|(_, value)| value);
        nested.array("nested", ValueType::Array, arrays());
        let mut written = Vec::new();
        nested.write(&mut written, |_, _| Ok(())).unwrap();
        let file = Gguf::parse(&written).unwrap();
        let found = file.get("nested").and_then(Value::as_array).unwrap();
        let elements = |value: Value<'_>| format!("{:?}", value.as_array().unwrap().iter().collect::<Vec<_>>());
        prop_assert!(found.iter().map(elements).eq(arrays().map(elements)));
    }
}

#[test]
fn the_bytes_are_these() {
    let mut writer = Writer::new();
    writer.value("a", 7_u32);
    writer.array("b", ValueType::String, ["x"]);
    writer.tensor("w", &[1, 2], Dtype::F32);
    let mut bytes = Vec::new();
    writer
        .write(&mut bytes, |_, w| Dtype::F32.write(&[1.0, 2.0], w))
        .unwrap();
    let expected: &[&[u8]] = &[
        b"GGUF",
        &[3, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0, b'a', 4, 0, 0, 0, 7, 0, 0, 0],
        &[
            1, 0, 0, 0, 0, 0, 0, 0, b'b', 9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        ],
        &[1, 0, 0, 0, 0, 0, 0, 0, b'x'],
        // Name, two dimensions, the fastest first, type, offset.
        &[1, 0, 0, 0, 0, 0, 0, 0, b'w', 2, 0, 0, 0],
        &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0; 12], // to 128
        &[0, 0, 128, 63, 0, 0, 0, 64],
        &[0; 24],
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn a_durable_file_is_the_same_file() {
    let mut writer = Writer::new();
    writer.tensor("w", &[100, 256], Dtype::Q8_0);
    let floats: Vec<f32> = (0..25_600).map(|i| i as f32).collect();
    let mut bytes = Vec::new();
    writer.write(&mut bytes, |_, w| Dtype::Q8_0.write(&floats, w)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let sum = write_file(&path, |w| writer.write(w, |_, w| Dtype::Q8_0.write(&floats, w))).unwrap();
    assert_eq!(sum.size, writer.encoded_len());
    assert!(std::fs::read(&path).unwrap() == bytes);
    let file = Gguf::open(&path).unwrap();
    assert_eq!(file.path(), path);
    assert!(file.tensor("w").unwrap().bytes.len() == 25_600 / 32 * 34);
}

fn written(describe: impl FnOnce(&mut Writer)) {
    let mut writer = Writer::new();
    describe(&mut writer);
    writer.write(&mut Vec::new(), |_, w| w.write_all(&[0; 4])).unwrap();
}

#[test]
#[should_panic(expected = "w: 8 bytes, 4 were written")]
fn too_few_bytes_are_the_callers_mistake() {
    written(|w| w.tensor("w", &[2], Dtype::F32));
}

#[test]
#[should_panic(expected = "w: Q4_0 of shape [32, 31], whose rows are no whole number of blocks")]
fn rows_that_are_no_blocks_are_the_callers_mistake() {
    written(|w| w.tensor("w", &[32, 31], Dtype::Q4_0));
}

#[test]
#[should_panic(expected = "two values of the key \"k\"")]
fn a_key_twice_is_the_callers_mistake() {
    written(|w| {
        w.value("k", true);
        w.value("k", true);
    });
}

#[test]
#[should_panic(expected = "two tensors of the name \"w\"")]
fn a_name_twice_is_the_callers_mistake() {
    written(|w| {
        w.tensor("w", &[1], Dtype::F32);
        w.tensor("w", &[1], Dtype::F32);
    });
}

#[test]
#[should_panic(expected = "k: 1 in an array of String")]
fn a_mixed_array_is_the_callers_mistake() {
    written(|w| w.array("k", ValueType::String, [Value::String("a"), Value::U32(1)]));
}

#[test]
#[should_panic(expected = "general.alignment is 24")]
fn a_wrong_alignment_is_the_callers_mistake() {
    written(|w| w.value("general.alignment", 24_u32));
}
