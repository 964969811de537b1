//! Loss, perplexity and bits per byte of texts.

use super::{Mean, Texts, Windows};
use crate::error::Error;
use crate::gpt::Gpt;
use crate::score::Scorer;
use foretoken_text::{Document, Tokenizer};
use std::time::{Duration, Instant};

/// How texts are scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Tokens of a window; the model's n_positions unless given.
    pub context: Option<usize>,
    /// Tokens from one window to the next, see [`Windows`]; half the context unless given.
    pub stride: Option<usize>,
    /// Where the text is cut; all of it unless given.
    pub limit: Option<Limit>,
    /// Whether [`TextScore::losses`] are kept, 4 bytes a token, for comparing another model.
    pub keep: bool,
}

/// Where a text ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After so many tokens, end-of-text tokens among them.
    Tokens(u64),
    /// Before the character that goes past so many bytes: for a model of another tokeniser to be scored on the same text.
    Bytes(u64),
}

/// How well a model expects texts.
#[derive(Clone, Debug, PartialEq)]
pub struct TextScore {
    /// Tokens of a window.
    pub context: usize,
    /// Tokens from one window to the next.
    pub stride: usize,
    /// Documents, the last perhaps cut.
    pub documents: u64,
    /// Tokens scored.
    pub tokens: u64,
    /// End-of-text tokens among them.
    pub ends: u64,
    /// Bytes of the tokens, the end-of-text tokens not counted.
    pub bytes: u64,
    /// -ln of the probability of a token, in nats.
    pub loss: Mean,
    /// Each token's loss less that of the model it is compared with.
    pub difference: Option<Mean>,
    /// The source's entropy in bits per byte of these very documents, where it is known.
    pub floor_bits_per_byte: Option<f64>,
    /// Time spent in the model.
    pub time: Duration,
    /// Loss of every token, where they are kept.
    pub losses: Vec<f32>,
}

impl TextScore {
    /// e to the mean loss a token.
    pub fn perplexity(&self) -> f64 {
        self.loss.mean().exp()
    }

    /// Bits that the model needs for a byte of the text: comparable across tokenisers.
    pub fn bits_per_byte(&self) -> f64 {
        self.loss.mean() * self.tokens as f64 / std::f64::consts::LN_2 / self.bytes as f64
    }

    /// Tokens scored a second; those that only stand before others, in windows that overlap, are not counted.
    pub fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / self.time.as_secs_f64()
    }

    /// By which factor the perplexity is that of the model it is compared with.
    pub fn perplexity_ratio(&self) -> Option<f64> {
        self.difference.map(|difference| difference.mean().exp())
    }
}

/// Scores every document on its own: its first token follows the end-of-text token. A document longer than the context is
/// cut as [`Windows`] has it.
///
/// `against` are the [`TextScore::losses`] of another model with the same tokeniser on the same texts with the same limit;
/// differences are paired token by token, which makes them far surer than the losses themselves. `listen` hears how far it
/// is after every window.
///
/// # Errors
/// [`Error::Windows`], [`Error::NotFinite`], [`Error::NoLoss`], [`Error::Empty`], what is wrong with a document, no memory;
/// [`Error::TextChanged`] where `against` are the losses of fewer or more tokens.
pub fn score_texts(
    gpt: &Gpt,
    texts: &Texts,
    options: &TextOptions,
    against: Option<&[f32]>,
    listen: &mut dyn FnMut(&TextScore),
) -> Result<TextScore, Error> {
    let n_positions = gpt.model().dims().n_positions;
    let context = options.context.unwrap_or(n_positions);
    let stride = options.stride.unwrap_or(context.div_ceil(2));
    if !(1..=context).contains(&stride) {
        return Err(Error::Windows {
            context,
            stride: Some(stride),
            n_positions,
        });
    }
    gpt.check_weights()?;
    let tally = Tally {
        scorer: gpt.scorer(context)?,
        tokenizer: gpt.tokenizer(),
        losses: Vec::new(),
        keep: options.keep,
        against,
        score: TextScore {
            context,
            stride,
            documents: 0,
            tokens: 0,
            ends: 0,
            bytes: 0,
            loss: Mean::default(),
            difference: against.map(|_| Mean::default()),
            floor_bits_per_byte: None,
            time: Duration::ZERO,
            losses: Vec::new(),
        },
        listen,
    };
    let mut reading = Reading {
        windows: Windows::new(context, stride),
        tokenizer: gpt.tokenizer(),
        threads: gpt.pool().threads(),
        fed: 0,
        fed_bytes: 0,
        limit: options.limit,
        tally,
    };
    let cut = reading.read(texts)?;
    let mut score = reading.tally.score;
    // A story that was cut has no known entropy.
    score.floor_bits_per_byte = if cut { None } else { texts.floor(score.documents) };
    if score.tokens == 0 {
        return Err(Error::Empty);
    }
    match against {
        Some(against) if against.len() as u64 != score.tokens => Err(Error::TextChanged),
        _ => Ok(score),
    }
}

/// A pass over the texts.
struct Reading<'a> {
    windows: Windows,
    tokenizer: &'a Tokenizer,
    threads: usize,
    /// Tokens given to the windows.
    fed: u64,
    /// Bytes of them.
    fed_bytes: u64,
    limit: Option<Limit>,
    tally: Tally<'a>,
}

/// What the windows add up to.
struct Tally<'a> {
    scorer: Scorer<'a>,
    tokenizer: &'a Tokenizer,
    /// Of one window.
    losses: Vec<f32>,
    keep: bool,
    against: Option<&'a [f32]>,
    score: TextScore,
    listen: &'a mut dyn FnMut(&TextScore),
}

impl Reading<'_> {
    /// Reads all documents up to the limit; gives whether the last was cut.
    fn read(&mut self, texts: &Texts) -> Result<bool, Error> {
        let end = self.tokenizer.eos_id();
        let mut inside = false;
        for document in texts.documents() {
            if !inside && self.is_full() {
                return Ok(false);
            }
            let document = document?;
            if !inside {
                self.windows.begin(end);
                self.tally.score.documents += 1;
            }
            inside = !document.ends;
            let mut cut = self.piece(&document)?;
            if document.ends && texts.scores_ends() && !cut {
                cut = !self.feed(&[end])?;
                self.tally.score.ends += u64::from(!cut);
            }
            if document.ends || cut {
                let tally = &mut self.tally;
                self.windows.finish(|ids, count| tally.window(ids, count))?;
            }
            if cut {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_full(&self) -> bool {
        match self.limit {
            None => false,
            Some(Limit::Tokens(limit)) => self.fed >= limit,
            Some(Limit::Bytes(limit)) => self.fed_bytes >= limit,
        }
    }

    /// Reads a piece of a document as far as the limit goes; gives whether it was cut.
    fn piece(&mut self, document: &Document) -> Result<bool, Error> {
        let mut text = document.text.as_str();
        if let Some(Limit::Bytes(limit)) = self.limit {
            let left = usize::try_from(limit.saturating_sub(self.fed_bytes)).unwrap_or(usize::MAX);
            text = &text[..text.floor_char_boundary(left)];
        }
        let cut = text.len() < document.text.len();
        let ids = self
            .tokenizer
            .encode_batch(&[text], self.threads)
            .pop()
            .expect("one text");
        let whole = self.feed(&ids)?;
        Ok(cut || !whole)
    }

    /// Gives ids to the windows as far as the limit goes; gives whether it goes so far.
    fn feed(&mut self, ids: &[u32]) -> Result<bool, Error> {
        let mut taken = ids;
        if let Some(Limit::Tokens(limit)) = self.limit {
            let left = usize::try_from(limit - self.fed).unwrap_or(usize::MAX);
            taken = &ids[..left.min(ids.len())];
        }
        self.fed_bytes += bytes_of(self.tokenizer, taken);
        self.fed += taken.len() as u64;
        let tally = &mut self.tally;
        self.windows.push(taken, |ids, count| tally.window(ids, count))?;
        Ok(taken.len() == ids.len())
    }
}

impl Tally<'_> {
    /// Scores a window and adds up what counts of it.
    fn window(&mut self, ids: &[u32], count: usize) -> Result<(), Error> {
        let begun = Instant::now();
        self.losses.resize(count, 0.0);
        self.scorer.token_losses(ids, &mut self.losses)?;
        let score = &mut self.score;
        score.time += begun.elapsed();
        score.bytes += bytes_of(self.tokenizer, &ids[ids.len() - count..]);
        for &loss in &self.losses {
            score.loss.push(f64::from(loss));
            if let (Some(difference), Some(against)) = (&mut score.difference, self.against) {
                let other = against.get(score.tokens as usize).ok_or(Error::TextChanged)?;
                difference.push(f64::from(loss) - f64::from(*other));
            }
            score.tokens += 1;
        }
        if self.keep {
            score.losses.extend_from_slice(&self.losses);
        }
        (self.listen)(score);
        Ok(())
    }
}

/// Bytes of text that tokens stand for; a special one stands for none.
fn bytes_of(tokenizer: &Tokenizer, ids: &[u32]) -> u64 {
    let bytes = |&id: &u32| match tokenizer.is_special(id) {
        true => 0,
        false => tokenizer.id_to_bytes(id).map_or(0, |bytes| bytes.len() as u64),
    };
    ids.iter().map(bytes).sum()
}
