//! How well a model expects tokens: the only place where scoring touches the model. What is scored, and what becomes of the
//! losses, is told by [`crate::eval`].

use crate::error::Error;
use crate::gpt::Gpt;
use foretoken_formats::memory::available_memory;
use foretoken_formats::safetensors::open_model_dir;
use foretoken_kernels::IGNORE_INDEX;
use foretoken_model::{Arena, Batch, DecodeState, Pass, find, human_bytes};
use std::collections::BTreeMap;

/// Tokens of a continuation whose logits exist at a time: 6 MB at V = 50257.
const ROWS: usize = 32;

/// One token of a scored text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenScore {
    /// The token.
    pub id: u32,
    /// -ln of the probability the model gave it, in nats.
    pub loss: f32,
}

/// A scored text.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Every token of the text.
    pub tokens: Vec<TokenScore>,
    /// Bytes of the text.
    pub bytes: usize,
}

impl Score {
    /// Sum of the losses in nats.
    pub fn nats(&self) -> f64 {
        self.tokens.iter().map(|token| f64::from(token.loss)).sum()
    }

    /// Mean loss a token in nats.
    pub fn loss(&self) -> f64 {
        self.nats() / self.tokens.len() as f64
    }

    /// e to the mean loss a token.
    pub fn perplexity(&self) -> f64 {
        self.loss().exp()
    }

    /// Bits that the model needs for a byte of the text: comparable across tokenisers.
    pub fn bits_per_byte(&self) -> f64 {
        self.nats() / std::f64::consts::LN_2 / self.bytes as f64
    }
}

/// What a model's weights take where they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Numbers that were trained; a tied head counts once.
    pub parameters: u64,
    /// Bytes they are stored in.
    pub bytes: u64,
    /// The type that most of them have, in small letters: `f32`, `f16`, …
    pub dtype: String,
}

impl Stored {
    /// Bits a parameter, on average over all tensors.
    pub fn bits_per_weight(&self) -> f64 {
        8.0 * self.bytes as f64 / self.parameters as f64
    }
}

impl Gpt {
    /// Scores a text as a document of its own: the first token follows the end-of-text token. A text longer than the
    /// context is cut into pieces of n_positions tokens, each of which sees only itself and the token before;
    /// [`crate::eval::score_texts`] lets pieces overlap.
    ///
    /// # Errors
    /// [`Error::Empty`], those of [`Gpt::scorer`], [`Error::NoLoss`].
    pub fn score(&self, text: &str) -> Result<Score, Error> {
        let mut ids = vec![self.tokenizer().eos_id()];
        ids.extend(self.tokenizer().encode(text));
        let count = ids.len() - 1;
        if count == 0 {
            return Err(Error::Empty);
        }
        let window = self.model().dims().n_positions.min(count);
        let mut scorer = self.scorer(window)?;
        let mut losses = vec![0.0; count];
        for (piece, losses) in losses.chunks_mut(window).enumerate() {
            let start = piece * window;
            scorer.token_losses(&ids[start..=start + losses.len()], losses)?;
        }
        let tokens = ids[1..]
            .iter()
            .zip(&losses)
            .map(|(&id, &loss)| TokenScore { id, loss })
            .collect();
        Ok(Score {
            tokens,
            bytes: text.len(),
        })
    }

    /// For scoring tokens that see up to `context` tokens.
    ///
    /// # Errors
    /// [`Error::Windows`] where `context` is 0 or the model has fewer positions, [`Error::ScoreMemory`].
    pub fn scorer(&self, context: usize) -> Result<Scorer<'_>, Error> {
        let (model, n_positions) = (self.model(), self.model().dims().n_positions);
        if !(1..=n_positions).contains(&context) {
            return Err(Error::Windows {
                context,
                stride: None,
                n_positions,
            });
        }
        let scratch = model.scratch(1, context, Pass::Score);
        let scratch = scratch.shared + scratch.a_thread * self.pool().threads();
        let needed = model.activations(1, context, Pass::Score).bytes() + 4 * scratch as u64;
        match available_memory() {
            Some(available) if available < needed => Err(Error::ScoreMemory {
                context,
                needed: human_bytes(needed),
                available: human_bytes(available),
            }),
            _ => Ok(Scorer {
                gpt: self,
                context,
                arena: None,
                all: Vec::new(),
                state: None,
                begun: 0,
                next: Vec::new(),
                rows: Vec::new(),
            }),
        }
    }

    /// Whether all weights are numbers. Not every kernel hands a NaN on (a softmax may drop it), and losses would be numbers
    /// that mean nothing.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for the first tensor with a weight that is NaN or infinite.
    pub fn check_weights(&self) -> Result<(), Error> {
        // No branch a weight: as fast as memory is read.
        let broken = |weights: &[f32]| {
            weights
                .iter()
                .fold(false, |broken, weight| broken | !weight.is_finite())
        };
        let weights = self.weights();
        let mut specs = self.model().params().specs().iter();
        match specs.find(|spec| weights[spec.range.clone()].chunks(1 << 12).any(broken)) {
            None => Ok(()),
            Some(spec) => Err(Error::NotFinite {
                path: self.path().to_owned(),
                tensor: spec.name.clone(),
            }),
        }
    }

    /// What the weights take in their files.
    ///
    /// # Errors
    /// The files cannot be read any more.
    pub fn stored(&self) -> Result<Stored, Error> {
        let files = open_model_dir(self.path())?;
        let mut bytes = 0;
        let mut elements: BTreeMap<String, u64> = BTreeMap::new();
        for tensor in self
            .model()
            .params()
            .specs()
            .iter()
            .filter_map(|spec| find(spec, &files))
        {
            bytes += tensor.bytes.len() as u64;
            *elements
                .entry(format!("{:?}", tensor.dtype).to_lowercase())
                .or_default() += tensor.elements() as u64;
        }
        let most = elements.into_iter().max_by_key(|(_, count)| *count);
        Ok(Stored {
            parameters: self.model().params().count(),
            bytes,
            dtype: most.map_or_else(String::new, |(dtype, _)| dtype),
        })
    }
}

/// A model that scores windows and continuations one after another in the same memory; see [`Gpt::scorer`].
#[derive(Debug)]
pub struct Scorer<'a> {
    gpt: &'a Gpt,
    context: usize,
    /// Activations of so many tokens.
    arena: Option<(usize, Arena)>,
    /// Losses of a window, those that do not count among them.
    all: Vec<f32>,
    /// Keys and values of what continuations follow, and behind them those of the last continuation.
    state: Option<DecodeState>,
    /// Tokens that continuations follow.
    begun: usize,
    /// Logits (V) behind them.
    next: Vec<f32>,
    /// Logits (T,V) behind tokens of a continuation.
    rows: Vec<f32>,
}

impl Scorer<'_> {
    /// Tokens that a token can see.
    pub fn context(&self) -> usize {
        self.context
    }

    /// `-ln p` of each of the last `losses.len()` tokens of `ids`, given all of `ids` before it, in nats.
    ///
    /// # Errors
    /// [`Error::NoLoss`], no memory.
    ///
    /// # Panics
    /// Where no token stands before those that are scored, or `ids` are more than the context and one.
    pub fn token_losses(&mut self, ids: &[u32], losses: &mut [f32]) -> Result<(), Error> {
        let (t, count) = (ids.len() - 1, losses.len());
        assert!(
            count <= t && t <= self.context,
            "{count} of {} tokens scored in a context of {}",
            ids.len(),
            self.context
        );
        if count == 0 {
            return Ok(());
        }
        let target = |(at, &id): (usize, &u32)| if at < t - count { IGNORE_INDEX } else { id as i32 };
        let targets: Vec<i32> = ids[1..].iter().enumerate().map(target).collect();
        let batch = Batch {
            b: 1,
            t,
            ids: &ids[..t],
            targets: &targets,
        };
        let model = self.gpt.model();
        let arena = match &mut self.arena {
            Some((planned, arena)) if *planned == t => arena,
            slot => {
                // The old one goes first: two would take twice the memory that was checked.
                *slot = None;
                &mut slot.insert((t, Arena::new(model.activations(1, t, Pass::Score))?)).1
            }
        };
        self.all.resize(t, 0.0);
        model.losses(self.gpt.pool(), self.gpt.weights(), arena, &batch, &mut self.all);
        losses.copy_from_slice(&self.all[t - count..]);
        self.finite(losses)
    }

    /// Reads the tokens that the next continuations follow.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Panics
    /// Where there are none, or more than the context.
    pub fn begin(&mut self, ids: &[u32]) -> Result<(), Error> {
        let model = self.gpt.model();
        let state = match &mut self.state {
            Some(state) => state,
            none => none.insert(model.decode_state(self.context)?),
        };
        state.truncate(0);
        self.next.resize(model.dims().vocab_size, 0.0);
        model.decode(self.gpt.pool(), self.gpt.weights(), state, ids, &mut self.next);
        self.begun = ids.len();
        Ok(())
    }

    /// `-ln p` of each of the last `losses.len()` tokens of `ids`, which follow the tokens of [`Scorer::begin`], in nats.
    /// The same numbers whatever other continuations came before.
    ///
    /// # Errors
    /// [`Error::NoLoss`].
    ///
    /// # Panics
    /// Where nothing was begun, more are scored than there are, or tokens would be read past the context.
    pub fn continuation_losses(&mut self, ids: &[u32], losses: &mut [f32]) -> Result<(), Error> {
        let count = losses.len();
        assert!(count <= ids.len(), "{count} of {} tokens scored", ids.len());
        let state = self.state.as_mut().expect("a continuation follows `begin`");
        state.truncate(self.begun);
        let (model, v) = (self.gpt.model(), self.next.len());
        let skipped = ids.len() - count;
        let mut keep = |at: usize, loss: f32| {
            if at >= skipped {
                losses[at - skipped] = loss;
            }
        };
        let Some((&first, rest)) = ids.split_first() else {
            return Ok(());
        };
        keep(0, loss(&self.next, first));
        // What follows the last token is of no interest: it is never read.
        let before = &ids[..rest.len()];
        for (chunk, (read, wanted)) in before.chunks(ROWS).zip(rest.chunks(ROWS)).enumerate() {
            self.rows.resize(read.len() * v, 0.0);
            model.decode_each(self.gpt.pool(), self.gpt.weights(), state, read, &mut self.rows);
            for (row, (logits, &id)) in self.rows.chunks_exact(v).zip(wanted).enumerate() {
                keep(1 + chunk * ROWS + row, loss(logits, id));
            }
        }
        self.finite(losses)
    }

    fn finite(&self, losses: &[f32]) -> Result<(), Error> {
        match losses.iter().all(|loss| loss.is_finite()) {
            true => Ok(()),
            false => Err(Error::NoLoss {
                path: self.gpt.path().to_owned(),
            }),
        }
    }
}

/// `ln sum_v exp(logits[v]) - logits[id]`, summed in f64.
fn loss(logits: &[f32], id: u32) -> f32 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum();
    (max + sum.ln() - f64::from(logits[id as usize])) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_continuations_give_the_same_losses() {
        let dir = tempfile::tempdir().unwrap();
        let gpt = crate::open(crate::doc_model(dir.path()).unwrap()).unwrap();
        let ids: Vec<u32> = gpt.tokenizer().encode("Mina went to the forest. 미나는");
        let ids = &ids[..32];
        let mut scorer = gpt.scorer(32).unwrap();
        let mut whole = vec![0.0; 31];
        scorer.token_losses(ids, &mut whole).unwrap();
        let mut last = vec![0.0; 9];
        scorer.token_losses(ids, &mut last).unwrap();
        assert_eq!(last, whole[22..]);
        for begun in [1, 5, 31] {
            scorer.begin(&ids[..begun]).unwrap();
            for (end, count) in [(32, 32 - begun), (begun + 1, 1), (32, 1), (begun, 0)] {
                let mut losses = vec![0.0; count];
                scorer.continuation_losses(&ids[begun..end], &mut losses).unwrap();
                let want = &whole[end - 1 - count..end - 1];
                for (loss, want) in losses.iter().zip(want) {
                    assert!((loss - want).abs() < 1e-5, "{begun} {end} {count}: {losses:?} {want:?}");
                }
            }
        }
        assert!(matches!(
            gpt.scorer(33),
            Err(Error::Windows {
                context: 33,
                n_positions: 32,
                ..
            })
        ));
        let stored = gpt.stored().unwrap();
        assert_eq!((stored.dtype.as_str(), stored.bits_per_weight()), ("f32", 32.0));
        assert_eq!(stored.bytes, 4 * gpt.model().params().count());
    }
}
