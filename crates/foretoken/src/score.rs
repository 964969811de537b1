//! How well a model expects a text.

use crate::error::Error;
use crate::gpt::Gpt;
use foretoken_kernels::softmax_weights;
use foretoken_model::decode_scored;

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

impl Gpt {
    /// Scores a text as a document of its own: the first token follows the end-of-text token. A text longer than the
    /// context is cut into pieces of n_positions tokens, each of which sees only itself and the token before.
    ///
    /// # Errors
    /// [`Error::Empty`], no memory.
    pub fn score(&self, text: &str) -> Result<Score, Error> {
        let mut ids = vec![self.tokenizer().eos_id()];
        ids.extend(self.tokenizer().encode(text));
        let count = ids.len() - 1;
        if count == 0 {
            return Err(Error::Empty);
        }
        let model = self.model();
        let window = model.dims().n_positions;
        let mut losses = vec![0.0; count];
        let mut state = model.decode_state(window.min(count), self.weights().cache_type())?;
        let mut weights = vec![0.0; model.dims().vocab_size];
        for (piece, losses) in losses.chunks_mut(window).enumerate() {
            let (start, t) = (piece * window, losses.len());
            state.truncate(0);
            let (seen, targets) = (&ids[start..start + t], &ids[start + 1..=start + t]);
            decode_scored(model, self.pool(), self.weights(), &mut state, seen, |first, logits| {
                let rows = logits.chunks_exact(weights.len()).zip(&targets[first..]);
                for ((logits, &target), loss) in rows.zip(&mut losses[first..]) {
                    let (max, sum) = softmax_weights(self.pool(), &mut weights, logits, 1.0);
                    *loss = max + sum.ln() - logits[target as usize];
                }
            });
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
}
