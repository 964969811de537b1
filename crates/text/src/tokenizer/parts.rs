//! A tokeniser in the parts that other formats hold: lists of tokens and merges.

use std::borrow::Cow;

use super::alphabet::bytes_to_token;
use super::form::{MOST_ADDED, Merge, halves, not_a_merge, special};
use super::read::{check_added, invalid, read_byte_level, read_chars};
use super::{Encoder, Kind, LARGEST_VOCABULARY, Pattern, Tokenizer};
use crate::Error;

/// What a tokeniser is made of. Its texts are borrowed where a file in memory holds them: there are a hundred thousand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What its tokens are.
    pub kind: Kind,
    /// How a BPE cuts a text; of no meaning for the others.
    pub pattern: Pattern,
    /// The tokens in order of id, as `tokenizer.json` names them: of a byte-level one in GPT-2's alphabet of bytes, of one
    /// of characters the character, or `<0x41>` for a byte. Special tokens by their names.
    pub tokens: Vec<Cow<'a, str>>,
    /// Ids of the special tokens.
    pub special: Vec<u32>,
    /// Merges in order of rank, `a b`.
    pub merges: Vec<Cow<'a, str>>,
    /// The special token that ends a text.
    pub eos: u32,
}

impl Tokenizer {
    /// The parts of this tokeniser, of which [`from_parts`](Tokenizer::from_parts) makes it again.
    pub fn parts(&self) -> Parts<'static> {
        let token = |id| bytes_to_token(self.tokens.get(id).expect("merges name tokens"));
        let (pattern, merges) = match &self.encoder {
            Encoder::Bpe(bpe) => {
                let line = |&(left, right): &(u32, u32)| format!("{} {}", token(left), token(right)).into();
                (bpe.pattern, bpe.merges.iter().map(line).collect())
            }
            Encoder::Byte(_) | Encoder::Char(_) => (Pattern::Gpt2, Vec::new()),
        };
        Parts {
            kind: self.kind(),
            pattern,
            tokens: (0..self.vocab_size() as u32)
                .map(|id| self.token_name(id).into())
                .collect(),
            special: self.special.iter().map(|(id, _)| *id).collect(),
            merges,
            eos: self.eos,
        }
    }

    /// This tokeniser with more special tokens, their ids after all others.
    ///
    /// # Errors
    /// A name that is empty, or that is a token already; more than a tokeniser has.
    ///
    /// ```
    /// use foretoken_text::Tokenizer;
    /// let tokenizer = Tokenizer::byte().with_special(&["<|user|>"])?;
    /// assert_eq!(tokenizer.encode_with_special("<|user|>A"), [257, 65]);
    /// assert_eq!(tokenizer.eos_id(), 256);
    /// # Ok::<(), foretoken_text::Error>(())
    /// ```
    pub fn with_special(&self, names: &[&str]) -> Result<Tokenizer, Error> {
        if names.is_empty() {
            return Ok(self.clone());
        }
        let mut parts = self.parts();
        for &name in names {
            if parts.tokens.iter().any(|token| token == name) {
                return invalid(format!("the new token {name} is a token already"));
            }
            parts.special.push(parts.tokens.len() as u32);
            parts.tokens.push(name.into());
        }
        Tokenizer::from_parts(&parts)
    }

    /// The tokeniser of these parts.
    ///
    /// # Errors
    /// Where they contradict each other: a token that is there twice or empty, merges of absent or special tokens, no token
    /// for a byte, an end that is no special token; or are more than any tokeniser has.
    ///
    /// ```
    /// use foretoken_text::Tokenizer;
    /// let parts = Tokenizer::byte().parts();
    /// assert_eq!((&*parts.tokens[0x41], &*parts.tokens[0x20]), ("A", "Ġ"));
    /// assert_eq!(Tokenizer::from_parts(&parts)?.fingerprint(), Tokenizer::byte().fingerprint());
    /// # Ok::<(), foretoken_text::Error>(())
    /// ```
    pub fn from_parts(parts: &Parts<'_>) -> Result<Tokenizer, Error> {
        let Parts { tokens, merges, .. } = parts;
        for (what, found, most) in [
            ("tokens", tokens.len(), LARGEST_VOCABULARY),
            ("merges", merges.len(), LARGEST_VOCABULARY),
            ("special tokens", parts.special.len(), MOST_ADDED),
        ] {
            if found > most {
                return invalid(format!("{found} {what}; there can be at most {most}"));
            }
        }
        let name = |id: u32| tokens.get(id as usize).map(|token| &**token);
        let mut added = Vec::with_capacity(parts.special.len());
        for &id in &parts.special {
            match name(id) {
                Some(name) => added.push(special(id, name)),
                None => return invalid(format!("the special token {id} is none of {} tokens", tokens.len())),
            }
        }
        check_added(&added)?;
        if !parts.special.contains(&parts.eos) {
            return invalid(format!("the token {} ends a text, but is not special", parts.eos));
        }
        let end = name(parts.eos);
        let ids = tokens.iter().zip(0..);
        let vocab: Vec<(Cow<'_, str>, u32)> = ids.map(|(token, id)| (Cow::Borrowed(&**token), id)).collect();
        if parts.kind == Kind::Char {
            return read_chars(&vocab, &added, end);
        }
        let mut pairs = Vec::with_capacity(merges.len());
        for line in merges {
            match halves(line) {
                Some((left, right)) => pairs.push(Merge(left.into(), right.into())),
                None => return invalid(not_a_merge(line)),
            }
        }
        read_byte_level(parts.pattern, &vocab, &pairs, &added, end)
    }
}
