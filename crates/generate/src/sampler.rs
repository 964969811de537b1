//! From logits to a token.

use crate::error::Error;
use crate::rank::{Rank, Weighted, kth, nucleus};
use crate::sampling::Sampling;
use foretoken_kernels::{Pool, Stream, softmax_weights};

/// Where the draws' random numbers begin, apart from every other use of a seed.
const PURPOSE: u32 = 0x5000_0000;

/// A generated token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// Its id, below V.
    pub id: u32,
    /// The natural logarithm of the probability that the model gave it: at temperature 1, before penalty and filters.
    pub logprob: f32,
}

/// A token that a draw chooses among.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The token, with the logarithm of the probability that the model gave it.
    pub token: Token,
    /// The probability that it is drawn with: after penalty, temperature and filters. Candidates' sum to 1.
    pub probability: f32,
}

/// Draws tokens from logits.
///
/// Draw `i` of a sampler uses number `i` of a counter-based stream of (seed, sample): the same parameters, seed and logits
/// give the same tokens, on any number of threads, and two samples of one seed share no numbers. Candidates are laid end
/// to end in the order of their ids and the number says where to stop.
///
/// ```
/// use foretoken_generate::{Sampler, Sampling};
/// use foretoken_kernels::Pool;
///
/// let pool = Pool::new(1)?;
/// let logits = [0.0, 2.0, 1.0, -1.0];
/// let mut sampler = Sampler::new(Sampling { top_k: 2, ..Sampling::default() }, 42, 0)?;
/// let ids: Vec<u32> = sampler.candidates(&pool, &logits, &[])?.iter().map(|c| c.token.id).collect();
/// assert_eq!(ids, [1, 2]);
/// let token = sampler.sample(&pool, &logits, &[])?;
/// assert!(ids.contains(&token.id));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    stream: Stream,
    drawn: u64,
    candidates: Vec<Candidate>,
    /// The logits after the penalty, where there is one.
    penalised: Vec<f32>,
    scratch: Scratch,
}

/// Memory that is used again at every draw.
#[derive(Clone, Debug, Default)]
struct Scratch {
    weights: Vec<f32>,
    best: Vec<Rank>,
    tokens: Vec<Weighted>,
    nucleus: Vec<Weighted>,
}

impl Sampler {
    /// A sampler for the `sample`-th of several texts (0 where there is one).
    ///
    /// # Errors
    /// As [`Sampling::validate`].
    pub fn new(sampling: Sampling, seed: u64, sample: u32) -> Result<Self, Error> {
        sampling.validate()?;
        let stream = Stream {
            seed,
            step: sample.into(),
            purpose: PURPOSE,
        };
        Ok(Self {
            sampling,
            stream,
            drawn: 0,
            candidates: Vec::new(),
            penalised: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    /// Draws the token that follows `history`, given the model's logits (V).
    ///
    /// 12 bytes and about 25 flops for each of V twice over, plus what the filters look at: below 1% of the time that a
    /// 124M model takes for the logits, see `examples/decode_speed.rs`.
    ///
    /// # Errors
    /// As [`Sampler::candidates`].
    pub fn sample(&mut self, pool: &Pool, logits: &[f32], history: &[u32]) -> Result<Token, Error> {
        self.candidates(pool, logits, history)?;
        let total: f64 = self.candidates.iter().map(|c| f64::from(c.probability)).sum();
        let stop = self.stream.uniform_f64(self.drawn) * total;
        self.drawn += 1;
        let mut passed = 0.0;
        let drawn = self.candidates.iter().find(|c| {
            passed += f64::from(c.probability);
            passed > stop
        });
        // `stop` may round up to the total: then it is the last.
        let candidate = drawn.or(self.candidates.last());
        Ok(candidate.expect("there is a candidate where there is no error").token)
    }

    /// The tokens that [`Sampler::sample`] chooses among at these logits (V), in the order of their ids. Draws nothing.
    ///
    /// Tokens whose probability rounds to zero are left out.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where a logit is NaN or +inf: to draw around it would hide a broken model.
    /// [`Error::NoCandidate`] where all are -inf. [`Error::Token`] where the history holds an id that is not below V.
    pub fn candidates(&mut self, pool: &Pool, logits: &[f32], history: &[u32]) -> Result<&[Candidate], Error> {
        check_logits(logits)?;
        check_ids(history, logits.len())?;
        let s = &mut self.scratch;
        s.weights.resize(logits.len(), 0.0);
        let (max, sum) = softmax_weights(pool, &mut s.weights, logits, 1.0);
        let norm = max + sum.ln();
        let token = |id: u32| Token {
            id,
            logprob: logits[id as usize] - norm,
        };
        let Sampling {
            temperature,
            repetition_penalty,
            ..
        } = self.sampling;
        let tilted = if repetition_penalty == 1.0 {
            logits
        } else {
            penalise(&mut self.penalised, logits, history, repetition_penalty);
            &self.penalised
        };
        self.candidates.clear();
        if temperature == 0.0 {
            let likeliest = kth(tilted, 1, &mut s.best).expect("a logit above -inf");
            self.candidates.push(Candidate {
                token: token(likeliest.id),
                probability: 1.0,
            });
            return Ok(&self.candidates);
        }
        if temperature != 1.0 || repetition_penalty != 1.0 {
            softmax_weights(pool, &mut s.weights, tilted, 1.0 / temperature);
        }
        filter(&self.sampling, tilted, s);
        let total: f64 = s.tokens.iter().map(|t| f64::from(t.weight)).sum();
        let inverse = 1.0 / total;
        self.candidates.extend(s.tokens.iter().map(|t| Candidate {
            token: token(t.rank.id),
            probability: (f64::from(t.weight) * inverse) as f32,
        }));
        Ok(&self.candidates)
    }
}

/// `penalised` becomes the logits after the repetition penalty.
fn penalise(penalised: &mut Vec<f32>, logits: &[f32], history: &[u32], penalty: f32) {
    penalised.clear();
    penalised.extend_from_slice(logits);
    for &id in history {
        // From the model's own logit, so that a token that occurs again is not penalised again.
        let logit = logits[id as usize];
        let tilted = if logit > 0.0 { logit / penalty } else { logit * penalty };
        if logit > f32::NEG_INFINITY {
            // A huge logit must not become an infinity.
            penalised[id as usize] = tilted.clamp(f32::MIN, f32::MAX);
        }
    }
}

/// `s.tokens` becomes what top-k, top-p and min-p leave of `s.weights`, in the order of ids.
fn filter(sampling: &Sampling, logits: &[f32], s: &mut Scratch) {
    let &Sampling {
        top_k, top_p, min_p, ..
    } = sampling;
    let cut = match (1..logits.len()).contains(&top_k) {
        true => kth(logits, top_k, &mut s.best),
        false => None,
    };
    let ranks = logits.iter().zip(0..).map(|(&logit, id)| Rank { logit, id });
    s.tokens.clear();
    s.tokens.extend(
        ranks
            .zip(&s.weights)
            .map(|(rank, &weight)| Weighted { rank, weight })
            .filter(|t| t.weight > 0.0 && cut.is_none_or(|last| t.rank.within(&last))),
    );
    if top_p < 1.0
        && let Some(last) = nucleus(&s.tokens, top_p, &mut s.nucleus)
    {
        s.tokens.retain(|t| t.rank.within(&last));
    }
    if min_p > 0.0 {
        // The likeliest token's weight is exactly 1, and no filter takes it away.
        s.tokens.retain(|t| t.weight >= min_p);
    }
}

/// Refuses NaN and +inf anywhere, and -inf everywhere.
fn check_logits(logits: &[f32]) -> Result<(), Error> {
    if let Some(id) = logits.iter().position(|x| x.is_nan() || *x == f32::INFINITY) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool() -> Pool {
        Pool::new(1).unwrap()
    }

    /// Logits of the probabilities 0.4, 0.1, 0.3, 0.2.
    fn logits() -> [f32; 4] {
        [0.4f32, 0.1, 0.3, 0.2].map(|p| p.ln() + 1.5)
    }

    fn kept(sampling: Sampling, logits: &[f32], history: &[u32]) -> Vec<(u32, f32)> {
        let mut sampler = Sampler::new(sampling, 0, 0).unwrap();
        let candidates = sampler.candidates(&pool(), logits, history).unwrap();
        candidates.iter().map(|c| (c.token.id, c.probability)).collect()
    }

    #[track_caller]
    fn check(sampling: Sampling, history: &[u32], want: &[(u32, f32)]) {
        let found = kept(sampling, &logits(), history);
        let near = |(a, b): (&(u32, f32), &(u32, f32))| a.0 == b.0 && (a.1 - b.1).abs() < 1e-6;
        assert!(
            found.len() == want.len() && found.iter().zip(want).all(near),
            "{found:?}, want {want:?}"
        );
    }

    #[test]
    fn each_filter_keeps_what_a_hand_would() {
        let d = Sampling::default();
        check(d, &[], &[(0, 0.4), (1, 0.1), (2, 0.3), (3, 0.2)]);
        check(Sampling { top_k: 2, ..d }, &[], &[(0, 4.0 / 7.0), (2, 3.0 / 7.0)]);
        // 0.4 + 0.3 are the fewest that reach 0.6; 0.75 takes the third.
        check(Sampling { top_p: 0.6, ..d }, &[], &[(0, 4.0 / 7.0), (2, 3.0 / 7.0)]);
        check(
            Sampling { top_p: 0.75, ..d },
            &[],
            &[(0, 4.0 / 9.0), (2, 3.0 / 9.0), (3, 2.0 / 9.0)],
        );
        check(Sampling { top_p: 0.0, ..d }, &[], &[(0, 1.0)]);
        // At least 0.6 * 0.4 = 0.24.
        check(Sampling { min_p: 0.6, ..d }, &[], &[(0, 4.0 / 7.0), (2, 3.0 / 7.0)]);
        check(Sampling { min_p: 1.0, ..d }, &[], &[(0, 1.0)]);
        // Squares of the probabilities: 16, 1, 9, 4 of 30.
        check(
            Sampling { temperature: 0.5, ..d },
            &[],
            &[(0, 16.0 / 30.0), (1, 1.0 / 30.0), (2, 9.0 / 30.0), (3, 4.0 / 30.0)],
        );
        check(Sampling::greedy(), &[], &[(0, 1.0)]);
    }

    #[test]
    fn filters_run_one_after_another() {
        let d = Sampling::default();
        // Top-k leaves 4/7 and 3/7, so 0.5 is reached by the first alone; of the whole it is 0.4.
        check(
            Sampling {
                top_k: 2,
                top_p: 0.5,
                ..d
            },
            &[],
            &[(0, 1.0)],
        );
        // Tempered, the first holds 16/30 > 0.5.
        check(
            Sampling {
                temperature: 0.5,
                top_p: 0.5,
                ..d
            },
            &[],
            &[(0, 1.0)],
        );
        // Top-p counts what min-p would drop: 0.6 needs two of the whole, and min-p then keeps both.
        check(
            Sampling {
                top_p: 0.6,
                min_p: 0.7,
                ..d
            },
            &[],
            &[(0, 4.0 / 7.0), (2, 3.0 / 7.0)],
        );
    }

    #[test]
    fn the_penalty_divides_positive_logits_and_multiplies_negative_ones_once() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::default()
        };
        let found = kept(sampling, &[2.0, -1.0, 0.0, 3.0], &[0, 1, 0, 0]);
        let weights = [1.0f32, -2.0, 0.0, 3.0].map(f32::exp);
        let total: f32 = weights.iter().sum();
        for (&(_, p), w) in found.iter().zip(weights) {
            assert!((p - w / total).abs() < 1e-6, "{found:?}");
        }
        // Greedy is penalised too, and the log-probability stays the model's own.
        let greedy = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::greedy()
        };
        let mut sampler = Sampler::new(greedy, 0, 0).unwrap();
        let token = sampler.sample(&pool(), &[2.0, 3.0], &[1]).unwrap();
        assert_eq!(token.id, 0);
        assert!((token.logprob + 1.313_261_7).abs() < 1e-6, "{token:?}"); // -ln(1 + e)
        let big = Sampling {
            repetition_penalty: 0.01,
            ..Sampling::default()
        };
        assert_eq!(kept(big, &[f32::MAX, 0.0], &[0]), [(0, 1.0)]);
        let small = Sampling {
            repetition_penalty: 100.0,
            ..Sampling::default()
        };
        assert_eq!(kept(small, &[f32::MIN, f32::NEG_INFINITY], &[0, 1]), [(0, 1.0)]);
    }

    #[test]
    fn equal_logits_rank_by_the_lower_id() {
        let flat = [1.0; 5];
        assert_eq!(kept(Sampling::greedy(), &flat, &[]), [(0, 1.0)]);
        let ids = |sampling| -> Vec<u32> { kept(sampling, &flat, &[]).iter().map(|c| c.0).collect() };
        assert_eq!(
            ids(Sampling {
                top_k: 3,
                ..Sampling::default()
            }),
            [0, 1, 2]
        );
        assert_eq!(
            ids(Sampling {
                top_p: 0.5,
                ..Sampling::default()
            }),
            [0, 1, 2]
        );
        assert_eq!(
            ids(Sampling {
                min_p: 1.0,
                ..Sampling::default()
            }),
            [0, 1, 2, 3, 4]
        );
        assert_eq!(kept(Sampling::greedy(), &[-0.0, 0.0], &[]), [(0, 1.0)]);
    }

    #[test]
    fn broken_logits_are_errors_and_forbidden_tokens_are_never_drawn() {
        let mut sampler = Sampler::new(Sampling::default(), 0, 0).unwrap();
        let mut error =
            |logits: &[f32], history: &[u32]| sampler.sample(&pool(), logits, history).unwrap_err().to_string();
        assert!(error(&[f32::NAN; 3], &[]).contains("token 0 is NaN"));
        assert!(error(&[0.0, f32::INFINITY], &[]).contains("token 1 is inf"));
        assert!(error(&[f32::NEG_INFINITY; 3], &[]).contains("all 3 logits"));
        assert!(error(&[], &[]).contains("all 0 logits"));
        assert!(error(&[0.0; 3], &[2, 3]).contains("token 3 at position 1"));
        for i in 0..200 {
            let logits = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 1.0];
            let sampling = Sampling {
                top_k: [0, 3][i % 2],
                ..Sampling::default()
            };
            let mut sampler = Sampler::new(sampling, i as u64, 0).unwrap();
            let token = sampler.sample(&pool(), &logits, &[]).unwrap();
            assert!(token.id % 2 == 1 && token.logprob < 0.0);
        }
    }

    /// 20,000 draws against the filtered distribution: chi-square below its 1 - 1e-6 quantile (Wilson and Hilferty).
    #[test]
    fn draws_follow_the_distribution() {
        let logits: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin() * 2.0).collect();
        let pool = pool();
        let d = Sampling::default();
        for sampling in [
            d,
            Sampling {
                temperature: 0.6,
                top_p: 0.9,
                ..d
            },
            Sampling {
                temperature: 1.7,
                top_k: 20,
                min_p: 0.05,
                repetition_penalty: 1.3,
                ..d
            },
        ] {
            let mut sampler = Sampler::new(sampling, 7, 3).unwrap();
            let expected = sampler.candidates(&pool, &logits, &[1, 2, 3]).unwrap().to_vec();
            let draws = 20_000;
            let mut counts = vec![0u32; logits.len()];
            for _ in 0..draws {
                counts[sampler.sample(&pool, &logits, &[1, 2, 3]).unwrap().id as usize] += 1;
            }
            assert_eq!(counts.iter().filter(|&&c| c > 0).count(), expected.len());
            let chi: f64 = expected
                .iter()
                .map(|c| {
                    let want = f64::from(c.probability) * f64::from(draws);
                    assert!(want > 5.0, "a cell too small for chi-square");
                    (f64::from(counts[c.token.id as usize]) - want).powi(2) / want
                })
                .sum();
            let freedom = (expected.len() - 1) as f64;
            let spread = 2.0 / (9.0 * freedom);
            let limit = freedom * (1.0 - spread + 4.75 * spread.sqrt()).powi(3);
            assert!(chi < limit, "{sampling:?}: {chi} of {limit}");
        }
    }

    fn any_sampling() -> impl Strategy<Value = Sampling> {
        (0.0f32..3.0, 0usize..40, 0.0f32..=1.0, 0.0f32..=1.0, 0.5f32..2.0).prop_map(
            |(temperature, top_k, top_p, min_p, repetition_penalty)| Sampling {
                temperature,
                top_k,
                top_p,
                min_p,
                repetition_penalty,
            },
        )
    }

    proptest! {
        #[test]
        fn candidates_are_a_distribution_and_every_draw_is_one_of_them(
            logits in prop::collection::vec(-20.0f32..20.0, 1..100),
            sampling in any_sampling(),
            seed: u64,
        ) {
            let history = [0];
            let pool = pool();
            let mut sampler = Sampler::new(sampling, seed, 0).unwrap();
            let candidates = sampler.candidates(&pool, &logits, &history).unwrap().to_vec();
            let total: f32 = candidates.iter().map(|c| c.probability).sum();
            prop_assert!((total - 1.0).abs() < 1e-4);
            prop_assert!(candidates.windows(2).all(|w| w[0].token.id < w[1].token.id));
            prop_assert!(sampling.top_k == 0 || candidates.len() <= sampling.top_k);
            let token = sampler.sample(&pool, &logits, &history).unwrap();
            prop_assert!(candidates.iter().any(|c| c.token == token));
            let mut again = Sampler::new(sampling, seed, 0).unwrap();
            prop_assert_eq!(again.sample(&pool, &logits, &history).unwrap(), token);
        }
    }
}
