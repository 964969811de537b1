//! Tokenisers: text to token ids and back.

mod alphabet;
mod batch;
mod bpe;
mod form;
mod parts;
mod pattern;
mod read;
mod stream;
mod train;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::Read;
use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};
use foldhash::fast::RandomState;

use crate::{Error, Fingerprint};
use bpe::{Bpe, Memory};
pub use parts::Parts;
pub use pattern::Pattern;
pub(crate) use pattern::last_cut;
pub use stream::StreamDecoder;
pub use train::LARGEST_VOCABULARY;
pub use train::Trainer;

/// The special token that ends a document.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// The largest tokeniser file that is read, in bytes; those of the largest vocabularies in use have half of it.
pub const LARGEST_FILE: u64 = 64 << 20;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A byte: 256 tokens and the end of text, id = byte. Needs no training.
    Byte,
    /// A character of the training text. Characters it did not have fall back to tokens of their UTF-8 bytes.
    Char,
    /// A string of bytes: byte-level byte-pair encoding; what is trained here has GPT-2's split pattern.
    Bpe,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Byte => "byte",
            Kind::Char => "char",
            Kind::Bpe => "bpe",
        })
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Kind, String> {
        match name {
            "byte" => Ok(Kind::Byte),
            "char" => Ok(Kind::Char),
            "bpe" => Ok(Kind::Bpe),
            _ => Err(format!("no tokenizer `{name}`; there is byte, char and bpe")),
        }
    }
}

/// A vocabulary of V tokens, with ids 0 to V-1, and the way from text to them.
///
/// Every text can be encoded, and decodes to itself; of others' vocabularies some lack control characters and rare bytes,
/// which their own readers leave out of a text, too. No text typed by a user becomes a special token unless it is asked
/// for with [`encode_with_special`](Tokenizer::encode_with_special).
///
/// ```
/// use foretoken_text::Tokenizer;
/// let tokenizer = Tokenizer::byte();
/// assert_eq!(tokenizer.encode("가"), [0xEA, 0xB0, 0x80]);
/// assert_eq!(tokenizer.decode(&[0xEA, 0xB0, 0x80])?, "가");
/// assert_eq!(tokenizer.encode("<|endoftext|>").len(), 13);
/// assert_eq!(tokenizer.encode_with_special("<|endoftext|>"), [tokenizer.eos_id()]);
/// # Ok::<(), foretoken_text::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    tokens: Tokens,
    /// Special tokens, in order of id.
    special: Vec<(u32, String)>,
    eos: u32,
    encoder: Encoder,
}

/// The bytes of every token, in one piece of memory.
#[derive(Debug, Clone, Default)]
struct Tokens {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Tokens {
    fn push(&mut self, token: &[u8]) {
        self.bytes.extend_from_slice(token);
        self.ends.push(self.bytes.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        let at = id as usize;
        let end = *self.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        Some(&self.bytes[start..end])
    }
}

/// From text to ids.
#[derive(Debug, Clone)]
enum Encoder {
    Byte(Box<[u32; 256]>),
    Char(Chars),
    Bpe(Bpe),
}

impl Encoder {
    /// Without merges a BPE is a table.
    fn byte_level(pattern: Pattern, bytes: Box<[u32; 256]>, merges: Vec<(u32, u32)>, results: &[u32]) -> Encoder {
        if merges.is_empty() {
            Encoder::Byte(bytes)
        } else {
            Encoder::Bpe(Bpe::new(pattern, bytes, merges, results))
        }
    }
}

/// A token for each character, and for the bytes of those that have none.
#[derive(Debug, Clone)]
struct Chars {
    ids: HashMap<char, u32, RandomState>,
    /// [`NO_TOKEN`] where the byte needs none.
    fallback: Box<[u32; 256]>,
}

/// No token.
const NO_TOKEN: u32 = u32::MAX;

impl Chars {
    /// Bytes that the UTF-8 of a character without a token may hold: ASCII without a token of its own, and all of longer
    /// characters.
    fn needs(&self, byte: u8) -> bool {
        match byte {
            0..=0x7F => !self.ids.contains_key(&char::from(byte)),
            _ => matches!(byte, 0x80..=0xBF | 0xC2..=0xF4),
        }
    }

    fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let mut utf8 = [0; 4];
        for c in text.chars() {
            match self.ids.get(&c) {
                Some(&id) => out.push(id),
                None => {
                    let bytes = c.encode_utf8(&mut utf8).bytes();
                    out.extend(bytes.map(|byte| self.fallback[usize::from(byte)]));
                }
            }
        }
    }
}

impl Tokenizer {
    /// The tokeniser of bytes: id = byte, and 256 for the end of text.
    pub fn byte() -> Tokenizer {
        let mut tokens = Tokens::default();
        let mut ids = Box::new([0; 256]);
        for byte in 0..=255u8 {
            ids[usize::from(byte)] = u32::from(byte);
            tokens.push(&[byte]);
        }
        Tokenizer::with_end(tokens, Encoder::Byte(ids))
    }

    /// The tokeniser of characters: these in the order of their code points, then the bytes of all others.
    fn char(chars: BTreeSet<char>) -> Tokenizer {
        let mut tokens = Tokens::default();
        let mut encoder = Chars {
            ids: HashMap::default(),
            fallback: Box::new([NO_TOKEN; 256]),
        };
        for c in chars {
            encoder.ids.insert(c, tokens.len() as u32);
            tokens.push(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        for byte in 0..=255u8 {
            if encoder.needs(byte) {
                encoder.fallback[usize::from(byte)] = tokens.len() as u32;
                tokens.push(&[byte]);
            }
        }
        Tokenizer::with_end(tokens, Encoder::Char(encoder))
    }

    /// The tokeniser of these merges, whose results are the ids 256, 257, ... at their first appearance.
    fn bpe(bytes: Box<[u32; 256]>, merges: Vec<(u32, u32)>, results: &[u32]) -> Tokenizer {
        let mut list: Vec<Vec<u8>> = vec![Vec::new(); 256];
        for byte in 0..=255u8 {
            list[bytes[usize::from(byte)] as usize] = vec![byte];
        }
        for (&(left, right), &id) in merges.iter().zip(results) {
            if id as usize == list.len() {
                list.push([list[left as usize].as_slice(), &list[right as usize]].concat());
            }
        }
        let mut tokens = Tokens::default();
        list.iter().for_each(|token| tokens.push(token));
        Tokenizer::with_end(tokens, Encoder::byte_level(Pattern::Gpt2, bytes, merges, results))
    }

    /// Adds the end of text as the last id.
    fn with_end(mut tokens: Tokens, encoder: Encoder) -> Tokenizer {
        let eos = tokens.len() as u32;
        tokens.push(END_OF_TEXT.as_bytes());
        Tokenizer {
            tokens,
            special: vec![(eos, END_OF_TEXT.to_owned())],
            eos,
            encoder,
        }
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// Where the file cannot be read, and those of [`from_bytes`](Tokenizer::from_bytes).
    pub fn from_file(path: &Path) -> Result<Tokenizer, Error> {
        Self::from_file_ending(path, None)
    }

    /// As [`from_file`](Tokenizer::from_file); `end` names the special token that ends a text, as `tokenizer_config.json`
    /// does. Where there is none of that name, it is found as ever.
    ///
    /// # Errors
    /// As [`from_file`](Tokenizer::from_file).
    pub fn from_file_ending(path: &Path, end: Option<&str>) -> Result<Tokenizer, Error> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(io)?;
        let mut bytes = Vec::new();
        // One byte past the limit, whatever length the system tells.
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
        Tokenizer::read(&bytes, end).map_err(|error| Error::TokenizerFile {
            path: path.to_owned(),
            source: Box::new(error),
        })
    }

    /// V, with special tokens.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    /// What its tokens are. A BPE without merges is a tokeniser of bytes.
    pub fn kind(&self) -> Kind {
        match self.encoder {
            Encoder::Byte(_) => Kind::Byte,
            Encoder::Char(_) => Kind::Char,
            Encoder::Bpe(_) => Kind::Bpe,
        }
    }

    /// The token that ends a document.
    pub fn eos_id(&self) -> u32 {
        self.eos
    }

    /// Whether `id` is a special token, which no ordinary text encodes to.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.binary_search_by_key(&id, |(id, _)| *id).is_ok()
    }

    /// The special tokens and their ids, in order of id.
    pub fn special_tokens(&self) -> impl Iterator<Item = (u32, &str)> {
        self.special.iter().map(|(id, token)| (*id, token.as_str()))
    }

    /// The exact bytes of a token, perhaps only a part of a character; of a special token, its name.
    pub fn id_to_bytes(&self, id: u32) -> Option<&[u8]> {
        self.tokens.get(id)
    }

    /// The ids of `text` as ordinary text: the name of a special token in it is only letters.
    ///
    /// On one thread; [`encode_batch`](Tokenizer::encode_batch) takes more.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        self.encode_into(text, &mut Memory::default(), &mut ids);
        ids
    }

    /// Appends the ids of `text` as ordinary text to `ids`.
    fn encode_into<'t>(&self, text: &'t str, memory: &mut Memory<'t>, ids: &mut Vec<u32>) {
        match &self.encoder {
            Encoder::Byte(table) => {
                let found = text.bytes().map(|byte| table[usize::from(byte)]);
                ids.extend(found.filter(|&id| id != NO_TOKEN));
            }
            Encoder::Char(chars) => chars.encode(text, ids),
            Encoder::Bpe(bpe) => bpe.encode(text, memory, ids),
        }
    }

    /// The ids of `text`, where the name of a special token is that token. Not for text from strangers, who could end
    /// a document by typing its end.
    pub fn encode_with_special(&self, text: &str) -> Vec<u32> {
        // Where one name starts another, the longer wins.
        let names = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(self.special.iter().map(|(_, name)| name))
            .expect("few names of bounded length");
        let mut ids = Vec::with_capacity(text.len() / 3);
        let mut memory = Memory::default();
        let mut done = 0;
        for found in names.find_iter(text) {
            self.encode_into(&text[done..found.start()], &mut memory, &mut ids);
            ids.push(self.special[found.pattern().as_usize()].0);
            done = found.end();
        }
        self.encode_into(&text[done..], &mut memory, &mut ids);
        ids
    }

    /// The bytes of `ids`, those of special tokens' names among them.
    ///
    /// # Errors
    /// Where an id is not in the vocabulary.
    pub fn decode_bytes(&self, ids: &[u32]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(ids.len() * 3);
        for &id in ids {
            let token = self.tokens.get(id).ok_or_else(|| self.unknown(id))?;
            bytes.extend_from_slice(token);
        }
        Ok(bytes)
    }

    /// The text of `ids`. Ids that end within a character, or were never text, give U+FFFD there.
    ///
    /// # Errors
    /// Where an id is not in the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        let bytes = self.decode_bytes(ids)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// A decoder for ids that come one by one.
    pub fn stream(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self)
    }

    /// BLAKE3 of [`to_json`](Tokenizer::to_json): equal for equal vocabularies, merges and special tokens, whatever
    /// file they came from.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(*blake3::hash(&self.to_json()).as_bytes())
    }

    fn unknown(&self, id: u32) -> Error {
        Error::UnknownId {
            id,
            vocab_size: self.vocab_size(),
        }
    }
}
