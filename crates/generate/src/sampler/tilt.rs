//! What changes logits before a draw: a constraint, biases, penalties.

use super::Context;
use super::dry;
use crate::error::Error;
use crate::sampling::Sampling;

/// A bias that forbids.
const BAN: f32 = -100.0;

/// Memory that is used again at every draw.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// How often each token occurs; zero between draws.
    counts: Vec<u32>,
    dry: dry::Scratch,
}

/// `tilted` becomes the logits after steps 1 to 5 of [`Sampling`]; false where none of them is on.
pub(super) fn tilt(
    tilted: &mut Vec<f32>,
    logits: &[f32],
    context: &Context<'_>,
    sampling: &Sampling,
    scratch: &mut Scratch,
) -> Result<bool, Error> {
    let &Sampling {
        repetition_penalty,
        repetition_last_n,
        presence_penalty,
        frequency_penalty,
        ..
    } = sampling;
    let counted = presence_penalty != 0.0 || frequency_penalty != 0.0;
    let dry = sampling.dry.as_ref().filter(|dry| dry.multiplier != 0.0);
    let quiet = context.allowed.is_none() && sampling.logit_bias.is_empty() && repetition_penalty == 1.0;
    if quiet && !counted && dry.is_none() {
        return Ok(false);
    }
    tilted.clear();
    tilted.extend_from_slice(logits);
    if let Some(allowed) = context.allowed {
        for (id, logit) in (0..).zip(tilted.iter_mut()) {
            if !allowed.contains(id) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
    bias(tilted, &sampling.logit_bias)?;
    scratch.counts.resize(logits.len(), 0);
    let counts = &mut scratch.counts;
    if repetition_penalty != 1.0 {
        penalise_seen(
            tilted,
            newest(context.ids, repetition_last_n),
            repetition_penalty,
            counts,
        );
    }
    if counted {
        let generated = newest(context.ids, context.generated);
        penalise_counted(tilted, generated, presence_penalty, frequency_penalty, counts);
    }
    if let Some(dry) = dry {
        dry::penalise(tilted, newest(context.ids, dry.penalty_last_n), dry, &mut scratch.dry);
    }
    Ok(true)
}

/// The last `n` ids, or all.
fn newest(ids: &[u32], n: usize) -> &[u32] {
    &ids[ids.len().saturating_sub(n)..]
}

/// Changes a logit that is not forbidden; a huge one must not become an infinity.
pub(super) fn change(logit: &mut f32, to: impl FnOnce(f32) -> f32) {
    if *logit > f32::NEG_INFINITY {
        *logit = to(*logit).clamp(f32::MIN, f32::MAX);
    }
}

fn bias(logits: &mut [f32], biases: &[(u32, f32)]) -> Result<(), Error> {
    let vocab_size = logits.len();
    for &(id, bias) in biases {
        let logit = logits.get_mut(id as usize).ok_or(Error::Bias { id, vocab_size })?;
        if bias <= BAN {
            *logit = f32::NEG_INFINITY;
        } else {
            change(logit, |logit| logit + bias);
        }
    }
    Ok(())
}

/// The repetition penalty, once for each token of `seen`.
fn penalise_seen(logits: &mut [f32], seen: &[u32], penalty: f32, counts: &mut [u32]) {
    for &id in seen {
        if std::mem::replace(&mut counts[id as usize], 1) == 0 {
            let tilted = |logit| if logit > 0.0 { logit / penalty } else { logit * penalty };
            change(&mut logits[id as usize], tilted);
        }
    }
    seen.iter().for_each(|&id| counts[id as usize] = 0);
}

/// Presence and frequency penalties.
fn penalise_counted(logits: &mut [f32], generated: &[u32], presence: f32, frequency: f32, counts: &mut [u32]) {
    generated.iter().for_each(|&id| counts[id as usize] += 1);
    for &id in generated {
        let count = std::mem::take(&mut counts[id as usize]);
        if count > 0 {
            change(&mut logits[id as usize], |logit| {
                logit - (presence + count as f32 * frequency)
            });
        }
    }
}
