//! What a text may consist of: the door through which a grammar enters.

use crate::error::Error;

/// A set of token ids, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSet {
    words: Vec<u32>,
}

impl TokenSet {
    /// Becomes the set whose bits are these words': id i is bit `i % 32` of word `i / 32`.
    pub fn copy_from_words(&mut self, words: &[u32]) {
        self.words.clear();
        self.words.extend_from_slice(words);
    }

    /// Whether the set holds `id`.
    pub fn contains(&self, id: u32) -> bool {
        let word = self.words.get(id as usize / 32);
        word.is_some_and(|word| word >> (id % 32) & 1 == 1)
    }
}

impl FromIterator<u32> for TokenSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut words = Vec::new();
        for id in ids {
            let at = id as usize / 32;
            if at >= words.len() {
                words.resize(at + 1, 0);
            }
            words[at] |= 1 << (id % 32);
        }
        Self { words }
    }
}

/// Decides, token by token, what a text may consist of.
///
/// The [`Generator`](crate::Generator) asks for the allowed tokens before each draw and tells which one was drawn. End tokens
/// are tokens like others: where the text may end, they are allowed. A text that
/// [`is_complete`](Constraint::is_complete) needs none: it ends at once.
pub trait Constraint: std::fmt::Debug + Send {
    /// `allowed` becomes the tokens that may come next.
    ///
    /// # Errors
    /// [`Error::Constraint`] where that cannot be said.
    fn allowed(&mut self, allowed: &mut TokenSet) -> Result<(), Error>;

    /// Goes on to the state after `id`, one of the allowed tokens.
    ///
    /// # Errors
    /// [`Error::Constraint`] where it cannot follow.
    fn accept(&mut self, id: u32) -> Result<(), Error>;

    /// Whether the text is whole and nothing but an end token may follow.
    fn is_complete(&mut self) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_it_was_given() {
        let mut set: TokenSet = [0, 31, 32, 95].into_iter().collect();
        let ids = |set: &TokenSet| (0..200).filter(|&id| set.contains(id)).collect::<Vec<u32>>();
        assert_eq!(ids(&set), [0, 31, 32, 95]);
        set.copy_from_words(&[0b110, 1]);
        assert_eq!(ids(&set), [1, 2, 32]);
        assert!(!set.contains(u32::MAX));
    }
}
