//! Pairs of low rank while they learn.

use foretoken_kernels::{Buffer, Pool};
use foretoken_model::{Error, ParamTable, Trainable, init};

/// The pairs, and what the model's merged weights are made of.
#[derive(Debug)]
pub(crate) struct Adapter {
    /// A and B of every target: an arena of [`Trainable::table`].
    pub(crate) pairs: Buffer,
    base: Buffer,
    scratch: Buffer,
}

impl Adapter {
    /// Fresh pairs, which leave the model as it is, beside a copy of the matrices they stand beside.
    ///
    /// # Errors
    /// The allocator refuses.
    pub(crate) fn new(trainable: &Trainable, table: &ParamTable, weights: &[f32], seed: u64) -> Result<Self, Error> {
        let buffer = |floats: usize| {
            Buffer::try_zeroed(floats).ok_or(Error::NoMemory {
                what: "the base of the pairs",
                bytes: 4 * floats as u64,
            })
        };
        let mut base = buffer(trainable.base_floats(table))?;
        trainable.keep_base(table, weights, &mut base);
        Ok(Self {
            pairs: init(trainable.table(), seed)?,
            base,
            scratch: buffer(trainable.merge_scratch(table))?,
        })
    }

    /// Puts W + s B A into the model's weights.
    pub(crate) fn merge(&mut self, pool: &Pool, trainable: &Trainable, table: &ParamTable, weights: &mut [f32]) {
        trainable.merge(pool, table, weights, &self.base, &self.pairs, &mut self.scratch);
    }
}
