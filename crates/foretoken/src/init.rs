//! Opens the model that a run begins from, with room for new special tokens.

use crate::convert::hf;
use crate::error::Error;
use crate::gpt::{chat_template, read_config};
use crate::locate::{is_adapter, locate};
use crate::source::{Files, Source, Stored};
use foretoken_formats::memory::available_memory;
use foretoken_kernels::{Buffer, Stream};
use foretoken_model::{Model, ParamSpec, human_bytes, registry};
use foretoken_text::{Fingerprint, Tokenizer};
use foretoken_train::{Init, RunConfig, newest};
use serde_json::{Value, json};
use std::path::Path;

/// Where the noise of new rows begins, apart from every other use of a seed.
const NOISE: u32 = 0x6000_0000;
/// How much of the spread of the others' new rows have about their mean.
const SPREAD: f64 = 0.02;

/// The model that [`RunConfig::init`] names, as a run begins from it: any that opens, its weights as f32, with the run's dropout
/// and with rows for [`RunConfig::add_tokens`]; none where the run begins from nothing.
///
/// A new token's row is the mean of all others and a little of their spread, a function of the seed. Rows that the vocabulary
/// was padded with are taken before the embedding grows.
///
/// # Errors
/// The model does not open, has no tokeniser or is too large for the memory; pairs of low rank beside an adapter.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let tmp = tempfile::tempdir()?;
/// # let base = foretoken::doc_model(tmp.path())?;
/// use foretoken::{kernels::Pool, train::{Run, RunConfig}};
/// let config = RunConfig {
///     data: vec!["corpus:100".into()],
///     init: Some(base.display().to_string()),
///     lora_rank: Some(2),
///     steps: 2,
///     ..RunConfig::default()
/// };
/// let (dir, cache, pool) = (tmp.path().join("tuned"), tmp.path().join("cache"), Pool::new(1)?);
/// let init = foretoken::init(&config)?;
/// let mut run = Run::start_from(config, init, &dir, &cache, &pool, &mut |_| {})?;
/// run.train(&pool, &std::sync::atomic::AtomicBool::new(false), &mut |_| {})?;
/// assert!(dir.join("latest/adapter_model.safetensors").exists());
/// foretoken::open(&dir)?.generate("Mina", &Default::default())?;
/// # Ok(()) }
/// ```
pub fn init(config: &RunConfig) -> Result<Option<Init>, Error> {
    let Some(name) = &config.init else { return Ok(None) };
    begin(Path::new(name), name, config).map(Some)
}

/// [`init`] for a run in `dir` that goes on: a model that learns as a whole is opened from the newest checkpoint, and the one it
/// began from need not be there any more.
///
/// # Errors
/// As [`init`], and where no checkpoint is whole.
pub fn init_to_resume(config: &RunConfig, dir: &Path) -> Result<Option<Init>, Error> {
    let Some(name) = &config.init else { return Ok(None) };
    if config.lora_rank.is_none() {
        match newest(dir) {
            Ok(checkpoint) => {
                let mut init = begin(&checkpoint.path, name, config)?;
                // Its weights have moved; what they began from is what the run says.
                init.fingerprint = config.init_weights.clone().unwrap_or(init.fingerprint);
                return Ok(Some(init));
            }
            Err(foretoken_train::Error::NoRun { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    init(config)
}

fn begin(path: &Path, name: &str, config: &RunConfig) -> Result<Init, Error> {
    let located = locate(path)?;
    if config.lora_rank.is_some() && is_adapter(&located) {
        return Err(Error::AdapterBase {
            path: path.into(),
            base: "an adapter, too".into(),
            why: "pairs stand beside a whole model: merge it first (`foretoken convert`)",
        });
    }
    let source = Source::open(&located)?;
    check_memory(&source)?;
    let mut weights = read(&source)?;
    let fingerprint = Fingerprint::of(bytemuck::cast_slice(&weights)).to_string();
    let old = source.tokenizer()?;
    let known = |name: &&String| old.special_tokens().any(|(_, token)| token == name.as_str());
    let new: Vec<&str> = config
        .add_tokens
        .iter()
        .filter(|name| !known(name))
        .map(String::as_str)
        .collect();
    let tokenizer = old.with_special(&new)?;
    let vocab_size = source.model.dims().vocab_size.max(tokenizer.vocab_size());
    let model = registry::adapted(&*source.model, vocab_size, config.dropout)?;
    if !new.is_empty() {
        weights = extended(&source, &*model, &weights, (old, &tokenizer), config.seed)?;
    }
    let template = chat_template(&source.texts, &tokenizer)?;
    let files = files(&source, vocab_size, &tokenizer, &new)?;
    // A path stays right when the process stands elsewhere; a name of the hub is what others understand.
    let (base, revision) = match Path::new(name).exists() {
        true => (located.display().to_string(), None),
        false => match name.split_once('@') {
            Some((repo, revision)) => (repo.to_owned(), Some(revision.to_owned())),
            None => (name.to_owned(), None),
        },
    };
    Ok(Init {
        model,
        weights,
        tokenizer,
        template,
        files,
        fingerprint,
        base,
        revision,
    })
}

/// Whether the weights fit: the run as a whole is checked once its sizes are known.
fn check_memory(source: &Source) -> Result<(), Error> {
    let needed = 4 * source.model.params().floats() as u64;
    match available_memory() {
        Some(available) if available < needed => Err(Error::Memory {
            path: source.path.clone(),
            needed: human_bytes(needed),
            context: source.model.dims().n_positions,
            available: human_bytes(available),
            help: "close other programs, or begin from a smaller model",
        }),
        _ => Ok(()),
    }
}

/// Every parameter as f32.
fn read(source: &Source) -> Result<Buffer, Error> {
    let parameters: Vec<Stored<'_>> = source.parameters()?;
    let mut weights = source.model.params().zeros("weights")?;
    for (spec, stored) in source.model.params().specs().iter().zip(&parameters) {
        let out = &mut weights[spec.range.clone()];
        stored.read_into(out);
        if !out.iter().all(|x| x.is_finite()) {
            return Err(Error::NotFinite {
                path: source.path.clone(),
                tensor: spec.name.clone(),
            });
        }
    }
    Ok(weights)
}

/// The weights of a model with rows for the tokens that `new` has and `old` has not.
fn extended(
    source: &Source,
    model: &dyn Model,
    weights: &[f32],
    (old, new): (&Tokenizer, &Tokenizer),
    seed: u64,
) -> Result<Buffer, Error> {
    let v = source.model.dims().vocab_size;
    let mut extended = model.params().zeros("weights")?;
    let specs = source.model.params().specs().iter().zip(model.params().specs());
    for (i, (from, to)) in specs.enumerate() {
        let out = &mut extended[to.range.clone()];
        out[..from.len()].copy_from_slice(&weights[from.range.clone()]);
        if from.shape.first() == Some(&v) && from.shape.len() == 2 && is_of_tokens(from) {
            let stream = Stream {
                seed,
                step: 0,
                purpose: NOISE + i as u32,
            };
            add_rows(out, to.shape[1], (old.vocab_size(), new.vocab_size()), &stream);
        }
    }
    Ok(extended)
}

/// Whether a matrix has a row for every token: an embedding or a head.
fn is_of_tokens(spec: &ParamSpec) -> bool {
    spec.hidden.is_none() && spec.product.is_some()
}

/// Rows `known` to `all` become the mean of those before, and noise with [`SPREAD`] of the deviation that these have.
fn add_rows(rows: &mut [f32], d: usize, (known, all): (usize, usize), stream: &Stream) {
    let (before, after) = rows.split_at_mut(known * d);
    let mut mean = vec![0.0_f64; d];
    for row in before.chunks_exact(d) {
        row.iter()
            .zip(&mut mean)
            .for_each(|(x, mean)| *mean += f64::from(*x) / known as f64);
    }
    let squares = |row: &[f32]| -> f64 {
        row.iter()
            .zip(&mean)
            .map(|(x, mean)| (f64::from(*x) - mean).powi(2))
            .sum()
    };
    let deviation = (before.chunks_exact(d).map(squares).sum::<f64>() / (known * d) as f64).sqrt();
    let new = &mut after[..(all - known) * d];
    stream.normals(0, SPREAD * deviation, new);
    for row in new.chunks_exact_mut(d) {
        row.iter_mut().zip(&mean).for_each(|(x, mean)| *x += *mean as f32);
    }
}

/// What lies beside the weights of a checkpoint: the source's own files, with the new tokens in them.
fn files(
    source: &Source,
    vocab_size: usize,
    tokenizer: &Tokenizer,
    new: &[&str],
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut config = match source.files {
        Files::Hf(_) => read_config(&source.base)?,
        Files::Gguf(_) => source.model.config(),
    };
    config["vocab_size"] = vocab_size.into();
    // What is trained is f32.
    let field = if config.get("dtype").is_some() {
        "dtype"
    } else {
        "torch_dtype"
    };
    config[field] = "float32".into();
    let mut files = hf::texts(source, &config)?;
    files.push(("config.json".into(), hf::pretty(&config)));
    // A GPT-2 may come with vocab.json and merges.txt alone, and new tokens have no place there.
    let has_json = files.iter().any(|(name, _)| name == "tokenizer.json");
    if !has_json || !new.is_empty() {
        let json = tokenizer.to_json();
        put(&mut files, "tokenizer.json", json);
    }
    if !new.is_empty() {
        tell_tokens(&mut files, tokenizer, new);
    }
    Ok(files)
}

fn put(files: &mut Vec<(String, Vec<u8>)>, name: &str, bytes: Vec<u8>) {
    files.retain(|(other, _)| other != name);
    files.push((name.to_owned(), bytes));
}

/// Adds new special tokens to the files that list them beside `tokenizer.json`.
fn tell_tokens(files: &mut Vec<(String, Vec<u8>)>, tokenizer: &Tokenizer, new: &[&str]) {
    let ids: Vec<(u32, &str)> = tokenizer
        .special_tokens()
        .filter(|(_, name)| new.contains(name))
        .collect();
    for (name, bytes) in files.iter_mut() {
        let lists = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
        if !lists.contains(&name.as_str()) {
            continue;
        }
        // What does not parse is left as it was: nothing here reads it.
        let Ok(Value::Object(mut object)) = serde_json::from_slice(bytes) else {
            continue;
        };
        if name == "added_tokens.json" {
            object.extend(ids.iter().map(|(id, token)| ((*token).to_owned(), json!(id))));
        } else {
            let list = object.entry("additional_special_tokens").or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.extend(ids.iter().map(|(_, token)| json!(token)));
            }
        }
        if let Some(Value::Object(decoder)) = object.get_mut("added_tokens_decoder") {
            decoder.extend(ids.iter().map(|(id, token)| {
                let token = json!({
                    "content": token, "lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": true,
                });
                (id.to_string(), token)
            }));
        }
        *bytes = hf::pretty(&Value::Object(object));
    }
    // The two files of a GPT-2 of old have no place for them.
    files.retain(|(name, _)| name != "vocab.json" && name != "merges.txt");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_rows_are_the_mean_of_the_others_and_a_little_noise() {
        let d = 8;
        let row = |i: usize| (0..d).map(move |j| ((i * d + j) as f32).sin() + j as f32);
        let mut rows: Vec<f32> = (0..100).flat_map(row).chain(vec![9.0; 5 * d]).collect();
        let stream = |seed| Stream {
            seed,
            step: 0,
            purpose: NOISE,
        };
        let before = rows.clone();
        add_rows(&mut rows, d, (100, 103), &stream(1));
        assert!(rows[..100 * d] == before[..100 * d] && rows[103 * d..] == before[103 * d..]);
        for (j, x) in rows[100 * d..103 * d].iter().enumerate() {
            let mean: f32 = (0..100).map(|i| before[i * d + j % d]).sum::<f32>() / 100.0;
            let off = (x - mean).abs();
            assert!(off > 0.0 && off < 0.1, "{off}");
        }
        let mut other = before.clone();
        add_rows(&mut other, d, (100, 103), &stream(2));
        assert!(other != rows);
        add_rows(&mut other, d, (100, 103), &stream(1));
        assert!(other == rows);
    }
}
