//! A model, its weights and its tokeniser, ready to use.

use crate::adapter::Place;
use crate::error::Error;
use crate::write::{GenerateOptions, Text, Writer};
use foretoken_formats::durable::{self, MANIFEST};
use foretoken_formats::gguf::Gguf;
use foretoken_formats::memory::available_memory;
use foretoken_formats::{json, safetensors};
use foretoken_kernels::{Buffer, CacheType, PackedType, Pool};
use foretoken_model::{
    Merged, Model, PackedWeights, Source, Trainable, Weights, adapter, gguf_views, human_bytes, registry,
};
use foretoken_text::{ChatTemplate, Tokenizer};
use std::path::{Path, PathBuf};

/// The largest `config.json` that is read.
const CONFIG_BYTES: u64 = 1 << 20;

/// The largest `tokenizer_config.json`: it may list every added token, and templates.
const TOKENIZER_CONFIG_BYTES: u64 = 16 << 20;

/// The files of a checkpoint that are opened here, and so verified. What only training needs is two thirds of its bytes;
/// resuming verifies it.
const OPENED: [&str; 11] = [
    "config.json",
    adapter::CONFIG,
    adapter::WEIGHTS,
    safetensors::MODEL,
    safetensors::INDEX,
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
];

/// An opened model.
#[derive(Debug)]
pub struct Gpt {
    path: PathBuf,
    /// Where tokeniser and chat template were read from.
    texts: PathBuf,
    model: Box<dyn Model>,
    weights: PackedWeights,
    tokenizer: Tokenizer,
    /// End tokens beside the tokeniser's own.
    ends: Vec<u32>,
    pool: Pool,
}

/// Opens a run, a checkpoint, a directory in Hugging Face's layout, an adapter beside its base or a GGUF file, to run on all
/// cores.
///
/// # Errors
/// There is no model, it is damaged or incomplete, tokeniser and model do not belong together, or there is no memory.
pub fn open(path: impl AsRef<Path>) -> Result<Gpt, Error> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    open_with(path, Pool::new(threads).map_err(Error::Machine)?)
}

/// [`open`] on a given pool.
///
/// # Errors
/// As [`open`].
pub fn open_with(path: impl AsRef<Path>, pool: Pool) -> Result<Gpt, Error> {
    open_as(path, pool, None)
}

/// [`open_with`], every matrix rounded to `quantize` as it is opened. Without it weights are what the file has: f32 as f32, and
/// what has fewer bits in the form that generation reads fastest (see [`PackedWeights::new`]).
///
/// # Errors
/// As [`open`].
pub fn open_as(path: impl AsRef<Path>, pool: Pool, quantize: Option<PackedType>) -> Result<Gpt, Error> {
    let place = Place::of(path.as_ref())?;
    let (path, texts) = (&place.path, &place.texts);
    let (model, pairs, tokenizer, weights, ends);
    if place.base.is_file() {
        let file = Gguf::open(&place.base)?;
        model = registry::from_gguf(&file)?;
        // Before memory is asked for: the file is whole, so it has some of its own.
        gguf_views(&*model, &file)?;
        pairs = place.pairs(&*model)?;
        ends = match texts.is_file() {
            true => crate::gguf::more_ends(&file)?,
            false => more_ends(texts)?,
        };
        // The vocabulary takes as long as the weights.
        (tokenizer, weights) = std::thread::scope(|scope| {
            let tokenizer = scope.spawn(|| match texts.is_file() {
                true => crate::gguf::tokenizer(&file),
                false => open_tokenizer(texts),
            });
            let weights = read_weights(path, &*model, &pool, Source::Gguf(&file), pairs.as_ref(), quantize);
            let tokenizer = tokenizer
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (tokenizer, weights)
        });
        if let Ok(tokenizer) = &tokenizer {
            check_vocabulary(texts, tokenizer, &*model)?;
        }
        // Letting go of the mapped pages took a twentieth of the time to the first token.
        std::thread::spawn(move || drop(file));
    } else {
        verify(&place.base)?;
        model = registry::from_config(&read_config(&place.base)?)?;
        let vocabulary = open_tokenizer(texts)?;
        check_vocabulary(texts, &vocabulary, &*model)?;
        pairs = place.pairs(&*model)?;
        ends = more_ends(texts)?;
        // Before files are looked for: what cannot be held, at four bits a weight and more, need not be there.
        check_memory(path, &*model, &pool, model.params().floats() as u64 / 2, CacheType::F16)?;
        let files = safetensors::open_model_dir(&place.base)?;
        tokenizer = Ok(vocabulary);
        weights = read_weights(
            path,
            &*model,
            &pool,
            Source::Safetensors(&files),
            pairs.as_ref(),
            quantize,
        );
    }
    let tokenizer = tokenizer?;
    Ok(Gpt {
        model,
        ends: ends.into_iter().filter(|&id| tokenizer.is_special(id)).collect(),
        tokenizer,
        weights: weights?,
        pool,
        path: place.path,
        texts: place.texts,
    })
}

/// The architecture and sizes of a model, whose weights are not read.
///
/// # Errors
/// There is no model, or one that foretoken does not have.
pub fn open_model(path: &Path) -> Result<Box<dyn Model>, Error> {
    let path = Place::of(path)?.base;
    Ok(match path.is_file() {
        true => registry::from_gguf(&Gguf::open(&path)?)?,
        false => registry::from_config(&read_config(&path)?)?,
    })
}

/// Verifies what is opened here of a directory with a manifest.
pub(crate) fn verify(dir: &Path) -> Result<(), Error> {
    if dir.join(MANIFEST).exists() {
        durable::verify_files(dir, &OPENED)?;
    }
    Ok(())
}

/// `config.json` of a model's directory.
pub(crate) fn read_config(dir: &Path) -> Result<serde_json::Value, Error> {
    Ok(json::read_bounded(dir.join("config.json"), CONFIG_BYTES)?)
}

/// Whether the model has a row for every token.
pub(crate) fn check_vocabulary(path: &Path, tokenizer: &Tokenizer, model: &dyn Model) -> Result<(), Error> {
    let (tokens, vocab_size) = (tokenizer.vocab_size(), model.dims().vocab_size);
    if tokens <= vocab_size {
        return Ok(());
    }
    Err(Error::Tokenizer {
        path: path.to_owned(),
        tokenizer: tokens,
        model: vocab_size,
    })
}

/// The weights as they are stored, or rounded, once there is memory for them.
fn read_weights(
    path: &Path,
    model: &dyn Model,
    pool: &Pool,
    source: Source<'_>,
    pairs: Option<&(Trainable, Buffer)>,
    quantize: Option<PackedType>,
) -> Result<PackedWeights, Error> {
    let merged;
    let source = match pairs {
        Some((trainable, pairs)) => {
            merged = Merged::new(model, pool, source, trainable, pairs)?;
            Source::Merged(&merged)
        }
        None => source,
    };
    let bytes = PackedWeights::planned_bytes(model, source, quantize)?;
    check_memory(path, model, pool, bytes, CacheType::F16)?;
    Ok(PackedWeights::new(model, pool, source, quantize)?)
}

/// Whether there is memory for the weights and for a text of the whole context. The mapped files are not counted: their
/// pages can be dropped.
fn check_memory(path: &Path, model: &dyn Model, pool: &Pool, weights: u64, kind: CacheType) -> Result<(), Error> {
    let context = model.dims().n_positions;
    let plan = model.decode_plan(context, kind);
    let scratch = plan.scratch.shared + plan.scratch.a_thread * pool.threads() + model.dims().vocab_size;
    let needed = [plan.cache_bytes(), plan.work.bytes(), 4 * scratch as u64]
        .into_iter()
        .fold(weights, u64::saturating_add);
    match available_memory() {
        Some(available) if available < needed => Err(Error::Memory {
            path: path.to_owned(),
            needed: human_bytes(needed),
            context,
            available: human_bytes(available),
            help: "close other programs, or take a smaller model or one trained with a smaller --n-positions; \
                   `foretoken size --model` tells what takes it",
        }),
        _ => Ok(()),
    }
}

/// The tokeniser of a GGUF file, or in a model's directory: `tokenizer.json`, or GPT-2's `vocab.json` and `merges.txt`.
/// `tokenizer_config.json` may say which token ends a text.
///
/// # Errors
/// [`Error::NoTokenizer`], or what is wrong with the files.
pub fn open_tokenizer(path: &Path) -> Result<Tokenizer, Error> {
    if path.is_file() {
        return crate::gguf::tokenizer(&Gguf::open(path)?);
    }
    let [json, vocab, merges] = ["tokenizer.json", "vocab.json", "merges.txt"].map(|name| path.join(name));
    if json.exists() {
        let config = tokenizer_config(path)?;
        return Ok(Tokenizer::from_file_ending(&json, config.as_ref().and_then(end_token))?);
    }
    if vocab.exists() && merges.exists() {
        let read = |path: &Path| json::read_bytes(path, foretoken_text::LARGEST_FILE);
        return Ok(Tokenizer::from_gpt2(&read(&vocab)?, &read(&merges)?)?);
    }
    Err(Error::NoTokenizer { path: path.to_owned() })
}

/// `tokenizer_config.json` of a model's directory, where there is one.
pub(crate) fn tokenizer_config(dir: &Path) -> Result<Option<serde_json::Value>, Error> {
    let path = dir.join("tokenizer_config.json");
    match path.exists() {
        true => Ok(Some(json::read_bounded(path, TOKENIZER_CONFIG_BYTES)?)),
        false => Ok(None),
    }
}

/// The end tokens of `generation_config.json`: one id or a list. Chat models end an answer with another than a text.
fn more_ends(dir: &Path) -> Result<Vec<u32>, Error> {
    let path = dir.join("generation_config.json");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let config: serde_json::Value = json::read_bounded(path, CONFIG_BYTES)?;
    let ends = &config["eos_token_id"];
    let ids = ends.as_array().map_or(std::slice::from_ref(ends), Vec::as_slice);
    Ok(ids.iter().filter_map(|id| id.as_u64()?.try_into().ok()).collect())
}

/// The chat template of a model's directory or GGUF file, where it has one.
///
/// # Errors
/// A template that is no Jinja, or files that cannot be read.
pub(crate) fn chat_template(path: &Path, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>, Error> {
    if path.is_file() {
        crate::gguf::template(&Gguf::open(path)?, tokenizer)
    } else {
        let beside = path.join("chat_template.jinja");
        let beside = match beside.exists() {
            true => Some(json::read_bytes(&beside, CONFIG_BYTES)?),
            false => None,
        };
        let beside = beside.as_deref().map(String::from_utf8_lossy);
        let config = tokenizer_config(path)?.unwrap_or_default();
        Ok(ChatTemplate::from_config(&config, beside.as_deref())?)
    }
}

/// The name of the token that ends a text: a text, or an object with its content.
fn end_token(config: &serde_json::Value) -> Option<&str> {
    let end = config.get("eos_token")?;
    end.as_str().or_else(|| end.get("content")?.as_str())
}

impl Gpt {
    /// The directory or file it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The architecture.
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// The weights.
    pub fn weights(&self) -> Weights<'_> {
        (&self.weights).into()
    }

    /// Bytes of the weights in memory.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.bytes()
    }

    /// The tokeniser.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokens that end a text or an answer: the tokeniser's own first.
    pub fn end_ids(&self) -> Vec<u32> {
        let mut ends = vec![self.tokenizer.eos_id()];
        ends.extend(self.ends.iter().filter(|&&id| id != self.tokenizer.eos_id()));
        ends
    }

    /// How a conversation is written for this model: its own template, or [`ChatTemplate::plain`].
    ///
    /// # Errors
    /// A template that is no Jinja, or files that cannot be read.
    pub fn chat_template(&self) -> Result<ChatTemplate, Error> {
        let own = self.own_chat_template()?;
        Ok(own.unwrap_or_else(|| ChatTemplate::plain(&self.tokenizer)))
    }

    /// Its own template alone: a model that learned from texts has none.
    ///
    /// # Errors
    /// As [`Gpt::chat_template`].
    pub fn own_chat_template(&self) -> Result<Option<ChatTemplate>, Error> {
        chat_template(&self.texts, &self.tokenizer)
    }

    /// The threads it runs on.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The text that follows a prompt.
    ///
    /// # Errors
    /// Options that mean nothing, no memory.
    pub fn generate(&self, prompt: &str, options: &GenerateOptions) -> Result<String, Error> {
        let mut text = String::new();
        self.stream(prompt, options, |part| {
            text.push_str(part);
            true
        })?;
        Ok(text)
    }

    /// Gives the text that follows a prompt part by part, each as soon as it is sure: never half a character, nothing that
    /// could be the beginning of a stop string. `on_text` ends it by returning false.
    ///
    /// # Errors
    /// As [`Gpt::generate`].
    pub fn stream(
        &self,
        prompt: &str,
        options: &GenerateOptions,
        on_text: impl FnMut(&str) -> bool,
    ) -> Result<Text, Error> {
        self.writer(prompt)?.write(options, on_text)
    }

    /// For several texts after one prompt, which is then read once.
    ///
    /// # Errors
    /// No memory.
    pub fn writer(&self, prompt: &str) -> Result<Writer<'_>, Error> {
        let model = (&*self.model, self.weights());
        Ok(Writer::new(model, &self.tokenizer, &self.pool, &self.tokenizer.encode(prompt))?.ending(&self.ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_model_or_a_context_too_large_for_memory_is_refused_before_it_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let run = crate::doc_model(dir.path()).unwrap();
        let hf = dir.path().join("hf");
        std::fs::create_dir(&hf).unwrap();
        // No weights: whoever goes on to load them says so.
        std::fs::copy(run.join("latest/tokenizer.json"), hf.join("tokenizer.json")).unwrap();
        let error = |n_layer: usize, n_embd: usize, n_positions: usize| {
            let config = serde_json::json!({
                "model_type": "gpt2", "vocab_size": 257, "n_positions": n_positions, "n_embd": n_embd, "n_layer": n_layer,
                "n_head": 16,
            });
            std::fs::write(hf.join("config.json"), config.to_string()).unwrap();
            open(&hf).unwrap_err()
        };
        // Weights of 53 TB, then a key/value cache of 69 TB beside weights of 85 GB.
        for (n_layer, n_embd, n_positions) in [(4096, 1 << 14, 32), (1000, 1024, 1 << 23)] {
            let error = error(n_layer, n_embd, n_positions);
            assert!(
                matches!(error, Error::Memory { context, .. } if context == n_positions),
                "{error}"
            );
            assert!(error.to_string().contains("TiB to generate"), "{error}");
        }
        assert!(!matches!(error(1, 1024, 32), Error::Memory { .. }));
    }

    #[test]
    fn what_is_opened_must_be_whole_and_what_only_training_needs_may_be_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let run = crate::doc_model(dir.path()).unwrap();
        let checkpoint = open(&run).unwrap().path().to_owned();
        let flip = |name: &str| {
            let mut bytes = std::fs::read(checkpoint.join(name)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(checkpoint.join(name), bytes).unwrap();
        };
        for name in ["config.json", safetensors::MODEL, "tokenizer.json"] {
            flip(name);
            let error = open(&run).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("damaged"), "{error}");
            flip(name);
        }
        flip("optimizer.safetensors");
        std::fs::remove_file(checkpoint.join("train_state.json")).unwrap();
        open(&run)
            .unwrap()
            .generate("Mina", &GenerateOptions::default())
            .unwrap();
        assert!(durable::verify_dir(&checkpoint).is_err());
    }
}
