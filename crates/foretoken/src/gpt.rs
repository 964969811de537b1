//! A model, its weights and its tokeniser, ready to use.

use crate::error::Error;
use crate::locate::locate;
use crate::write::{GenerateOptions, Text, Writer};
use foretoken_formats::durable::{self, MANIFEST};
use foretoken_formats::memory::available_memory;
use foretoken_formats::{json, safetensors};
use foretoken_kernels::{Buffer, CacheType, PackedType, Pool};
use foretoken_model::{Model, PackedWeights, Source, Weights, human_bytes, load, registry};
use foretoken_text::Tokenizer;
use std::path::{Path, PathBuf};

/// The largest `config.json` that is read.
const CONFIG_BYTES: u64 = 1 << 20;

/// The files of a checkpoint that are opened here, and so verified. What only training needs is two thirds of its bytes;
/// resuming verifies it.
const OPENED: [&str; 6] = [
    "config.json",
    safetensors::MODEL,
    safetensors::INDEX,
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
];

/// Weights in one of their two forms.
#[derive(Debug)]
enum Loaded {
    Arena(Buffer),
    Packed(PackedWeights),
}

/// An opened model.
#[derive(Debug)]
pub struct Gpt {
    path: PathBuf,
    model: Box<dyn Model>,
    weights: Loaded,
    tokenizer: Tokenizer,
    pool: Pool,
}

/// Opens a run, a checkpoint, a directory in Hugging Face's layout or a pulled repository (see [`crate::locate`]), to run on
/// all cores.
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
/// what has fewer bits in the form that generation reads fastest.
///
/// # Errors
/// As [`open`].
pub fn open_as(path: impl AsRef<Path>, pool: Pool, quantize: Option<PackedType>) -> Result<Gpt, Error> {
    let dir = locate(path.as_ref())?;
    if dir.join(MANIFEST).exists() {
        durable::verify_files(&dir, &OPENED)?;
    }
    let model = registry::from_config(&json::read_bounded(dir.join("config.json"), CONFIG_BYTES)?)?;
    let tokenizer = open_tokenizer(&dir)?;
    let (tokens, vocab_size) = (tokenizer.vocab_size(), model.dims().vocab_size);
    if tokens > vocab_size {
        return Err(Error::Tokenizer {
            path: dir,
            tokenizer: tokens,
            model: vocab_size,
        });
    }
    let files = safetensors::open_model_dir(&dir)?;
    let source = Source::Safetensors(&files);
    let weights = match quantize.is_none() && source.is_f32(&*model)? {
        true => {
            check_memory(&dir, &*model, &pool, 4 * model.params().floats() as u64, CacheType::F32)?;
            Loaded::Arena(load(model.params(), &files)?)
        }
        false => {
            let bytes = PackedWeights::planned_bytes(&*model, source, quantize)?;
            check_memory(&dir, &*model, &pool, bytes, CacheType::F16)?;
            Loaded::Packed(PackedWeights::new(&*model, &pool, source, quantize)?)
        }
    };
    Ok(Gpt {
        path: dir,
        model,
        weights,
        tokenizer,
        pool,
    })
}

/// Whether there is memory for the weights and for a text of the whole context. The mapped files are not counted: their
/// pages can be dropped.
fn check_memory(dir: &Path, model: &dyn Model, pool: &Pool, weights: u64, kind: CacheType) -> Result<(), Error> {
    let dims = model.dims();
    let context = dims.n_positions;
    let plan = model.decode_plan(context, kind);
    let scratch = plan.scratch.shared + plan.scratch.a_thread * pool.threads();
    let logits = dims.vocab_size;
    let needed = weights
        .saturating_add(plan.cache_bytes())
        .saturating_add(plan.work.bytes())
        .saturating_add(4 * (scratch + logits) as u64);
    match available_memory() {
        Some(available) if available < needed => Err(Error::Memory {
            path: dir.to_owned(),
            needed: human_bytes(needed),
            context,
            available: human_bytes(available),
            help: "close other programs, or take a smaller model or one trained with a smaller --n-positions; \
                   `foretoken size --model` tells what takes it",
        }),
        _ => Ok(()),
    }
}

/// The tokeniser in a model's directory: `tokenizer.json`, or GPT-2's `vocab.json` and `merges.txt`.
///
/// # Errors
/// [`Error::NoTokenizer`], or what is wrong with the files.
pub fn open_tokenizer(dir: &Path) -> Result<Tokenizer, Error> {
    let [json, vocab, merges] = ["tokenizer.json", "vocab.json", "merges.txt"].map(|name| dir.join(name));
    if json.exists() {
        return Ok(Tokenizer::from_file(&json)?);
    }
    if vocab.exists() && merges.exists() {
        let read = |path: &Path| json::read_bytes(path, foretoken_text::LARGEST_FILE);
        return Ok(Tokenizer::from_gpt2(&read(&vocab)?, &read(&merges)?)?);
    }
    Err(Error::NoTokenizer { path: dir.to_owned() })
}

impl Gpt {
    /// The directory it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The architecture.
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// The weights.
    pub fn weights(&self) -> Weights<'_> {
        match &self.weights {
            Loaded::Arena(arena) => arena.into(),
            Loaded::Packed(packed) => packed.into(),
        }
    }

    /// Bytes of the weights in memory.
    pub fn weight_bytes(&self) -> u64 {
        match &self.weights {
            Loaded::Arena(arena) => 4 * arena.len() as u64,
            Loaded::Packed(packed) => packed.bytes(),
        }
    }

    /// The tokeniser.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
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
        Writer::new((&*self.model, self.weights()), &self.tokenizer, &self.pool, prompt)
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
