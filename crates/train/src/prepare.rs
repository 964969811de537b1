//! From texts to token files: the tokeniser is made or read, every document encoded once, the result kept in a cache.

use crate::claim;
use crate::config::RunConfig;
use crate::error::Error;
use crate::tokens::{Tokens, id_bytes};
use foretoken_formats::durable::{self, DurableDir, Manifest};
use foretoken_formats::json;
use foretoken_text::corpus::Corpus;
use foretoken_text::{
    Document, DocumentOptions, Documents, Fingerprint, Kind, Source, Split, Tokenizer, Trainer, find_sources,
    sources_fingerprint,
};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// The word that stands for the built-in corpus among the data.
const CORPUS: &str = "corpus";
/// Stories of the built-in corpus unless told otherwise: some 15 MB, more than a short run sees once.
const STORIES: u64 = 50_000;
/// The built-in corpus is the same for every run, so that runs compare.
const CORPUS_SEED: u64 = 1;
/// First validation story: far from any training story.
const VALIDATION_STORIES: u64 = 1 << 40;
/// Text that a tokeniser learns from at most.
const TOKENIZER_BYTES: u64 = 64 << 20;
/// Tokens of `bpe` without a size.
const BPE_SIZE: usize = 2048;
/// Changes where the form or the making of the token files does.
const CACHE_VERSION: u32 = 1;

const TRAIN: &str = "train.bin";
const VAL: &str = "val.bin";
const SUMMARY: &str = "data.json";
const TOKENIZER: &str = "tokenizer.json";

/// What the data are, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSummary {
    /// Documents trained on.
    pub train_documents: u64,
    /// Their bytes of text.
    pub train_bytes: u64,
    /// Their tokens, end tokens included.
    pub train_tokens: u64,
    /// Documents kept for validation.
    pub val_documents: u64,
    /// Their bytes of text.
    pub val_bytes: u64,
    /// Their tokens, end tokens included.
    pub val_tokens: u64,
    /// The source's entropy over the validation text in bits per byte, where the source is known: no model can do better
    /// on average on whole documents.
    pub floor_bits_per_byte: Option<f64>,
}

impl DataSummary {
    /// Bits per byte of validation text for a mean loss in nats per token.
    pub fn bits_per_byte(&self, loss: f64) -> Option<f64> {
        (self.val_bytes > 0).then(|| loss / std::f64::consts::LN_2 * self.val_tokens as f64 / self.val_bytes as f64)
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
    /// Ids to train on.
    pub train: Tokens,
    /// Ids to validate on.
    pub val: Option<Tokens>,
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

/// Finds the data of a run, makes what is not in the cache yet, and maps it. `tokenizer` is that of the model that a run
/// begins from; without one it is what the config says.
///
/// # Errors
/// The data cannot be read or are too short, the tokeniser cannot be made, the disk.
pub fn prepare(
    config: &RunConfig,
    tokenizer: Option<&Tokenizer>,
    cache: &Path,
    threads: usize,
    listen: &mut dyn FnMut(Preparing),
) -> Result<Prepared, Error> {
    let data = Data::find(config)?;
    let given = match tokenizer {
        Some(tokenizer) => Some(tokenizer.clone()),
        None => given_tokenizer(&config.tokenizer)?,
    };
    let dir = cache.join(data.key(config, given.as_ref())?);
    let cached = is_whole(&dir);
    if !cached {
        durable::create_dir_all(cache)?;
        let _shared = claim::share(cache);
        if dir.exists() {
            durable::remove_dir(&dir)?;
        }
        let tokenizer = match given {
            Some(tokenizer) => tokenizer,
            None => learn(config, &data, listen)?,
        };
        write(&data, &tokenizer, &dir, threads, listen)?;
    }
    let mut prepared = open(&dir, config, cached)?;
    if let Some(tokenizer) = tokenizer {
        prepared.tokenizer = tokenizer.clone();
    }
    Ok(prepared)
}

fn open(dir: &Path, config: &RunConfig, cached: bool) -> Result<Prepared, Error> {
    let manifest = Manifest::read(dir)?;
    let fingerprint = manifest
        .files
        .iter()
        .filter(|file| file.name == TRAIN || file.name == VAL)
        .map(|file| &file.blake3[..32])
        .collect::<Vec<_>>()
        .join("-");
    let tokenizer = Tokenizer::from_file(&dir.join(TOKENIZER))?;
    let summary: DataSummary = json::read_bounded(dir.join(SUMMARY), 1 << 16)?;
    let train = Tokens::open(&dir.join(TRAIN), tokenizer.vocab_size())?;
    train.holds(config.t(), "training", "give more text, or a smaller --seq-len")?;
    let val = match summary.val_tokens {
        0 => None,
        _ => {
            let val = Tokens::open(&dir.join(VAL), tokenizer.vocab_size())?;
            val.holds(
                config.t(),
                "validation",
                "raise --val-fraction, give --val-data, or train without (--val-fraction 0)",
            )?;
            Some(val)
        }
    };
    Ok(Prepared {
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

/// Whether data are the built-in corpus, `corpus[:STORIES]`, and how many stories were asked for.
///
/// # Errors
/// Something beside it, a number that is none.
pub fn corpus_stories(data: &[String]) -> Result<Option<Option<u64>>, Error> {
    if !data.iter().any(|path| path == CORPUS || path.starts_with("corpus:")) {
        return Ok(None);
    }
    let [only] = data else {
        return Err(Error::value("data", &data.join(" "), "`corpus` alone, or files".into()));
    };
    let Some((_, count)) = only.split_once(':') else {
        return Ok(Some(None));
    };
    let count = count.parse().ok().filter(|n| (1..=1 << 30).contains(n));
    let expected = "corpus:STORIES with a number from 1 to 2^30";
    Ok(Some(Some(
        count.ok_or_else(|| Error::value("data", only, expected.into()))?,
    )))
}

/// The built-in corpus and the first of its validation stories, which no training has seen.
pub fn validation_stories(count: u64) -> (Corpus, Range<u64>) {
    (Corpus::new(CORPUS_SEED), VALIDATION_STORIES..VALIDATION_STORIES + count)
}

/// Where the documents come from.
enum Data {
    Corpus {
        stories: u64,
        validation: u64,
    },
    Files {
        train: Vec<Source>,
        val: Vec<Source>,
        options: DocumentOptions,
        fraction: f64,
        seed: u64,
    },
}

/// A stream of documents of one part.
type Stream<'a> = Box<dyn Iterator<Item = Result<Document, foretoken_text::Error>> + 'a>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Val,
}

impl Data {
    fn find(config: &RunConfig) -> Result<Self, Error> {
        if let Some(stories) = corpus_stories(&config.data)? {
            if !config.val_data.is_empty() {
                let expected = "nothing: the built-in corpus brings its own validation stories".into();
                return Err(Error::value("val-data", &config.val_data.join(" "), expected));
            }
            let stories = stories.unwrap_or(STORIES);
            // A few thousand stories measure the loss well enough.
            let validation = ((stories as f64 * config.val_fraction) as u64).min(5000);
            return Ok(Self::Corpus { stories, validation });
        }
        let train = find_sources(&config.data, None)?;
        let val = if config.val_data.is_empty() {
            Vec::new()
        } else {
            find_sources(&config.val_data, None)?
        };
        let options = DocumentOptions {
            text_field: config.text_field.clone(),
            ..Default::default()
        };
        let fraction = if val.is_empty() { config.val_fraction } else { 0.0 };
        Ok(Self::Files {
            train,
            val,
            options,
            fraction,
            seed: config.seed,
        })
    }

    /// The name of the cache entry: changes with everything that the token files depend on.
    fn key(&self, config: &RunConfig, tokenizer: Option<&Tokenizer>) -> Result<String, Error> {
        let tokenizer = tokenizer.map_or_else(|| config.tokenizer.clone(), |t| t.fingerprint().to_string());
        let mut parts = vec![CACHE_VERSION.to_string(), env!("CARGO_PKG_VERSION").into(), tokenizer];
        match self {
            Self::Corpus { stories, validation } => parts.push(format!("corpus {stories} {validation}")),
            Self::Files {
                train,
                val,
                options,
                fraction,
                seed,
            } => {
                for sources in [train, val] {
                    let fingerprint: Option<Fingerprint> = sources_fingerprint(sources)?;
                    let fingerprint = fingerprint.ok_or_else(|| {
                        let expected = "regular files; give a pipe to standard input with `--data -`";
                        Error::value("data", "a pipe or a device", expected.into())
                    })?;
                    parts.push(fingerprint.to_string());
                }
                parts.push(format!("{} {fraction} {seed}", options.text_field));
            }
        }
        Ok(Fingerprint::of(parts.join("\n").as_bytes()).to_string()[..32].to_owned())
    }

    fn documents(&self, part: Part) -> Result<Stream<'_>, Error> {
        Ok(match self {
            Self::Corpus { stories, validation } => {
                let corpus = Corpus::new(CORPUS_SEED);
                let range = match part {
                    Part::Train => 0..*stories,
                    Part::Val => validation_stories(*validation).1,
                };
                Box::new(range.map(move |index| {
                    Ok(Document {
                        text: corpus.story(index).text,
                        source: CORPUS.into(),
                        line: index + 1,
                        ends: true,
                    })
                }))
            }
            Self::Files { val, options, .. } if !val.is_empty() && part == Part::Val => {
                Box::new(Documents::of(val.clone(), options))
            }
            Self::Files {
                train,
                options,
                fraction,
                seed,
                ..
            } => {
                let mut split = Split::new(train, *fraction, *seed)?;
                Box::new(Documents::of(train.clone(), options).filter_map(move |document| {
                    let divided = document.map(|document| split.divide(document));
                    match (divided, part) {
                        (Err(error), _) => Some(Err(error)),
                        (Ok((train, _)), Part::Train) => train.map(Ok),
                        (Ok((_, val)), Part::Val) => val.map(Ok),
                    }
                }))
            }
        })
    }

    fn has_validation(&self) -> bool {
        match self {
            Self::Corpus { validation, .. } => *validation > 0,
            Self::Files { val, fraction, .. } => !val.is_empty() || *fraction > 0.0,
        }
    }

    fn floor(&self) -> Option<f64> {
        match self {
            Self::Corpus { validation, .. } if *validation > 0 => {
                let (corpus, range) = validation_stories(*validation);
                Some(corpus.entropy_estimate(range).bits_per_byte())
            }
            _ => None,
        }
    }
}

/// Makes the tokeniser from the training text.
fn learn(config: &RunConfig, data: &Data, listen: &mut dyn FnMut(Preparing)) -> Result<Tokenizer, Error> {
    let (kind, size) = tokenizer_kind(&config.tokenizer)?.expect("files were read before");
    let mut trainer = Trainer::new(kind, size)?;
    let mut bytes = 0;
    for document in data.documents(Part::Train)? {
        let document = document?;
        trainer.feed(&document.text);
        bytes += document.text.len() as u64;
        listen(Preparing::Tokenizer { bytes });
        if bytes >= TOKENIZER_BYTES {
            break;
        }
    }
    Ok(trainer.finish())
}

fn write(
    data: &Data,
    tokenizer: &Tokenizer,
    target: &Path,
    threads: usize,
    listen: &mut dyn FnMut(Preparing),
) -> Result<(), Error> {
    let mut dir = match DurableDir::create(target) {
        // Another process made it meanwhile.
        Err(foretoken_formats::Error::Exists { .. }) => return Ok(()),
        created => created?,
    };
    let mut encoder = Encoder {
        data,
        tokenizer,
        threads,
        listen,
        bytes: 0,
    };
    let [train_documents, train_bytes, train_tokens] = encoder.write(&mut dir, TRAIN, Part::Train)?;
    let [val_documents, val_bytes, val_tokens] = if data.has_validation() {
        encoder.write(&mut dir, VAL, Part::Val)?
    } else {
        [0; 3]
    };
    let summary = DataSummary {
        train_documents,
        train_bytes,
        train_tokens,
        val_documents,
        val_bytes,
        val_tokens,
        floor_bits_per_byte: data.floor(),
    };
    dir.file(TOKENIZER, |w| w.write_all(&tokenizer.to_json()))?;
    dir.file(SUMMARY, |w| {
        w.write_all(&serde_json::to_vec_pretty(&summary).expect("plain fields"))
    })?;
    match dir.commit(serde_json::Map::new()) {
        Ok(_) | Err(foretoken_formats::Error::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

struct Encoder<'a> {
    data: &'a Data,
    tokenizer: &'a Tokenizer,
    threads: usize,
    listen: &'a mut dyn FnMut(Preparing),
    bytes: u64,
}

impl Encoder<'_> {
    /// Writes one token file; returns documents, bytes of text and tokens.
    fn write(&mut self, dir: &mut DurableDir, name: &str, part: Part) -> Result<[u64; 3], Error> {
        let wide = id_bytes(self.tokenizer.vocab_size()) == 4;
        let mut counts = [0; 3];
        // `file` speaks io::Error: an error of the text is kept here and takes its place.
        let mut text_error = None;
        let (tokenizer, threads) = (self.tokenizer, self.threads);
        let documents = self.data.documents(part)?;
        let (listen, total) = (&mut *self.listen, &mut self.bytes);
        let written = dir.file(name, |w| {
            let [documents_seen, bytes_seen, tokens_seen] = &mut counts;
            let documents = documents.inspect(|document| {
                if let Ok(document) = document {
                    *documents_seen += u64::from(document.ends);
                    *bytes_seen += document.text.len() as u64;
                    *total += document.text.len() as u64;
                    listen(Preparing::Tokens { bytes: *total });
                }
            });
            let result = tokenizer.encode_documents(documents, threads, |ids| {
                *tokens_seen += ids.len() as u64;
                write_ids(w, ids, wide).map_err(Failure::Disk)
            });
            match result {
                Ok(()) => Ok(()),
                Err(Failure::Disk(error)) => Err(error),
                Err(Failure::Text(error)) => {
                    text_error = Some(error);
                    Err(std::io::Error::other("the text could not be read"))
                }
            }
        });
        match text_error {
            Some(error) => Err(error.into()),
            None => Ok(written.map(|()| counts)?),
        }
    }
}

enum Failure {
    Text(foretoken_text::Error),
    Disk(std::io::Error),
}

impl From<foretoken_text::Error> for Failure {
    fn from(error: foretoken_text::Error) -> Self {
        Self::Text(error)
    }
}

/// Ids, little-endian, as [`Tokens`] maps them.
fn write_ids(w: &mut dyn Write, ids: &[u32], wide: bool) -> std::io::Result<()> {
    for &id in ids {
        if wide {
            w.write_all(&id.to_le_bytes())?
        } else {
            w.write_all(&(id as u16).to_le_bytes())?
        }
    }
    Ok(())
}
