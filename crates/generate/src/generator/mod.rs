//! A prompt, and the texts that follow it.

mod generation;

use crate::error::Error;
use crate::lookup::propose;
use crate::sampler::{Sampler, check_ids};
use crate::sampling::Sampling;
use foretoken_kernels::{CacheType, Pool};
use foretoken_model::{DecodeState, KeyValues, Model, Weights, decode, decode_each, decode_together};
pub use generation::Generation;
use std::collections::VecDeque;

/// What is generated, and where it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How a token is chosen.
    pub sampling: Sampling,
    /// The same seed gives the same text.
    pub seed: u64,
    /// Tokens after which a text ends at the latest.
    pub max_tokens: usize,
    /// Tokens that end a text. They are not part of it.
    pub end: Vec<u32>,
    /// Tokens are drawn below this id: the tokeniser's size, which a padded embedding exceeds.
    pub vocab_size: usize,
    /// Tokens that are guessed at most from what the text said before, and read together with the last one; 0 = off. It
    /// changes no text, only how fast it comes: a guess counts where it is what would have been drawn, and the model's
    /// numbers are the same to the bit. At most [`MAX_SPECULATE`].
    pub speculate: usize,
}

/// The largest [`Options::speculate`]: its logits are kept, (1 + 64) V floats.
pub const MAX_SPECULATE: usize = 64;

/// Tokens that a [`Generator`] has room for at first, and doubles. Memory that the machine gives in pages of 2 MB is cleared
/// where it is touched: a first token after a short prompt would wait for a context's worth of it.
const FIRST_ROOM: usize = 256;

/// What guessing brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speculated {
    /// Tokens guessed and read.
    pub proposed: usize,
    /// Those that came true.
    pub accepted: usize,
}

/// What became of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Tokens the model has read: the prompt's last.
    pub used: usize,
    /// Tokens before them that did not fit its context.
    pub dropped: usize,
    /// Tokens of `used` that came out of a [`PromptCache`].
    pub cached: usize,
}

/// A prompt that was read, to be kept for the next time.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptCache {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// What they left behind.
    pub key_values: KeyValues,
    /// The logits (V) that follow the last.
    pub logits: Vec<f32>,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model gave this end token.
    End(u32),
    /// The constraint was met, and nothing could follow.
    Complete,
    /// [`Options::max_tokens`] was reached.
    MaxTokens,
}

/// Reads a prompt once and generates any number of texts after it.
///
/// **Past the context.** GPT-2's positions are absolute and end at n_positions (C): what is cached cannot move. When the
/// context is full, the newest C/2 tokens are read again from position 0 and the text goes on from there. The text has no
/// seam but that the model forgets what lies further back; it always sees between C/2 and C tokens. C/2 tokens are read
/// again for every C/2 generated, so a token costs one decode and, spread out, one token of prefill.
///
/// ```
/// use foretoken_generate::{Generator, Options, Sampling};
/// use foretoken_kernels::{CacheType, Pool};
/// use foretoken_model::{init, registry};
///
/// let model = registry::from_config(&serde_json::json!({
///     "model_type": "gpt2", "vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3,
/// }))?;
/// let (pool, weights) = (Pool::new(1)?, init(model.params(), 42)?);
/// let mut generator = Generator::new(&*model, &pool, &weights)?;
/// generator.prompt(&[1, 2, 3], None)?;
/// let options = Options { sampling: Sampling::default(), seed: 42, max_tokens: 20, end: vec![], vocab_size: 11, speculate: 0 };
/// for index in 0..2 {
///     let ids: Vec<u32> = generator.sample(&options, index)?.map(|token| Ok(token?.id)).collect::<Result<_, foretoken_generate::Error>>()?;
///     assert_eq!(ids.len(), 20); // more than the context of 8
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Generator<'a> {
    model: &'a dyn Model,
    pool: &'a Pool,
    weights: Weights<'a>,
    state: DecodeState,
    /// The prompt's tokens that were used, then those of the text that is being generated.
    ids: Vec<u32>,
    prompt: usize,
    prompt_logits: Vec<f32>,
    /// Rows (V): what follows the last of `ids`, behind it what follows each token that was guessed.
    logits: Vec<f32>,
    /// The row of `logits` that counts.
    row: usize,
    /// Tokens that the model has read behind `ids`: guesses that no draw has met yet.
    ahead: VecDeque<u32>,
    draft: Vec<u32>,
    /// Whether the state still begins with the prompt's keys and values.
    holds_prompt: bool,
    tokens_read: u64,
}

impl<'a> Generator<'a> {
    /// Takes memory for the keys and values of some tokens; it grows with the text.
    ///
    /// Keys and values are stored as fits the weights: [`Weights::cache_type`].
    ///
    /// # Errors
    /// [`Error::Model`] where the allocator refuses.
    pub fn new(model: &'a dyn Model, pool: &'a Pool, weights: impl Into<Weights<'a>>) -> Result<Self, Error> {
        let weights = weights.into();
        let dims = model.dims();
        Ok(Self {
            model,
            pool,
            weights,
            state: model.decode_state(dims.n_positions.min(FIRST_ROOM), weights.cache_type())?,
            ids: Vec::new(),
            prompt: 0,
            prompt_logits: vec![0.0; dims.vocab_size],
            logits: vec![0.0; dims.vocab_size],
            row: 0,
            ahead: VecDeque::new(),
            draft: Vec::new(),
            holds_prompt: false,
            tokens_read: 0,
        })
    }

    /// Reads a prompt in place of the one before. Of a prompt longer than the context, the last n_positions tokens are
    /// used; an empty one is `begin` alone (GPT-2's custom: its end token).
    ///
    /// # Errors
    /// [`Error::Token`] where an id is not below V, [`Error::EmptyPrompt`] where there is neither a token nor `begin`,
    /// [`Error::Model`] where the allocator refuses.
    pub fn prompt(&mut self, ids: &[u32], begin: Option<u32>) -> Result<Prompt, Error> {
        self.prompt_from(ids, begin, None)
    }

    /// [`Generator::prompt`] that takes from `cache` what it shares with it: all of the same prompt, otherwise the beginning
    /// that both have, cut so that every bit is what it is without the cache ([`DecodeState::resumable`]).
    ///
    /// # Errors
    /// As [`Generator::prompt`].
    ///
    /// # Panics
    /// Where the cache has not the sizes of this model ([`Generator::cache_shape`]). That it comes from the same weights is
    /// the caller's to know.
    pub fn prompt_from(
        &mut self,
        ids: &[u32],
        begin: Option<u32>,
        cache: Option<&PromptCache>,
    ) -> Result<Prompt, Error> {
        let ids = if ids.is_empty() { begin.as_slice() } else { ids };
        if ids.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        check_ids(ids, self.model.dims().vocab_size)?;
        let dropped = ids.len().saturating_sub(self.context());
        self.ids.clear();
        self.ids.extend_from_slice(&ids[dropped..]);
        self.prompt = self.ids.len();
        let cached = self.read_prompt(cache)?;
        Ok(Prompt {
            used: self.prompt,
            dropped,
            cached,
        })
    }

    /// [`Generator::prompt`] that keeps what the model has read of it already, prompt and text before: a conversation goes on
    /// and only what is new is read. Where the beginning differs, or the text went past the context, it is read from there.
    ///
    /// What is kept was read in other pieces than the whole would be, so its numbers are the same within the tolerance of
    /// cached decoding, not to the bit.
    ///
    /// # Errors
    /// As [`Generator::prompt`] without `begin`.
    pub fn go_on(&mut self, ids: &[u32]) -> Result<Prompt, Error> {
        if ids.is_empty() || ids.len() > self.context() {
            return self.prompt(ids, None);
        }
        check_ids(ids, self.model.dims().vocab_size)?;
        self.state.truncate(self.state.len() - self.ahead.len());
        self.ahead.clear();
        let known = match self.holds_prompt {
            true => &self.ids[..self.ids.len().min(self.state.len())],
            false => &[],
        };
        let common = known.iter().zip(ids).take_while(|(a, b)| a == b).count();
        // The logits that follow the last come from reading it.
        let cached = common.min(ids.len() - 1);
        self.state.truncate(cached);
        self.make_room(ids.len())?;
        self.ids.clear();
        self.ids.extend_from_slice(ids);
        self.prompt = ids.len();
        self.holds_prompt = true;
        self.tokens_read += (ids.len() - cached) as u64;
        let (rest, logits) = (&ids[cached..], &mut self.prompt_logits);
        decode(self.model, self.pool, self.weights, &mut self.state, rest, logits);
        Ok(Prompt {
            used: ids.len(),
            dropped: 0,
            cached,
        })
    }

    /// The prompt that was read last, to be kept; `None` where a text went past the context since, or none was read.
    pub fn prompt_cache(&mut self) -> Option<PromptCache> {
        if !self.holds_prompt {
            return None;
        }
        self.rewind().ok()?;
        Some(PromptCache {
            ids: self.ids.clone(),
            key_values: self.state.key_values(self.pool),
            logits: self.prompt_logits.clone(),
        })
    }

    /// The sizes of the keys, and of the values, in the [`PromptCache`] of T tokens.
    pub fn cache_shape(&self, tokens: usize) -> [usize; 3] {
        self.state.shape(tokens)
    }

    /// Begins the `index`-th text after the prompt.
    ///
    /// Text `index` is the same whether others were generated before it or not. The prompt is not read again unless
    /// the text before it went past the context.
    ///
    /// # Errors
    /// [`Error::Sampling`] where a parameter means nothing, [`Error::EmptyPrompt`] before the first
    /// [`Generator::prompt`].
    pub fn sample<'g>(&'g mut self, options: &'g Options, index: u32) -> Result<Generation<'g, 'a>, Error> {
        let sampler = Sampler::new(options.sampling.clone(), options.seed, index)?;
        let speculate = options.speculate;
        if speculate > MAX_SPECULATE {
            return Err(Error::Sampling {
                field: "speculate",
                found: speculate as f32,
                expected: "0 (off) to 64 tokens",
            });
        }
        self.rewind()?;
        self.logits.resize((1 + speculate) * self.prompt_logits.len(), 0.0);
        self.row = 0;
        self.logits[..self.prompt_logits.len()].copy_from_slice(&self.prompt_logits);
        Ok(Generation::new(self, sampler, options))
    }

    pub(crate) fn model(&self) -> &'a dyn Model {
        self.model
    }

    pub(crate) fn pool(&self) -> &'a Pool {
        self.pool
    }

    /// The state after the prompt, and the logits (V) that follow it; [`Generator::rewind`] comes before.
    pub(crate) fn prompt_state(&self) -> (&DecodeState, &[f32]) {
        (&self.state, &self.prompt_logits)
    }

    /// Appends a token to each of several sequences beside the generator's own; see [`decode_together`].
    pub(crate) fn decode_together(&self, states: &mut [&mut DecodeState], ids: &[u32], logits: &mut [f32]) {
        decode_together(self.model, self.pool, self.weights, states, ids, logits);
    }

    /// How keys and values are stored.
    pub(crate) fn cache_type(&self) -> CacheType {
        self.state.cache_type()
    }

    /// Forgets what came after the prompt.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] before the first prompt.
    pub(crate) fn rewind(&mut self) -> Result<(), Error> {
        if self.prompt == 0 {
            return Err(Error::EmptyPrompt);
        }
        self.ids.truncate(self.prompt);
        self.ahead.clear();
        if self.holds_prompt {
            self.state.truncate(self.prompt);
        } else {
            self.read_prompt(None)?;
        }
        Ok(())
    }

    /// Tokens that the model can see: C.
    fn context(&self) -> usize {
        self.model.dims().n_positions
    }

    /// Makes the state one that `tokens` fit in, with what it has seen.
    fn make_room(&mut self, tokens: usize) -> Result<(), Error> {
        if tokens > self.state.capacity() {
            let capacity = tokens.next_power_of_two().min(self.context());
            let mut state = self.model.decode_state(capacity, self.cache_type())?;
            state.copy_from(&self.state);
            self.state = state;
        }
        Ok(())
    }

    /// Tokens that the model has read so far: prompts, texts, and what was read again past the context.
    pub fn tokens_read(&self) -> u64 {
        self.tokens_read
    }

    /// Reads the prompt, all but what the cache has of it; returns how much that is.
    fn read_prompt(&mut self, cache: Option<&PromptCache>) -> Result<usize, Error> {
        self.state.truncate(0);
        self.make_room(self.prompt)?;
        self.holds_prompt = true;
        let ids = &self.ids[..self.prompt];
        let mut cached = 0;
        if let Some(cache) = cache {
            assert_eq!(cache.logits.len(), self.prompt_logits.len(), "logits (V)");
            let common = ids.iter().zip(&cache.ids).take_while(|(a, b)| a == b).count();
            if common == ids.len() && common == cache.ids.len() {
                cached = common;
                self.prompt_logits.copy_from_slice(&cache.logits);
            } else {
                // The logits of the last token are not among what is kept.
                cached = self.state.resumable(common.min(ids.len() - 1));
            }
            self.state.resume(self.pool, &cache.key_values, cache.ids.len(), cached);
        }
        let rest = &ids[cached..];
        if !rest.is_empty() {
            self.tokens_read += rest.len() as u64;
            let logits = &mut self.prompt_logits;
            decode(self.model, self.pool, self.weights, &mut self.state, rest, logits);
        }
        Ok(cached)
    }

    /// Appends a token; `self.logits` become those that follow it. Up to `guesses` tokens after it are guessed and read with
    /// it. Returns how many were, and whether the token had been guessed.
    fn push(&mut self, id: u32, guesses: usize) -> Result<(usize, bool), Error> {
        self.ids.push(id);
        if self.ahead.pop_front_if(|guess| *guess == id).is_some() {
            self.row += 1;
            return Ok((0, true));
        }
        self.state.truncate(self.state.len() - self.ahead.len());
        self.ahead.clear();
        self.row = 0;
        let (v, context) = (self.prompt_logits.len(), self.context());
        let room = context - self.state.len();
        if room == 0 {
            self.state.truncate(0);
            self.holds_prompt = false;
            let ids = &self.ids[self.ids.len() - (context / 2).max(1)..];
            self.tokens_read += ids.len() as u64;
            let logits = &mut self.logits[..v];
            decode(self.model, self.pool, self.weights, &mut self.state, ids, logits);
            return Ok((0, false));
        }
        let seen = &self.ids[self.ids.len().saturating_sub(context)..];
        propose(seen, guesses.min(room - 1), &mut self.draft);
        self.make_room(self.state.len() + 1 + self.draft.len())?;
        let proposed = self.draft.len();
        self.ahead.extend(&self.draft);
        self.draft.insert(0, id);
        self.tokens_read += self.draft.len() as u64;
        let logits = &mut self.logits[..self.draft.len() * v];
        let (model, state) = (self.model, &mut self.state);
        decode_each(model, self.pool, self.weights, state, &self.draft, logits);
        Ok((proposed, false))
    }
}
