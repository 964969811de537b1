//! The model that is converted.

use crate::error::Error;
use crate::gpt::{check_vocabulary, open_tokenizer, read_config, tokenizer_config, verify};
use crate::locate::locate;
use foretoken_formats::dtype::Dtype;
use foretoken_formats::gguf::{self, Gguf};
use foretoken_formats::safetensors::{self, Weights};
use foretoken_formats::{Error as FileError, json};
use foretoken_model::{Layout, Model, gguf_views, read_gguf, registry, views};
use foretoken_text::Tokenizer;
use std::path::{Path, PathBuf};

/// The largest `chat_template.jinja`.
const TEMPLATE_BYTES: u64 = 1 << 20;

/// An open model whose weights are still in their files.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) model: Box<dyn Model>,
    /// None where a directory has none.
    pub(super) tokenizer: Option<Tokenizer>,
    pub(super) chat_template: Option<String>,
    pub(super) files: Files,
}

/// Where the weights are.
pub(super) enum Files {
    Hf(Weights),
    Gguf(Gguf),
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let path = locate(path)?;
        if path.is_file() {
            let file = Gguf::open(&path)?;
            return Ok(Self {
                model: registry::from_gguf(&file)?,
                tokenizer: Some(crate::gguf::tokenizer(&file)?),
                chat_template: crate::gguf::chat_template(&file)?.map(str::to_owned),
                files: Files::Gguf(file),
                path,
            });
        }
        verify(&path)?;
        let model = registry::from_config(&read_config(&path)?)?;
        let tokenizer = match open_tokenizer(&path) {
            Ok(tokenizer) => Some(tokenizer),
            Err(Error::NoTokenizer { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(tokenizer) = &tokenizer {
            check_vocabulary(&path, tokenizer, &*model)?;
        }
        Ok(Self {
            model,
            tokenizer,
            chat_template: template(&path)?,
            files: Files::Hf(safetensors::open_model_dir(&path)?),
            path,
        })
    }

    /// The parameters in the order of the model's table.
    pub(super) fn parameters(&self) -> Result<Vec<Stored<'_>>, Error> {
        let stored = |file: &Path, name: &str, dtype: safetensors::Dtype| match dtype {
            safetensors::Dtype::F32 => Ok(Dtype::F32),
            safetensors::Dtype::F16 => Ok(Dtype::F16),
            safetensors::Dtype::BF16 => Ok(Dtype::BF16),
            found => Err(FileError::Dtype {
                path: file.to_owned(),
                tensor: name.to_owned(),
                found,
                expected: "F32, F16 or BF16",
            }),
        };
        match &self.files {
            Files::Hf(files) => {
                let views = views(self.model.params(), files)?.into_iter();
                let stored = views.map(|view| {
                    let dtype = stored(view.path, view.name, view.dtype)?;
                    Ok(Stored::Hf(view, dtype))
                });
                stored.collect()
            }
            Files::Gguf(file) => {
                let views = gguf_views(&*self.model, file)?.into_iter();
                let layouts = self.model.gguf_tensors().into_iter().map(|tensor| tensor.layout);
                Ok(views
                    .zip(layouts)
                    .map(|(view, layout)| Stored::Gguf(view, layout))
                    .collect())
            }
        }
    }

    /// The tokeniser, where one is needed.
    pub(super) fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.tokenizer.as_ref().ok_or_else(|| Error::NoTokenizer {
            path: self.path.clone(),
        })
    }
}

/// The template of a chat: in a file of its own, or in `tokenizer_config.json`.
fn template(dir: &Path) -> Result<Option<String>, Error> {
    let path = dir.join("chat_template.jinja");
    if path.exists() {
        let bytes = json::read_bytes(&path, TEMPLATE_BYTES)?;
        return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
    }
    let config = tokenizer_config(dir)?;
    let template = config.as_ref().and_then(|config| config.get("chat_template")?.as_str());
    Ok(template.map(str::to_owned))
}

/// A parameter in its file.
pub(super) enum Stored<'a> {
    Hf(safetensors::TensorView<'a>, Dtype),
    Gguf(gguf::TensorView<'a>, Layout),
}

impl<'a> Stored<'a> {
    pub(super) fn dtype(&self) -> Dtype {
        match self {
            Stored::Hf(_, dtype) => *dtype,
            Stored::Gguf(view, _) => view.dtype,
        }
    }

    /// Its bytes, where they are in the parameter's order.
    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Stored::Hf(view, _) => Some(view.bytes),
            Stored::Gguf(view, Layout::Same) => Some(view.bytes),
            Stored::Gguf(..) => None,
        }
    }

    /// Its numbers in the parameter's order.
    pub(super) fn read(&self) -> Vec<f32> {
        match self {
            Stored::Hf(view, dtype) => {
                let mut x = vec![0.0; view.elements()];
                dtype.decode(view.bytes, &mut x);
                x
            }
            Stored::Gguf(view, layout) => {
                let mut x = vec![0.0; view.elements()];
                read_gguf(view, *layout, &mut x);
                x
            }
        }
    }
}
