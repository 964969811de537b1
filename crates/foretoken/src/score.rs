//! How well a model expects tokens: the only place where scoring touches the model. What is scored, and what becomes of the
//! losses, is told by [`crate::eval`].

use crate::error::Error;
use crate::gpt::Gpt;
use foretoken_formats::memory::available_memory;
use foretoken_model::{DecodeState, SCORED, decode, decode_each, decode_scored, human_bytes};
use std::sync::Mutex;

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

/// What a model's weights take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Numbers that were trained; a tied head counts once.
    pub parameters: u64,
    /// Bytes that generation reads them from.
    pub bytes: u64,
    /// The type that most of them have there, in small letters: `f32`, `q8_0`, …
    pub dtype: String,
}

impl Held {
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
        let plan = model.decode_plan(context, self.weights().cache_type());
        let scratch = plan.scratch.shared + plan.scratch.a_thread * self.pool().threads();
        let needed = plan.cache_bytes() + plan.work.bytes() + 4 * (scratch + SCORED * model.dims().vocab_size) as u64;
        match available_memory() {
            Some(available) if available < needed => Err(Error::ScoreMemory {
                context,
                needed: human_bytes(needed),
                available: human_bytes(available),
            }),
            _ => Ok(Scorer {
                gpt: self,
                context,
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
        match self.weights().not_finite(self.model()) {
            None => Ok(()),
            Some(tensor) => Err(Error::NotFinite {
                path: self.path().to_owned(),
                tensor,
            }),
        }
    }

    /// What the weights take, as they were opened.
    pub fn held(&self) -> Held {
        Held {
            parameters: self.model().params().count(),
            bytes: self.weights().bytes(self.model()),
            dtype: self.weights().dtype().to_lowercase(),
        }
    }
}

/// A model that scores windows and continuations one after another in the same memory; see [`Gpt::scorer`].
#[derive(Debug)]
pub struct Scorer<'a> {
    gpt: &'a Gpt,
    context: usize,
    /// Keys and values of a window, or of what continuations follow and behind them those of the last continuation.
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
        self.forget()?;
        let (gpt, skipped) = (self.gpt, t - count);
        let state = self.state.as_mut().expect("there is a state now");
        let (read, v) = (&ids[..t], gpt.model().dims().vocab_size);
        decode_scored(
            gpt.model(),
            gpt.pool(),
            gpt.weights(),
            state,
            read,
            skipped,
            |first, logits| {
                let targets = &ids[1 + first..];
                let losses = &mut losses[first - skipped..];
                let rows = logits.chunks_exact(v).zip(targets).zip(losses);
                let rows: Vec<_> = rows.map(|(row, out)| (row, Mutex::new(out))).collect();
                gpt.pool().run(rows.len(), |i| {
                    let ((logits, id), out) = &rows[i];
                    **out.lock().expect("nobody else has it") = loss(logits, **id);
                });
            },
        );
        self.finite(losses)
    }

    /// An empty state.
    fn forget(&mut self) -> Result<(), Error> {
        match &mut self.state {
            Some(state) => state.truncate(0),
            none => {
                *none = Some(
                    self.gpt
                        .model()
                        .decode_state(self.context, self.gpt.weights().cache_type())?,
                )
            }
        }
        self.begun = 0;
        Ok(())
    }

    /// Reads the tokens that the next continuations follow.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Panics
    /// Where there are none, or more than the context.
    pub fn begin(&mut self, ids: &[u32]) -> Result<(), Error> {
        self.forget()?;
        let (gpt, state) = (self.gpt, self.state.as_mut().expect("there is a state now"));
        self.next.resize(gpt.model().dims().vocab_size, 0.0);
        decode(gpt.model(), gpt.pool(), gpt.weights(), state, ids, &mut self.next);
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
            decode_each(model, self.gpt.pool(), self.gpt.weights(), state, read, &mut self.rows);
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
        let held = gpt.held();
        assert_eq!(held.dtype, "f32");
        // The vocabulary's 257 rows of 16 are padded to 272.
        assert_eq!(held.bytes, 4 * (gpt.model().params().count() + 15 * 16));
    }
}
