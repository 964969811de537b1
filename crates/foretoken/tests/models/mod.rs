//! Small models in directories, and GGUF files with something changed.

use foretoken::formats::dtype::Dtype;
use foretoken::formats::gguf::{Gguf, Value, ValueType, Writer};
use foretoken::formats::safetensors;
use foretoken::model::registry::{Arch, Sizes};
use foretoken::model::{init, tensors};
use foretoken::text::{Kind, Tokenizer, Trainer};
use std::path::{Path, PathBuf};

/// A tokeniser of a text in two languages.
pub(crate) fn tokenizer(kind: Kind) -> Tokenizer {
    let mut trainer = Trainer::new(kind, 300).unwrap();
    trainer.feed("Mina went to the forest. The forest was 12 miles away.\n미나는 숲으로 갔다. 숲은 멀었다.");
    trainer.finish()
}

/// A model of fresh weights as a directory in Hugging Face's layout.
pub(crate) fn hf(dir: &Path, arch: Arch, tokenizer: &Tokenizer, n_embd: usize) -> PathBuf {
    let model = arch
        .model(&Sizes {
            vocab_size: 320.max(tokenizer.vocab_size()),
            n_positions: 32,
            n_embd,
            n_layer: 2,
            n_head: 4,
            n_kv_head: (arch == Arch::Llama).then_some(2),
            dropout: 0.0,
            eos: tokenizer.eos_id(),
        })
        .unwrap();
    let weights = init(model.params(), 7).unwrap();
    let hf = dir.join("hf");
    std::fs::create_dir(&hf).unwrap();
    let mut file = std::fs::File::create(hf.join("model.safetensors")).unwrap();
    safetensors::write(&mut file, &tensors(model.params(), &weights), &[]).unwrap();
    std::fs::write(hf.join("config.json"), model.config().to_string()).unwrap();
    std::fs::write(hf.join("tokenizer.json"), tokenizer.to_json()).unwrap();
    std::fs::write(
        hf.join("tokenizer_config.json"),
        tokenizer.tokenizer_config_json(32, None),
    )
    .unwrap();
    hf
}

/// Shape, type and bytes.
pub(crate) type NewTensor = (Vec<usize>, Dtype, Vec<u8>);

/// What is changed in a GGUF file.
#[derive(Default)]
pub(crate) struct Change<'a> {
    /// Keys and their new values; none where the key goes.
    pub(crate) keys: Vec<(&'a str, Option<Value<'a>>)>,
    /// Lists of texts.
    pub(crate) texts: Vec<(&'a str, Vec<String>)>,
    /// Tensors and their new shapes, types and bytes; none where the tensor goes.
    pub(crate) tensors: Vec<(&'a str, Option<NewTensor>)>,
}

/// The file `from` with a change, at `to`.
pub(crate) fn changed(from: &Path, to: &Path, change: &Change<'_>) {
    let file = Gguf::open(from).unwrap();
    let mut writer = Writer::new();
    let is_changed =
        |key: &str| change.keys.iter().any(|(k, _)| *k == key) || change.texts.iter().any(|(k, _)| *k == key);
    for (key, value) in file.metadata().filter(|(key, _)| !is_changed(key)) {
        writer.value(key, value);
    }
    for (key, value) in &change.keys {
        if let Some(value) = value {
            writer.value(key, *value);
        }
    }
    for (key, texts) in &change.texts {
        writer.array(key, ValueType::String, texts.iter().map(String::as_str));
    }
    let mut bytes = Vec::new();
    for tensor in file.tensors() {
        match change.tensors.iter().find(|(name, _)| *name == tensor.name) {
            None => {
                writer.tensor(tensor.name, tensor.shape, tensor.dtype);
                bytes.push(tensor.bytes.to_vec());
            }
            Some((_, Some((shape, dtype, data)))) => {
                writer.tensor(tensor.name, shape, *dtype);
                bytes.push(data.clone());
            }
            Some((_, None)) => {}
        }
    }
    for (name, new) in &change.tensors {
        if let (None, Some((shape, dtype, data))) = (file.tensor(name), new) {
            writer.tensor(name, shape, *dtype);
            bytes.push(data.clone());
        }
    }
    let mut out = std::fs::File::create(to).unwrap();
    let mut bytes = bytes.into_iter();
    writer
        .write(&mut out, |_, w| w.write_all(&bytes.next().unwrap()))
        .unwrap();
}

/// The texts of a list in a file.
pub(crate) fn texts(file: &Path, key: &str) -> Vec<String> {
    let file = Gguf::open(file).unwrap();
    let list = file.get(key).unwrap().as_array().unwrap();
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}
