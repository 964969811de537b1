//! Reading a prompt and writing after it, token by token.

use super::{Event, median};
use crate::error::Error;
use foretoken_generate::{Generator, Options, Sampling};
use foretoken_kernels::Pool;
use foretoken_model::{DecodeState, Model, Weights, decode_together};
use foretoken_train::StepProfile;
use std::time::Instant;

/// Tokens of the prompt and after it at most; a shorter context takes half of each.
const MOST: (usize, usize) = (512, 64);

/// Sequences that are decoded together.
pub const TOGETHER: usize = 8;

/// Tokens of their prompts and after them at most.
const SHORT: (usize, usize) = (16, 32);

/// What generating took.
#[derive(Clone, Debug)]
pub struct DecodeReport {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens written after it.
    pub tokens: usize,
    /// Median over the rounds: tokens of the prompt a second.
    pub prefill_tokens_per_s: f64,
    /// Median over the rounds: tokens written a second, one sequence alone.
    pub decode_tokens_per_s: f64,
    /// Bytes that a token has to read: every weight but the positions of other tokens, and on average the cached keys and
    /// values.
    pub bytes_a_token: f64,
    /// Tokens a second of [`TOGETHER`] sequences that read the weights together, all counted, and of one alone, both after a
    /// short prompt: medians over the rounds.
    pub together_tokens_per_s: (f64, f64),
    /// The rounds that count, op by op; a token is a step.
    pub profile: StepProfile,
}

/// Tokens of the prompt, and of those decoded after it, that [`decode`] takes of a model with so many positions.
pub fn decode_sizes(n_positions: usize) -> (usize, usize) {
    (MOST.0.min(n_positions / 2), MOST.1.min(n_positions / 2 - 1))
}

/// Reads a prompt and writes greedily after it, `rounds` times and once that is not counted; each is told as
/// [`Event::Round`]. Then one sequence and [`TOGETHER`] of them are decoded after a short prompt.
///
/// # Errors
/// No memory.
///
/// # Panics
/// Without a round, and with a model of fewer than four positions.
pub fn decode(
    pool: &Pool,
    model: &dyn Model,
    weights: Weights<'_>,
    rounds: usize,
    listen: &mut dyn FnMut(Event<'_>),
) -> Result<DecodeReport, Error> {
    let dims = *model.dims();
    assert!(rounds > 0 && dims.n_positions >= 4, "{rounds} rounds, {dims:?}");
    listen(Event::Phase("decoding"));
    let (prompt, tokens) = decode_sizes(dims.n_positions);
    let ids: Vec<u32> = (0..prompt).map(|i| (i * 7919 % dims.vocab_size) as u32).collect();
    let options = Options {
        sampling: Sampling::greedy(),
        seed: 0,
        max_tokens: tokens + 1,
        end: vec![],
        vocab_size: usize::MAX,
        speculate: 0,
    };
    let mut generator = Generator::new(model, pool, weights)?;
    let (mut profile, mut prefill, mut decode) = (StepProfile::default(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let begun = Instant::now();
        generator.prompt(&ids, None)?;
        let read = begun.elapsed().as_secs_f64();
        let mut text = generator.sample(&options, 0)?;
        // It comes from the prompt's own logits: no decode.
        text.next().transpose()?;
        let begun = Instant::now();
        profile.time(pool, || text.try_for_each(|token| token.map(drop)))?;
        let wrote = begun.elapsed().as_secs_f64();
        let rates = (prompt as f64 / read, tokens as f64 / wrote);
        listen(Event::Round {
            round,
            prefill_tokens_per_s: rates.0,
            decode_tokens_per_s: rates.1,
        });
        if round == 0 {
            profile = StepProfile::default();
        } else {
            prefill.push(rates.0);
            decode.push(rates.1);
        }
    }
    profile.steps *= tokens as u64;
    // Of the positions a token reads one row.
    let read = weights.bytes_a_token(model);
    let number = weights.cache_type().bytes() as f64;
    let cached = 2.0 * number * (dims.n_layer * dims.n_embd) as f64 * (prompt as f64 + (tokens + 1) as f64 / 2.0);
    Ok(DecodeReport {
        prompt_tokens: prompt,
        tokens,
        prefill_tokens_per_s: median(&prefill),
        decode_tokens_per_s: median(&decode),
        bytes_a_token: read as f64 + cached,
        together_tokens_per_s: (
            together(pool, model, weights, TOGETHER, rounds)?,
            together(pool, model, weights, 1, rounds)?,
        ),
        profile,
    })
}

/// Tokens a second of `n` sequences, each after a short prompt.
fn together(pool: &Pool, model: &dyn Model, weights: Weights<'_>, n: usize, rounds: usize) -> Result<f64, Error> {
    let dims = model.dims();
    let (prompt, tokens) = (SHORT.0.min(dims.n_positions / 2), SHORT.1.min(dims.n_positions / 2));
    let mut states = Vec::new();
    for _ in 0..n {
        states.push(model.decode_state(prompt + tokens, weights.cache_type())?);
    }
    let mut logits = vec![0.0; n * dims.vocab_size];
    let ids: Vec<u32> = (0..prompt.max(n))
        .map(|i| (i * 7919 % dims.vocab_size) as u32)
        .collect();
    let mut rates = Vec::new();
    for round in 0..=rounds {
        for state in &mut states {
            state.truncate(0);
            foretoken_model::decode(
                model,
                pool,
                weights,
                state,
                &ids[..prompt],
                &mut logits[..dims.vocab_size],
            );
        }
        let mut all: Vec<&mut DecodeState> = states.iter_mut().collect();
        let begun = Instant::now();
        for _ in 0..tokens {
            decode_together(model, pool, weights, &mut all, &ids[..n], &mut logits);
        }
        if round > 0 {
            rates.push((n * tokens) as f64 / begun.elapsed().as_secs_f64());
        }
    }
    Ok(median(&rates))
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_model::{init, registry};

    /// The kernels state the bytes they read: all weights of the layers and the head, and the cache, are among them.
    #[test]
    fn bytes_of_a_token_are_those_the_kernels_state() {
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 211, "n_positions": 32, "n_embd": 48, "n_layer": 2, "n_head": 3,
        });
        let model = registry::from_config(&config).unwrap();
        let (pool, weights) = (Pool::new(2).unwrap(), init(model.params(), 1).unwrap());
        let mut rounds = Vec::new();
        let report = decode(&pool, &*model, (&weights).into(), 2, &mut |event| {
            if let Event::Round { round, .. } = event {
                rounds.push(round);
            }
        })
        .unwrap();
        assert_eq!((rounds, report.prompt_tokens, report.tokens), (vec![0, 1, 2], 16, 15));
        assert_eq!(report.profile.steps, 30);
        let calls = |op: &str| -> u64 {
            let ops = report.profile.ops.iter().filter(|time| time.op == op);
            ops.map(|time| time.calls).sum()
        };
        assert_eq!(
            (calls("matvec"), calls("attention_cached"), calls("matvec_transposed")),
            (240, 60, 30)
        );
        let stated: u64 = report.profile.ops.iter().map(|op| op.bytes).sum();
        let a_token = stated as f64 / report.profile.steps as f64;
        // Beside weights and cache a token moves a few activations.
        assert!(
            (1.0..1.1).contains(&(a_token / report.bytes_a_token)),
            "{a_token} and {}",
            report.bytes_a_token
        );
    }
}
