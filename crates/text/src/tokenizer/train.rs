//! Making a vocabulary from text.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use foldhash::fast::RandomState;

use super::Pattern;
use super::alphabet::byte_to_char;
use super::{Kind, Tokenizer};
use crate::Error;

/// The most tokens a vocabulary may have, read or trained.
pub const LARGEST_VOCABULARY: usize = 1 << 20;

/// Bytes of a piece that count as one word. Longer runs without a space, in a script without spaces or in a file of
/// hashes, are cut here: a merge rewrites every word that holds it, and a word of megabytes would cost as much each time.
const LONGEST_WORD: usize = 512;

type Pair = (u32, u32);

/// Reads text and makes a tokeniser of it. The same text gives the same tokeniser, in whatever pieces it comes and on
/// whatever machine.
///
/// ```
/// use foretoken_text::{Kind, Trainer};
/// let mut trainer = Trainer::new(Kind::Bpe, 300)?;
/// trainer.feed("low lower lowest");
/// let tokenizer = trainer.finish();
/// // 256 bytes, `lo`, `low`, ` low`, ` lowe`, the end: no other pair comes twice.
/// assert_eq!(tokenizer.vocab_size(), 261);
/// assert_eq!(tokenizer.encode("lower slower").len(), 3 + 5);
/// # Ok::<(), foretoken_text::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer {
    kind: Kind,
    vocab_size: usize,
    words: HashMap<String, u64, RandomState>,
    chars: BTreeSet<char>,
}

impl Trainer {
    /// A trainer for `kind`. `vocab_size` is V with the end-of-text token and counts for [`Kind::Bpe`] alone: the
    /// others are as large as their text makes them.
    ///
    /// # Errors
    /// Where a BPE of that size cannot be.
    pub fn new(kind: Kind, vocab_size: usize) -> Result<Trainer, Error> {
        if kind == Kind::Bpe && !(257..=LARGEST_VOCABULARY).contains(&vocab_size) {
            return Err(Error::VocabularySize {
                size: vocab_size,
                limit: LARGEST_VOCABULARY,
            });
        }
        Ok(Trainer {
            kind,
            vocab_size,
            words: HashMap::default(),
            chars: BTreeSet::new(),
        })
    }

    /// Reads more text: a document, or a part of one cut where [`Documents`](crate::Documents) cuts.
    pub fn feed(&mut self, text: &str) {
        match self.kind {
            Kind::Byte => {}
            Kind::Char => self.chars.extend(text.chars().collect::<HashSet<_, RandomState>>()),
            Kind::Bpe => {
                // Counted by borrowed key first: one allocation a distinct word, not one a word.
                let mut counts: HashMap<&str, u64, RandomState> = HashMap::default();
                for word in Pattern::Gpt2.pieces(text).flat_map(words).filter(|word| word.len() > 1) {
                    *counts.entry(word).or_default() += 1;
                }
                for (word, count) in counts {
                    match self.words.get_mut(word) {
                        Some(total) => *total += count,
                        None => drop(self.words.insert(word.to_owned(), count)),
                    }
                }
            }
        }
    }

    /// The tokeniser. A BPE has fewer tokens than asked for where no pair of tokens comes twice any more.
    pub fn finish(self) -> Tokenizer {
        match self.kind {
            Kind::Byte => Tokenizer::byte(),
            Kind::Char => Tokenizer::char(self.chars),
            Kind::Bpe => {
                let (bytes, merges, results) = merges(self.words, self.vocab_size - 1);
                Tokenizer::bpe(bytes, merges, &results)
            }
        }
    }
}

/// The bytes in the order of the characters that stand for them: the first 256 ids of GPT-2 and of ours.
fn alphabet() -> Box<[u32; 256]> {
    let mut order: Vec<u8> = (0..=255).collect();
    order.sort_by_key(|&byte| byte_to_char(byte));
    let mut ids = Box::new([0; 256]);
    for (id, &byte) in order.iter().enumerate() {
        ids[usize::from(byte)] = id as u32;
    }
    ids
}

/// `piece` cut into words of at most [`LONGEST_WORD`] bytes, between characters.
fn words(mut piece: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (word, rest) = piece.split_at(piece.floor_char_boundary(LONGEST_WORD));
        piece = rest;
        (!word.is_empty()).then_some(word)
    })
}

/// A word as tokens, and how often it comes.
struct Word {
    ids: Vec<u32>,
    count: u64,
}

/// The pairs of tokens in all words: how often each comes, and in which words.
#[derive(Default)]
struct Pairs {
    counts: HashMap<Pair, u64, RandomState>,
    /// May name a word more than once, or one that has lost the pair: counts are what holds.
    places: HashMap<Pair, Vec<u32>, RandomState>,
    /// The most frequent first, the lowest ids where equal. An entry is an upper bound: counts that fell leave it
    /// behind, counts that grow push another.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Pairs {
    fn remove(&mut self, word: &Word) {
        for pair in word.ids.windows(2) {
            *self.counts.get_mut(&(pair[0], pair[1])).expect("counted before") -= word.count;
        }
    }

    fn add(&mut self, word: &Word, index: u32, grown: &mut HashSet<Pair, RandomState>) {
        for pair in word.ids.windows(2) {
            let pair = (pair[0], pair[1]);
            *self.counts.entry(pair).or_default() += word.count;
            let places = self.places.entry(pair).or_default();
            if places.last() != Some(&index) {
                places.push(index);
            }
            grown.insert(pair);
        }
    }

    fn push(&mut self, grown: &mut HashSet<Pair, RandomState>) {
        self.queue
            .extend(grown.drain().map(|pair| (self.counts[&pair], Reverse(pair))));
    }

    /// The most frequent pair, if it comes twice.
    fn pop(&mut self) -> Option<Pair> {
        while let Some((count, Reverse(pair))) = self.queue.pop() {
            let now = self.counts[&pair];
            if now == count && count > 1 {
                return Some(pair);
            }
            if now < count && now > 1 {
                self.queue.push((now, Reverse(pair)));
            }
        }
        None
    }
}

/// Byte-pair encoding (Sennrich, Haddow and Birch, arXiv 1508.07909) over bytes, as GPT-2 has it: the most frequent
/// pair becomes a token until there are `size` of them. Gives the bytes' ids, the merges and the token of each.
fn merges(counts: HashMap<String, u64, RandomState>, size: usize) -> (Box<[u32; 256]>, Vec<Pair>, Vec<u32>) {
    let bytes = alphabet();
    let mut tokens: Vec<Vec<u8>> = vec![Vec::new(); 256];
    for byte in 0..=255u8 {
        tokens[bytes[usize::from(byte)] as usize] = vec![byte];
    }
    let mut ids: HashMap<Vec<u8>, u32, RandomState> = HashMap::default();
    let mut words: Vec<Word> = counts
        .into_iter()
        .map(|(word, count)| Word {
            ids: word.bytes().map(|byte| bytes[usize::from(byte)]).collect(),
            count,
        })
        .collect();

    let mut pairs = Pairs::default();
    let mut grown = HashSet::default();
    for (index, word) in words.iter().enumerate() {
        pairs.add(word, index as u32, &mut grown);
    }
    pairs.push(&mut grown);

    let (mut merges, mut results) = (Vec::new(), Vec::new());
    let mut merged: HashSet<Pair, RandomState> = HashSet::default();
    while tokens.len() < size {
        let Some(pair) = pairs.pop() else { break };
        let token = [tokens[pair.0 as usize].as_slice(), &tokens[pair.1 as usize]].concat();
        // Two ways to one string, `a`+`bc` and `ab`+`c`, are two merges and one token.
        let id = *ids.entry(token.clone()).or_insert_with(|| {
            tokens.push(token);
            tokens.len() as u32 - 1
        });
        // A pair can come back where its right or left token got such a second way; it keeps its first rank.
        if merged.insert(pair) {
            merges.push(pair);
            results.push(id);
        }
        let mut places = pairs.places.remove(&pair).unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        for index in places {
            let word = &mut words[index as usize];
            if word.ids.windows(2).any(|two| (two[0], two[1]) == pair) {
                pairs.remove(word);
                merge_word(&mut word.ids, pair, id);
                pairs.add(word, index, &mut grown);
            }
        }
        pairs.push(&mut grown);
    }
    (bytes, merges, results)
}

/// Replaces each `pair` in `ids`, from the left.
fn merge_word(ids: &mut Vec<u32>, pair: Pair, id: u32) {
    let (mut from, mut to) = (0, 0);
    while from < ids.len() {
        let found = from + 1 < ids.len() && (ids[from], ids[from + 1]) == pair;
        ids[to] = if found { id } else { ids[from] };
        from += 1 + usize::from(found);
        to += 1;
    }
    ids.truncate(to);
}
