//! Valid files, damaged in tens of thousands of ways: they open and are read, or give an error; nothing panics, nothing
//! takes memory that the file does not justify.

mod hostile {
    pub(crate) mod gguf;
    pub(crate) mod safetensors;
}

use foretoken_formats::dtype::Dtype;
use foretoken_formats::gguf::{ValueType, Writer};
use foretoken_formats::safetensors::{Tensor, write};

/// Numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One to three changes to `bytes`, mostly in the first `header` of them.
fn damage(bytes: &mut Vec<u8>, header: usize, random: &mut Random) {
    const NUMBERS: [u64; 12] = [0, 1, 2, 9, 12, 13, 255, 1 << 31, 1 << 32, 1 << 62, 1 << 63, u64::MAX];
    for _ in 0..=random.below(3) {
        let end = if random.below(8) == 0 {
            bytes.len()
        } else {
            header.min(bytes.len())
        };
        let at = random.below(end);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => {
                let piece = bytes[at..bytes.len().min(at + 1 + random.below(64))].to_vec();
                let to = random.below(end);
                bytes.splice(to..to, piece);
            }
            2 => drop(bytes.drain(at..bytes.len().min(at + 1 + random.below(64)))),
            3 => {
                // Mostly where numbers lie: every byte is as good in a format without alignment.
                let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
                let width = [4, 8][random.below(2)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            4 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            5 if !bytes.is_empty() => bytes[at] = b"0123456789,:[]{}\"\\UF-.e"[random.below(23)],
            _ if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// Damages `whole` in `times` ways; gives the number of those that still open.
fn hammer(whole: &[u8], header: usize, times: usize, seed: u64, check: impl Fn(&[u8]) -> bool) -> usize {
    assert!(check(whole), "it is valid before");
    let mut random = Random(seed);
    let mut opened = 0;
    for _ in 0..times {
        let mut bytes = whole.to_vec();
        damage(&mut bytes, header, &mut random);
        opened += usize::from(check(&bytes));
    }
    opened
}

/// Metadata of every kind and a tensor of every dtype, in some kilobytes.
fn small_gguf() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.value("general.architecture", "gpt2");
    writer.value("general.alignment", 64_u32);
    writer.value("flag", true);
    writer.value("eps", 1e-5_f32);
    writer.array("tokens", ValueType::String, ["a", "가", ""]);
    writer.array("flags", ValueType::Bool, [true, false]);
    writer.array("scores", ValueType::F32, [1.0_f32, -0.0]);
    for dtype in Dtype::ALL {
        writer.tensor(dtype.name(), &[2, dtype.block_len()], dtype);
    }
    let mut bytes = Vec::new();
    let sizes: Vec<usize> = Dtype::ALL.map(|dtype| 2 * dtype.block_bytes()).to_vec();
    let mut sizes = sizes.into_iter();
    writer
        .write(&mut bytes, |_, w| w.write_all(&vec![0x3c; sizes.next().unwrap()]))
        .unwrap();
    bytes
}

#[test]
fn damaged_gguf_files() {
    let small = small_gguf();
    let reference = include_bytes!("fixtures/reference.gguf");
    let before = peak();
    let opened = [
        hammer(&small, 900, 40_000, 1, hostile::gguf::check),
        hammer(reference, 1728, 3000, 2, hostile::gguf::check),
    ];
    // Neither test is of one kind of file only.
    assert!(
        (2000..30_000).contains(&opened[0]) && (150..2500).contains(&opened[1]),
        "{opened:?} still open"
    );
    assert_peak(before);
}

#[test]
fn damaged_safetensors_files() {
    let floats = [0.5; 12];
    let tensors = [
        Tensor::f32("wte.weight", &[3, 4], &floats),
        Tensor::f16("h.0.ln_1.bias", &[12], &floats),
        Tensor::bf16("가", &[2, 6], &floats),
        Tensor::u64("step", &[], &[7]),
        Tensor::u8("rest", &[5], b"bytes"),
    ];
    let mut bytes = Vec::new();
    write(&mut bytes, &tensors, &[("note", "\"quoted\"")]).unwrap();
    let header = bytes.len() - 12 * (4 + 2 + 2) - 8 - 5;
    let before = peak();
    let opened = hammer(&bytes, header, 40_000, 3, hostile::safetensors::check);
    assert!((500..30_000).contains(&opened), "{opened} still open");
    assert_peak(before);
}

/// Most resident memory of this process until now, where the system tells.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    1024 * kib.unwrap_or(0)
}

fn assert_peak(before: u64) {
    let taken = peak() - before;
    assert!(taken < 64 << 20, "{taken} bytes for files of some kilobytes");
}
