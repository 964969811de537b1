//! Tokens as a reader sees them: a character may be spread over several, a word over more.

use foretoken_text::Tokenizer;
use schemars::JsonSchema;
use serde::Serialize;
use std::ops::Range;

/// A token of a text.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Piece {
    /// The token.
    pub id: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Bytes of the text before it.
    pub start: usize,
    /// What it says, white space as signs. A token that is part of a character says which character, and which part of how many: `안 2/3`.
    pub label: String,
    /// Which of how many tokens that share a character, from 1; `[1, 1]` where it is whole.
    pub part: [usize; 2],
}

/// How finely a text is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// Token by token.
    #[default]
    Token,
    /// Tokens that share a character are one.
    Syllable,
    /// What stands between white space is one, the space before it included.
    Word,
}

/// Tokens that are looked at as one.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Group {
    /// What they say.
    pub label: String,
    /// The first.
    pub start: usize,
    /// The one after the last.
    pub end: usize,
}

/// The tokens of a text.
pub fn pieces(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(ids.len());
    let (mut open, mut bytes, mut start) = (0, Vec::new(), 0);
    for (i, &id) in ids.iter().enumerate() {
        let own = tokenizer.id_to_bytes(id).unwrap_or_default();
        pieces.push(Piece {
            id,
            bytes: own.to_vec(),
            start,
            label: String::new(),
            part: [1, 1],
        });
        bytes.extend_from_slice(own);
        start += own.len();
        let whole = match std::str::from_utf8(&bytes) {
            Ok(text) => visible(text),
            // A character is not whole yet; what never can be is shown as bytes.
            Err(error) if error.error_len().is_none() && i + 1 < ids.len() => continue,
            Err(_) => broken(&bytes),
        };
        let of = i + 1 - open;
        for (part, piece) in pieces[open..].iter_mut().enumerate() {
            piece.part = [part + 1, of];
            piece.label = if of == 1 {
                whole.clone()
            } else {
                format!("{whole} {}/{of}", part + 1)
            };
        }
        open = i + 1;
        bytes.clear();
    }
    pieces
}

/// What a token says wherever it stands: bytes that are no whole character in angle brackets.
pub fn label(tokenizer: &Tokenizer, id: u32) -> String {
    match tokenizer.id_to_bytes(id) {
        Some(bytes) => broken(bytes),
        None => format!("#{id}"),
    }
}

/// Characters as they are, other bytes as `<EC>`.
fn broken(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out += &visible(chunk.valid());
        for byte in chunk.invalid() {
            out += &format!("<{byte:02X}>");
        }
    }
    out
}

/// White space as signs; nothing that moves the cursor.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' => out.push('␣'),
            '\n' => out.push('⏎'),
            '\t' => out.push('⇥'),
            c if c.is_control() || is_format(c) => out += &format!("<U+{:04X}>", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

/// Characters that draw nothing or turn the direction of a line.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

impl Granularity {
    /// The groups of some tokens, none left out.
    pub fn groups(self, pieces: &[Piece]) -> Vec<Group> {
        let joins = |i: usize| match self {
            Granularity::Token => false,
            Granularity::Syllable => pieces[i].part[0] > 1,
            Granularity::Word => pieces[i].part[0] > 1 || !(begins_word(&pieces[i]) || ends_line(&pieces[i - 1])),
        };
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for i in 0..pieces.len() {
            match ranges.last_mut() {
                Some(last) if joins(i) => last.end = i + 1,
                _ => ranges.push(i..i + 1),
            }
        }
        let group = |range: Range<usize>| Group {
            label: joined(&pieces[range.clone()]),
            start: range.start,
            end: range.end,
        };
        ranges.into_iter().map(group).collect()
    }
}

fn begins_word(piece: &Piece) -> bool {
    piece.bytes.first().is_some_and(u8::is_ascii_whitespace)
}

fn ends_line(piece: &Piece) -> bool {
    piece.bytes.last() == Some(&b'\n')
}

/// What tokens say together.
fn joined(pieces: &[Piece]) -> String {
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| &piece.bytes).copied().collect();
    broken(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Piece> {
        let tokenizer = Tokenizer::byte();
        pieces(&tokenizer, &tokenizer.encode(text))
    }

    #[test]
    fn a_syllable_is_one_however_many_tokens_it_has() {
        let all = of("a 안녕\n");
        let labels: Vec<&str> = all.iter().map(|piece| piece.label.as_str()).collect();
        assert_eq!(
            labels,
            [
                "a", "␣", "안 1/3", "안 2/3", "안 3/3", "녕 1/3", "녕 2/3", "녕 3/3", "⏎"
            ]
        );
        let groups = |by: Granularity| {
            by.groups(&all)
                .into_iter()
                .map(|g| (g.label, g.start..g.end))
                .collect::<Vec<_>>()
        };
        assert_eq!(groups(Granularity::Token).len(), 9);
        let syllables = [("a", 0..1), ("␣", 1..2), ("안", 2..5), ("녕", 5..8), ("⏎", 8..9)];
        assert_eq!(
            groups(Granularity::Syllable),
            syllables.map(|(label, range)| (label.to_owned(), range))
        );
        let words = [("a", 0..1), ("␣안녕", 1..8), ("⏎", 8..9)];
        assert_eq!(
            groups(Granularity::Word),
            words.map(|(label, range)| (label.to_owned(), range))
        );
    }

    #[test]
    fn nothing_that_is_no_character_is_drawn_as_one() {
        let tokenizer = Tokenizer::byte();
        // Half a syllable at the end, a byte that begins nothing, and what turns a terminal's line around.
        for (ids, shown) in [
            (vec![0xEC, 0x95], "<EC><95>"),
            (vec![0xFF], "<FF>"),
            (vec![0xE2, 0x80, 0xAE], "<U+202E>"),
        ] {
            let all = pieces(&tokenizer, &ids);
            assert!(all[0].label.starts_with(shown), "{all:?}");
            assert!(!all.iter().any(|piece| piece.label.contains('\u{FFFD}')));
        }
        assert_eq!(label(&tokenizer, 0xEC), "<EC>");
    }
}
