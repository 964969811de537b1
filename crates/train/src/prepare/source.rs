//! Where a run's text comes from: files, or the built-in corpus.

use crate::config::{RunConfig, TEXT_FIELD};
use crate::error::Error;
use foretoken_text::corpus::{Corpus, People};
use foretoken_text::{
    ChatTemplate, Conversation, ConversationOptions, Conversations, DataFormat, Document, DocumentOptions, Documents,
    Fingerprint, Source, Split, Tokenizer, find_sources, sources_fingerprint,
};
use std::ops::Range;

/// The words that stand for the built-in corpus among the data, and whose stories it tells then.
const CORPORA: [(&str, People); 2] = [("corpus", People::Familiar), ("strangers", People::Strangers)];
/// Stories of the built-in corpus unless told otherwise: some 15 MB, more than a short run sees once.
const STORIES: u64 = 50_000;
/// The built-in corpus is the same for every run, so that runs compare.
const CORPUS_SEED: u64 = 1;
/// First validation story: far from any training story.
const VALIDATION_STORIES: u64 = 1 << 40;
/// Changes where the form or the making of the token files does.
const CACHE_VERSION: u32 = 3;

/// The built-in corpus, as data name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// `corpus` or `strangers`.
    pub name: &'static str,
    /// Its stories.
    pub corpus: Corpus,
    /// How many of them were asked for.
    pub stories: Option<u64>,
}

impl BuiltIn {
    /// What data mean that are `corpus[:STORIES]` or, about [`People::Strangers`], `strangers[:STORIES]`; none where they are
    /// something else.
    ///
    /// # Errors
    /// Something beside it, a number that is none.
    pub fn of(data: &[String]) -> Result<Option<Self>, Error> {
        let named = |text: &str| {
            let name = text.split_once(':').map_or(text, |(name, _)| name);
            CORPORA.into_iter().find(|(word, _)| *word == name)
        };
        let Some((name, people)) = data.iter().find_map(|text| named(text)) else {
            return Ok(None);
        };
        let [only] = data else {
            let expected = format!("`{name}` alone, or files");
            return Err(Error::value("data", &data.join(" "), expected));
        };
        let count = |(_, count): (&str, &str)| {
            let count = count.parse().ok().filter(|n| (1..=1 << 30).contains(n));
            let expected = format!("{name}:STORIES with a number from 1 to 2^30");
            count.ok_or_else(|| Error::value("data", only, expected))
        };
        Ok(Some(Self {
            name,
            corpus: Corpus::about(people, CORPUS_SEED),
            stories: only.split_once(':').map(count).transpose()?,
        }))
    }
}

/// The first validation stories of a built-in corpus, which no training has seen.
pub fn validation_stories(count: u64) -> Range<u64> {
    VALIDATION_STORIES..VALIDATION_STORIES + count
}

/// Where text comes from, and what its rows hold.
pub(super) struct Origin {
    pub(super) format: DataFormat,
    place: Place,
}

enum Place {
    Corpus {
        name: &'static str,
        corpus: Corpus,
        stories: u64,
        validation: u64,
    },
    Files {
        train: Vec<Source>,
        val: Vec<Source>,
        documents: DocumentOptions,
        conversations: ConversationOptions,
        fraction: f64,
        seed: u64,
    },
}

/// A stream of one part.
type Stream<'a, T> = Box<dyn Iterator<Item = Result<T, foretoken_text::Error>> + 'a>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Val,
}

impl Origin {
    pub(super) fn find(config: &RunConfig) -> Result<Self, Error> {
        if let Some(BuiltIn { name, corpus, stories }) = BuiltIn::of(&config.data)? {
            if !config.val_data.is_empty() {
                let expected = "nothing: the built-in corpus brings its own validation stories".into();
                return Err(Error::value("val-data", &config.val_data.join(" "), expected));
            }
            let stories = stories.unwrap_or(STORIES);
            // A few thousand stories measure the loss well enough.
            let validation = ((stories as f64 * config.val_fraction) as u64).min(5000);
            return Ok(Self {
                format: config.format.unwrap_or(DataFormat::Text),
                place: Place::Corpus {
                    name,
                    corpus,
                    stories,
                    validation,
                },
            });
        }
        let train = find_sources(&config.data, None)?;
        let val = if config.val_data.is_empty() {
            Vec::new()
        } else {
            find_sources(&config.val_data, None)?
        };
        let documents = DocumentOptions {
            text_field: config.text_field.clone(),
            ..Default::default()
        };
        let conversations = config.conversations();
        let format = match config.format {
            Some(format) => format,
            // Who names columns of a text wants a text.
            None if config.text_field != TEXT_FIELD => DataFormat::Text,
            None if config.question_field.is_some() || config.answer_field.is_some() => DataFormat::Qa,
            None => DataFormat::guess(&train, &conversations)?,
        };
        let fraction = if val.is_empty() { config.val_fraction } else { 0.0 };
        let place = Place::Files {
            train,
            val,
            documents,
            conversations,
            fraction,
            seed: config.seed,
        };
        Ok(Self { format, place })
    }

    /// The name of the cache entry: changes with everything that the token files depend on.
    pub(super) fn key(
        &self,
        config: &RunConfig,
        tokenizer: Option<&Tokenizer>,
        template: Option<&ChatTemplate>,
    ) -> Result<String, Error> {
        let tokenizer = tokenizer.map_or_else(|| config.tokenizer.clone(), |t| t.fingerprint().to_string());
        let mut parts = vec![CACHE_VERSION.to_string(), env!("CARGO_PKG_VERSION").into(), tokenizer];
        match &self.place {
            Place::Corpus {
                name,
                stories,
                validation,
                ..
            } => parts.push(format!("{name} {stories} {validation}")),
            Place::Files {
                train,
                val,
                documents,
                conversations,
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
                parts.push(match self.format {
                    DataFormat::Text => format!("{} {fraction} {seed}", documents.text_field),
                    _ => format!("{conversations:?} {fraction} {seed}"),
                });
            }
        }
        if self.format != DataFormat::Text {
            parts.push(self.format.to_string());
            let plain = ChatTemplate::plain(&Tokenizer::byte());
            parts.push(template.unwrap_or(&plain).source().to_owned());
        }
        Ok(Fingerprint::of(parts.join("\n").as_bytes()).to_string()[..32].to_owned())
    }

    pub(super) fn documents(&self, part: Part) -> Result<Stream<'_, Document>, Error> {
        Ok(match &self.place {
            Place::Corpus {
                name,
                corpus,
                stories,
                validation,
            } => {
                let range = stories_of(part, *stories, *validation);
                Box::new(range.map(move |index| {
                    Ok(Document {
                        text: corpus.story(index).text,
                        source: (*name).into(),
                        line: index + 1,
                        ends: true,
                    })
                }))
            }
            Place::Files { val, documents, .. } if !val.is_empty() && part == Part::Val => {
                Box::new(Documents::of(val.clone(), documents))
            }
            Place::Files {
                train,
                documents,
                fraction,
                seed,
                ..
            } => {
                let mut split = Split::new(train, *fraction, *seed)?;
                Box::new(Documents::of(train.clone(), documents).filter_map(move |document| {
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

    pub(super) fn conversations(&self, part: Part) -> Result<Stream<'_, Conversation>, Error> {
        Ok(match &self.place {
            Place::Corpus {
                corpus,
                stories,
                validation,
                ..
            } => {
                let range = stories_of(part, *stories, *validation);
                let chat = self.format == DataFormat::Chat;
                Box::new(range.filter_map(move |index| match chat {
                    true => Some(Ok(corpus.talk(index))),
                    false => corpus.story(index).conversation().map(Ok),
                }))
            }
            Place::Files { val, conversations, .. } if !val.is_empty() && part == Part::Val => {
                Box::new(Conversations::of(val.clone(), conversations))
            }
            Place::Files {
                train,
                conversations,
                fraction,
                seed,
                ..
            } => {
                let mut split = Split::of_rows(*fraction, *seed)?;
                Box::new(
                    Conversations::of(train.clone(), conversations).filter(move |conversation| {
                        // An error is for whoever reads.
                        conversation.is_err() || split.next_is_held_out() == (part == Part::Val)
                    }),
                )
            }
        })
    }

    pub(super) fn has_validation(&self) -> bool {
        match &self.place {
            Place::Corpus { validation, .. } => *validation > 0,
            Place::Files { val, fraction, .. } => !val.is_empty() || *fraction > 0.0,
        }
    }

    pub(super) fn floor(&self) -> Option<f64> {
        match &self.place {
            Place::Corpus { corpus, validation, .. } if *validation > 0 && self.format == DataFormat::Text => {
                let range = validation_stories(*validation);
                Some(corpus.entropy_estimate(range).bits_per_byte())
            }
            _ => None,
        }
    }
}

fn stories_of(part: Part, stories: u64, validation: u64) -> Range<u64> {
    match part {
        Part::Train => 0..stories,
        Part::Val => validation_stories(validation),
    }
}
