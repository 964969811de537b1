//! Pattern patterns: text into pieces that merges never cross.
//!
//! GPT-2's is
//! `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: a contraction, a word, a number or a run of
//! signs, each with the space before it; and runs of white space, whose last character stays behind for what follows.

use std::sync::LazyLock;

use regex::Regex;

/// The pattern without its look-ahead, which a finite automaton does not have: [`Pieces`] gives the last white space back.
/// Anchored, because some alternative matches at every character: no search for the start.
static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+)").expect("a constant pattern")
});

/// How a byte-level BPE cuts a text into pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// GPT-2's pattern.
    #[default]
    Gpt2,
    /// Every numeral by itself, and GPT-2's pattern on what lies between them: SmolLM's, StarCoder's.
    Digits,
}

impl Pattern {
    /// The pieces of `text` in order; together they are `text`.
    pub(crate) fn pieces(self, text: &str) -> Pieces<'_> {
        Pieces {
            pattern: self,
            part: "",
            rest: text,
        }
    }
}

/// See [`Pattern::pieces`].
pub(crate) struct Pieces<'t> {
    pattern: Pattern,
    /// What GPT-2's pattern works on: text without numerals, or all of it.
    part: &'t str,
    rest: &'t str,
}

impl<'t> Pieces<'t> {
    /// A numeral that stands at the beginning of the rest; otherwise the rest up to one becomes the part.
    fn numeral(&mut self) -> Option<&'t str> {
        let digit = |c: char| c.is_numeric();
        let end = match self.pattern {
            Pattern::Digits => self.rest.find(digit).unwrap_or(self.rest.len()),
            Pattern::Gpt2 => self.rest.len(),
        };
        if end > 0 {
            (self.part, self.rest) = self.rest.split_at(end);
            return None;
        }
        let numeral = self.rest.chars().next()?;
        let (numeral, rest) = self.rest.split_at(numeral.len_utf8());
        self.rest = rest;
        Some(numeral)
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.part.is_empty() {
            if self.rest.is_empty() {
                return None;
            }
            if let Some(numeral) = self.numeral() {
                return Some(numeral);
            }
        }
        let mut end = PATTERN.find(self.part).map_or(self.part.len(), |found| found.end());
        if end < self.part.len() {
            let last = self.part[..end].chars().next_back().filter(|c| c.is_whitespace());
            if let Some(last) = last.map(char::len_utf8).filter(|&length| length < end) {
                end -= last;
            }
        }
        let (piece, part) = self.part.split_at(end);
        self.part = part;
        Some(piece)
    }
}

/// The last place where `text` may be cut so that both halves give the pieces of the whole: before a white space that
/// follows something else. There a piece always ends, for white space only begins pieces or makes up a whole one.
pub(crate) fn last_cut(text: &str) -> Option<usize> {
    let mut after_space = None;
    for (at, c) in text.char_indices().rev() {
        match (c.is_whitespace(), after_space) {
            (true, _) => after_space = Some(at),
            (false, Some(cut)) => return Some(cut),
            (false, None) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<&str> {
        Pattern::Gpt2.pieces(text).collect()
    }

    /// By hand, from the rule: numerals alone, and white space before one is no longer before something.
    #[test]
    fn digits_stand_alone() {
        let split = |text| Pattern::Digits.pieces(text).collect::<Vec<_>>();
        assert_eq!(split("it's 42!"), ["it", "'s", " ", "4", "2", "!"]);
        assert_eq!(split("a  1 b"), ["a", "  ", "1", " b"]);
        assert_eq!(split("٣가½"), ["٣", "가", "½"]);
        assert_eq!(split("x = 3.14"), ["x", " =", " ", "3", ".", "1", "4"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn pieces_by_hand() {
        assert_eq!(
            split("I'll say: it's 42!"),
            ["I", "'ll", " say", ":", " it", "'s", " 42", "!"]
        );
        assert_eq!(split("a  b"), ["a", " ", " b"]);
        assert_eq!(split("a\n\nb"), ["a", "\n", "\n", "b"]);
        assert_eq!(split("a \n\n b\t "), ["a", " \n\n", " b", "\t "]);
        assert_eq!(split("가나 다라2개"), ["가나", " 다라", "2", "개"]);
        assert_eq!(split(" 's"), [" '", "s"]);
        assert_eq!(split("x\u{3000}\u{a0}y"), ["x", "\u{3000}", "\u{a0}", "y"]);
        assert_eq!(split(""), [""; 0]);
    }

    proptest! {
        #[test]
        fn cuts_keep_the_pieces(text in "[a'sl0 \n\t가\u{3000}.]{0,40}") {
            for rule in [Pattern::Gpt2, Pattern::Digits] {
                let split = |text| rule.pieces(text).collect::<Vec<_>>();
                prop_assert_eq!(split(&text).concat(), text.as_str());
                if let Some(cut) = last_cut(&text) {
                    let halves = [split(&text[..cut]), split(&text[cut..])].concat();
                    prop_assert_eq!(halves, split(&text));
                }
            }
        }
    }
}
