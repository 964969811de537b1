//! A batch in lanes: sequences that are computed side by side, each with gradients of its own.
//!
//! Every kernel shares its work out over all threads, and a small model's kernels are so short that handing them over, and
//! fetching what another core wrote, takes up to a quarter of a step. So its batch is cut in two, and each half goes forward and
//! backward on half of the threads. The cut follows from the shapes alone, and the gradients of the halves are added as
//! those of two micro-batches are: how many threads there are never shows in the bits.

use crate::arena::Arena;
use crate::contract::{Batch, DropoutSeed, Model, Pass};
use crate::error::Error;
use crate::params::ParamTable;
use crate::trainable::Trainable;
use foretoken_kernels::{Buffer, Pool};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Parameters up to which a second set of gradients costs less than it saves: 16 MB, which a third-level cache holds.
const MOST_PARAMETERS: usize = 4 << 20;

/// The sequences of each lane of a batch of `b`: one lane, or two of a small model.
pub fn lanes_of(params: &ParamTable, b: usize) -> Vec<Range<usize>> {
    let cut = b.div_ceil(2);
    if b >= 2 && params.floats() <= MOST_PARAMETERS {
        vec![0..cut, cut..b]
    } else {
        std::iter::once(0..b).collect()
    }
}

/// The activations of a batch's lanes.
#[derive(Debug)]
pub struct Lanes(Vec<Lane>);

#[derive(Debug)]
struct Lane {
    sequences: Range<usize>,
    arena: Arena,
    /// What the thin products of pairs leave.
    thin: RefCell<Buffer>,
}

/// What a lane reads and writes.
struct Share<'a> {
    batch: Batch<'a>,
    arena: &'a mut Arena,
    thin: &'a mut RefCell<Buffer>,
    losses: &'a mut [f32],
    gradients: Option<&'a mut [f32]>,
}

impl Lanes {
    /// Memory for batches of `b` sequences of `t` tokens.
    ///
    /// # Errors
    /// [`Error::NoMemory`] where the allocator refuses.
    pub fn new(model: &dyn Model, b: usize, t: usize, pass: Pass) -> Result<Self, Error> {
        Self::with_rank(model, b, t, pass, 0)
    }

    /// [`Lanes::new`] where pairs of up to this rank learn.
    ///
    /// # Errors
    /// As [`Lanes::new`].
    pub fn with_rank(model: &dyn Model, b: usize, t: usize, pass: Pass, rank: usize) -> Result<Self, Error> {
        let lane = |sequences: Range<usize>| {
            let arena = Arena::new(model.activations(sequences.len(), t, pass))?;
            let floats = sequences.len() * t * rank;
            let thin = Buffer::try_zeroed(floats).ok_or(Error::NoMemory {
                what: "products of low rank",
                bytes: 4 * floats as u64,
            })?;
            let thin = RefCell::new(thin);
            Ok(Lane { sequences, arena, thin })
        };
        Ok(Self(
            lanes_of(model.params(), b)
                .into_iter()
                .map(lane)
                .collect::<Result<_, Error>>()?,
        ))
    }

    /// How many there are, each with gradients of its own.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// [`Model::losses`] of a whole batch.
    pub fn losses(&mut self, pool: &Pool, model: &dyn Model, weights: &[f32], batch: &Batch<'_>, losses: &mut [f32]) {
        self.run(pool, batch, losses, std::iter::empty(), |pool, _, share| {
            model.losses(pool, weights, share.arena, &share.batch, share.losses);
        });
    }

    /// [`Model::losses_and_gradients`] of a whole batch; each lane overwrites its own `gradients`.
    ///
    /// # Panics
    /// Where there is not one set of gradients a lane.
    pub fn losses_and_gradients<'a>(
        &mut self,
        pool: &Pool,
        model: &dyn Model,
        weights: &[f32],
        gradients: impl ExactSizeIterator<Item = &'a mut [f32]>,
        batch: &Batch<'_>,
        scale: f32,
        dropout: Option<DropoutSeed>,
        losses: &mut [f32],
    ) {
        self.backward(pool, model, weights, gradients, None, batch, scale, dropout, losses);
    }

    /// [`Model::losses_and_some_gradients`] of a whole batch: each lane's `gradients` are an arena of what learns, and
    /// the second of `learns` is that of the pairs, where there are some.
    ///
    /// # Panics
    /// Where there is not one set of gradients a lane.
    pub fn losses_and_some_gradients<'a>(
        &mut self,
        pool: &Pool,
        model: &dyn Model,
        weights: &[f32],
        gradients: impl ExactSizeIterator<Item = &'a mut [f32]>,
        learns: (&Trainable, &[f32]),
        batch: &Batch<'_>,
        scale: f32,
        dropout: Option<DropoutSeed>,
        losses: &mut [f32],
    ) {
        self.backward(
            pool,
            model,
            weights,
            gradients,
            Some(learns),
            batch,
            scale,
            dropout,
            losses,
        );
    }

    fn backward<'a>(
        &mut self,
        pool: &Pool,
        model: &dyn Model,
        weights: &[f32],
        gradients: impl ExactSizeIterator<Item = &'a mut [f32]>,
        learns: Option<(&Trainable, &[f32])>,
        batch: &Batch<'_>,
        scale: f32,
        dropout: Option<DropoutSeed>,
        losses: &mut [f32],
    ) {
        let lanes = self.count() as u64;
        assert_eq!(gradients.len(), self.count(), "gradients of every lane");
        self.run(pool, batch, losses, gradients, |pool, lane, share| {
            let Share {
                batch,
                arena,
                thin,
                losses,
                gradients,
            } = share;
            let gradients = gradients.expect("one set a lane");
            let gradients = match learns {
                Some((trainable, learned)) => trainable.gradients(gradients, learned, thin),
                None => model.params().gradients(gradients),
            };
            let dropout = dropout.map(|dropout| DropoutSeed {
                micro_batch: dropout.micro_batch * lanes + lane as u64,
                ..dropout
            });
            model.losses_and_some_gradients(pool, weights, gradients, arena, &batch, scale, dropout, losses);
        });
    }

    fn run<'a>(
        &mut self,
        pool: &Pool,
        batch: &Batch<'_>,
        mut losses: &mut [f32],
        mut gradients: impl Iterator<Item = &'a mut [f32]>,
        lane: impl Fn(&Pool, usize, Share<'_>) + Sync,
    ) {
        let t = batch.t;
        let mut shares = Vec::with_capacity(self.0.len());
        for Lane { sequences, arena, thin } in &mut self.0 {
            let tokens = sequences.start * t..sequences.end * t;
            let (own, rest) = losses.split_at_mut(tokens.len());
            losses = rest;
            shares.push(Mutex::new(Some(Share {
                batch: Batch {
                    b: sequences.len(),
                    t,
                    ids: &batch.ids[tokens.clone()],
                    targets: &batch.targets[tokens],
                    documents: batch.documents_of(sequences.clone()),
                },
                arena,
                thin,
                losses: own,
                gradients: gradients.next(),
            })));
        }
        let run = |pool: &Pool, i: usize| {
            let share = shares[i].lock().unwrap_or_else(PoisonError::into_inner).take();
            lane(pool, i, share.expect("every lane runs once"));
        };
        match shares.len() {
            1 => run(pool, 0),
            _ => pool.halves(run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Recompute;
    use crate::params::init;
    use crate::registry;

    /// Micro-batches whose numbers agree in the lower 32 bits, or do once two lanes share them out.
    #[test]
    fn dropout_of_no_two_micro_batches_is_the_same() {
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 5, "n_positions": 4, "n_embd": 8, "n_layer": 1, "n_head": 1,
            "embd_pdrop": 0.5, "resid_pdrop": 0.5, "attn_pdrop": 0.5,
        });
        let model = registry::from_config(&config).unwrap();
        let (pool, weights) = (Pool::new(1).unwrap(), init(model.params(), 1).unwrap());
        let mut lanes = Lanes::new(&*model, 2, 4, Pass::Train(Recompute::Selective)).unwrap();
        assert_eq!(lanes.count(), 2);
        let batch = Batch {
            b: 2,
            t: 4,
            ids: &[0, 1, 2, 3, 4, 0, 1, 2],
            targets: &[1, 2, 3, 4, 0, 1, 2, 3],
            documents: &[],
        };
        let mut losses = |micro_batch| {
            let mut gradients = [model.params().zeros("").unwrap(), model.params().zeros("").unwrap()];
            let gradients = gradients.iter_mut().map(|gradients| &mut gradients[..]);
            let (seed, mut losses) = (7, vec![0.0; 8]);
            let dropout = Some(DropoutSeed { seed, micro_batch });
            lanes.losses_and_gradients(&pool, &*model, &weights, gradients, &batch, 1.0, dropout, &mut losses);
            losses
        };
        let first = losses(3);
        assert_eq!(first, losses(3));
        for other in [3 + (1 << 31), 3 + (1 << 32), 3 + (1 << 40)] {
            assert!(first.iter().zip(losses(other)).all(|(a, b)| *a != b), "{other}");
        }
    }
}
