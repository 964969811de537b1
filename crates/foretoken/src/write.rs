//! Generation with text at both ends.

use crate::error::Error;
use crate::stop::StopStrings;
use foretoken_generate::{Finish, Generator, Options, Sampling};
use foretoken_kernels::Pool;
use foretoken_model::Model;
use foretoken_text::Tokenizer;

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
    /// Tokens of the prompt that did not fit the context, cut from its beginning.
    pub dropped_tokens: usize,
    /// Tokens generated, the end token not among them.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub stopped: Stopped,
}

/// Writes the text that follows a prompt, part by part; see [`crate::Gpt::stream`]. `model` comes with its weights.
///
/// # Errors
/// Options that mean nothing, no memory.
pub fn write(
    (model, weights): (&dyn Model, &[f32]),
    tokenizer: &Tokenizer,
    pool: &Pool,
    prompt: &str,
    options: &GenerateOptions,
    mut on_text: impl FnMut(&str) -> bool,
) -> Result<Text, Error> {
    let end = tokenizer.eos_id();
    let mut generator = Generator::new(model, pool, weights)?;
    let read = generator.prompt(&tokenizer.encode(prompt), Some(end))?;
    let draw = Options {
        sampling: options.sampling,
        seed: options.seed,
        max_tokens: options.max_tokens,
        end: vec![end],
        vocab_size: tokenizer.vocab_size(),
    };
    let mut tokens = generator.sample(&draw, options.index)?;
    let (mut decoder, mut stops) = (tokenizer.stream(), StopStrings::new(&options.stop));
    let mut ids = Vec::new();
    let mut stopped = None;
    for token in &mut tokens {
        let token = token?;
        ids.push(token.id);
        let (text, found) = stops.push(&decoder.push(token.id)?);
        if !text.is_empty() && !on_text(&text) {
            stopped = Some(Stopped::Caller);
            break;
        }
        if found {
            stopped = Some(Stopped::StopString);
            break;
        }
    }
    let mut stopped = stopped.unwrap_or(match tokens.finish() {
        Some(Finish::End(_)) => Stopped::EndOfText,
        _ => Stopped::MaxTokens,
    });
    if matches!(stopped, Stopped::EndOfText | Stopped::MaxTokens) {
        let (text, found) = stops.push(&decoder.finish());
        let rest = if found { text } else { text + &stops.finish() };
        if found {
            stopped = Stopped::StopString;
        }
        if !rest.is_empty() {
            on_text(&rest);
        }
    }
    Ok(Text {
        prompt_tokens: read.used,
        dropped_tokens: read.dropped,
        ids,
        stopped,
    })
}
