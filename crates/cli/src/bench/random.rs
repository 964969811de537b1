//! A model with random weights as a GGUF file, so that another program can be measured on it.

use super::SEED;
use crate::dtype::Dtype;
use anyhow::Context;
use foretoken::formats::safetensors;
use foretoken::model::{Model, init, tensors};
use foretoken::text::Tokenizer;
use foretoken::{ConvertOptions, convert};
use std::path::Path;

/// Writes `model` with random weights of a type to `file`, by way of a model directory in `dir`. Its tokeniser is one of bytes:
/// the rest of the vocabulary is padding.
pub(super) fn write_gguf(model: &dyn Model, dtype: Dtype, dir: &Path, file: &Path) -> anyhow::Result<()> {
    let hf = dir.join("random");
    if !hf.exists() {
        std::fs::create_dir(&hf).context("no directory for the random model")?;
        let weights = init(model.params(), SEED)?;
        let mut out = std::fs::File::create(hf.join(safetensors::MODEL))?;
        safetensors::write(&mut out, &tensors(model.params(), &weights), &[("format", "pt")])?;
        std::fs::write(hf.join("config.json"), model.config().to_string())?;
        std::fs::write(hf.join("tokenizer.json"), Tokenizer::byte().to_json())?;
    }
    let options = ConvertOptions {
        dtype: Some(dtype.into()),
        ..ConvertOptions::default()
    };
    convert(&hf, file, &options, &mut |_| true)?;
    Ok(())
}
