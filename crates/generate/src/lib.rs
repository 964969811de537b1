//! Generation: from a model and a prompt of token ids to the tokens that follow.
//!
//! **Knows** models through their contract, and how to draw from logits. **Must not know** text or HTTP: stop strings and
//! streamed characters live one floor up.
//!
//! A [`Generator`] reads a prompt once and gives any number of texts after it, each an iterator of [`Token`]s that feeds
//! every token back through the key/value cache and goes past the context by sliding. A [`Sampler`] draws one token by
//! its [`Sampling`] parameters, and shows the [`Candidate`]s it draws from.
//!
//! An [`Engine`] generates many texts together, as a server needs it.
//!
//! **Same seed, same text**, on any number of threads, and text `i` of several is the same as text `i` alone: random
//! numbers come from a counter, keyed by seed and text.
//!
//! ```
//! use foretoken_generate::{Finish, Generator, Options, Sampling};
//! use foretoken_kernels::Pool;
//! use foretoken_model::{init, registry};
//!
//! let model = registry::from_config(&serde_json::json!({
//!     "model_type": "gpt2", "vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3,
//! }))?;
//! let (pool, weights) = (Pool::new(1)?, init(model.params(), 42)?);
//! let mut generator = Generator::new(&*model, &pool, &weights)?;
//! let prompt = generator.prompt(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], None)?;
//! assert_eq!((prompt.used, prompt.dropped), (8, 2)); // to warn about
//! let options = Options {
//!     sampling: Sampling { temperature: 0.8, top_k: 5, ..Sampling::default() },
//!     seed: 42,
//!     max_tokens: 4,
//!     end: vec![],
//!     vocab_size: 11,
//!     speculate: 0,
//! };
//! let mut text = generator.sample(&options, 0)?;
//! for token in &mut text {
//!     let token = token?;
//!     assert!(token.id < 11 && token.logprob < 0.0);
//! }
//! assert_eq!(text.finish(), Some(Finish::MaxTokens));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod beams;
mod constraint;
mod engine;
mod error;
mod generator;
mod logprobs;
mod lookup;
mod rank;
mod sampler;
mod sampling;

pub use beams::{Beam, BeamOptions};
pub use constraint::{Constraint, TokenSet};
pub use engine::{Engine, EngineStats, Event, Request, TextId};
pub use error::Error;
pub use generator::{Finish, Generation, Generator, MAX_SPECULATE, Options, Prompt, PromptCache, Speculated};
pub use logprobs::{Logprob, Thought};
pub use sampler::{Candidate, Context, Sampler, Token};
pub use sampling::{Dry, Mirostat, Sampling, Xtc};
