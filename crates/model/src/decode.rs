//! What every variant's decode shares: the caches, the chunks of a prompt, and where new keys and values go.

use crate::arena::{Arena, Plan, Slot};
use crate::contract::{DecodePlan, DecodeState, Dims, Pass, Scratch};
use crate::error::Error;
use foretoken_kernels::{AttentionDims, Buffer};

/// Tokens of a prompt that go through the layers together; bounds the working memory.
pub(crate) const CHUNK: usize = 256;

/// Tokens that go through the layers together and still get the bits they get alone: the few-row products and the attention
/// of single queries treat each row for itself. With more, the tiled attention begins.
const EACH: usize = 7;

/// Keys or values of one token in one layer: heads, and the width of each.
#[derive(Clone, Copy)]
pub(crate) struct Heads(pub(crate) usize, pub(crate) usize);

/// Memory to generate up to `capacity` tokens.
pub(crate) fn plan(dims: &Dims, heads: Heads, capacity: usize, work: Plan, scratch: Scratch) -> DecodePlan {
    let width = match heads.0 == dims.n_head {
        true => ("d", dims.n_embd),
        false => ("h_kv dh", heads.0 * heads.1),
    };
    let mut cache = Plan::new(Pass::Score);
    for name in ["keys", "values"] {
        let shape = vec![("L", dims.n_layer), ("T", capacity), width];
        cache.add(Slot {
            name,
            layer: None,
            shape,
        });
    }
    DecodePlan { cache, work, scratch }
}

/// A state that has seen nothing.
pub(crate) fn state(dims: &Dims, heads: Heads, capacity: usize, work: Plan) -> Result<DecodeState, Error> {
    assert!(
        (1..=dims.n_positions).contains(&capacity),
        "{capacity} tokens of {} positions",
        dims.n_positions
    );
    let width = heads.0 * heads.1;
    let floats = dims.n_layer * capacity * width;
    let cache = || {
        Buffer::try_zeroed(floats).ok_or(Error::NoMemory {
            what: "the key/value cache",
            bytes: 8 * floats as u64,
        })
    };
    Ok(DecodeState {
        keys: cache()?,
        values: cache()?,
        work: Arena::new(work)?,
        len: 0,
        capacity,
        width,
        heads: dims.n_layer * heads.0,
        chunk: CHUNK.min(capacity),
    })
}

/// [`crate::Model::decode`] by way of `extend`, which appends one chunk and gives as many rows of logits as there is room for.
pub(crate) fn decode(
    state: &mut DecodeState,
    ids: &[u32],
    logits: &mut [f32],
    mut extend: impl FnMut(&mut DecodeState, &[u32], &mut [f32]),
) {
    check_room(state, ids);
    let chunks = ids.chunks(state.chunk);
    let last = chunks.len() - 1;
    for (i, chunk) in chunks.enumerate() {
        let rows = if i == last { &mut *logits } else { &mut [] };
        extend(state, chunk, rows);
    }
}

/// [`crate::Model::decode_each`] by way of `extend`.
pub(crate) fn decode_each(
    state: &mut DecodeState,
    ids: &[u32],
    logits: &mut [f32],
    vocab_size: usize,
    mut extend: impl FnMut(&mut DecodeState, &[u32], &mut [f32]),
) {
    check_room(state, ids);
    let floats = ids.len() * vocab_size;
    assert_eq!(logits.len(), floats, "logits (T,V) of {} tokens", ids.len());
    for (ids, logits) in ids.chunks(EACH).zip(logits.chunks_mut(EACH * vocab_size)) {
        extend(state, ids, logits);
    }
}

fn check_room(state: &DecodeState, ids: &[u32]) {
    assert!(!ids.is_empty(), "at least one token");
    assert!(
        state.len + ids.len() <= state.capacity,
        "{} tokens and {} more of a capacity of {}",
        state.len,
        ids.len(),
        state.capacity
    );
}

/// Writes the keys and values of the new tokens into one layer's caches (h_kv,C,dh), behind the `past` before them.
pub(crate) fn remember(keys: &mut [f32], values: &mut [f32], qkv: &[f32], past: usize, dims: AttentionDims) {
    let (d, kv, dh) = (dims.d(), dims.kv(), dims.dh);
    let capacity = keys.len() / kv;
    for (row, qkv) in qkv.chunks_exact(dims.row()).enumerate() {
        for head in 0..dims.h_kv {
            let at = (head * capacity + past + row) * dh;
            let column = d + head * dh;
            keys[at..at + dh].copy_from_slice(&qkv[column..][..dh]);
            values[at..at + dh].copy_from_slice(&qkv[column + kv..][..dh]);
        }
    }
}
