//! GPT-2's split pattern: text into pieces that merges never cross.
//!
//! `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: a contraction, a word, a number or a run of
//! signs, each with the space before it; and runs of white space, whose last character stays behind for what follows.

use std::sync::LazyLock;

use regex::Regex;

/// The pattern without its look-ahead, which a finite automaton does not have: [`Pieces`] gives the last white space back.
/// Anchored, because some alternative matches at every character: no search for the start.
static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+)").expect("a constant pattern")
});

/// The pieces of `text` in order; together they are `text`.
pub(crate) fn pieces(text: &str) -> Pieces<'_> {
    Pieces { rest: text }
}

/// See [`pieces`].
pub(crate) struct Pieces<'t> {
    rest: &'t str,
}

impl<'t> Iterator for Pieces<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.rest.is_empty() {
            return None;
        }
        let mut end = PATTERN.find(self.rest).map_or(self.rest.len(), |found| found.end());
        if end < self.rest.len() {
            let last = self.rest[..end].chars().next_back().filter(|c| c.is_whitespace());
            if let Some(last) = last.map(char::len_utf8).filter(|&length| length < end) {
                end -= last;
            }
        }
        let (piece, rest) = self.rest.split_at(end);
        self.rest = rest;
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
        pieces(text).collect()
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
            prop_assert_eq!(split(&text).concat(), text.as_str());
            if let Some(cut) = last_cut(&text) {
                let halves = [split(&text[..cut]), split(&text[cut..])].concat();
                prop_assert_eq!(halves, split(&text));
            }
        }
    }
}
