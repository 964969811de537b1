//! One of the texts that are generated together.

use super::request::{Event, Request, TextId};
use super::slots::Slot;
use crate::constraint::TokenSet;
use crate::error::Error;
use crate::generator::Finish;
use crate::logprobs::Thought;
use crate::sampler::{Context, Sampler};
use foretoken_kernels::Pool;
use foretoken_model::{Model, SCORED, Weights, decode, decode_scored};

/// A text that has a slot.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) id: TextId,
    pub(super) slot: Slot,
    request: Request,
    sampler: Sampler,
    allowed: TokenSet,
    /// Prompt and generated tokens.
    ids: Vec<u32>,
    /// How many of them are the prompt.
    prompt: usize,
    /// The logits (V) that follow the last token the model has read, once the prompt was read.
    pub(super) logits: Vec<f32>,
    /// Whether `logits` wait for a draw.
    ready: bool,
    /// What the last draw came to, until the engine has told of it.
    pub(super) drawn: Option<Result<Drawn, Error>>,
}

/// What a draw came to.
#[derive(Debug)]
pub(super) enum Drawn {
    /// The text goes on.
    Goes(Event),
    /// It ended.
    Ended(Event),
}

impl Sequence {
    pub(super) fn new(id: TextId, mut request: Request, slot: Slot, sampler: Sampler) -> Self {
        let ids = std::mem::take(&mut request.prompt);
        let logits = slot.logits.clone().unwrap_or_default();
        let ready = slot.logits.is_some();
        Self {
            id,
            slot,
            request,
            sampler,
            allowed: TokenSet::default(),
            prompt: ids.len(),
            ids,
            logits,
            ready,
            drawn: None,
        }
    }

    /// Tokens of the prompt that the model has not read.
    pub(super) fn unread(&self) -> usize {
        match self.ready || !self.logits.is_empty() {
            true => 0,
            false => self.ids.len() - self.slot.state.len(),
        }
    }

    /// Whether the model has to read the token that was drawn last.
    pub(super) fn decodes(&self) -> bool {
        !self.ready && !self.logits.is_empty()
    }

    /// Whether a token can be drawn.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The token that was drawn last.
    pub(super) fn last(&self) -> u32 {
        *self.ids.last().expect("a prompt has a token")
    }

    /// Takes the logits that follow [`Sequence::last`].
    pub(super) fn follow(&mut self, logits: &[f32]) {
        self.logits.copy_from_slice(logits);
        self.ready = true;
    }

    /// Reads the prompt's next chunk; returns how many tokens that is, and what the model thought of them if asked.
    pub(super) fn read_chunk(
        &mut self,
        model: &dyn Model,
        pool: &Pool,
        weights: Weights<'_>,
    ) -> (usize, Option<Event>) {
        let state = &mut self.slot.state;
        let (start, v) = (state.len(), model.dims().vocab_size);
        let end = self.ids.len().min(start + state.rows());
        let last = end == self.ids.len();
        let chunk = &self.ids[start..end];
        if !self.request.score_prompt {
            self.logits.resize(if last { v } else { 0 }, 0.0);
            // Logits are made of a prompt's last token alone.
            match last {
                true => decode(model, pool, weights, state, chunk, &mut self.logits),
                false => decode_scored(model, pool, weights, state, chunk, chunk.len(), |_, _| {}),
            }
            self.slot.read.extend_from_slice(chunk);
            if last {
                self.slot.logits = Some(self.logits.clone());
            }
            self.ready = last;
            return (chunk.len(), None);
        }
        // In chunks of their own: what scoring leaves behind is not to the bit what reading does, and nobody else's.
        debug_assert!(state.rows() < SCORED || state.rows() % SCORED == 0);
        let (mut thoughts, top) = (Vec::new(), self.request.logprobs.unwrap_or(0));
        let (ids, logits) = (&self.ids, &mut self.logits);
        decode_scored(model, pool, weights, state, chunk, 0, |first, rows| {
            for (row, logits) in rows.chunks_exact(v).enumerate() {
                if let Some(&next) = ids.get(start + first + row + 1) {
                    thoughts.push(Thought::of(logits, next, top));
                }
            }
            if last {
                logits.clear();
                logits.extend_from_slice(&rows[rows.len() - v..]);
            }
        });
        self.ready = last;
        (chunk.len(), Some(Event::Scored(thoughts)))
    }

    /// Draws the next token into [`Sequence::drawn`].
    pub(super) fn draw(&mut self, pool: &Pool, context: usize) {
        self.drawn = Some(self.next(pool, context));
    }

    fn next(&mut self, pool: &Pool, context: usize) -> Result<Drawn, Error> {
        self.ready = false;
        let generated = self.generated();
        let ended = |finish, end| Ok(Drawn::Ended(Event::Finished { finish, end }));
        if let Some(finish) = self.finish() {
            return ended(finish, None);
        }
        if let Some(constraint) = &mut self.request.constraint {
            constraint.allowed(&mut self.allowed)?;
        }
        let history = &self.ids[self.ids.len().saturating_sub(context)..];
        let before = Context {
            ids: history,
            generated: generated.min(history.len()),
            allowed: self.request.constraint.is_some().then_some(&self.allowed),
        };
        let drawn = self.request.vocab_size.min(self.logits.len());
        let id = self.sampler.sample(pool, &self.logits[..drawn], &before)?.id;
        let thought = self.request.logprobs.map(|top| Thought::of(&self.logits, id, top));
        if self.request.end.contains(&id) {
            return ended(Finish::End(id), thought);
        }
        if let Some(constraint) = &mut self.request.constraint {
            constraint.accept(id)?;
        }
        self.ids.push(id);
        Ok(Drawn::Goes(Event::Token { id, thought }))
    }

    /// Why the text ends here without the model being asked again, if it does: said with its last token rather than a step
    /// later.
    pub(super) fn finish(&mut self) -> Option<Finish> {
        if let Some(constraint) = &mut self.request.constraint
            && constraint.is_complete()
        {
            return Some(Finish::Complete);
        }
        (self.generated() >= self.request.max_tokens).then_some(Finish::MaxTokens)
    }

    fn generated(&self) -> usize {
        self.ids.len() - self.prompt
    }
}
