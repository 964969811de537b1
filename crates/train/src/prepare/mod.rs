//! From texts to token files: the tokeniser is made or read, every document encoded once, the result kept in a cache.

mod source;
mod write;

use crate::claim;
use crate::config::RunConfig;
use crate::error::Error;
use crate::examples::{Examples, Packed};
use crate::tokens::{Data, Tokens};
use foretoken_formats::durable::{self, Manifest};
use foretoken_formats::json;
use foretoken_text::{ChatTemplate, Conversation, DataFormat, Kind, Tokenizer};
use serde::{Deserialize, Serialize};
pub use source::{BuiltIn, validation_stories};
use source::{Origin, Part};
use std::path::Path;

/// Tokens of `bpe` without a size.
const BPE_SIZE: usize = 2048;
const TRAIN: &str = "train.bin";
const TRAIN_LENGTHS: &str = "train_lengths.bin";
const VAL: &str = "val.bin";
const VAL_LENGTHS: &str = "val_lengths.bin";
const SUMMARY: &str = "data.json";
const TOKENIZER: &str = "tokenizer.json";

/// What the data are, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSummary {
    /// What the rows hold; conversations count as documents.
    pub format: DataFormat,
    /// Documents trained on.
    pub train_documents: u64,
    /// Their bytes of text.
    pub train_bytes: u64,
    /// Their tokens, end tokens included.
    pub train_tokens: u64,
    /// Of conversations: tokens of answers, with what ends them.
    pub train_learned: u64,
    /// Documents kept for validation.
    pub val_documents: u64,
    /// Their bytes of text.
    pub val_bytes: u64,
    /// Their tokens, end tokens included.
    pub val_tokens: u64,
    /// Of conversations: tokens of answers, with what ends them.
    pub val_learned: u64,
    /// The source's entropy over the validation text in bits per byte, where the source is known: no model can do better
    /// on average on whole documents.
    pub floor_bits_per_byte: Option<f64>,
}

impl DataSummary {
    /// Bits per byte of validation text for a mean loss in nats per token. None of conversations, whose loss is not that of all
    /// their tokens.
    pub fn bits_per_byte(&self, loss: f64) -> Option<f64> {
        (self.val_bytes > 0 && self.format == DataFormat::Text)
            .then(|| loss / std::f64::consts::LN_2 * self.val_tokens as f64 / self.val_bytes as f64)
    }

    /// The floor as a loss in nats per token.
    pub fn floor_loss(&self) -> Option<f64> {
        let bits = self.floor_bits_per_byte?;
        (self.val_tokens > 0).then(|| bits * std::f64::consts::LN_2 * self.val_bytes as f64 / self.val_tokens as f64)
    }
}

/// Data that are ready to train on.
#[derive(Debug)]
pub struct Prepared {
    /// The tokeniser.
    pub tokenizer: Tokenizer,
    /// How conversations are written for the model; none where it learns from texts.
    pub template: Option<ChatTemplate>,
    /// What to train on.
    pub train: Data,
    /// What to validate on.
    pub val: Option<Data>,
    /// Numbers.
    pub summary: DataSummary,
    /// What the ids hash to.
    pub fingerprint: String,
    /// Whether the token files were there already.
    pub cached: bool,
}

/// How far the making of token files is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Preparing {
    /// Text read for the tokeniser.
    Tokenizer {
        /// Bytes so far.
        bytes: u64,
    },
    /// Text encoded.
    Tokens {
        /// Bytes so far.
        bytes: u64,
    },
}

/// Finds the data of a run, makes what is not in the cache yet, and maps it. `begun` has the tokeniser and the template of the
/// model that a run begins from; without it the tokeniser is what the config says.
///
/// # Errors
/// The data cannot be read or are too short, the tokeniser cannot be made, the disk.
pub fn prepare(
    config: &RunConfig,
    begun: Option<(&Tokenizer, Option<&ChatTemplate>)>,
    cache: &Path,
    threads: usize,
    listen: &mut dyn FnMut(Preparing),
) -> Result<Prepared, Error> {
    let origin = Origin::find(config)?;
    let (given, template) = match begun {
        Some((tokenizer, template)) => {
            let template = template.cloned().unwrap_or_else(|| ChatTemplate::plain(tokenizer));
            (Some(tokenizer.clone()), Some(template))
        }
        None => (given_tokenizer(&config.tokenizer)?, None),
    };
    let dir = cache.join(origin.key(config, given.as_ref(), template.as_ref())?);
    let cached = is_whole(&dir);
    if !cached {
        durable::create_dir_all(cache)?;
        let _shared = claim::share(cache);
        if dir.exists() {
            durable::remove_dir(&dir)?;
        }
        let tokenizer = match given {
            Some(tokenizer) => tokenizer,
            None => write::learn(config, &origin, listen)?,
        };
        let template = template.clone().unwrap_or_else(|| ChatTemplate::plain(&tokenizer));
        write::write(&origin, &tokenizer, &template, &dir, threads, listen)?;
    }
    let mut prepared = open(&dir, config, cached)?;
    if let Some((tokenizer, _)) = begun {
        prepared.tokenizer = tokenizer.clone();
        prepared.template = template.filter(|_| prepared.template.is_some());
    }
    Ok(prepared)
}

/// The conversations that a run keeps for validation, in their order.
///
/// # Errors
/// The data are no conversations, or cannot be read.
pub fn held_out(config: &RunConfig) -> Result<Vec<Conversation>, Error> {
    let origin = Origin::find(config)?;
    if origin.format == DataFormat::Text {
        let expected = "conversations: --format qa or chat".into();
        return Err(Error::value("data", &config.data.join(" "), expected));
    }
    if !origin.has_validation() {
        return Err(Error::value("val-fraction", "0", "a part that is held out".into()));
    }
    Ok(origin.conversations(Part::Val)?.collect::<Result<_, _>>()?)
}

fn open(dir: &Path, config: &RunConfig, cached: bool) -> Result<Prepared, Error> {
    let manifest = Manifest::read(dir)?;
    let fingerprint = manifest
        .files
        .iter()
        .filter(|file| [TRAIN, TRAIN_LENGTHS, VAL, VAL_LENGTHS].contains(&&*file.name))
        .map(|file| &file.blake3[..32])
        .collect::<Vec<_>>()
        .join("-");
    let tokenizer = Tokenizer::from_file(&dir.join(TOKENIZER))?;
    let summary: DataSummary = json::read_bounded(dir.join(SUMMARY), 1 << 16)?;
    let v = tokenizer.vocab_size();
    let part = |names: [&str; 2], part, too_short, no_examples| -> Result<Data, Error> {
        let [ids, lengths] = names.map(|name| dir.join(name));
        if summary.format == DataFormat::Text {
            let tokens = Tokens::open(&ids, v)?;
            tokens.holds(config.t(), part, too_short)?;
            return Ok(Data::Text(tokens));
        }
        let examples = Examples::open(&ids, &lengths, v)?;
        let (count, t) = (examples.len(), config.t());
        let packed = Packed::new(examples, t, config.loss_on, config.seed, tokenizer.eos_id())?;
        if packed.report.rows == 0 {
            return Err(Error::NoExamples {
                part,
                examples: count,
                seq_len: t,
                help: no_examples,
            });
        }
        Ok(Data::Examples(packed))
    };
    let train = part(
        [TRAIN, TRAIN_LENGTHS],
        "training",
        "give more text, or a smaller --seq-len",
        "give conversations with answers, or a larger --seq-len",
    )?;
    let other = "raise --val-fraction, give --val-data, or train without (--val-fraction 0)";
    let val = match summary.val_tokens {
        0 => None,
        _ => Some(part([VAL, VAL_LENGTHS], "validation", other, other)?),
    };
    Ok(Prepared {
        template: (summary.format != DataFormat::Text).then(|| ChatTemplate::plain(&tokenizer)),
        tokenizer,
        train,
        val,
        summary,
        fingerprint,
        cached,
    })
}

/// Whether all files are there with their sizes; sums are not read, an id past the vocabulary is found when it is used.
fn is_whole(dir: &Path) -> bool {
    Manifest::read(dir).is_ok_and(|manifest| {
        let size = |name: &str| std::fs::metadata(dir.join(name)).map(|data| data.len());
        manifest
            .files
            .iter()
            .all(|file| size(&file.name).is_ok_and(|len| len == file.size))
    })
}

/// The tokeniser that `byte`, `char` or `bpe[:SIZE]` asks to be made; anything else is a file.
///
/// # Errors
/// A size that is no number.
pub fn tokenizer_kind(spec: &str) -> Result<Option<(Kind, usize)>, Error> {
    let (name, size) = spec
        .split_once(':')
        .map_or((spec, None), |(name, size)| (name, Some(size)));
    match (name.parse::<Kind>(), size) {
        (Ok(kind), None) => Ok(Some((kind, BPE_SIZE))),
        (Ok(Kind::Bpe), Some(size)) => match size.parse() {
            Ok(size) => Ok(Some((Kind::Bpe, size))),
            Err(_) => Err(Error::value(
                "tokenizer",
                spec,
                "bpe:SIZE with a number, such as bpe:4096".into(),
            )),
        },
        _ => Ok(None),
    }
}

fn given_tokenizer(spec: &str) -> Result<Option<Tokenizer>, Error> {
    Ok(match tokenizer_kind(spec)? {
        Some((Kind::Byte, _)) => Some(Tokenizer::byte()),
        Some(_) => None,
        None => {
            let path = Path::new(spec);
            if !path.exists() {
                return Err(Error::value(
                    "tokenizer",
                    spec,
                    "byte, char, bpe, bpe:SIZE, or a tokenizer.json that exists".into(),
                ));
            }
            Some(Tokenizer::from_file(path)?)
        }
    })
}
