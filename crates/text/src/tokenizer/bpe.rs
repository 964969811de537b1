//! Byte-level byte-pair encoding: the merges of a vocabulary, applied to the pieces of a text.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use foldhash::fast::RandomState;

use super::Pattern;

/// Pieces remembered while encoding; forgetting all of them past this bounds the memory and keeps the table in cache.
const REMEMBERED: usize = 1 << 16;

/// The merges of a vocabulary.
#[derive(Debug, Clone)]
pub(crate) struct Bpe {
    /// Where merges end.
    pub(crate) pattern: Pattern,
    /// The token of each byte; [`super::NO_TOKEN`] where the vocabulary lacks one.
    pub(crate) bytes: Box<[u32; 256]>,
    /// The pairs that merge, in order of rank.
    pub(crate) merges: Vec<(u32, u32)>,
    /// Rank and result of each pair.
    ranks: HashMap<(u32, u32), (u32, u32), RandomState>,
}

/// One symbol of a piece while it merges; a doubly linked list in a vector.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    id: u32,
    prev: u32,
    next: u32,
}

/// No neighbour, a symbol that has been merged into the one before it, or a byte without a token.
const NONE: u32 = super::NO_TOKEN;

impl Bpe {
    /// Merges in order of rank, with the token each gives. A pair that is there twice keeps its last rank.
    pub(crate) fn new(pattern: Pattern, bytes: Box<[u32; 256]>, merges: Vec<(u32, u32)>, results: &[u32]) -> Bpe {
        let mut ranks = HashMap::with_capacity_and_hasher(merges.len(), RandomState::default());
        ranks.extend(
            (0..)
                .zip(merges.iter().zip(results))
                .map(|(rank, (&pair, &id))| (pair, (rank, id))),
        );
        Bpe {
            pattern,
            bytes,
            merges,
            ranks,
        }
    }

    /// The last rank of a pair that is there twice.
    pub(crate) fn repeated(&self) -> Option<usize> {
        if self.ranks.len() == self.merges.len() {
            return None;
        }
        let last = |(rank, pair)| Some(self.ranks[pair].0 as usize).filter(|&last| last != rank);
        self.merges.iter().enumerate().find_map(last)
    }

    /// Appends the ids of `text`. `memory` may come from other texts of the same tokeniser.
    pub(crate) fn encode<'t>(&self, text: &'t str, memory: &mut Memory<'t>, out: &mut Vec<u32>) {
        let Memory { seen, ids, work } = memory;
        for piece in self.pattern.pieces(text) {
            if let [byte] = *piece.as_bytes() {
                out.extend(Some(self.bytes[usize::from(byte)]).filter(|&id| id != NONE));
                continue;
            }
            if let Some(&(start, end)) = seen.get(piece) {
                out.extend_from_slice(&ids[start..end]);
                continue;
            }
            let start = out.len();
            self.merge(piece.as_bytes(), work, out);
            let new = &out[start..];
            if seen.len() == REMEMBERED {
                seen.clear();
                ids.clear();
            }
            seen.insert(piece, (ids.len(), ids.len() + new.len()));
            ids.extend_from_slice(new);
        }
    }

    /// Appends the ids of one piece, bytes without a token left out: the pair of lowest rank merges first, the leftmost where ranks are equal.
    /// n log n in the bytes of the piece, however long a "word" without spaces is.
    fn merge(&self, piece: &[u8], work: &mut Work, out: &mut Vec<u32>) {
        // A piece is a part of a document in memory; past 4 GiB the links would not fit, so it is cut.
        for part in piece.chunks(NONE as usize - 1) {
            let Work { symbols, queue } = &mut *work;
            symbols.clear();
            queue.clear();
            symbols.extend(part.iter().enumerate().map(|(i, &byte)| Symbol {
                id: self.bytes[usize::from(byte)],
                prev: (i as u32).wrapping_sub(1),
                next: if i + 1 < part.len() { i as u32 + 1 } else { NONE },
            }));
            for at in 0..symbols.len() as u32 {
                self.enqueue(symbols, queue, at);
            }
            while let Some(Reverse((rank, at, left, right))) = queue.pop() {
                let symbol = symbols[at as usize];
                // Stale where one of the two has merged meanwhile.
                if symbol.id != left || symbol.next == NONE || symbols[symbol.next as usize].id != right {
                    continue;
                }
                let gone = std::mem::replace(&mut symbols[symbol.next as usize].id, NONE);
                debug_assert_eq!(gone, right);
                let next = symbols[symbol.next as usize].next;
                symbols[at as usize].id = self.ranks[&(left, right)].1;
                symbols[at as usize].next = next;
                debug_assert_eq!(self.ranks[&(left, right)].0, rank);
                if next != NONE {
                    symbols[next as usize].prev = at;
                }
                self.enqueue(symbols, queue, at);
                if symbol.prev != NONE {
                    self.enqueue(symbols, queue, symbol.prev);
                }
            }
            out.extend(symbols.iter().map(|symbol| symbol.id).filter(|&id| id != NONE));
        }
    }

    /// Queues the pair that starts at symbol `at`, if it merges.
    fn enqueue(&self, symbols: &[Symbol], queue: &mut Queue, at: u32) {
        let symbol = symbols[at as usize];
        if symbol.next != NONE {
            let pair = (symbol.id, symbols[symbol.next as usize].id);
            if let Some(&(rank, _)) = self.ranks.get(&pair) {
                queue.push(Reverse((rank, at, pair.0, pair.1)));
            }
        }
    }
}

/// Rank, place and the two tokens of a pair that may merge.
type Queue = BinaryHeap<Reverse<(u32, u32, u32, u32)>>;

/// Pieces of the texts so far and where their ids stand in `ids`: most of a text is words that came before.
#[derive(Default)]
pub(crate) struct Memory<'t> {
    seen: HashMap<&'t str, (usize, usize), RandomState>,
    ids: Vec<u32>,
    work: Work,
}

/// Room for the merging of one piece.
#[derive(Default)]
struct Work {
    symbols: Vec<Symbol>,
    queue: Queue,
}
