//! From logits to a token.

mod dry;
mod tilt;
mod truncate;

#[cfg(test)]
mod tests;

use crate::constraint::TokenSet;
use crate::error::Error;
use crate::rank::kth;
use crate::sampling::Sampling;
use foretoken_kernels::{Pool, Stream, softmax_weights};
use truncate::{Turn, mass, truncate};

/// Where the draws' random numbers begin, apart from every other use of a seed.
const DRAW: u32 = 0x5000_0000;
/// Whether it is XTC's turn: numbers of its own, so that no draw takes another's.
const EXCLUDE: u32 = 0x5000_0001;

/// A generated token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// Its id, below V.
    pub id: u32,
    /// The natural logarithm of the probability that the model gave it: at temperature 1, before penalties and filters.
    pub logprob: f32,
}

/// A token that a draw chooses among.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The token, with the logarithm of the probability that the model gave it.
    pub token: Token,
    /// The probability that it is drawn with: after penalties, temperature and filters. Candidates' sum to 1.
    pub probability: f32,
}

/// What stands before the token to draw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The text so far, prompt and generated tokens in their order.
    pub ids: &'a [u32],
    /// How many of them, the last, were generated.
    pub generated: usize,
    /// The only tokens that may be drawn; `None` = all.
    pub allowed: Option<&'a TokenSet>,
}

impl<'a> Context<'a> {
    /// A prompt, after which nothing was generated yet.
    pub fn prompt(ids: &'a [u32]) -> Self {
        Self { ids, ..Self::default() }
    }
}

/// Draws tokens from logits.
///
/// Draw `i` of a sampler uses number `i` of a counter-based stream of (seed, sample): the same parameters, seed and logits
/// give the same tokens, on any number of threads, and two samples of one seed share no numbers. Candidates are laid end
/// to end in the order of their ids and the number says where to stop.
///
/// ```
/// use foretoken_generate::{Context, Sampler, Sampling};
/// use foretoken_kernels::Pool;
///
/// let pool = Pool::new(1)?;
/// let logits = [0.0, 2.0, 1.0, -1.0];
/// let mut sampler = Sampler::new(Sampling { top_k: 2, ..Sampling::default() }, 42, 0)?;
/// let context = Context::default();
/// let ids: Vec<u32> = sampler.candidates(&pool, &logits, &context)?.iter().map(|c| c.token.id).collect();
/// assert_eq!(ids, [1, 2]);
/// let token = sampler.sample(&pool, &logits, &context)?;
/// assert!(ids.contains(&token.id));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    seed: u64,
    sample: u32,
    drawn: u64,
    candidates: Vec<Candidate>,
    /// Mirostat's bound on the surprise, in bits.
    mu: Option<f64>,
    /// The share of the probability that mirostat left to the candidates.
    kept: f64,
    /// The logits after biases and penalties, where there are some.
    tilted: Vec<f32>,
    weights: Vec<f32>,
    tilt: tilt::Scratch,
    truncate: truncate::Scratch,
}

impl Sampler {
    /// A sampler for the `sample`-th of several texts (0 where there is one).
    ///
    /// # Errors
    /// As [`Sampling::validate`].
    pub fn new(sampling: Sampling, seed: u64, sample: u32) -> Result<Self, Error> {
        sampling.validate()?;
        Ok(Self {
            mu: sampling.mirostat.map(|mirostat| 2.0 * f64::from(mirostat.tau)),
            sampling,
            seed,
            sample,
            drawn: 0,
            candidates: Vec::new(),
            kept: 1.0,
            tilted: Vec::new(),
            weights: Vec::new(),
            tilt: tilt::Scratch::default(),
            truncate: truncate::Scratch::default(),
        })
    }

    /// Draws the token that follows the context, given the model's logits (V).
    ///
    /// 12 bytes and about 25 flops for each of V twice over, plus what the filters look at: below 1% of the time that a
    /// 124M model takes for the logits, see `examples/decode_speed.rs`.
    ///
    /// # Errors
    /// As [`Sampler::candidates`].
    pub fn sample(&mut self, pool: &Pool, logits: &[f32], context: &Context<'_>) -> Result<Token, Error> {
        self.candidates(pool, logits, context)?;
        let total: f64 = self.candidates.iter().map(|c| f64::from(c.probability)).sum();
        let stop = self.number(DRAW) * total;
        self.drawn += 1;
        let mut passed = 0.0;
        let drawn = self.candidates.iter().find(|c| {
            passed += f64::from(c.probability);
            passed > stop
        });
        // `stop` may round up to the total: then it is the last.
        let candidate = *drawn
            .or(self.candidates.last())
            .expect("there is a candidate where there is no error");
        if let (Some(mu), Some(mirostat)) = (&mut self.mu, self.sampling.mirostat) {
            let surprise = -(f64::from(candidate.probability) * self.kept).log2();
            *mu -= f64::from(mirostat.eta) * (surprise - f64::from(mirostat.tau));
        }
        Ok(candidate.token)
    }

    /// The tokens that [`Sampler::sample`] chooses among at these logits (V), in the order of their ids. Draws nothing.
    ///
    /// Tokens whose probability rounds to zero are left out.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where a logit is NaN or +inf: to draw around it would hide a broken model.
    /// [`Error::NoCandidate`] where every token is forbidden. [`Error::Token`] where the context holds an id that is not
    /// below V, [`Error::Bias`] where the bias does.
    pub fn candidates(&mut self, pool: &Pool, logits: &[f32], context: &Context<'_>) -> Result<&[Candidate], Error> {
        check_logits(logits)?;
        check_ids(context.ids, logits.len())?;
        self.weights.resize(logits.len(), 0.0);
        let (max, sum) = softmax_weights(pool, &mut self.weights, logits, 1.0);
        let norm = max + sum.ln();
        let token = |id: u32| Token {
            id,
            logprob: logits[id as usize] - norm,
        };
        let changed = tilt::tilt(&mut self.tilted, logits, context, &self.sampling, &mut self.tilt)?;
        let tilted = if changed { &self.tilted } else { logits };
        self.candidates.clear();
        self.kept = 1.0;
        let temperature = self.sampling.temperature;
        if temperature == 0.0 {
            let likeliest = kth(tilted, 1, &mut self.truncate.best).ok_or(Error::NoCandidate {
                vocab_size: logits.len(),
            })?;
            self.candidates.push(Candidate {
                token: token(likeliest.id),
                probability: 1.0,
            });
            return Ok(&self.candidates);
        }
        if changed {
            check_logits(tilted)?;
        }
        if temperature != 1.0 || changed {
            softmax_weights(pool, &mut self.weights, tilted, 1.0 / temperature);
        }
        let turn = Turn {
            exclude: self
                .sampling
                .xtc
                .is_some_and(|xtc| self.number(EXCLUDE) < f64::from(xtc.probability)),
            mu: self.mu,
        };
        self.kept = truncate(&self.sampling, tilted, &self.weights, turn, &mut self.truncate);
        let tokens = &self.truncate.tokens;
        let inverse = 1.0 / mass(tokens);
        self.candidates.extend(tokens.iter().map(|t| Candidate {
            token: token(t.rank.id),
            probability: (f64::from(t.weight) * inverse) as f32,
        }));
        Ok(&self.candidates)
    }

    /// The number of the next draw for one use.
    fn number(&self, purpose: u32) -> f64 {
        let stream = Stream {
            seed: self.seed,
            step: self.sample.into(),
            purpose,
        };
        stream.uniform_f64(self.drawn)
    }
}

/// Refuses NaN and +inf anywhere, and -inf everywhere.
pub(crate) fn check_logits(logits: &[f32]) -> Result<(), Error> {
    // Without a way out of the middle, so that many are compared at once.
    let finite = |x: &f32| *x < f32::INFINITY;
    if !logits.iter().fold(true, |all, x| all & finite(x))
        && let Some(id) = logits.iter().position(|x| !finite(x))
    {
        return Err(Error::NotFinite {
            id: id as u32,
            found: logits[id],
        });
    }
    if logits.iter().all(|x| *x == f32::NEG_INFINITY) {
        return Err(Error::NoCandidate {
            vocab_size: logits.len(),
        });
    }
    Ok(())
}

/// Refuses ids that are not below `vocab_size`.
pub(crate) fn check_ids(ids: &[u32], vocab_size: usize) -> Result<(), Error> {
    match ids.iter().position(|&id| id as usize >= vocab_size) {
        None => Ok(()),
        Some(position) => Err(Error::Token {
            id: ids[position],
            position,
            vocab_size,
        }),
    }
}
