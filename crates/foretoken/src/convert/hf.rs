//! Writing a directory in Hugging Face's layout.

use super::{ConvertOptions, ConvertedTensor, OnProgress, Told, encode};
use crate::error::Error;
use crate::gpt::read_config;
use crate::source::{Files, Source, Stored};
use foretoken_formats::dtype::Dtype;
use foretoken_formats::durable::{self, DurableDir};
use foretoken_formats::json;
use foretoken_formats::safetensors::{self, Described};
use foretoken_text::{LARGEST_FILE, Tokenizer};
use serde_json::{Value, json};
use std::path::Path;

/// Files beside weights and config that are copied from a directory as they are.
const COPIED: [&str; 8] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
];

/// Writes the directory `to`.
pub(super) fn write(
    source: &Source,
    to: &Path,
    options: &ConvertOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<ConvertedTensor>, Error> {
    let holds = |dtype: &Dtype| matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
    if let Some(dtype) = options.dtype.filter(|dtype| !holds(dtype)) {
        return Err(Error::NoSuchDtype {
            path: to.to_owned(),
            dtype,
        });
    }
    let parameters = source.parameters()?;
    let specs = source.model.params().specs();
    let tensor = |(spec, stored): (&foretoken_model::ParamSpec, &Stored<'_>)| ConvertedTensor {
        name: spec.name.clone(),
        shape: spec.shape.clone(),
        from: stored.dtype(),
        to: options
            .dtype
            .unwrap_or(Some(stored.dtype()).filter(holds).unwrap_or(Dtype::F32)),
        kept: None,
    };
    let tensors: Vec<ConvertedTensor> = specs.iter().zip(&parameters).map(tensor).collect();
    let described: Vec<Described<'_>> = tensors.iter().map(described).collect();
    durable::check_space(to, safetensors::encoded_len_of(&described, &[]))?;

    let mut dir = match options.force {
        true => DurableDir::replace(to)?,
        false => DurableDir::create(to)?,
    };
    let config = config(source, &tensors)?;
    dir.file("config.json", |w| w.write_all(&pretty(&config)))?;
    for (name, bytes) in texts(source, &config)? {
        dir.file(&name, |w| w.write_all(&bytes))?;
    }
    let mut told = Told::new(&tensors, on_progress);
    dir.file(safetensors::MODEL, |w| {
        safetensors::write_streamed(w, &described, &[], |index, w| {
            let (tensor, stored) = (&tensors[index], &parameters[index]);
            match stored.bytes().filter(|_| tensor.from == tensor.to) {
                Some(bytes) => w.write_all(bytes)?,
                None => encode(tensor, &stored.read(), w)?,
            }
            told.wrote(tensor)
        })
    })?;
    dir.commit(serde_json::Map::new())?;
    Ok(tensors)
}

fn described(tensor: &ConvertedTensor) -> Described<'_> {
    Described {
        name: &tensor.name,
        shape: &tensor.shape,
        dtype: match tensor.to {
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::BF16 => safetensors::Dtype::BF16,
            _ => safetensors::Dtype::F32,
        },
    }
}

/// The source's own config, or the model's, with the type that most of the numbers have.
fn config(source: &Source, tensors: &[ConvertedTensor]) -> Result<Value, Error> {
    let mut config = match source.files {
        Files::Hf(_) => read_config(&source.base)?,
        Files::Gguf(_) => source.model.config(),
    };
    let elements = |dtype| -> u64 {
        let of = tensors.iter().filter(|tensor| tensor.to == dtype);
        of.map(ConvertedTensor::elements).sum()
    };
    let names = [
        (Dtype::F32, "float32"),
        (Dtype::F16, "float16"),
        (Dtype::BF16, "bfloat16"),
    ];
    let most = names.into_iter().max_by_key(|(dtype, _)| elements(*dtype));
    let name = most.map_or("float32", |(_, name)| name);
    // Newer files say `dtype`, older ones `torch_dtype`; readers take either.
    let field = if config.get("dtype").is_some() {
        "dtype"
    } else {
        "torch_dtype"
    };
    config[field] = name.into();
    Ok(config)
}

/// Tokeniser and what generation needs: copied from a directory, made of a GGUF file.
pub(crate) fn texts(source: &Source, config: &Value) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut files = Vec::new();
    if source.texts.is_dir() {
        for name in COPIED {
            let path = source.texts.join(name);
            if path.exists() {
                files.push((name.to_owned(), json::read_bytes(&path, LARGEST_FILE)?));
            }
        }
        return Ok(files);
    }
    let (bos, eos) = (&config["bos_token_id"], &config["eos_token_id"]);
    let generation = json!({"bos_token_id": bos, "eos_token_id": eos, "do_sample": true});
    files.push(("generation_config.json".into(), pretty(&generation)));
    if let Some(tokenizer) = &source.tokenizer {
        let tokenizer_config = tokenizer_config(source, tokenizer, bos);
        files.push(("tokenizer.json".into(), tokenizer.to_json()));
        files.push(("tokenizer_config.json".into(), pretty(&tokenizer_config)));
    }
    Ok(files)
}

/// `tokenizer_config.json` with the token that begins a text, and the template of a chat.
fn tokenizer_config(source: &Source, tokenizer: &Tokenizer, bos: &Value) -> Value {
    let limit = source.model.dims().n_positions;
    let config = tokenizer.tokenizer_config_json(limit, source.chat_template.as_deref());
    let mut config: Value = serde_json::from_slice(&config).expect("it was just written");
    let bos = bos.as_u64().and_then(|id| u32::try_from(id).ok());
    let mut special = tokenizer.special_tokens();
    if let Some((_, name)) = bos.and_then(|bos| special.find(|(id, _)| *id == bos)) {
        config["bos_token"] = name.into();
    }
    config
}

pub(crate) fn pretty(value: &Value) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("plain values");
    json.push(b'\n');
    json
}
