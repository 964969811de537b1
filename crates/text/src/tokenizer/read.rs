//! Reading a `tokenizer.json` as Hugging Face's `tokenizers` has it, and GPT-2's two files.
//!
//! A file comes from outside: nothing in it runs (no foreign pattern is compiled), its size and the number of its tokens
//! are bounded, and every part that would change ids in a way not known here is refused by name.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::Deserialize;

use super::alphabet::token_to_bytes;
use super::form::{Added, File, Merge, Model, Part, Piece, Vocab, halves, not_a_merge, special};
use super::{Chars, END_OF_TEXT, Encoder, LARGEST_FILE, NO_TOKEN, Pattern, Tokenizer, Tokens};
use crate::Error;
use crate::error::shorten;

impl Tokenizer {
    /// Reads a `tokenizer.json`: the three kinds written here, and GPT-2's own or any other byte-level BPE with a split
    /// pattern of [`Pattern`].
    ///
    /// # Errors
    /// Where it is larger than [`LARGEST_FILE`](crate::LARGEST_FILE), is not JSON of that form, has a part that is not
    /// read here, or contradicts itself: ids with gaps, merges of absent tokens, no token for a byte, no end of text.
    pub fn from_bytes(json: &[u8]) -> Result<Tokenizer, Error> {
        Self::read(json, None)
    }

    /// [`from_bytes`](Tokenizer::from_bytes) with the name of the token that ends a text, where it is known.
    pub(super) fn read(json: &[u8], end: Option<&str>) -> Result<Tokenizer, Error> {
        let file: File<'_> = parse("tokenizer.json", json)?;
        let is_byte_level = |part: &Part<'_>| part.kind == "ByteLevel";
        refuse("normalizer", file.normalizer.as_ref(), "null")?;
        let adds_nothing = |part: &Part<'_>| is_byte_level(part) || is_bare_template(part);
        let post = file.post_processor.as_ref().filter(|part| !adds_nothing(part));
        refuse(
            "post_processor",
            post,
            "ByteLevel, a template that adds no token, or null",
        )?;
        check_model(&file.model)?;
        check_added(&file.added_tokens.0)?;

        if file.model.byte_fallback {
            refuse("pre_tokenizer", file.pre_tokenizer.as_ref(), "null with byte_fallback")?;
            let falls_back = |part: &Part<'_>| part.decoders.0.iter().any(|part| part.kind == "ByteFallback");
            let decoder = file.decoder.as_ref();
            if !decoder.is_some_and(|part| falls_back(part) || part.kind == "ByteFallback") {
                return Err(unsupported(
                    "decoder",
                    kind_of(decoder),
                    "ByteFallback with byte_fallback",
                ));
            }
            if !file.model.merges.0.is_empty() {
                return Err(unsupported("merges", "not empty", "none with byte_fallback"));
            }
            return read_chars(&file.model.vocab.0, &file.added_tokens.0, end);
        }
        let Some((pattern, pre)) = file.pre_tokenizer.as_ref().and_then(pattern_of) else {
            return Err(unsupported(
                "pre_tokenizer",
                kind_of(file.pre_tokenizer.as_ref()),
                "ByteLevel, alone or after Digits one by one",
            ));
        };
        if pre.add_prefix_space == Some(true) {
            return Err(unsupported("add_prefix_space", "true", "false"));
        }
        if pre.use_regex == Some(false) && !file.model.merges.0.is_empty() {
            return Err(unsupported("use_regex", "false", "true where there are merges"));
        }
        let decoder = file.decoder.as_ref().filter(|part| is_byte_level(part));
        if decoder.is_none() {
            return Err(unsupported("decoder", kind_of(file.decoder.as_ref()), "ByteLevel"));
        }
        read_byte_level(
            pattern,
            &file.model.vocab.0,
            &file.model.merges.0,
            &file.added_tokens.0,
            end,
        )
    }

    /// Reads the `vocab.json` and `merges.txt` of a GPT-2.
    ///
    /// # Errors
    /// As [`from_bytes`](Tokenizer::from_bytes).
    pub fn from_gpt2(vocab_json: &[u8], merges_txt: &[u8]) -> Result<Tokenizer, Error> {
        let vocab: Vocab<'_> = parse("vocab.json", vocab_json)?;
        check_size(merges_txt)?;
        let wrong = |message| Error::TokenizerJson {
            part: "merges.txt",
            message,
        };
        let text = std::str::from_utf8(merges_txt).map_err(|error| wrong(error.to_string()))?;
        let mut merges = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // `#version` is a comment on the first line alone: `# #` merges too.
            if line.is_empty() || index == 0 && line.starts_with("#version") {
                continue;
            }
            let (left, right) =
                halves(line).ok_or_else(|| wrong(format!("line {}: {}", index + 1, not_a_merge(line))))?;
            merges.push(Merge(left.into(), right.into()));
        }
        let end = vocab.0.iter().find(|(token, _)| token == END_OF_TEXT);
        let id = end.ok_or_else(no_end)?.1;
        read_byte_level(Pattern::Gpt2, &vocab.0, &merges, &[special(id, END_OF_TEXT)], None)
    }
}

fn parse<'a, T: Deserialize<'a>>(part: &'static str, json: &'a [u8]) -> Result<T, Error> {
    check_size(json)?;
    serde_json::from_slice(json).map_err(|error| Error::TokenizerJson {
        part,
        message: error.to_string(),
    })
}

fn check_size(bytes: &[u8]) -> Result<(), Error> {
    let bytes = bytes.len() as u64;
    if bytes > LARGEST_FILE {
        Err(Error::TokenizerTooLarge {
            bytes,
            limit: LARGEST_FILE,
        })
    } else {
        Ok(())
    }
}

/// The split pattern of a pre-tokeniser, and the part of it that is `ByteLevel`.
fn pattern_of<'p, 'a>(pre: &'p Part<'a>) -> Option<(Pattern, &'p Part<'a>)> {
    match (&*pre.kind, &pre.pretokenizers.0[..]) {
        ("ByteLevel", _) => Some((Pattern::Gpt2, pre)),
        ("Sequence", [digits, level])
            if digits.kind == "Digits" && digits.individual_digits == Some(true) && level.kind == "ByteLevel" =>
        {
            Some((Pattern::Digits, level))
        }
        _ => None,
    }
}

fn kind_of<'p>(part: Option<&'p Part<'_>>) -> &'p str {
    part.map_or("null", |part| &part.kind)
}

fn unsupported(part: &'static str, found: &str, expected: &'static str) -> Error {
    Error::TokenizerUnsupported {
        part,
        found: shorten(found),
        expected,
    }
}

fn refuse(name: &'static str, part: Option<&Part<'_>>, expected: &'static str) -> Result<(), Error> {
    part.map_or(Ok(()), |part| Err(unsupported(name, &part.kind, expected)))
}

/// `transformers` 5 saves every tokeniser with a template, also where it is the text alone.
fn is_bare_template(part: &Part<'_>) -> bool {
    part.kind == "TemplateProcessing" && matches!(part.single.0[..], [Piece::Sequence(_)])
}

pub(super) fn invalid<T>(message: String) -> Result<T, Error> {
    Err(Error::TokenizerInvalid(message))
}

fn no_end() -> Error {
    Error::TokenizerInvalid(format!(
        "no special token `{END_OF_TEXT}`, and not exactly one other that could end a text"
    ))
}

fn check_model(model: &Model<'_>) -> Result<(), Error> {
    let is_set = |text: &Option<Cow<'_, str>>| text.as_deref().is_some_and(|text| !text.is_empty());
    match model.kind.as_deref() {
        None | Some("BPE") => {}
        Some(kind) => return Err(unsupported("model", kind, "BPE")),
    }
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(unsupported("dropout", "set", "null"));
    }
    if is_set(&model.continuing_subword_prefix) || is_set(&model.end_of_word_suffix) {
        return Err(unsupported(
            "continuing_subword_prefix or end_of_word_suffix",
            "set",
            "null",
        ));
    }
    if model.ignore_merges {
        return Err(unsupported("ignore_merges", "true", "false"));
    }
    Ok(())
}

pub(super) fn check_added(added: &[Added<'_>]) -> Result<(), Error> {
    const LONGEST: usize = 256;
    for token in added {
        let name = shorten(&token.content);
        if token.content.is_empty() {
            return invalid(format!("the added token {} is empty", token.id));
        }
        if token.content.len() > LONGEST {
            return invalid(format!("the added token {name} is longer than {LONGEST} bytes"));
        }
        if !token.special || token.single_word || token.lstrip || token.rstrip {
            return Err(unsupported(
                "added token",
                &token.content,
                "special, without single_word, lstrip or rstrip",
            ));
        }
    }
    Ok(())
}

type Ids<'t> = HashMap<&'t str, u32, RandomState>;

/// Every token at its id: ids are 0 to V-1, and no string is there twice.
fn by_id<'t>(vocab: &'t [(Cow<'_, str>, u32)], added: &'t [Added<'_>]) -> Result<(Vec<&'t str>, Ids<'t>), Error> {
    let mut ids = Ids::with_capacity_and_hasher(vocab.len() + added.len(), RandomState::default());
    for (token, id) in vocab {
        if token.is_empty() {
            return invalid(format!("the token {id} is empty"));
        }
        if ids.insert(token, *id).is_some() {
            return invalid(format!("the token {} is there twice", shorten(token)));
        }
    }
    for token in added {
        match ids.insert(&token.content, token.id) {
            Some(id) if id != token.id => {
                let name = shorten(&token.content);
                return invalid(format!(
                    "the added token {name} has the id {}, in the vocabulary {id}",
                    token.id
                ));
            }
            _ => {}
        }
    }
    let mut tokens = vec![""; ids.len()];
    let vocab = vocab.iter().map(|(token, id)| (&**token, *id));
    let added = added.iter().map(|token| (&*token.content, token.id));
    for (token, id) in vocab.chain(added) {
        match tokens.get_mut(id as usize) {
            None => {
                let last = tokens.len().saturating_sub(1);
                return invalid(format!(
                    "{} tokens, so ids are 0 to {last}, but {} is {id}",
                    ids.len(),
                    shorten(token)
                ));
            }
            Some(slot) if slot.is_empty() => *slot = token,
            // An added token may be in the vocabulary as well.
            Some(slot) if *slot == token => {}
            Some(slot) => {
                return invalid(format!(
                    "{} and {} both have the id {id}",
                    shorten(slot),
                    shorten(token)
                ));
            }
        }
    }
    Ok((tokens, ids))
}

/// The end of text, which `end` may name, and the special tokens in order of id.
fn specials(added: &[Added<'_>], end: Option<&str>) -> Result<(u32, Vec<(u32, String)>), Error> {
    let mut special: Vec<(u32, String)> = added
        .iter()
        .map(|token| (token.id, token.content.clone().into_owned()))
        .collect();
    special.sort();
    special.dedup();
    let find = |wanted: &str| special.iter().find(|(_, name)| name == wanted);
    let named = end.and_then(find).or_else(|| find(END_OF_TEXT));
    let eos = match (named, special.as_slice()) {
        (Some((id, _)), _) | (None, [(id, _)]) => *id,
        _ => return Err(no_end()),
    };
    Ok((eos, special))
}

/// Bytes that a vocabulary may lack, as those of SmolLM do: control characters that its text never had, what begins no
/// character, and what begins a character past the planes in use.
fn may_lack(byte: u8) -> bool {
    match byte {
        b'\t' | b'\n' | b'\r' => false,
        byte => byte.is_ascii_control() || matches!(byte, 0xC0..=0xC1 | 0xF1..=0xFF),
    }
}

pub(super) fn read_byte_level(
    pattern: Pattern,
    vocab: &[(Cow<'_, str>, u32)],
    merges: &[Merge<'_>],
    added: &[Added<'_>],
    end: Option<&str>,
) -> Result<Tokenizer, Error> {
    let (names, ids) = by_id(vocab, added)?;
    let (eos, special) = specials(added, end)?;
    let is_special = |id: u32| special.binary_search_by_key(&id, |(id, _)| *id).is_ok();
    let mut tokens = Tokens::default();
    let mut bytes = Box::new([NO_TOKEN; 256]);
    let mut token = Vec::new();
    for (id, name) in names.iter().enumerate() {
        if is_special(id as u32) {
            tokens.push(name.as_bytes());
            continue;
        }
        match token_to_bytes(name, &mut token) {
            Ok(()) => {
                if let [byte] = token[..] {
                    bytes[usize::from(byte)] = id as u32;
                }
                tokens.push(&token);
            }
            Err(c) => {
                return invalid(format!(
                    "the token {} has {c:?}, which stands for no byte",
                    shorten(name)
                ));
            }
        }
    }
    if let Some(byte) = (0..=255).find(|&byte| bytes[usize::from(byte)] == NO_TOKEN && !may_lack(byte)) {
        return invalid(format!(
            "no token for the byte {byte:#04X}: some text could not be encoded"
        ));
    }
    let id_of = |rank: usize, token: &str| match ids.get(token) {
        // Else ordinary text could end a document.
        Some(&id) if is_special(id) => {
            invalid(format!("merge {} names the special token {}", rank + 1, shorten(token)))
        }
        Some(&id) => Ok(id),
        None => invalid(format!(
            "merge {} names {}, which is not in the vocabulary",
            rank + 1,
            shorten(token)
        )),
    };
    let (mut pairs, mut results) = (Vec::with_capacity(merges.len()), Vec::with_capacity(merges.len()));
    let mut joined = String::new();
    for (rank, Merge(left, right)) in merges.iter().enumerate() {
        let pair = (id_of(rank, left)?, id_of(rank, right)?);
        pairs.push(pair);
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        // Most vocabularies have the results in the order of the merges: no need to look them up.
        let next = results.last().map_or(0, |last| last + 1);
        results.push(match names.get(next as usize) {
            Some(name) if *name == joined && !is_special(next) => next,
            _ => id_of(rank, &joined)?,
        });
    }
    let encoder = Encoder::byte_level(pattern, bytes, pairs, &results);
    if let Encoder::Bpe(bpe) = &encoder
        && let Some(rank) = bpe.repeated()
    {
        let Merge(left, right) = &merges[rank];
        let (left, right) = (shorten(left), shorten(right));
        return invalid(format!("merge {} is there twice: {left} {right}", rank + 1));
    }
    Ok(Tokenizer {
        tokens,
        special,
        eos,
        encoder,
    })
}

pub(super) fn read_chars(
    vocab: &[(Cow<'_, str>, u32)],
    added: &[Added<'_>],
    end: Option<&str>,
) -> Result<Tokenizer, Error> {
    let (names, _) = by_id(vocab, added)?;
    let (eos, special) = specials(added, end)?;
    let mut tokens = Tokens::default();
    let mut chars = Chars {
        ids: HashMap::default(),
        fallback: Box::new([NO_TOKEN; 256]),
    };
    for (id, name) in names.iter().enumerate() {
        let id = id as u32;
        let byte = name.strip_prefix("<0x").and_then(|name| name.strip_suffix('>'));
        let byte = byte
            .filter(|hex| hex.len() == 2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let mut of_name = name.chars();
        if special.binary_search_by_key(&id, |(id, _)| *id).is_ok() {
            tokens.push(name.as_bytes());
        } else if let (Some(c), None) = (of_name.next(), of_name.next()) {
            chars.ids.insert(c, id);
            tokens.push(name.as_bytes());
        } else if let Some(byte) = byte {
            chars.fallback[usize::from(byte)] = id;
            tokens.push(&[byte]);
        } else {
            return invalid(format!(
                "the token {} is neither a character nor a byte `<0x41>`",
                shorten(name)
            ));
        }
    }
    if let Some(byte) = (0..=255).find(|&byte| chars.needs(byte) && chars.fallback[usize::from(byte)] == NO_TOKEN) {
        return invalid(format!("no token `<0x{byte:02X}>`: some text could not be encoded"));
    }
    Ok(Tokenizer {
        tokens,
        special,
        eos,
        encoder: Encoder::Char(chars),
    })
}
