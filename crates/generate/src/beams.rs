//! Beam search: the likeliest texts, not likely tokens one after another.

use crate::error::Error;
use crate::generator::{Finish, Generator};
use crate::rank::kth;
use crate::sampler::check_logits;
use foretoken_kernels::softmax_weights;
use foretoken_model::DecodeState;

/// The most texts that are followed at once: each has a key/value cache of its own.
const MOST: usize = 64;

/// What is searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamOptions {
    /// Texts that are followed at once.
    pub beams: usize,
    /// Texts are compared by their log-probability divided by `length^length_penalty`, the end token counted: above 0 longer
    /// ones are preferred, below 0 shorter ones.
    pub length_penalty: f32,
    /// Tokens after which a text ends at the latest; the context's end is the other limit.
    pub max_tokens: usize,
    /// Tokens that end a text. They are not part of it.
    pub end: Vec<u32>,
    /// Tokens are taken below this id: the tokeniser's size, which a padded embedding exceeds.
    pub vocab_size: usize,
}

/// A text that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Beam {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Its log-probability divided by `length^length_penalty`.
    pub score: f64,
    /// Why it ended.
    pub finish: Finish,
}

/// A text that is followed.
struct Running {
    ids: Vec<u32>,
    /// The sum of its tokens' log-probabilities.
    logprob: f64,
    state: DecodeState,
    logits: Vec<f32>,
}

/// What a text needs beside its tokens: its cache, and the logits that follow it.
type Memory = (DecodeState, Vec<f32>);

/// A text and the token after it.
struct Next {
    logprob: f64,
    parent: usize,
    id: u32,
}

impl BeamOptions {
    fn validate(&self) -> Result<(), Error> {
        let (beams, penalty) = (self.beams, self.length_penalty);
        let error = |field, found, expected| Err(Error::Sampling { field, found, expected });
        if !(2..=MOST).contains(&beams) {
            return error("beams", beams as f32, "2 to 64 (one is greedy: temperature 0)");
        }
        if !(-10.0..=10.0).contains(&penalty) {
            return error("length_penalty", penalty, "a number from -10 to 10");
        }
        Ok(())
    }
}

impl Generator<'_> {
    /// Bytes that [`Generator::beam_search`] takes for the texts it follows, at most.
    pub fn beam_bytes(&self, options: &BeamOptions) -> u64 {
        let dims = self.model().dims();
        let plan = self.model().decode_plan(dims.n_positions, self.cache_type());
        let each = plan.cache_bytes() + plan.work.bytes() + 4 * dims.vocab_size as u64;
        options.beams as u64 * each
    }

    /// The best texts after the prompt, as many as there are beams or fewer, the best first. Draws nothing: the same prompt
    /// gives the same texts, on any number of threads.
    ///
    /// It ends as `transformers` does by default: with as many ended texts as beams, once the best of those that go on, at
    /// its length now, is behind the worst of them. Of equal texts the one found first is the better.
    ///
    /// A step reads every weight once for all beams; where a text goes on in two ways, its cache is copied.
    ///
    /// # Errors
    /// [`Error::Sampling`] where an option means nothing, [`Error::EmptyPrompt`] before the first prompt,
    /// [`Error::NotFinite`] where the model gives no distribution, [`Error::Model`] where there is no memory.
    pub fn beam_search(&mut self, options: &BeamOptions) -> Result<Vec<Beam>, Error> {
        options.validate()?;
        self.rewind()?;
        let (prompt, logits) = self.prompt_state();
        let positions = self.model().dims().n_positions;
        let most = options.max_tokens.min(positions + 1 - prompt.len());
        if most == 0 {
            return Ok(vec![Beam {
                ids: Vec::new(),
                score: 0.0,
                finish: Finish::MaxTokens,
            }]);
        }
        let capacity = positions.min(prompt.len() + most);
        let mut state = self.model().decode_state(capacity, self.cache_type())?;
        state.copy_from(prompt);
        let mut running = vec![Running {
            ids: Vec::new(),
            logprob: 0.0,
            state,
            logits: logits.to_vec(),
        }];
        // Those whose text was given up.
        let mut spare: Vec<Memory> = Vec::new();
        let mut finished: Vec<Beam> = Vec::new();
        for length in 1..=most {
            let normalised = |logprob: f64| logprob / (length as f64).powf(options.length_penalty.into());
            let mut goes_on = Vec::new();
            for (place, next) in self.best(options, &running)?.into_iter().enumerate() {
                let end = options.end.contains(&next.id);
                if !end && length < most {
                    goes_on.push(next);
                    continue;
                }
                // What stands behind the first is there so that enough texts go on.
                if place < options.beams {
                    let mut ids = running[next.parent].ids.clone();
                    let finish = match end {
                        true => Finish::End(next.id),
                        false => {
                            ids.push(next.id);
                            Finish::MaxTokens
                        }
                    };
                    let score = normalised(next.logprob);
                    finished.push(Beam { ids, score, finish });
                }
            }
            finished.sort_by(|a, b| b.score.total_cmp(&a.score));
            finished.truncate(options.beams);
            goes_on.truncate(options.beams);
            let Some(best) = goes_on.first() else {
                break;
            };
            if finished.len() == options.beams && normalised(best.logprob) <= finished[options.beams - 1].score {
                break;
            }
            running = self.advance(running, goes_on, &mut spare, capacity)?;
        }
        Ok(finished)
    }

    /// The likeliest continuations by one token, the best first: so many that as many as beams go on though others end.
    fn best(&self, options: &BeamOptions, running: &[Running]) -> Result<Vec<Next>, Error> {
        let wanted = options.beams * (1 + options.end.len().max(1));
        let (mut weights, mut ranks, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (parent, beam) in running.iter().enumerate() {
            let logits = &beam.logits[..options.vocab_size.min(beam.logits.len())];
            check_logits(logits)?;
            weights.resize(logits.len(), 0.0);
            let (max, sum) = softmax_weights(self.pool(), &mut weights, logits, 1.0);
            let norm = f64::from(max) + f64::from(sum).ln();
            kth(logits, wanted, &mut ranks);
            all.extend(ranks.iter().map(|rank| Next {
                logprob: beam.logprob + f64::from(rank.logit) - norm,
                parent,
                id: rank.id,
            }));
        }
        all.sort_by(|a, b| {
            let ids = (a.parent, a.id).cmp(&(b.parent, b.id));
            b.logprob.total_cmp(&a.logprob).then(ids)
        });
        all.truncate(wanted);
        Ok(all)
    }

    /// The texts that go on, each read to its last token. A text's first continuation takes its cache, others copy it.
    fn advance(
        &self,
        running: Vec<Running>,
        goes_on: Vec<Next>,
        spare: &mut Vec<Memory>,
        capacity: usize,
    ) -> Result<Vec<Running>, Error> {
        let mut parents: Vec<(Vec<u32>, Option<Memory>)> = running
            .into_iter()
            .map(|beam| (beam.ids, Some((beam.state, beam.logits))))
            .collect();
        for (parent, (_, memory)) in parents.iter_mut().enumerate() {
            if goes_on.iter().all(|next| next.parent != parent) {
                spare.extend(memory.take());
            }
        }
        let mut beams: Vec<Running> = Vec::with_capacity(goes_on.len());
        let mut first = vec![None; parents.len()];
        for (at, next) in goes_on.iter().enumerate() {
            let (state, logits) = match (parents[next.parent].1.take(), first[next.parent]) {
                (Some(memory), _) => {
                    first[next.parent] = Some(at);
                    memory
                }
                (None, from) => {
                    let from: &Running = &beams[from.expect("the first has its parent's")];
                    let (mut state, logits) = match spare.pop() {
                        Some(memory) => memory,
                        None => (
                            self.model().decode_state(capacity, self.cache_type())?,
                            vec![0.0; from.logits.len()],
                        ),
                    };
                    state.copy_from(&from.state);
                    (state, logits)
                }
            };
            let mut ids = parents[next.parent].0.clone();
            ids.push(next.id);
            beams.push(Running {
                ids,
                logprob: next.logprob,
                state,
                logits,
            });
        }
        let v = self.model().dims().vocab_size;
        let (ids, mut logits): (Vec<u32>, _) =
            (goes_on.iter().map(|next| next.id).collect(), vec![0.0; beams.len() * v]);
        let mut states: Vec<&mut DecodeState> = beams.iter_mut().map(|beam| &mut beam.state).collect();
        self.decode_together(&mut states, &ids, &mut logits);
        for (beam, logits) in beams.iter_mut().zip(logits.chunks_exact(v)) {
            beam.logits.copy_from_slice(logits);
        }
        Ok(beams)
    }
}
