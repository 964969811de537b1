//! A text, token by token.

use super::{Finish, Generator, Options, Speculated};
use crate::constraint::{Constraint, TokenSet};
use crate::error::Error;
use crate::sampler::{Context, Sampler, Token};

/// A text that is being generated: an iterator of its tokens.
///
/// It ends after [`Options::max_tokens`], before an end token, or after an error. A token is fed back to the model when the
/// next one is asked for, so that it can be shown at once, and the last one costs nothing.
#[derive(Debug)]
pub struct Generation<'g, 'a> {
    generator: &'g mut Generator<'a>,
    sampler: Sampler,
    options: &'g Options,
    constraint: Option<&'g mut dyn Constraint>,
    /// What the constraint allows.
    allowed: TokenSet,
    speculated: Speculated,
    /// The token that was given last: the model has not read it yet.
    pending: Option<u32>,
    finish: Option<Finish>,
    failed: bool,
}

impl<'g, 'a> Generation<'g, 'a> {
    pub(super) fn new(generator: &'g mut Generator<'a>, sampler: Sampler, options: &'g Options) -> Self {
        Self {
            generator,
            sampler,
            options,
            constraint: None,
            allowed: TokenSet::default(),
            speculated: Speculated::default(),
            pending: None,
            finish: None,
            failed: false,
        }
    }

    /// Holds the text to a constraint that stands at its beginning.
    pub fn constrained(mut self, constraint: &'g mut dyn Constraint) -> Self {
        self.constraint = Some(constraint);
        self
    }

    /// Why the text ended; `None` while it goes on, and after an error.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// What [`Options::speculate`] brought so far.
    pub fn speculated(&self) -> Speculated {
        self.speculated
    }

    fn generated(&self) -> usize {
        self.generator.ids.len() - self.generator.prompt + usize::from(self.pending.is_some())
    }

    /// The next token, or why there is none.
    fn step(&mut self) -> Result<Result<Token, Finish>, Error> {
        if self
            .constraint
            .as_mut()
            .is_some_and(|constraint| constraint.is_complete())
        {
            return Ok(Err(Finish::Complete));
        }
        if self.generated() >= self.options.max_tokens {
            return Ok(Err(Finish::MaxTokens));
        }
        if let Some(id) = self.pending.take() {
            // No guess is of use past the last token.
            let left = self.options.max_tokens - self.generated() - 1;
            let (proposed, accepted) = self
                .generator
                .push(id, self.options.speculate.min(left.saturating_sub(1)))?;
            self.speculated.proposed += proposed;
            self.speculated.accepted += usize::from(accepted);
        }
        if let Some(constraint) = &mut self.constraint {
            constraint.allowed(&mut self.allowed)?;
        }
        let generated = self.generated();
        let Generator {
            ids,
            logits,
            row,
            prompt_logits,
            pool,
            ..
        } = &*self.generator;
        let v = prompt_logits.len();
        let logits = &logits[row * v..(row + 1) * v];
        let history = &ids[ids.len().saturating_sub(self.generator.context())..];
        let context = Context {
            ids: history,
            generated: generated.min(history.len()),
            allowed: self.constraint.is_some().then_some(&self.allowed),
        };
        let drawn = self.options.vocab_size.min(v);
        let token = self.sampler.sample(pool, &logits[..drawn], &context)?;
        if self.options.end.contains(&token.id) {
            return Ok(Err(Finish::End(token.id)));
        }
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token.id)?;
        }
        self.pending = Some(token.id);
        Ok(Ok(token))
    }
}

impl Iterator for Generation<'_, '_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.finish.is_some() {
            return None;
        }
        match self.step() {
            Ok(Ok(token)) => Some(Ok(token)),
            Ok(Err(finish)) => {
                self.finish = Some(finish);
                None
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

impl std::iter::FusedIterator for Generation<'_, '_> {}
