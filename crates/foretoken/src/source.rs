//! A model whose weights are still in their files: what is converted, and what a run begins from.

use crate::adapter::Place;
use crate::error::{Error, check_head};
use crate::gpt::{check_vocabulary, open_tokenizer, read_config, tokenizer_config, verify};
use foretoken_formats::dtype::Dtype;
use foretoken_formats::gguf::{self, Gguf};
use foretoken_formats::safetensors::{self, Weights};
use foretoken_formats::{Error as FileError, json};
use foretoken_kernels::{Buffer, Pool};
use foretoken_model::{Layout, Merged, Model, Product, gguf_views, read_gguf, registry, views};
use foretoken_text::Tokenizer;
use std::path::{Path, PathBuf};

/// The largest `chat_template.jinja`.
const TEMPLATE_BYTES: u64 = 1 << 20;

/// An open model whose weights are still in their files.
pub(crate) struct Source {
    /// What was found.
    pub(crate) path: PathBuf,
    /// Where config and weights are, and where the tokeniser: elsewhere, where an adapter was found.
    pub(crate) base: PathBuf,
    pub(crate) texts: PathBuf,
    pub(crate) model: Box<dyn Model>,
    /// None where a directory has none.
    pub(crate) tokenizer: Option<Tokenizer>,
    pub(crate) chat_template: Option<String>,
    pub(crate) files: Files,
    /// What takes the place of stored tensors, in the order of the model's table: an adapter's matrices, or those without some
    /// heads; empty where nothing does.
    merged: Vec<Option<Buffer>>,
}

/// The matrices of a base with the pairs of an adapter.
fn merged(place: &Place, model: &dyn Model, files: &Files) -> Result<Vec<Option<Buffer>>, Error> {
    let Some((trainable, pairs)) = place.pairs(model)? else {
        return Ok(Vec::new());
    };
    let pool = Pool::new(std::thread::available_parallelism().map_or(1, |n| n.get())).map_err(Error::Machine)?;
    let base = match files {
        Files::Hf(files) => foretoken_model::Source::Safetensors(files),
        Files::Gguf(file) => foretoken_model::Source::Gguf(file),
    };
    Ok(Merged::new(model, &pool, base, &trainable, &pairs)?.into_tensors())
}

/// Where the weights are.
pub(crate) enum Files {
    Hf(Weights),
    Gguf(Gguf),
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let place = Place::of(path)?;
        let (model, files);
        if place.base.is_file() {
            let file = Gguf::open(&place.base)?;
            model = registry::from_gguf(&file)?;
            files = Files::Gguf(file);
        } else {
            verify(&place.base)?;
            model = registry::from_config(&read_config(&place.base)?)?;
            files = Files::Hf(safetensors::open_model_dir(&place.base)?);
        }
        let (tokenizer, chat_template) = match &files {
            Files::Gguf(file) if place.texts.is_file() => {
                let template = crate::gguf::chat_template(file)?.map(str::to_owned);
                (Some(crate::gguf::tokenizer(file)?), template)
            }
            _ => {
                let tokenizer = match open_tokenizer(&place.texts) {
                    Ok(tokenizer) => Some(tokenizer),
                    Err(Error::NoTokenizer { .. }) => None,
                    Err(error) => return Err(error),
                };
                (tokenizer, template(&place.texts)?)
            }
        };
        if let Some(tokenizer) = &tokenizer {
            check_vocabulary(&place.texts, tokenizer, &*model)?;
        }
        Ok(Self {
            merged: merged(&place, &*model, &files)?,
            model,
            tokenizer,
            chat_template,
            files,
            path: place.path,
            base: place.base,
            texts: place.texts,
        })
    }

    /// Whether what is in the files is not what the model is: an adapter with its base, or heads taken out.
    pub(crate) fn is_changed(&self) -> bool {
        !self.merged.is_empty()
    }

    /// Takes heads out: what mixes a layer's heads reads zeros of them, so that nothing of what they find reaches the stream.
    ///
    /// # Errors
    /// [`Error::NoHead`]; the weights cannot be read.
    pub(crate) fn take_out(&mut self, heads: &[(usize, usize)]) -> Result<(), Error> {
        let anatomy = self.model.anatomy();
        let width = anatomy.attention.dh;
        for &(layer, head) in heads {
            check_head(&*self.model, layer, head)?;
            let tensor = anatomy.heads_out[layer];
            let spec = &self.model.params().specs()[tensor];
            let stored = self.parameters()?.swap_remove(tensor);
            let mut x = Buffer::zeroed(spec.shape.iter().product());
            stored.read_into(&mut x);
            // The inputs of the product that are the head's: rows of (in,out), columns of (out,in).
            let (inputs, columns) = (head * width..(head + 1) * width, spec.shape[1]);
            let is_its = |i: usize| match spec.product {
                Some(Product::InOut) => inputs.contains(&(i / columns)),
                _ => inputs.contains(&(i % columns)),
            };
            let zeroed = x.iter_mut().enumerate().filter(|(i, _)| is_its(*i));
            zeroed.for_each(|(_, x)| *x = 0.0);
            let count = self.model.params().specs().len();
            self.merged.resize_with(count, || None);
            self.merged[tensor] = Some(x);
        }
        Ok(())
    }

    /// The parameters in the order of the model's table.
    pub(crate) fn parameters(&self) -> Result<Vec<Stored<'_>>, Error> {
        let mut all = self.stored()?;
        for (stored, merged) in all.iter_mut().zip(&self.merged) {
            if let Some(floats) = merged {
                *stored = Stored::Merged(floats);
            }
        }
        Ok(all)
    }

    /// The parameters as the base has them.
    fn stored(&self) -> Result<Vec<Stored<'_>>, Error> {
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
    pub(crate) fn tokenizer(&self) -> Result<&Tokenizer, Error> {
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
pub(crate) enum Stored<'a> {
    Hf(safetensors::TensorView<'a>, Dtype),
    Gguf(gguf::TensorView<'a>, Layout),
    /// In memory, in the parameter's order.
    Merged(&'a [f32]),
}

impl<'a> Stored<'a> {
    pub(crate) fn dtype(&self) -> Dtype {
        match self {
            Stored::Hf(_, dtype) => *dtype,
            Stored::Gguf(view, _) => view.dtype,
            Stored::Merged(_) => Dtype::F32,
        }
    }

    /// Its bytes, where they are in the parameter's order.
    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Stored::Hf(view, _) => Some(view.bytes),
            Stored::Gguf(view, Layout::Same) => Some(view.bytes),
            Stored::Merged(floats) => Some(bytemuck::cast_slice(floats)),
            Stored::Gguf(..) => None,
        }
    }

    /// Its numbers in the parameter's order.
    pub(crate) fn read(&self) -> Vec<f32> {
        let elements = match self {
            Stored::Hf(view, _) => view.elements(),
            Stored::Gguf(view, _) => view.elements(),
            Stored::Merged(floats) => floats.len(),
        };
        let mut x = vec![0.0; elements];
        self.read_into(&mut x);
        x
    }

    /// [`Stored::read`] into memory that is there.
    pub(crate) fn read_into(&self, x: &mut [f32]) {
        match self {
            Stored::Hf(view, dtype) => dtype.decode(view.bytes, x),
            Stored::Gguf(view, layout) => read_gguf(view, *layout, x),
            Stored::Merged(floats) => x.copy_from_slice(floats),
        }
    }
}
