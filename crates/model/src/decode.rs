//! Decode: what is for whoever has tokens, and what every variant's [`Model::extend`] shares.

use crate::arena::{Arena, Plan, Slot};
use crate::contract::{DecodePlan, Dims, Model, Pass, Scratch};
use crate::error::Error;
use crate::probe::{At, Probe, Site};
use crate::state::{DecodeState, NewTokens};
use crate::weights::{Weight, Weights};
use foretoken_kernels::{
    AttentionDims, Cache, CacheType, CachedSequence, Epilogue, MATVEC_ROWS, Mat, Pool, attention_cached, cache_append,
    embedding_forward, linear_packed, matmul, matvec_transposed,
};

/// Tokens that go through the layers together; bounds the working memory.
pub(crate) const CHUNK: usize = 256;

/// Tokens of a sequence that go through the layers together and still get the bits they get alone: the few-row products and
/// the attention of single queries treat each row for itself. With more, the tiled attention begins.
const EACH: usize = 7;

/// Tokens whose logits [`decode_scored`] makes together: enough for a matmul, and 13 MB of a vocabulary of 50,257.
pub const SCORED: usize = 64;

/// Appends `ids` to the sequence and gives the logits (V) that follow the last.
pub fn decode<'w>(
    model: &dyn Model,
    pool: &Pool,
    weights: impl Into<Weights<'w>>,
    state: &mut DecodeState,
    ids: &[u32],
    logits: &mut [f32],
) {
    let weights = weights.into();
    assert_eq!(logits.len(), model.dims().vocab_size, "logits (V)");
    let mut left = ids.len();
    for ids in ids.chunks(state.rows) {
        left -= ids.len();
        let logits = if left == 0 { &mut *logits } else { &mut [] };
        extend_one(model, pool, weights, state, ids, logits);
    }
}

/// Appends `ids` and gives the logits (T,V) that follow each of them: to the bit those of T calls of [`decode`] with one token
/// each, so that guessed tokens can be verified together and none changes a text.
pub fn decode_each<'w>(
    model: &dyn Model,
    pool: &Pool,
    weights: impl Into<Weights<'w>>,
    state: &mut DecodeState,
    ids: &[u32],
    logits: &mut [f32],
) {
    let weights = weights.into();
    let v = model.dims().vocab_size;
    assert_eq!(logits.len(), ids.len() * v, "logits (T,V) of {} tokens", ids.len());
    for (ids, logits) in ids.chunks(EACH).zip(logits.chunks_mut(EACH * v)) {
        extend_one(model, pool, weights, state, ids, logits);
    }
}

/// Appends `ids` and gives `each` the logits that follow all but the first `skipped`, some tokens after the others: the number of
/// the first among `ids`, and (rows,V). For scoring: the logits of all tokens are never there at once.
pub fn decode_scored<'w>(
    model: &dyn Model,
    pool: &Pool,
    weights: impl Into<Weights<'w>>,
    state: &mut DecodeState,
    ids: &[u32],
    skipped: usize,
    mut each: impl FnMut(usize, &[f32]),
) {
    let weights = weights.into();
    for ids in ids[..skipped].chunks(state.rows) {
        extend_one(model, pool, weights, state, ids, &mut []);
    }
    let (rows, ids) = (SCORED.min(state.rows), &ids[skipped..]);
    let mut logits = vec![0.0; rows.min(ids.len()) * model.dims().vocab_size];
    for (chunk, ids) in ids.chunks(rows).enumerate() {
        let logits = &mut logits[..ids.len() * model.dims().vocab_size];
        extend_one(model, pool, weights, state, ids, logits);
        each(skipped + chunk * rows, logits);
    }
}

/// Appends one token to each of several sequences, which read every weight once together, and gives the logits (sequences,V)
/// that follow each. With packed weights they are to the bit what each gets alone.
pub fn decode_together<'w>(
    model: &dyn Model,
    pool: &Pool,
    weights: impl Into<Weights<'w>>,
    states: &mut [&mut DecodeState],
    ids: &[u32],
    logits: &mut [f32],
) {
    let weights = weights.into();
    let v = model.dims().vocab_size;
    assert_eq!(
        (states.len(), ids.len() * v),
        (ids.len(), logits.len()),
        "a token and logits (V) a sequence"
    );
    let rows = states.first().map_or(1, |state| state.rows);
    let parts = ids.chunks(rows).zip(logits.chunks_mut(rows * v));
    for (states, (ids, logits)) in states.chunks_mut(rows).zip(parts) {
        let tokens = states.iter_mut().zip(ids.chunks_exact(1));
        let mut sequences: Vec<NewTokens<'_>> =
            tokens.map(|(state, ids)| NewTokens { state, ids, logits: 1 }).collect();
        model.extend(pool, weights, &mut sequences, logits, None);
    }
}

fn extend_one(
    model: &dyn Model,
    pool: &Pool,
    weights: Weights<'_>,
    state: &mut DecodeState,
    ids: &[u32],
    logits: &mut [f32],
) {
    let rows = logits.len() / model.dims().vocab_size;
    model.extend(
        pool,
        weights,
        &mut [NewTokens {
            state,
            ids,
            logits: rows,
        }],
        logits,
        None,
    );
}

/// Keys or values of one token in one layer: heads, and the width of each.
#[derive(Clone, Copy)]
pub(crate) struct Heads(pub(crate) usize, pub(crate) usize);

/// Memory to generate up to `capacity` tokens.
pub(crate) fn plan(
    dims: &Dims,
    heads: Heads,
    (capacity, cache_type): (usize, CacheType),
    work: Plan,
    scratch: Scratch,
) -> DecodePlan {
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
    DecodePlan {
        cache,
        cache_type,
        work,
        scratch,
    }
}

/// A state that has seen nothing.
pub(crate) fn state(
    dims: &Dims,
    heads: Heads,
    (capacity, cache_type): (usize, CacheType),
    work: Plan,
) -> Result<DecodeState, Error> {
    assert!(
        (1..=dims.n_positions).contains(&capacity),
        "{capacity} tokens of {} positions",
        dims.n_positions
    );
    let width = heads.0 * heads.1;
    let numbers = dims.n_layer * capacity * width;
    let cache = || {
        Cache::try_new(cache_type, numbers).ok_or(Error::NoMemory {
            what: "the key/value cache",
            bytes: 2 * (cache_type.bytes() * numbers) as u64,
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
        rows: CHUNK.min(capacity),
    })
}

/// New tokens and rows of logits of all sequences; what does not fit is a mistake.
pub(crate) fn count(sequences: &[NewTokens<'_>], logits: &[f32], vocab_size: usize) -> (usize, usize) {
    let (mut n, mut wanted) = (0, 0);
    for NewTokens { state, ids, logits } in sequences {
        assert!(!ids.is_empty(), "at least one token");
        assert!(
            state.len + ids.len() <= state.capacity,
            "{} tokens and {} more of a capacity of {}",
            state.len,
            ids.len(),
            state.capacity
        );
        assert!(*logits <= ids.len(), "logits of {logits} tokens of {}", ids.len());
        n += ids.len();
        wanted += logits;
    }
    let rows = sequences.first().map_or(0, |sequence| sequence.state.rows);
    assert!(n <= rows, "{n} new tokens of at most {rows}");
    assert_eq!(logits.len(), wanted * vocab_size, "logits (rows,V) of {wanted} rows");
    (n, wanted)
}

/// x (N,d): the tokens' embeddings, and their positions' where there are such.
pub(crate) fn embed(pool: &Pool, x: &mut [f32], sequences: &[NewTokens<'_>], wte: Weight<'_>, wpe: Option<&[f32]>) {
    let n: usize = sequences.iter().map(|sequence| sequence.ids.len()).sum();
    let d = x.len() / n;
    let mut rest = x;
    for NewTokens { state, ids, .. } in sequences {
        let (x, behind) = rest.split_at_mut(ids.len() * d);
        match wte {
            Weight::Floats(wte) => embedding_forward(pool, x, ids, wte, wpe, (ids.len(), &[]), state.len),
            Weight::Packed(wte) => wte.gather(x, ids, wpe.map(|wpe| (wpe, state.len))),
        }
        rest = behind;
    }
}

/// Appends the new keys and values, columns of qkv, to layer `layer` of each sequence's caches; then attention over them.
pub(crate) fn attend(
    pool: &Pool,
    out: &mut [f32],
    qkv: &[f32],
    sequences: &mut [NewTokens<'_>],
    layer: usize,
    dims: AttentionDims,
) {
    let row = dims.row();
    let mut first = 0;
    for NewTokens { state, ids, .. } in sequences.iter_mut() {
        let DecodeState {
            keys,
            values,
            len,
            capacity,
            width,
            ..
        } = &mut **state;
        let qkv = &qkv[first * row..(first + ids.len()) * row];
        cache_append(
            pool,
            (keys, values),
            (layer * *capacity * *width, *capacity),
            qkv,
            *len,
            dims,
        );
        first += ids.len();
    }
    let cached: Vec<CachedSequence<'_>> = (sequences.iter())
        .map(|NewTokens { state, ids, .. }| {
            let size = state.capacity * state.width;
            let [keys, values] = [&state.keys, &state.values].map(|cache| cache.part(layer * size, (layer + 1) * size));
            CachedSequence {
                keys,
                values,
                past: state.len,
                t: ids.len(),
            }
        })
        .collect();
    attention_cached(pool, out, qkv, row, &cached, dims);
}

/// Moves the rows whose logits are wanted to the beginning of x (N,d), in order, and counts the new tokens as seen.
pub(crate) fn finish(x: &mut [f32], sequences: &mut [NewTokens<'_>], d: usize) {
    let (mut from, mut to) = (0, 0);
    for NewTokens { state, ids, logits } in sequences {
        let start = from + ids.len() - *logits;
        x.copy_within(start * d..(start + *logits) * d, to * d);
        from += ids.len();
        to += *logits;
        state.len += ids.len();
    }
}

/// logits (rows,V) = x (rows,d) Wᵀ.
pub(crate) fn head(pool: &Pool, logits: &mut [f32], x: &[f32], weight: Weight<'_>, d: usize) {
    let rows = x.len() / d;
    match weight {
        Weight::Packed(weight) => linear_packed(pool, logits, x, weight, Epilogue::Store),
        Weight::Floats(weight) if rows <= MATVEC_ROWS => matvec_transposed(pool, logits, x, weight, d),
        Weight::Floats(weight) => {
            let (x, weight) = (Mat::new(x, rows, d), Mat::new(weight, weight.len() / d, d));
            matmul(pool, logits, x, weight.t(), Epilogue::Store);
        }
    }
}

/// Shows a probe what is there of one sequence, if anybody listens.
pub(crate) fn show(
    probe: &mut Option<&mut dyn Probe>,
    (layer, site): (usize, Site),
    sequences: &[NewTokens<'_>],
    values: &mut [f32],
) {
    if let Some(probe) = probe {
        let [NewTokens { state, .. }] = sequences else {
            panic!("a probe listens to one sequence, not to {}", sequences.len());
        };
        let first = state.len;
        probe.visit(At { layer, site, first }, values);
    }
}
