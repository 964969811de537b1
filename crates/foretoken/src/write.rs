//! Generation with text at both ends.

use crate::error::Error;
use crate::gpt::Gpt;
use crate::grammar::{Grammar, Grammars};
use crate::prompt_cache::{self, Found};
use crate::stream::TextStream;
use foretoken_formats::memory::available_memory;
use foretoken_generate::{Beam, BeamOptions, Finish, Generator, Options, Prompt, Sampling, Speculated};
use foretoken_kernels::Pool;
use foretoken_model::{Model, Weights, human_bytes};
use foretoken_text::Tokenizer;
use std::path::Path;

/// How a text is written.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// How a token is chosen.
    pub sampling: Sampling,
    /// The same seed gives the same text.
    pub seed: u64,
    /// Which of several texts after the same prompt: each draws its own numbers.
    pub index: u32,
    /// Tokens after which the text ends at the latest.
    pub max_tokens: usize,
    /// Strings that end the text; they are not part of it.
    pub stop: Vec<String>,
    /// What the text must match, the prompt not counted. A text that ends for another reason than
    /// [`Stopped::EndOfText`] may be the beginning of one that matches.
    pub grammar: Option<Grammar>,
    /// Tokens that are guessed at most from what the text said before; 0 = off. It changes no text, only how fast it comes;
    /// see [`Options::speculate`].
    pub speculate: usize,
}

impl Default for GenerateOptions {
    /// Temperature 0.8, 256 tokens.
    fn default() -> Self {
        Self {
            sampling: Sampling {
                temperature: 0.8,
                ..Sampling::default()
            },
            seed: 1337,
            index: 0,
            max_tokens: 256,
            stop: Vec::new(),
            grammar: None,
            speculate: 0,
        }
    }
}

/// Why a text ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The model ended it.
    EndOfText,
    /// As many tokens as were asked for.
    MaxTokens,
    /// A stop string.
    StopString,
    /// The caller wanted no more.
    Caller,
}

/// What was written, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Tokens of the prompt that the model read.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that came out of a prompt cache.
    pub cached_tokens: usize,
    /// Tokens of the prompt that did not fit the context, cut from its beginning.
    pub dropped_tokens: usize,
    /// Tokens generated, the end token not among them.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub stopped: Stopped,
    /// What guessing brought.
    pub speculated: Speculated,
}

/// A text that beam search found.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamText {
    /// The text.
    pub text: String,
    /// Its log-probability divided by its length to the power of the length penalty.
    pub score: f64,
    /// In numbers.
    pub told: Text,
}

/// Writes the text that follows the tokens of a prompt, part by part; see [`crate::Gpt::stream`]. `model` comes with its
/// weights.
///
/// # Errors
/// As [`Writer::write`].
pub fn write(
    model: (&dyn Model, Weights<'_>),
    tokenizer: &Tokenizer,
    pool: &Pool,
    prompt: &[u32],
    options: &GenerateOptions,
    on_text: impl FnMut(&str) -> bool,
) -> Result<Text, Error> {
    Writer::new(model, tokenizer, pool, prompt)?.write(options, on_text)
}

/// A prompt and any number of texts after it, of which the first alone has the prompt read; see [`crate::Gpt::writer`].
#[derive(Debug)]
pub struct Writer<'a> {
    generator: Generator<'a>,
    tokenizer: &'a Tokenizer,
    prompt: Vec<u32>,
    /// What became of the prompt, once it was read.
    read: Option<Prompt>,
    /// The tokens that end a text.
    ends: Vec<u32>,
    /// Made when the first grammar comes.
    grammars: Option<Grammars>,
}

impl<'a> Writer<'a> {
    /// Takes memory for a full context; the prompt is read with the first text. `model` comes with its weights.
    ///
    /// # Errors
    /// No memory.
    pub fn new(
        (model, weights): (&'a dyn Model, Weights<'a>),
        tokenizer: &'a Tokenizer,
        pool: &'a Pool,
        prompt: &[u32],
    ) -> Result<Self, Error> {
        Ok(Self {
            generator: Generator::new(model, pool, weights)?,
            tokenizer,
            prompt: prompt.to_vec(),
            read: None,
            ends: vec![tokenizer.eos_id()],
            grammars: None,
        })
    }

    /// Lets these tokens end a text, too.
    pub(crate) fn ending(mut self, ends: &[u32]) -> Self {
        self.ends.extend(ends);
        self.ends.dedup();
        self
    }

    /// Puts tokens in place of the prompt; what the model has read of them is not read again.
    pub(crate) fn go_on(&mut self, ids: Vec<u32>) -> Result<Prompt, Error> {
        let read = self.generator.go_on(&ids)?;
        (self.prompt, self.read) = (ids, Some(read));
        Ok(read)
    }

    /// Reads the prompt now, with the help of a file that keeps what the prompt before it left behind, and keeps this one's
    /// there. Not a bit of any text differs. The same prompt is not read at all; of another, what it shares with the kept
    /// one is not, in steps of the model's chunk (256 tokens). `gpt` is the model the writer was made of.
    ///
    /// A file that is damaged, of another model or cannot be written is no error: the prompt is read without it, and the
    /// reason is returned. A file that is no prompt cache is never replaced.
    ///
    /// # Errors
    /// No memory.
    pub fn use_prompt_cache(&mut self, gpt: &Gpt, path: &Path) -> Result<Option<Error>, Error> {
        let model = prompt_cache::fingerprint(gpt);
        let shape = |tokens| self.generator.cache_shape(tokens);
        let found = prompt_cache::load(path, &model, shape, gpt.model().dims().vocab_size);
        let (cache, mut warning, replace) = match found {
            Found::Nothing => (None, None, true),
            Found::Cache(cache) => (Some(cache), None, true),
            Found::Useless(error) => (None, Some(error), true),
            Found::Foreign(error) => (None, Some(error), false),
        };
        let end = self.tokenizer.eos_id();
        let read = self.generator.prompt_from(&self.prompt, Some(end), cache.as_ref())?;
        self.read = Some(read);
        if replace
            && read.cached < read.used
            && let Some(cache) = self.generator.prompt_cache()
        {
            let shape = self.generator.cache_shape(cache.ids.len());
            if let Err(error) = prompt_cache::save(path, &model, &cache, shape) {
                warning.get_or_insert(error);
            }
        }
        Ok(warning)
    }

    /// The best texts after the prompt, as many as `beams` or fewer, the best first; see [`Generator::beam_search`]. Nothing
    /// comes before the search is over.
    ///
    /// # Errors
    /// Options that mean nothing, no memory.
    pub fn beam_search(
        &mut self,
        beams: usize,
        length_penalty: f32,
        max_tokens: usize,
    ) -> Result<Vec<BeamText>, Error> {
        let read = self.read()?;
        let options = BeamOptions {
            beams,
            length_penalty,
            max_tokens,
            end: self.ends.clone(),
            vocab_size: self.tokenizer.vocab_size(),
        };
        let needed = self.generator.beam_bytes(&options);
        if let Some(available) = available_memory()
            && available < needed
        {
            return Err(Error::BeamMemory {
                beams,
                needed: human_bytes(needed),
                available: human_bytes(available),
            });
        }
        let found = self.generator.beam_search(&options)?;
        let told = |beam: Beam| {
            Ok(BeamText {
                text: self.tokenizer.decode(&beam.ids)?,
                score: beam.score,
                told: Text {
                    prompt_tokens: read.used,
                    cached_tokens: read.cached,
                    dropped_tokens: read.dropped,
                    ids: beam.ids,
                    stopped: stopped(Some(beam.finish)),
                    speculated: Speculated::default(),
                },
            })
        };
        found.into_iter().map(told).collect()
    }

    /// Reads the prompt, unless it was read.
    fn read(&mut self) -> Result<Prompt, Error> {
        let begin = Some(self.tokenizer.eos_id());
        Ok(match self.read {
            Some(read) => read,
            None => *self.read.insert(self.generator.prompt(&self.prompt, begin)?),
        })
    }

    /// Writes one text after the prompt, part by part; `on_text` ends it by returning false. It is the same whether others
    /// were written before it or not.
    ///
    /// # Errors
    /// Options that mean nothing, a grammar that no text can be held to, no memory.
    pub fn write(&mut self, options: &GenerateOptions, mut on_text: impl FnMut(&str) -> bool) -> Result<Text, Error> {
        // Before the prompt is read: what is wrong with it is said at once.
        let mut constraint = match &options.grammar {
            None => None,
            Some(grammar) => {
                let grammars = match &mut self.grammars {
                    Some(grammars) => grammars,
                    none => none.insert(Grammars::new(self.tokenizer)?),
                };
                Some(grammars.constraint(grammar)?)
            }
        };
        let read = self.read()?;
        let draw = Options {
            sampling: options.sampling.clone(),
            seed: options.seed,
            max_tokens: options.max_tokens,
            end: self.ends.clone(),
            vocab_size: self.tokenizer.vocab_size(),
            speculate: options.speculate,
        };
        let mut tokens = self.generator.sample(&draw, options.index)?;
        if let Some(constraint) = &mut constraint {
            tokens = tokens.constrained(constraint);
        }
        let mut stream = TextStream::new(self.tokenizer, &options.stop);
        let mut ids = Vec::new();
        let mut stopped = None;
        for token in &mut tokens {
            let token = token?;
            ids.push(token.id);
            let (text, found) = stream.push(token.id)?;
            if !text.is_empty() && !on_text(&text) {
                stopped = Some(Stopped::Caller);
                break;
            }
            if found {
                stopped = Some(Stopped::StopString);
                break;
            }
        }
        let mut stopped = stopped.unwrap_or_else(|| self::stopped(tokens.finish()));
        if matches!(stopped, Stopped::EndOfText | Stopped::MaxTokens) {
            let (rest, found) = stream.finish();
            if found {
                stopped = Stopped::StopString;
            }
            if !rest.is_empty() {
                on_text(&rest);
            }
        }
        Ok(Text {
            prompt_tokens: read.used,
            cached_tokens: read.cached,
            dropped_tokens: read.dropped,
            ids,
            stopped,
            speculated: tokens.speculated(),
        })
    }
}

fn stopped(finish: Option<Finish>) -> Stopped {
    match finish {
        Some(Finish::End(_) | Finish::Complete) => Stopped::EndOfText,
        _ => Stopped::MaxTokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_texts_read_the_prompt_once_and_are_those_of_single_runs() {
        let dir = tempfile::tempdir().unwrap();
        let gpt = crate::open(crate::doc_model(dir.path()).unwrap()).unwrap();
        // 12 tokens and 10 stay within the context of 32. With 24 the 21st slides it, so that 15 tokens beside it are read
        // again, and the next text's prompt with them.
        for (max_tokens, slid, again) in [(10, 0, 0), (24, 15, 12)] {
            let options = |index: u32| GenerateOptions {
                index,
                seed: 5 + u64::from(index / 2),
                max_tokens,
                ..Default::default()
            };
            let mut writer = gpt.writer("Mina went to").unwrap();
            let mut texts = Vec::new();
            for index in 0..4 {
                let before = writer.generator.tokens_read();
                let mut together = String::new();
                let told = writer.write(&options(index), |part| {
                    together.push_str(part);
                    true
                });
                let told = told.unwrap();
                let read = writer.generator.tokens_read() - before;
                assert_eq!((told.prompt_tokens, told.dropped_tokens), (12, 0));
                assert_eq!(told.ids.len(), max_tokens, "another seed is needed for this test");
                assert_eq!(
                    together,
                    gpt.generate("Mina went to", &options(index)).unwrap(),
                    "{index}"
                );
                // The last token is never read.
                let prompt = if index == 0 { 12 } else { again };
                assert_eq!(read, prompt + (max_tokens as u64 - 1) + slid, "{index}");
                texts.push(together);
            }
            texts.dedup();
            assert_eq!(texts.len(), 4, "each draws its own numbers");
        }
    }
}
