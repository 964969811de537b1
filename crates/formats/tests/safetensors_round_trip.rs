//! What is written comes back, here and in the reference implementation, and what that one refuses is refused here.

use foretoken_formats::dtype::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use foretoken_formats::durable::{DurableFile, write_file};
use foretoken_formats::safetensors::{Data, Dtype, Safetensors, Tensor, encoded_len, write};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use safetensors::SafeTensors as Reference;
use std::path::Path;

/// A tensor that owns its elements.
#[derive(Clone, Debug)]
struct Owned {
    shape: Vec<usize>,
    elements: Elements,
}

#[derive(Clone, Debug)]
enum Elements {
    F32(Vec<f32>),
    F16(Vec<f32>),
    BF16(Vec<f32>),
    Bf16(Vec<u16>),
    U64(Vec<u64>),
    U8(Vec<u8>),
}

impl Owned {
    fn tensor<'a>(&'a self, name: &'a str) -> Tensor<'a> {
        match &self.elements {
            Elements::F32(x) => Tensor::f32(name, &self.shape, x),
            Elements::F16(x) => Tensor::f16(name, &self.shape, x),
            Elements::BF16(x) => Tensor::bf16(name, &self.shape, x),
            Elements::Bf16(x) => Tensor::bf16_bits(name, &self.shape, x),
            Elements::U64(x) => Tensor::u64(name, &self.shape, x),
            Elements::U8(x) => Tensor::u8(name, &self.shape, x),
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    vec(0..5_usize, 0..4).prop_flat_map(|shape| {
        let count = shape.iter().product::<usize>();
        // Any bits: NaNs with their payload, infinities and subnormals come back as they are.
        let elements = prop_oneof![
            vec(any::<u32>().prop_map(f32::from_bits), count).prop_map(Elements::F32),
            vec(any::<u16>().prop_map(f16_to_f32), count).prop_map(Elements::F16),
            vec(any::<f32>(), count).prop_map(Elements::F16),
            vec(any::<f32>(), count).prop_map(Elements::BF16),
            vec(any::<u16>(), count).prop_map(Elements::Bf16),
            vec(any::<u64>(), count).prop_map(Elements::U64),
            vec(any::<u8>(), count).prop_map(Elements::U8),
        ];
        elements.prop_map(move |elements| Owned {
            shape: shape.clone(),
            elements,
        })
    })
}

fn name() -> impl Strategy<Value = String> {
    // Quotes, escapes, control characters and Korean are as good as letters.
    prop_oneof![
        "[a-z0-9_.]{0,12}",
        vec(any::<char>(), 0..6).prop_map(String::from_iter),
        Just("가중치\"\\\n".to_owned()),
    ]
}

fn encode(tensors: &[Tensor<'_>], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, tensors, metadata).unwrap();
    assert_eq!(bytes.len() as u64, encoded_len(tensors, metadata));
    bytes
}

fn open(dir: &Path, bytes: &[u8]) -> foretoken_formats::Result<Safetensors> {
    let path = dir.join("file.safetensors");
    std::fs::remove_file(&path).ok();
    std::fs::write(&path, bytes).unwrap();
    Safetensors::open(path)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tensors_and_metadata_come_back(
        tensors in btree_map(name(), owned(), 0..6),
        metadata in btree_map(name(), name(), 0..4),
        rotation in 0..6_usize,
    ) {
        let mut list: Vec<Tensor<'_>> = tensors.iter().map(|(name, owned)| owned.tensor(name)).collect();
        let len = list.len().max(1);
        list.rotate_left(rotation % len);
        let texts: Vec<(&str, &str)> = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let bytes = encode(&list, &texts);
        prop_assert_eq!(&bytes, &encode(&list, &texts), "the same bytes each time");

        let dir = tempfile::tempdir().unwrap();
        let file = open(dir.path(), &bytes).unwrap();
        let reference = Reference::deserialize(&bytes).unwrap();
        prop_assert_eq!(file.names().len(), list.len());
        prop_assert_eq!(reference.len(), list.len());
        for tensor in &list {
            let halves: Vec<u8>;
            let (dtype, expected): (Dtype, &[u8]) = match tensor.data {
                Data::F16(x) => {
                    halves = x.iter().flat_map(|&x| f32_to_f16(x).to_le_bytes()).collect();
                    (Dtype::F16, &halves)
                }
                Data::BF16(x) => {
                    halves = x.iter().flat_map(|&x| f32_to_bf16(x).to_le_bytes()).collect();
                    (Dtype::BF16, &halves)
                }
                Data::F32(x) => (Dtype::F32, bytemuck::cast_slice(x)),
                Data::BF16Bits(x) => (Dtype::BF16, bytemuck::cast_slice(x)),
                Data::U64(x) => (Dtype::U64, bytemuck::cast_slice(x)),
                Data::U8(x) => (Dtype::U8, x),
            };
            let found = file.tensor(tensor.name).unwrap();
            prop_assert_eq!((found.dtype, found.shape, found.bytes), (dtype, tensor.shape, expected));
            prop_assert_eq!(found.bytes.as_ptr() as usize % (dtype.bitsize() / 8), 0, "aligned in the file");
            let other = reference.tensor(tensor.name).unwrap();
            prop_assert_eq!((other.dtype(), other.shape(), other.data()), (dtype, tensor.shape, expected));
            match tensor.data {
                Data::F32(x) => {
                    let mut read = vec![1.0; x.len()];
                    found.read_f32(&mut read).unwrap();
                    prop_assert!(read.iter().zip(x).all(|(a, b)| a.to_bits() == b.to_bits()));
                }
                Data::F16(x) | Data::BF16(x) => {
                    let nearest = |x| match dtype {
                        Dtype::F16 => f16_to_f32(f32_to_f16(x)),
                        _ => bf16_to_f32(f32_to_bf16(x)),
                    };
                    let mut read = vec![1.0; x.len()];
                    found.read_f32(&mut read).unwrap();
                    prop_assert!(read.iter().zip(x).all(|(a, &b)| a.to_bits() == nearest(b).to_bits()));
                }
                Data::BF16Bits(x) => {
                    let mut read = vec![1; x.len()];
                    found.read_bf16(&mut read).unwrap();
                    prop_assert_eq!(read, x);
                }
                Data::U64(x) => prop_assert_eq!(found.read_u64().unwrap(), x),
                Data::U8(x) => prop_assert_eq!(found.bytes, x),
            }
        }
        for (key, text) in &metadata {
            prop_assert_eq!(file.metadata(key), Some(text.as_str()));
        }
        if !metadata.contains_key("format") {
            prop_assert_eq!(file.metadata("format"), Some("pt"));
        }
    }

    /// Headers changed or cut anywhere: no panic, nothing opens that the reference refuses, and nothing is refused that it
    /// opens, names that stand twice apart.
    #[test]
    fn changed_files_are_judged_as_the_reference_does(
        tensors in btree_map("[ab]{1,2}", owned(), 0..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        is_cut in prop::bool::weighted(0.2),
    ) {
        let list: Vec<Tensor<'_>> = tensors.iter().map(|(name, owned)| owned.tensor(name)).collect();
        let mut bytes = encode(&list, &[]);
        let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        for (at, byte) in changes {
            // Digits and punctuation of JSON are more likely to give a file that still opens.
            let at = at.index(header);
            bytes[at] = if at < 8 { byte } else { b"0123456789,:[]{}\"UF abc-.e"[byte as usize % 26] };
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let dir = tempfile::tempdir().unwrap();
        let reference = Reference::deserialize(&bytes);
        let file = open(dir.path(), &bytes);
        if let Err(error) = &file {
            let twice = error.to_string().contains("stands twice");
            prop_assert!(twice || reference.is_err(), "{}: {:?}", error, String::from_utf8_lossy(&bytes));
        }
        if let Ok(file) = file {
            let reference = reference.unwrap();
            prop_assert_eq!(file.names().len(), reference.len());
            for tensor in file.tensors() {
                let other = reference.tensor(tensor.name).unwrap();
                prop_assert_eq!((tensor.dtype, tensor.shape, tensor.bytes), (other.dtype(), other.shape(), other.data()));
            }
        }
    }
}

#[test]
fn files_of_the_reference_open_and_halves_become_floats() {
    let views = [
        ("scalar", Dtype::F32, vec![], 2.5_f32.to_le_bytes().to_vec()),
        (
            "f16",
            Dtype::F16,
            vec![3],
            [0x3c00_u16, 0xc000, 0x0001].map(u16::to_le_bytes).concat(),
        ),
        (
            "bf16",
            Dtype::BF16,
            vec![1, 2],
            [0x3f80_u16, 0xff80].map(u16::to_le_bytes).concat(),
        ),
        ("f8", Dtype::F8_E4M3, vec![1], vec![0x38]),
    ];
    let views = views.iter().map(|(name, dtype, shape, data)| {
        (
            *name,
            safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap(),
        )
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path(), &bytes).unwrap();
    let read = |name, len| {
        let mut floats = vec![0.0; len];
        file.tensor(name).unwrap().read_f32(&mut floats).map(|()| floats)
    };
    assert_eq!(read("scalar", 1).unwrap(), [2.5]);
    assert_eq!(read("f16", 3).unwrap(), [1.0, -2.0, 2f32.powi(-24)]);
    assert_eq!(read("bf16", 2).unwrap(), [1.0, f32::NEG_INFINITY]);
    assert!(read("f8", 1).is_err());
    assert_eq!(file.metadata("format"), None);
}

#[test]
fn unaligned_tensors_are_read_too() {
    let header = br#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#;
    let bytes = [
        &(header.len() as u64).to_le_bytes(),
        &header[..],
        &[7],
        &1.5_f32.to_le_bytes(),
    ]
    .concat();
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path(), &bytes).unwrap();
    let mut read = [0.0];
    file.tensor("b").unwrap().read_f32(&mut read).unwrap();
    assert_eq!(read, [1.5]);
}

#[test]
fn the_bytes_are_these() {
    // Wider elements first, then the order given; metadata sorted; the header padded to a multiple of 8.
    let tensors = [
        Tensor::u8("flags", &[1], &[9]),
        Tensor::bf16("c", &[1], &[1.5]),
        Tensor::f16("d", &[1], &[1.5]),
        Tensor::f32("b", &[1, 2], &[1.0, 2.0]),
        Tensor::f32("a", &[], &[3.0]),
        Tensor::u64("step", &[1], &[4]),
    ];
    let bytes = encode(&tensors, &[("step", "4"), ("config", "{}")]);
    let header = concat!(
        r#"{"__metadata__":{"config":"{}","format":"pt","step":"4"},"step":{"dtype":"U64","shape":[1],"data_offsets":[0,8]},"#,
        r#""b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},"a":{"dtype":"F32","shape":[],"data_offsets":[16,20]},"#,
        r#""c":{"dtype":"BF16","shape":[1],"data_offsets":[20,22]},"d":{"dtype":"F16","shape":[1],"data_offsets":[22,24]},"#,
        r#""flags":{"dtype":"U8","shape":[1],"data_offsets":[24,25]}}"#,
    );
    let padded = header.len().next_multiple_of(8);
    assert_eq!(bytes[..8], (padded as u64).to_le_bytes());
    assert_eq!(
        std::str::from_utf8(&bytes[8..8 + padded]).unwrap(),
        format!("{header:padded$}")
    );
    assert_eq!(
        bytes[8 + padded..],
        [
            4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0xc0, 0x3f, 0, 0x3e, 9
        ]
    );
}

#[test]
#[should_panic(expected = "w: shape [2, 3], 5 elements")]
fn a_wrong_shape_is_the_callers_mistake() {
    encode(&[Tensor::f32("w", &[2, 3], &[0.0; 5])], &[]);
}

#[test]
#[should_panic(expected = "two tensors of the name \"w\"")]
fn a_name_twice_is_the_callers_mistake() {
    encode(&[Tensor::u8("w", &[0], &[]), Tensor::u8("w", &[0], &[])], &[]);
}

#[test]
fn a_durable_file_is_the_same_file() {
    let floats: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
    let tensors = [Tensor::f32("w", &[100, 1000], &floats)];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let sum = write_file(&path, |w| write(w, &tensors, &[])).unwrap();
    let expected = encode(&tensors, &[]);
    assert_eq!(std::fs::read(&path).unwrap(), expected);
    assert_eq!(
        (sum.size, sum.blake3),
        (expected.len() as u64, blake3::hash(&expected).to_hex().to_string())
    );
    let mut pieces = DurableFile::create(&path).unwrap();
    write(&mut pieces, &tensors, &[]).unwrap();
    pieces.commit().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), expected);
}
