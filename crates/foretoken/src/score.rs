//! How well a model expects a text.

use crate::error::Error;
use crate::gpt::Gpt;
use foretoken_model::{Arena, Batch, Pass};

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
        let mut arena: Option<(usize, Arena)> = None;
        for (piece, losses) in losses.chunks_mut(window).enumerate() {
            let (start, t) = (piece * window, losses.len());
            let targets: Vec<i32> = ids[start + 1..=start + t].iter().map(|&id| id as i32).collect();
            let batch = Batch {
                b: 1,
                t,
                ids: &ids[start..start + t],
                targets: &targets,
            };
            let arena = match &mut arena {
                Some((planned, arena)) if *planned == t => arena,
                slot => &mut slot.insert((t, Arena::new(model.activations(1, t, Pass::Score))?)).1,
            };
            model.losses(self.pool(), self.weights(), arena, &batch, losses);
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
