//! Which text is for validation.

use crate::{Document, Error, Format, Source};

/// From so many text files on, whole files are chosen instead of the end of the text.
pub const MANY_DOCUMENTS: usize = 100;

/// How a share of the text is kept for validation. (Validation by file needs no split: it is another list of paths.)
///
/// - A text, or a few of them: the last bytes in the order of the sources, cut between two characters.
/// - Rows of `.jsonl`, `.csv` or `.parquet`, or [`MANY_DOCUMENTS`] files and more: whole documents, each chosen by a hash of the seed
///   and its number. So the share is met only on average, and of a handful of documents there may be none.
///
/// Feed every [`Document`] in order to [`divide`](Split::divide).
#[derive(Debug, Clone)]
pub struct Split {
    rule: Rule,
    /// Documents that ended.
    documents: u64,
}

#[derive(Debug, Clone)]
enum Rule {
    /// Bytes of text still to come before the place of the cut.
    Bytes { left: u64 },
    /// Hashes below this are for validation.
    Documents { seed: u64, threshold: u64 },
}

impl Split {
    /// Keeps `fraction` of what `sources` hold for validation: 0.1 is a tenth.
    ///
    /// # Errors
    /// Where `fraction` is not in 0..1, or the size of a text is not known before it is read (standard input).
    pub fn new(sources: &[Source], fraction: f64, seed: u64) -> Result<Split, Error> {
        check(fraction)?;
        let is_text = sources.iter().all(|source| source.format() == Format::Text);
        if fraction == 0.0 || !is_text || sources.len() >= MANY_DOCUMENTS {
            return Split::of_rows(fraction, seed);
        }
        let mut total = 0u64;
        for source in sources {
            let size = source.size()?.ok_or_else(|| Error::Split {
                message: format!(
                    "the size of {} is not known before it is read; save it to a file, or name a file for validation",
                    source.name()
                ),
            })?;
            total = total.saturating_add(size);
        }
        let left = total - (total as f64 * fraction) as u64;
        Ok(Split {
            rule: Rule::Bytes { left },
            documents: 0,
        })
    }

    /// The rule of rows for what is no document: conversations, each asked for with
    /// [`next_is_held_out`](Split::next_is_held_out).
    ///
    /// # Errors
    /// Where `fraction` is not in 0..1.
    pub fn of_rows(fraction: f64, seed: u64) -> Result<Split, Error> {
        check(fraction)?;
        // `as` saturates, and no fraction below 1 reaches u64::MAX.
        let threshold = (fraction * 2f64.powi(64)) as u64;
        Ok(Split {
            rule: Rule::Documents { seed, threshold },
            documents: 0,
        })
    }

    /// Whether the next row is for validation.
    ///
    /// # Panics
    /// Where it is text that is divided, by its bytes.
    pub fn next_is_held_out(&mut self) -> bool {
        let Rule::Documents { seed, threshold } = self.rule else {
            panic!("rows have no place in a split by bytes")
        };
        self.documents += 1;
        hash(seed, self.documents - 1) < threshold
    }

    /// The part of the next document, or piece of one, to train on, and the part to validate on. A document that is cut
    /// ends in both.
    pub fn divide(&mut self, document: Document) -> (Option<Document>, Option<Document>) {
        let number = self.documents;
        self.documents += u64::from(document.ends);
        match &mut self.rule {
            Rule::Documents { seed, threshold } if hash(*seed, number) < *threshold => (None, Some(document)),
            Rule::Documents { .. } => (Some(document), None),
            Rule::Bytes { left: 0 } => (None, Some(document)),
            Rule::Bytes { left } => match usize::try_from(*left) {
                Ok(cut) if cut < document.text.len() => {
                    *left = 0;
                    cut_at(document, cut)
                }
                _ => {
                    *left -= document.text.len() as u64;
                    (Some(document), None)
                }
            },
        }
    }
}

fn check(fraction: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&fraction) {
        return Ok(());
    }
    let message = format!("a fraction of {fraction}; expected at least 0 and less than 1");
    Err(Error::Split { message })
}

/// Cuts a document at `cut`, or before the character that is there.
fn cut_at(mut document: Document, cut: usize) -> (Option<Document>, Option<Document>) {
    let cut = document.text.floor_char_boundary(cut);
    let text = document.text.split_off(cut);
    if document.text.is_empty() {
        return (None, Some(Document { text, ..document }));
    }
    let line = document.line + document.text.bytes().filter(|&byte| byte == b'\n').count() as u64;
    let rest = Document {
        text,
        source: document.source.clone(),
        line,
        ends: document.ends,
    };
    document.ends = true;
    (Some(document), Some(rest))
}

/// SplitMix64's finaliser over seed and number: every bit of the result depends on every bit of both.
fn hash(seed: u64, number: u64) -> u64 {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    };
    mix(mix(seed.wrapping_add(0x9E37_79B9_7F4A_7C15)).wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{DocumentOptions, Documents, find_sources};

    fn document(text: &str, ends: bool) -> Document {
        Document {
            text: text.to_owned(),
            source: Arc::from("x"),
            line: 1,
            ends,
        }
    }

    /// The text of both sides, documents separated by `|`.
    fn sides(split: &mut Split, documents: impl IntoIterator<Item = Document>) -> (String, String) {
        let (mut train, mut validation) = (String::new(), String::new());
        for document in documents {
            let (left, right) = split.divide(document);
            for (side, part) in [(&mut train, left), (&mut validation, right)] {
                if let Some(part) = part {
                    *side += &part.text;
                    *side += if part.ends { "|" } else { "" };
                }
            }
        }
        (train, validation)
    }

    #[test]
    fn the_last_bytes_of_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "0123456789\n가나다라마").unwrap();
        let paths = [path.to_str().unwrap()];
        let sources = find_sources(&paths, None).unwrap();
        // 26 bytes: a half is 13, the middle of 가, which goes to validation whole.
        let mut split = Split::new(&sources, 0.5, 0).unwrap();
        let documents = Documents::of(sources, &DocumentOptions::default()).map(Result::unwrap);
        assert_eq!(
            sides(&mut split, documents),
            ("0123456789\n|".into(), "가나다라마|".into())
        );
    }

    #[test]
    fn pieces_around_the_cut() {
        let rule = |left| Split {
            rule: Rule::Bytes { left },
            documents: 0,
        };
        let pieces = || [document("abc", false), document("\ndef", true), document("gh", true)];
        assert_eq!(sides(&mut rule(2), pieces()), ("ab|".into(), "c\ndef|gh|".into()));
        assert_eq!(sides(&mut rule(3), pieces()), ("abc".into(), "\ndef|gh|".into()));
        assert_eq!(sides(&mut rule(5), pieces()), ("abc\nd|".into(), "ef|gh|".into()));
        assert_eq!(sides(&mut rule(7), pieces()), ("abc\ndef|".into(), "gh|".into()));
        assert_eq!(sides(&mut rule(99), pieces()), ("abc\ndef|gh|".into(), "".into()));
        assert_eq!(rule(5).divide(document("a\nb\nc\nd", true)).1.unwrap().line, 3);
    }

    #[test]
    fn whole_documents_by_seed() {
        let split = |seed| Split {
            rule: Rule::Documents {
                seed,
                threshold: u64::MAX / 10,
            },
            documents: 0,
        };
        let pieces = || (0..20_000).map(|i| document(&format!("{} ", i / 2), i % 2 == 1));
        let (train, validation) = sides(&mut split(1), pieces());
        let count = validation.matches('|').count();
        assert!((900..1100).contains(&count), "{count} of 10000");
        assert_eq!(train.matches('|').count() + count, 10_000);
        // Both pieces of a document are on one side.
        assert!(validation.split_terminator('|').all(|text| {
            let pieces: Vec<&str> = text.split_whitespace().collect();
            pieces.len() == 2 && pieces[0] == pieces[1]
        }));
        assert_eq!(sides(&mut split(1), pieces()).1, validation);
        assert_ne!(sides(&mut split(2), pieces()).1, validation);
    }

    #[test]
    fn splits_that_cannot_be() {
        let stdin = find_sources(&["-"], None).unwrap();
        assert!(Split::new(&stdin, 0.0, 0).is_ok());
        assert!(Split::new(&find_sources(&["-"], Some(Format::Csv)).unwrap(), 0.1, 0).is_ok());
        let message = Split::new(&stdin, 0.1, 0).unwrap_err().to_string();
        assert!(message.contains("the size of standard input is not known"), "{message}");
        for fraction in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(Split::new(&stdin, fraction, 0), Err(Error::Split { .. })));
        }
    }
}
