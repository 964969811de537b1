//! What is asked of an engine, and what it answers.

use crate::constraint::Constraint;
use crate::error::Error;
use crate::generator::Finish;
use crate::logprobs::Thought;
use crate::sampling::Sampling;

/// A text to generate.
#[derive(Debug)]
pub struct Request {
    /// The tokens before it, at least one.
    pub prompt: Vec<u32>,
    /// How a token is chosen.
    pub sampling: Sampling,
    /// The same seed gives the same text, whoever else is served.
    pub seed: u64,
    /// Which of several texts of this seed: each draws its own numbers.
    pub index: u32,
    /// Tokens after which it ends at the latest; together with the prompt no more than the context.
    pub max_tokens: usize,
    /// Tokens that end it.
    pub end: Vec<u32>,
    /// Tokens are drawn below this id.
    pub vocab_size: usize,
    /// What it must match; it stands at its beginning.
    pub constraint: Option<Box<dyn Constraint + Send>>,
    /// How many of the likeliest tokens are reported at each place; `None` = not even the token's own log-probability.
    pub logprobs: Option<usize>,
    /// Whether the places of the prompt are reported, too: all but the first, which follows nothing.
    pub score_prompt: bool,
}

/// A text that an engine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextId(pub(super) u64);

/// What happened to a text. The last is [`Event::Finished`] or [`Event::Failed`]; after [`Engine::cancel`](super::Engine::cancel)
/// nothing comes.
#[derive(Debug)]
pub enum Event {
    /// It got a place, and the model begins to read its prompt, of which `cached` tokens had been read for another.
    Admitted {
        /// Tokens of the prompt that need not be read.
        cached: usize,
    },
    /// The next places of the prompt, where [`Request::score_prompt`] asked for them.
    Scored(Vec<Thought>),
    /// The next token.
    Token {
        /// Which.
        id: u32,
        /// Where [`Request::logprobs`] asked for it.
        thought: Option<Thought>,
    },
    /// It ended.
    Finished {
        /// Why.
        finish: Finish,
        /// What the model thought of the end token, where there is one and [`Request::logprobs`] asked.
        end: Option<Thought>,
    },
    /// It cannot go on. Others can.
    Failed(Error),
}
