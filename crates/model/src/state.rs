//! What a sequence leaves behind.

use crate::arena::Arena;
use foretoken_kernels::{Cache, CacheType, Pool};

/// What a sequence has left behind: keys and values of every layer, and the working memory of the next tokens.
#[derive(Debug)]
pub struct DecodeState {
    pub(crate) keys: Cache,
    pub(crate) values: Cache,
    pub(crate) work: Arena,
    pub(crate) len: usize,
    pub(crate) capacity: usize,
    /// Numbers a token takes in one layer of one cache.
    pub(crate) width: usize,
    /// Heads of all layers: each keeps its keys, and its values, one behind the other.
    pub(crate) heads: usize,
    /// Tokens that go through the layers together.
    pub(crate) rows: usize,
}

/// New tokens of a sequence.
#[derive(Debug)]
pub struct NewTokens<'a> {
    /// The tokens before.
    pub state: &'a mut DecodeState,
    /// The new ones, at least one.
    pub ids: &'a [u32],
    /// Of how many, the last ones, the logits are wanted.
    pub logits: usize,
}

/// The keys and values of a sequence's first tokens, taken out of a [`DecodeState`]: each (heads of all layers, T, dh).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyValues {
    /// Keys.
    pub keys: Vec<f32>,
    /// Values.
    pub values: Vec<f32>,
}

impl DecodeState {
    /// Tokens seen.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token was seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tokens that its working memory takes through the layers together, of all sequences.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How keys and values are stored.
    pub fn cache_type(&self) -> CacheType {
        self.keys.kind()
    }

    /// Forgets all but the first `len` tokens.
    ///
    /// # Panics
    /// Where fewer were seen.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "{len} of {} tokens", self.len);
        self.len = len;
    }

    /// The sizes of [`KeyValues`] of T tokens: (heads of all layers, T, dh).
    pub fn shape(&self, tokens: usize) -> [usize; 3] {
        [self.heads, tokens, self.keys.len() / (self.heads * self.capacity)]
    }

    /// A copy of what all tokens left behind.
    pub fn key_values(&self, pool: &Pool) -> KeyValues {
        let [heads, len, dh] = self.shape(self.len);
        let copy = |cache: &Cache| -> Vec<f32> {
            let mut out = vec![0.0; heads * len * dh];
            for (head, out) in out.chunks_exact_mut((len * dh).max(1)).enumerate() {
                cache.read(pool, head * self.capacity * dh, out);
            }
            out
        };
        KeyValues {
            keys: copy(&self.keys),
            values: copy(&self.values),
        }
    }

    /// Becomes the state of another sequence of the same model, whatever the capacities.
    ///
    /// # Panics
    /// Where the other has seen more tokens than fit, or keeps keys as another type.
    pub fn copy_from(&mut self, other: &Self) {
        self.copy_first(other, other.len);
    }

    /// [`DecodeState::copy_from`], of the other's first `len` tokens alone.
    ///
    /// # Panics
    /// Where the other has not seen so many or they do not fit, or it keeps keys as another type.
    pub fn copy_first(&mut self, other: &Self, len: usize) {
        assert!(len <= other.len, "{len} of {} tokens", other.len);
        let [heads, _, dh] = other.shape(len);
        assert!(len <= self.capacity, "{len} tokens of a capacity of {}", self.capacity);
        for (cache, from) in [(&mut self.keys, &other.keys), (&mut self.values, &other.values)] {
            for head in 0..heads {
                cache.copy(head * self.capacity * dh, from, head * other.capacity * dh, len * dh);
            }
        }
        self.len = len;
    }

    /// How many of a sequence's first `common` tokens may come from [`KeyValues`] of another that begins with them, if
    /// [`crate::decode`] of the others shall give the bits that it gives for the whole: tokens go through the layers in
    /// chunks, and in other chunks sums are rounded otherwise.
    pub fn resumable(&self, common: usize) -> usize {
        common / self.rows * self.rows
    }

    /// Becomes the state after the first `len` of the `tokens` tokens that `from` holds.
    ///
    /// # Panics
    /// Where `from` is not of [`DecodeState::shape`], or `len` is more than it holds or more than fit.
    pub fn resume(&mut self, pool: &Pool, from: &KeyValues, tokens: usize, len: usize) {
        let [heads, _, dh] = self.shape(tokens);
        let floats = heads * tokens * dh;
        assert_eq!(
            (from.keys.len(), from.values.len()),
            (floats, floats),
            "keys and values of {tokens} tokens"
        );
        assert!(len <= tokens && len <= self.capacity, "{len} of {tokens} tokens");
        for (cache, from) in [(&mut self.keys, &from.keys), (&mut self.values, &from.values)] {
            for (head, from) in from.chunks_exact((tokens * dh).max(1)).enumerate() {
                cache.write(pool, head * self.capacity * dh, &from[..len * dh]);
            }
        }
        self.len = len;
    }
}
