//! What must hold for any bytes as a safetensors file. Shared by the mutation test and the fuzz target.

use foretoken_formats::safetensors::{Dtype, Safetensors};

/// Opens `bytes` and, where that succeeds, reads everything. True where it opened.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let Ok(file) = Safetensors::parse(bytes) else {
        return false;
    };
    for (key, text) in file.all_metadata() {
        assert_eq!(file.metadata(key), Some(text));
    }
    let mut data = 0;
    for tensor in file.tensors() {
        assert_eq!(file.tensor(tensor.name).unwrap().bytes.as_ptr(), tensor.bytes.as_ptr());
        assert_eq!(tensor.elements() * tensor.dtype.bitsize(), tensor.bytes.len() * 8);
        let mut floats = vec![0.0; tensor.elements()];
        let is_float = matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
        assert_eq!(tensor.read_f32(&mut floats).is_ok(), is_float);
        assert_eq!(tensor.read_u64().is_ok(), tensor.dtype == Dtype::U64);
        data += tensor.bytes.len();
    }
    // Every byte is the header's or one tensor's.
    let header = u64::from_le_bytes(*bytes.first_chunk().unwrap());
    assert_eq!(8 + header + data as u64, bytes.len() as u64);
    true
}
