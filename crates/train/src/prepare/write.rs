//! The files of a cache entry: a tokeniser that is learned, and text as tokens.

use super::source::{Origin, Part};
use super::{DataSummary, Preparing, SUMMARY, TOKENIZER, TRAIN, TRAIN_LENGTHS, VAL, VAL_LENGTHS, tokenizer_kind};
use crate::config::RunConfig;
use crate::error::Error;
use crate::examples::write_example;
use crate::tokens::id_bytes;
use foretoken_formats::durable::DurableDir;
use foretoken_text::{ChatTemplate, Conversation, DataFormat, Example, Message, Role, Tokenizer, Trainer};
use std::io::Write;
use std::path::Path;

/// Text that a tokeniser learns from at most.
const TOKENIZER_BYTES: u64 = 64 << 20;
/// Conversations that all threads encode before what they made is written.
const TOGETHER: usize = 4096;

/// Makes the tokeniser from the training text.
pub(super) fn learn(
    config: &RunConfig,
    origin: &Origin,
    listen: &mut dyn FnMut(Preparing),
) -> Result<Tokenizer, Error> {
    let (kind, size) = tokenizer_kind(&config.tokenizer)?.expect("files were read before");
    let mut trainer = Trainer::new(kind, size)?;
    let mut bytes = 0;
    let mut feed = |text: &str| {
        trainer.feed(text);
        bytes += text.len() as u64;
        listen(Preparing::Tokenizer { bytes });
        bytes < TOKENIZER_BYTES
    };
    match origin.format {
        DataFormat::Text => {
            for document in origin.documents(Part::Train)? {
                if !feed(&document?.text) {
                    break;
                }
            }
        }
        DataFormat::Qa | DataFormat::Chat => {
            'all: for conversation in origin.conversations(Part::Train)? {
                for Message { role, content } in conversation?.messages {
                    // An answer begins with a space, as the plain template writes it.
                    let text = if role == Role::Assistant {
                        format!(" {content}")
                    } else {
                        content
                    };
                    if !feed(&text) {
                        break 'all;
                    }
                }
            }
        }
    }
    Ok(trainer.finish())
}

/// Writes a cache entry, whole or not at all.
pub(super) fn write(
    origin: &Origin,
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
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
        origin,
        tokenizer,
        template,
        threads,
        listen,
        bytes: 0,
    };
    let train = encoder.part(&mut dir, [TRAIN, TRAIN_LENGTHS], Part::Train)?;
    let val = match origin.has_validation() {
        true => encoder.part(&mut dir, [VAL, VAL_LENGTHS], Part::Val)?,
        false => Counts::default(),
    };
    let summary = DataSummary {
        format: origin.format,
        train_documents: train.documents,
        train_bytes: train.bytes,
        train_tokens: train.tokens,
        train_learned: train.learned,
        val_documents: val.documents,
        val_bytes: val.bytes,
        val_tokens: val.tokens,
        val_learned: val.learned,
        floor_bits_per_byte: origin.floor(),
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

/// What a part holds.
#[derive(Default)]
struct Counts {
    documents: u64,
    bytes: u64,
    tokens: u64,
    learned: u64,
}

struct Encoder<'a> {
    origin: &'a Origin,
    tokenizer: &'a Tokenizer,
    template: &'a ChatTemplate,
    threads: usize,
    listen: &'a mut dyn FnMut(Preparing),
    bytes: u64,
}

impl Encoder<'_> {
    fn part(&mut self, dir: &mut DurableDir, names: [&str; 2], part: Part) -> Result<Counts, Error> {
        match self.origin.format {
            DataFormat::Text => self.texts(dir, names[0], part),
            DataFormat::Qa | DataFormat::Chat => self.examples(dir, names, part),
        }
    }

    /// Writes the token file of texts.
    fn texts(&mut self, dir: &mut DurableDir, name: &str, part: Part) -> Result<Counts, Error> {
        let wide = id_bytes(self.tokenizer.vocab_size()) == 4;
        let mut counts = Counts::default();
        let (tokenizer, threads) = (self.tokenizer, self.threads);
        let documents = self.origin.documents(part)?;
        let (listen, total) = (&mut *self.listen, &mut self.bytes);
        file(dir, name, |w| {
            let Counts {
                documents: seen,
                bytes,
                tokens,
                ..
            } = &mut counts;
            let documents = documents.inspect(|document| {
                if let Ok(document) = document {
                    *seen += u64::from(document.ends);
                    *bytes += document.text.len() as u64;
                    *total += document.text.len() as u64;
                    listen(Preparing::Tokens { bytes: *total });
                }
            });
            tokenizer.encode_documents(documents, threads, |ids| {
                *tokens += ids.len() as u64;
                write_ids(w, ids, wide).map_err(Failure::Disk)
            })
        })?;
        Ok(counts)
    }

    /// Writes the ids and the lengths of conversations.
    fn examples(&mut self, dir: &mut DurableDir, [ids, lengths]: [&str; 2], part: Part) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        let mut sizes = Vec::new();
        let mut conversations = self.origin.conversations(part)?;
        let mut together = Vec::with_capacity(TOGETHER);
        file(dir, ids, |w| {
            loop {
                together.clear();
                for conversation in conversations.by_ref().take(TOGETHER) {
                    together.push(conversation?);
                }
                if together.is_empty() {
                    return Ok(());
                }
                for example in self.encode(&together) {
                    let example = example?;
                    counts.tokens += example.ids.len() as u64;
                    counts.learned += example.learn.iter().filter(|learn| **learn).count() as u64;
                    write_example(w, &mut sizes, &example).map_err(Failure::Disk)?;
                }
                let bytes = |c: &Conversation| c.messages.iter().map(|m| m.content.len() as u64).sum::<u64>();
                let bytes: u64 = together.iter().map(bytes).sum();
                counts.documents += together.len() as u64;
                counts.bytes += bytes;
                self.bytes += bytes;
                (self.listen)(Preparing::Tokens { bytes: self.bytes });
            }
        })?;
        dir.file(lengths, |w| w.write_all(&sizes))?;
        Ok(counts)
    }

    /// The tokens of some conversations, in order, made on all threads.
    fn encode(&self, conversations: &[Conversation]) -> Vec<Result<Example, foretoken_text::Error>> {
        let (template, tokenizer) = (self.template, self.tokenizer);
        let share = conversations.len().div_ceil(self.threads.max(1));
        std::thread::scope(|scope| {
            let shares: Vec<_> = conversations
                .chunks(share)
                .map(|share| {
                    scope.spawn(|| {
                        share
                            .iter()
                            .map(|one| template.encode(tokenizer, one))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let joined = shares.into_iter().map(|share| share.join());
            joined
                .flat_map(|share| share.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }
}

/// Writes a file. `DurableDir` speaks io::Error: an error of the text is kept and takes its place.
fn file(
    dir: &mut DurableDir,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Error> {
    let mut text_error = None;
    let written = dir.file(name, |w| match write(w) {
        Ok(()) => Ok(()),
        Err(Failure::Disk(error)) => Err(error),
        Err(Failure::Text(error)) => {
            text_error = Some(error);
            Err(std::io::Error::other("the text could not be read"))
        }
    });
    match text_error {
        Some(error) => Err(error.into()),
        None => Ok(written?),
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
