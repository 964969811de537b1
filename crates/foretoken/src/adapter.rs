//! From what a user names to its parts: a model alone, or an adapter and the model it stands beside.

use crate::error::Error;
use crate::gpt::verify;
use crate::locate::{is_adapter, locate};
use foretoken_formats::safetensors::Safetensors;
use foretoken_kernels::Buffer;
use foretoken_model::adapter::{self, AdapterConfig};
use foretoken_model::{Model, Trainable};
use std::path::{Path, PathBuf};

/// Where the parts of a model are.
#[derive(Debug)]
pub(crate) struct Place {
    /// What was found: a directory or a GGUF file.
    pub(crate) path: PathBuf,
    /// Where config and weights are: there too, or the base of the adapter that was found.
    pub(crate) base: PathBuf,
    /// Where the tokeniser is, and the template of a chat: with an adapter, unless it has none.
    pub(crate) texts: PathBuf,
    adapter: Option<AdapterConfig>,
}

impl Place {
    /// Finds a model, and verifies what an adapter's manifest lists.
    ///
    /// # Errors
    /// Those of [`locate`]; an adapter whose base is not there, or that is of a kind not known here.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let path = locate(path)?;
        if !is_adapter(&path) {
            return Ok(Self {
                base: path.clone(),
                texts: path.clone(),
                path,
                adapter: None,
            });
        }
        verify(&path)?;
        let config = AdapterConfig::read(&path)?;
        let base = base(&path, &config)?;
        let has = |name: &str| path.join(name).exists();
        let texts = match has("tokenizer.json") || has("vocab.json") {
            true => path.clone(),
            false => base.clone(),
        };
        Ok(Self {
            path,
            base,
            texts,
            adapter: Some(config),
        })
    }

    /// The pairs of the adapter, where it is one.
    ///
    /// # Errors
    /// A tensor that does not go with model or config.
    pub(crate) fn pairs(&self, model: &dyn Model) -> Result<Option<(Trainable, Buffer)>, Error> {
        let Some(config) = &self.adapter else { return Ok(None) };
        let weights = self.path.join(adapter::WEIGHTS);
        if !weights.exists() && self.path.join("adapter_model.bin").exists() {
            let path = weights;
            let hint = "; its adapter_model.bin is not read: save the adapter with safe_serialization=True";
            return Err(foretoken_formats::Error::NoWeights { path, hint }.into());
        }
        Ok(Some(adapter::read(model, config, &Safetensors::open(weights)?)?))
    }
}

/// The base of the adapter in `dir`: a path, from here or from there, or what was pulled of a repository.
fn base(dir: &Path, config: &AdapterConfig) -> Result<PathBuf, Error> {
    let missing = |base: &str, why: &'static str| Error::AdapterBase {
        path: dir.to_owned(),
        base: base.into(),
        why,
    };
    let name = config.base.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(missing(
            "",
            "it names none in adapter_config.json: write base_model_name_or_path there",
        ));
    }
    let revision = config.revision.as_deref().filter(|revision| !revision.is_empty());
    let pulled = match revision {
        Some(revision) => format!("{name}@{revision}"),
        None => name.to_owned(),
    };
    let found = [PathBuf::from(name), dir.join(name)]
        .into_iter()
        .filter(|path| path.exists())
        .chain([PathBuf::from(pulled)])
        .find_map(|path| locate(&path).ok());
    let there = "it is no path here, and nothing of that name was pulled: put it where adapter_config.json says, write its \
                 new place there (base_model_name_or_path), or fetch it (`foretoken pull`)";
    match found {
        None => Err(missing(name, there)),
        Some(base) if is_adapter(&base) => Err(missing(
            name,
            "it is an adapter itself: merge it first (`foretoken convert`)",
        )),
        Some(base) => Ok(base),
    }
}
