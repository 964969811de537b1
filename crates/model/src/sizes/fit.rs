//! What fits: the largest T at a given B, and the largest B at a given T, in a given memory.

use super::{MAX_TOKENS, Options, memory};
use crate::contract::Model;
use crate::error::Error;
use crate::trainable::Trainable;
use serde::Serialize;

/// Which contexts may be asked for.
#[derive(Clone, Copy)]
pub enum Context<'a> {
    /// A model that exists: up to its n_positions.
    Trained(&'a dyn Model),
    /// A question about shapes: gives the model with that many positions, whatever it costs.
    Shape(&'a dyn Fn(usize) -> Result<Box<dyn Model>, Error>),
}

/// What ended a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// One more would not fit.
    Memory,
    /// The model has no more positions.
    Positions,
    /// [`MAX_TOKENS`].
    Limit,
}

/// The largest number that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The number; 0 where not even 1 fits.
    pub largest: usize,
    /// Peak bytes with it; with 1 where nothing fits.
    pub bytes: u64,
    /// What ends it there.
    pub bound: Bound,
}

/// What fits for one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// B that `longest` was asked for.
    pub b: usize,
    /// The largest T at that B.
    pub longest: Answer,
    /// T that `widest` was asked for.
    pub t: usize,
    /// The largest B at that T.
    pub widest: Answer,
}

/// What fits into a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// Bytes there are.
    pub memory: u64,
    /// B sequences of T tokens, forward, backward and update.
    pub training: Answers,
    /// B sequences of up to T tokens at the same time.
    pub generation: Answers,
}

/// Answers what fits into `memory` bytes, by bisection over the plans that allocation uses.
///
/// For generation B is [`Options::sequences`].
///
/// # Errors
/// [`Error::Batch`] where B or T is 0, T exceeds the positions of a trained model, or B T exceeds [`MAX_TOKENS`]; those of
/// the function that makes models.
pub fn fit(context: Context<'_>, b: usize, t: usize, memory: u64, options: &Options) -> Result<Fit, Error> {
    fit_of(context, &|model| Trainable::all(model.params()), b, t, memory, options)
}

/// [`fit`] for models of which not everything learns; `learns` says what of one does.
///
/// # Errors
/// As [`fit`].
pub fn fit_of(
    context: Context<'_>,
    learns: &dyn Fn(&dyn Model) -> Trainable,
    b: usize,
    t: usize,
    memory: u64,
    options: &Options,
) -> Result<Fit, Error> {
    let model = Source::of(context, t)?;
    super::check(model.get(), b, t)?;
    super::check(model.get(), options.sequences, t)?;
    let options = Options {
        threads: options.threads.max(1),
        micro_batches: options.micro_batches.max(1),
        ..*options
    };
    let training = |b: usize, t: usize| {
        let model = Source::of(context, t)?;
        let model = model.get();
        let steps = model.walk(b, t, options.recompute);
        Ok(memory::training((model, &learns(model)), &steps, b, t, &options).bytes)
    };
    let generation = |b: usize, t: usize| {
        let options = Options {
            sequences: b,
            ..options
        };
        Ok(memory::generation(Source::of(context, t)?.get(), t, &options).bytes)
    };
    Ok(Fit {
        memory,
        training: answers(context, b, t, memory, training)?,
        generation: answers(context, options.sequences, t, memory, generation)?,
    })
}

/// A model that was lent or made for the question.
enum Source<'a> {
    Lent(&'a dyn Model),
    Made(Box<dyn Model>),
}

impl<'a> Source<'a> {
    fn of(context: Context<'a>, t: usize) -> Result<Self, Error> {
        Ok(match context {
            Context::Trained(model) => Self::Lent(model),
            Context::Shape(make) => Self::Made(make(t)?),
        })
    }

    fn get(&self) -> &dyn Model {
        match self {
            Self::Lent(model) => *model,
            Self::Made(model) => &**model,
        }
    }
}

fn answers(
    context: Context<'_>,
    b: usize,
    t: usize,
    memory: u64,
    bytes: impl Fn(usize, usize) -> Result<u64, Error>,
) -> Result<Answers, Error> {
    let (longest, bound) = match context {
        Context::Trained(model) if model.dims().n_positions <= MAX_TOKENS / b => {
            (model.dims().n_positions, Bound::Positions)
        }
        _ => (MAX_TOKENS / b, Bound::Limit),
    };
    Ok(Answers {
        b,
        longest: largest(memory, longest, bound, |t| bytes(b, t))?,
        t,
        widest: largest(memory, MAX_TOKENS / t, Bound::Limit, |b| bytes(b, t))?,
    })
}

/// The largest of 1 to `most` whose bytes are within the memory; bytes grow with the number.
fn largest(
    memory: u64,
    most: usize,
    bound: Bound,
    bytes: impl Fn(usize) -> Result<u64, Error>,
) -> Result<Answer, Error> {
    let least = bytes(1)?;
    if least > memory {
        return Ok(Answer {
            largest: 0,
            bytes: least,
            bound: Bound::Memory,
        });
    }
    // `fits` fits, `above` does not or is out of bounds. Doubling first: plans near the answer are cheap to make.
    let (mut fits, mut peak, mut above) = (1, least, 2);
    while above <= most {
        let bytes = bytes(above)?;
        if bytes > memory {
            break;
        }
        (fits, peak, above) = (above, bytes, 2 * above);
    }
    above = above.min(most + 1);
    while above - fits > 1 {
        let middle = fits + (above - fits) / 2;
        let bytes = bytes(middle)?;
        if bytes > memory {
            above = middle;
        } else {
            (fits, peak) = (middle, bytes);
        }
    }
    Ok(Answer {
        largest: fits,
        bytes: peak,
        bound: if fits == most { bound } else { Bound::Memory },
    })
}
