//! Tokenisers in the keys of GGUF files, `tokenizer.ggml.*`.
//!
//! | ours | `tokenizer.ggml.model` | |
//! |---|---|---|
//! | byte-level BPE | `gpt2` | tokens in GPT-2's alphabet of bytes, merges, and the name of the split pattern, `pre` |
//! | bytes | `gpt2` | the same without merges |
//! | characters | `llama` | a SentencePiece vocabulary without a token longer than a character: nothing merges, and what has no token falls back to its bytes |
//!
//! Rows of the embedding that no token has become tokens `[PAD7]` of the type "unused": a file has as many tokens as rows.
//! Source: `llama-vocab.cpp` and `gguf-py/gguf/constants.py` of llama.cpp.

use crate::error::Error;
use foretoken_formats::gguf::{Array, Gguf, Value, ValueType, Writer};
use foretoken_text::{ChatTemplate, Kind, LARGEST_VOCABULARY, Parts, Pattern, Tokenizer};
use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOT: &str = "tokenizer.ggml.eot_token_id";
const EOM: &str = "tokenizer.ggml.eom_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const SCORES: &str = "tokenizer.ggml.scores";
const TEMPLATE: &str = "tokenizer.chat_template";

/// Types of tokens.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Names of split patterns; the first of a pattern is the one that is written.
const PATTERNS: [(&str, Pattern); 6] = [
    ("gpt-2", Pattern::Gpt2),
    ("phi-2", Pattern::Gpt2),
    ("smollm", Pattern::Digits),
    ("starcoder", Pattern::Digits),
    ("refact", Pattern::Digits),
    ("command-r", Pattern::Digits),
];

/// What stands for a space in a SentencePiece vocabulary.
const SPACE: &str = "\u{2581}";

/// The tokeniser of a GGUF file.
///
/// # Errors
/// It is of a kind that is not read here, contradicts itself, or has another number of tokens than the embedding has rows.
pub fn tokenizer(file: &Gguf) -> Result<Tokenizer, Error> {
    let model = file.require(MODEL, "the name of a tokenizer", Value::as_str)?;
    let kind = match model {
        "gpt2" => Kind::Bpe,
        "llama" => Kind::Char,
        _ => return Err(wrong(file, MODEL, quoted(model), "gpt2, a byte-level BPE".into())),
    };
    for key in [ADD_BOS, ADD_EOS] {
        if file.optional(key, "true or false", Value::as_bool)? == Some(true) {
            let expected = "false: no token is added to a text here";
            return Err(wrong(file, key, "true".into(), expected.into()));
        }
    }
    let pattern = match kind {
        Kind::Bpe => pattern(file)?,
        _ => Pattern::Gpt2,
    };
    let (tokens, types) = tokens(file, kind)?;
    let eos = file.require(EOS, "a token id", |value| value.as_u64()?.try_into().ok())?;
    let named = [
        Some(eos),
        file.optional(BOS, "a token id", |value| value.as_u64()?.try_into().ok())?,
    ];
    // An end that a file forgot to call special must not come out of a text all the same.
    let is_special = |id: u32, kind: i32| matches!(kind, CONTROL | USER_DEFINED | UNKNOWN) || named.contains(&Some(id));
    let ids = types.iter().zip(0..);
    let special = ids
        .filter(|(kind, id)| is_special(*id, **kind))
        .map(|(_, id)| id)
        .collect();
    let merges = match kind {
        Kind::Bpe => strings(file, MERGES, file.require(MERGES, "a list of texts", Value::as_array)?)?,
        _ => Vec::new(),
    };
    let parts = Parts {
        kind,
        pattern,
        tokens,
        special,
        merges,
        eos,
    };
    Tokenizer::from_parts(&parts).map_err(|error| {
        foretoken_text::Error::TokenizerFile {
            path: file.path().to_owned(),
            source: Box::new(error),
        }
        .into()
    })
}

/// The split pattern. A GPT-2 needs not name it: older files do not.
fn pattern(file: &Gguf) -> Result<Pattern, Error> {
    let found = file.optional(PRE, "the name of a split pattern", Value::as_str)?;
    let is_gpt2 = file.get("general.architecture").and_then(Value::as_str) == Some("gpt2");
    if is_gpt2 && matches!(found, None | Some("default")) {
        return Ok(Pattern::Gpt2);
    }
    let known = PATTERNS.iter().find(|(name, _)| Some(*name) == found);
    known.map(|(_, pattern)| *pattern).ok_or_else(|| {
        let names = PATTERNS.map(|(name, _)| name).join(", ");
        wrong(
            file,
            PRE,
            found.map_or("missing".into(), quoted),
            format!("one of {names}"),
        )
    })
}

/// Tokens and their types, without the unused ones at the end.
fn tokens(file: &Gguf, kind: Kind) -> Result<(Vec<Cow<'_, str>>, Vec<i32>), Error> {
    let list = file.require(TOKENS, "a list of texts", Value::as_array)?;
    let rows = file
        .require_tensor("token_embd.weight")?
        .shape
        .first()
        .copied()
        .unwrap_or(0);
    if list.len() != rows || rows > LARGEST_VOCABULARY {
        let expected = format!("{rows}, the rows of token_embd.weight, and at most {LARGEST_VOCABULARY}");
        return Err(wrong(file, TOKENS, format!("a list of {}", list.len()), expected));
    }
    let types = match file.optional(TYPES, "a list of I32", |value| value.as_array_of(ValueType::I32))? {
        None => vec![NORMAL; rows],
        Some(types) if types.len() == rows => types
            .iter()
            .filter_map(|kind| kind.as_i64())
            .map(|x| x as i32)
            .collect(),
        Some(types) => {
            return Err(wrong(
                file,
                TYPES,
                format!("a list of {}", types.len()),
                rows.to_string(),
            ));
        }
    };
    let mut tokens = strings(file, TOKENS, list)?;
    let used = types
        .iter()
        .rposition(|&kind| kind != UNUSED)
        .map_or(0, |last| last + 1);
    tokens.truncate(used);
    let mut types: Vec<i32> = types;
    types.truncate(used);
    if kind == Kind::Char {
        characters(file, &mut tokens, &types)?;
    }
    Ok((tokens, types))
}

/// Takes a SentencePiece vocabulary for one of characters, where it is one.
fn characters(file: &Gguf, tokens: &mut [Cow<'_, str>], types: &[i32]) -> Result<(), Error> {
    let not_read = |found: String| {
        let expected = "gpt2, a byte-level BPE, or llama with characters alone: SentencePiece is not read here";
        wrong(file, MODEL, found, expected.into())
    };
    if file.optional(SPACE_PREFIX, "true or false", Value::as_bool)? != Some(false) {
        return Err(not_read("\"llama\" that adds a space before a text".into()));
    }
    for (token, kind) in tokens.iter_mut().zip(types) {
        match *kind {
            NORMAL if *token == SPACE => *token = " ".into(),
            NORMAL if token.chars().count() != 1 => {
                return Err(not_read(format!("\"llama\" with the token {}", quoted(token))));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The texts of a list.
fn strings<'f>(file: &'f Gguf, key: &'static str, list: Array<'f>) -> Result<Vec<Cow<'f, str>>, Error> {
    if list.element_type() != ValueType::String {
        return Err(wrong(
            file,
            key,
            Value::Array(list).to_string(),
            "a list of texts".into(),
        ));
    }
    Ok(list.iter().filter_map(Value::as_str).map(Cow::Borrowed).collect())
}

/// The template of a chat, where the file has one.
pub(crate) fn chat_template(file: &Gguf) -> Result<Option<&str>, Error> {
    Ok(file.optional(TEMPLATE, "a text", Value::as_str)?)
}

/// Adds a tokeniser to a file whose embedding has `rows` rows. `path` is for messages.
///
/// # Errors
/// A tokeniser of characters that has a token for the sign that SentencePiece writes for a space.
pub(crate) fn add_tokenizer(
    writer: &mut Writer,
    path: &Path,
    tokenizer: &Tokenizer,
    rows: usize,
    bos: Option<u32>,
) -> Result<(), Error> {
    let mut parts = tokenizer.parts();
    let is_chars = parts.kind == Kind::Char;
    let mut types: Vec<i32> = (0..)
        .zip(&parts.tokens)
        .map(|(id, token)| kind_of(&parts, id, token))
        .collect();
    if is_chars {
        if parts.tokens.iter().any(|token| *token == SPACE) {
            return Err(Error::NotInGguf {
                path: path.to_owned(),
                token: SPACE,
            });
        }
        parts
            .tokens
            .iter_mut()
            .filter(|token| **token == " ")
            .for_each(|token| *token = SPACE.into());
    }
    pad(&mut parts.tokens, &mut types, rows);
    writer.value(MODEL, if is_chars { "llama" } else { "gpt2" });
    if !is_chars {
        let name = PATTERNS.iter().find(|(_, pattern)| *pattern == parts.pattern);
        writer.value(PRE, name.expect("every pattern has a name").0);
    }
    writer.array(TOKENS, ValueType::String, parts.tokens.iter().map(|token| &**token));
    writer.array(TYPES, ValueType::I32, types);
    if is_chars {
        writer.array(SCORES, ValueType::F32, vec![0.0_f32; rows]);
    } else {
        writer.array(MERGES, ValueType::String, parts.merges.iter().map(|merge| &**merge));
    }
    writer.value(BOS, bos.unwrap_or(parts.eos));
    writer.value(EOS, parts.eos);
    writer.value(SPACE_PREFIX, false);
    writer.value(ADD_BOS, false);
    Ok(())
}

/// That template with the tokens it names.
pub(crate) fn template(file: &Gguf, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>, Error> {
    let Some(source) = chat_template(file)? else {
        return Ok(None);
    };
    let name = |key: &'static str| -> Result<String, Error> {
        let id: Option<u32> = file.optional(key, "a token id", |value| value.as_u64()?.try_into().ok())?;
        let bytes = id.and_then(|id| tokenizer.id_to_bytes(id)).unwrap_or_default();
        Ok(String::from_utf8_lossy(bytes).into_owned())
    };
    Ok(Some(ChatTemplate::new(source, &name(BOS)?, &name(EOS)?)?))
}

/// End tokens beside the one that ends a text: of a turn, and of a message.
pub(crate) fn more_ends(file: &Gguf) -> Result<Vec<u32>, Error> {
    let mut ends = Vec::new();
    for key in [EOT, EOM] {
        let id: Option<u32> = file.optional(key, "a token id", |value| value.as_u64()?.try_into().ok())?;
        ends.extend(id);
    }
    Ok(ends)
}

/// Adds the template of a chat.
pub(crate) fn add_chat_template(writer: &mut Writer, template: &str) {
    writer.value(TEMPLATE, template);
}

fn kind_of(parts: &Parts<'_>, id: u32, token: &str) -> i32 {
    if parts.special.contains(&id) {
        CONTROL
    } else if parts.kind == Kind::Char && token.chars().count() > 1 {
        BYTE
    } else {
        NORMAL
    }
}

/// Tokens of names that no other has, up to one a row.
fn pad(tokens: &mut Vec<Cow<'_, str>>, types: &mut Vec<i32>, rows: usize) {
    let taken: HashSet<String> = tokens
        .iter()
        .filter(|token| token.starts_with("[PAD"))
        .map(|token| token.to_string())
        .collect();
    for id in tokens.len()..rows {
        let mut name = format!("[PAD{id}]");
        while taken.contains(&name) {
            name.push('_');
        }
        tokens.push(name.into());
        types.push(UNUSED);
    }
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

fn wrong(file: &Gguf, key: &'static str, found: String, expected: String) -> Error {
    Error::GgufTokenizer {
        path: file.path().to_owned(),
        key,
        found,
        expected,
    }
}
