//! The forms of a `tokenizer.json` and its parts, as bytes become them.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::LARGEST_VOCABULARY;
use crate::error::shorten;

/// More special tokens than any tokeniser has, few enough to search for together.
pub(super) const MOST_ADDED: usize = 4096;

#[derive(Deserialize)]
pub(super) struct File<'a> {
    #[serde(borrow, default)]
    pub(super) added_tokens: List<Added<'a>, MOST_ADDED>,
    #[serde(borrow)]
    pub(super) normalizer: Option<Part<'a>>,
    #[serde(borrow)]
    pub(super) pre_tokenizer: Option<Part<'a>>,
    #[serde(borrow)]
    pub(super) post_processor: Option<Part<'a>>,
    #[serde(borrow)]
    pub(super) decoder: Option<Part<'a>>,
    #[serde(borrow)]
    pub(super) model: Model<'a>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Added<'a> {
    pub(super) id: u32,
    #[serde(borrow)]
    pub(super) content: Cow<'a, str>,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    pub(super) special: bool,
}

/// A normaliser, pre-tokeniser, post-processor or decoder: what of it matters here.
#[derive(Deserialize)]
pub(super) struct Part<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    pub(super) add_prefix_space: Option<bool>,
    pub(super) use_regex: Option<bool>,
    pub(super) individual_digits: Option<bool>,
    #[serde(borrow, default)]
    pub(super) pretokenizers: List<Part<'a>, 16>,
    #[serde(borrow, default)]
    pub(super) decoders: List<Part<'a>, 16>,
    /// What a `TemplateProcessing` makes of one text.
    #[serde(default)]
    pub(super) single: List<Piece, 16>,
}

/// A piece of a template: the text, or a token that is added.
#[derive(Deserialize)]
pub(super) enum Piece {
    Sequence(IgnoredAny),
    SpecialToken(IgnoredAny),
}

#[derive(Deserialize)]
pub(super) struct Model<'a> {
    /// Not there in the oldest files, which are all BPE.
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Cow<'a, str>>,
    pub(super) dropout: Option<f64>,
    #[serde(borrow)]
    pub(super) continuing_subword_prefix: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) end_of_word_suffix: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
    #[serde(borrow)]
    pub(super) vocab: Vocab<'a>,
    #[serde(borrow, default)]
    pub(super) merges: List<Merge<'a>, LARGEST_VOCABULARY>,
}

/// A list of at most `MOST`: small elements of a large file would take many times its size.
pub(super) struct List<T, const MOST: usize>(pub(super) Vec<T>);

impl<T, const MOST: usize> Default for List<T, MOST> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Elements<T, MOST> {
            type Value = List<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MOST}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = seq.next_element()? {
                    if list.len() == MOST {
                        return Err(serde::de::Error::invalid_length(MOST + 1, &self));
                    }
                    list.push(element);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// A string borrowed from the file where it has no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Tokens and ids in the order of the file: a map would hide that a token is there twice.
pub(super) struct Vocab<'a>(pub(super) Vec<(Cow<'a, str>, u32)>);

impl<'de: 'a, 'a> Deserialize<'de> for Vocab<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocab<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tokens and ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(token), id)) = map.next_entry::<Text<'de>, u32>()? {
                    if entries.len() == LARGEST_VOCABULARY {
                        let message = format!("more than {LARGEST_VOCABULARY} tokens");
                        return Err(serde::de::Error::custom(message));
                    }
                    entries.push((token, id));
                }
                Ok(Vocab(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A merge, written `"a b"` or `["a", "b"]`.
pub(super) struct Merge<'a>(pub(super) Cow<'a, str>, pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Two;
        impl<'de> Visitor<'de> for Two {
            type Value = Merge<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge, \"a b\" or [\"a\", \"b\"]")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, line: &'de str) -> Result<Self::Value, E> {
                let (left, right) = halves(line).ok_or_else(|| E::custom(not_a_merge(line)))?;
                Ok(Merge(left.into(), right.into()))
            }

            fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<Self::Value, E> {
                let (left, right) = halves(line).ok_or_else(|| E::custom(not_a_merge(line)))?;
                Ok(Merge(left.to_owned().into(), right.to_owned().into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut next = |n| {
                    let token = seq.next_element::<Text<'de>>()?;
                    token.ok_or_else(|| serde::de::Error::invalid_length(n, &self))
                };
                let (Text(left), Text(right)) = (next(0)?, next(1)?);
                match seq.next_element::<IgnoredAny>()? {
                    None => Ok(Merge(left, right)),
                    Some(_) => Err(serde::de::Error::invalid_length(3, &Two)),
                }
            }
        }
        deserializer.deserialize_any(Two)
    }
}

pub(super) fn halves(line: &str) -> Option<(&str, &str)> {
    line.split_once(' ')
        .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '))
}

pub(super) fn not_a_merge(line: &str) -> String {
    format!("merge {} is not two tokens with a space between", shorten(line))
}

pub(super) fn special(id: u32, name: &str) -> Added<'_> {
    let content = Cow::Borrowed(name);
    Added {
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
    }
}
