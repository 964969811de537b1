//! What must hold for any bytes as a GGUF file. Shared by the mutation test and the fuzz target.

use foretoken_formats::gguf::{Array, Gguf, Value, Writer};

/// Opens `bytes` and, where that succeeds, reads everything and writes it again. True where it opened.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let Ok(file) = Gguf::parse(bytes) else { return false };
    for (key, value) in file.metadata() {
        // A NaN is not equal to itself.
        assert_eq!(format!("{:?}", file.get(key)), format!("{:?}", Some(value)), "{key:?}");
        if let Value::Array(array) = value {
            walk(array);
        }
    }
    for tensor in file.tensors() {
        assert!(tensor.bytes.len() <= bytes.len());
        let mut floats = vec![0.0; tensor.elements()];
        tensor.read_f32(&mut floats).unwrap();
        assert_eq!(file.tensor(tensor.name).unwrap().bytes.as_ptr(), tensor.bytes.as_ptr());
    }

    // The same file but for the version, the padding's bytes, and the padding after the last tensor.
    let written = write(&file);
    assert!(written.len() >= bytes.len() && written.len() - bytes.len() < file.alignment() as usize);
    let again = Gguf::parse(&written).unwrap();
    assert_eq!(write(&again), written);
    for (a, b) in file.tensors().zip(again.tensors()) {
        assert_eq!((a.name, a.dtype, a.shape, a.bytes), (b.name, b.dtype, b.shape, b.bytes));
    }
    true
}

fn walk(array: Array<'_>) {
    let mut found = 0;
    for value in array {
        assert_eq!(value.value_type(), array.element_type());
        found += 1;
        if let Value::Array(array) = value {
            walk(array);
        }
    }
    assert_eq!(found, array.len());
}

fn write(file: &Gguf) -> Vec<u8> {
    let mut writer = Writer::new();
    for (key, value) in file.metadata() {
        writer.value(key, value);
    }
    for tensor in file.tensors() {
        writer.tensor(tensor.name, tensor.shape, tensor.dtype);
    }
    let mut bytes = Vec::new();
    writer
        .write(&mut bytes, |name, w| w.write_all(file.tensor(name).unwrap().bytes))
        .unwrap();
    assert_eq!(bytes.len() as u64, writer.encoded_len());
    bytes
}
