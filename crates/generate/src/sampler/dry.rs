//! DRY: repetitions of sequences, found in linear time.

use super::tilt::change;
use crate::sampling::Dry;

/// Memory that is used again at every draw.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// The history, newest first.
    backwards: Vec<u32>,
    matches: Vec<usize>,
    /// (token, longest repetition that it would continue).
    longest: Vec<(u32, usize)>,
}

/// Takes from each logit what [`Dry`] says.
///
/// The end of the history is what may be repeating. Read backwards it is a beginning, and how far it agrees with the text
/// that begins at each other place is the Z-function: two passes over the history, however repetitive it is.
pub(super) fn penalise(logits: &mut [f32], history: &[u32], dry: &Dry, scratch: &mut Scratch) {
    let Scratch {
        backwards,
        matches,
        longest,
    } = scratch;
    let breaks = |id: &u32| dry.sequence_breakers.contains(id);
    backwards.clear();
    backwards.extend(history.iter().rev());
    // No repetition is longer than what stands behind the last breaker.
    let reach = backwards.iter().position(breaks).unwrap_or(backwards.len());
    if reach < dry.allowed_length {
        return;
    }
    z_function(backwards, matches);
    longest.clear();
    for at in 1..backwards.len() {
        // What begins at `at`, read backwards, ends there in the text: the token after it comes next if it is repeated.
        let (length, next) = (matches[at].min(reach), backwards[at - 1]);
        if length >= dry.allowed_length && !breaks(&next) {
            longest.push((next, length));
        }
    }
    longest.sort_unstable();
    for (i, &(id, length)) in longest.iter().enumerate() {
        if longest.get(i + 1).is_none_or(|&(other, _)| other != id) {
            let power = i32::try_from(length - dry.allowed_length).unwrap_or(i32::MAX);
            let penalty = dry.multiplier * dry.base.powi(power);
            change(&mut logits[id as usize], |logit| logit - penalty);
        }
    }
}

/// `z[i]` becomes the length of the longest common beginning of `ids` and `ids[i..]` (Gusfield 1997, chapter 1).
fn z_function(ids: &[u32], z: &mut Vec<usize>) {
    z.clear();
    z.resize(ids.len(), 0);
    // `ids[left..right]` equals `ids[..right - left]`, with the largest `right` so far.
    let (mut left, mut right) = (0, 0);
    for i in 1..ids.len() {
        let mut length = if i < right { z[i - left].min(right - i) } else { 0 };
        while i + length < ids.len() && ids[length] == ids[i + length] {
            length += 1;
        }
        if i + length > right {
            (left, right) = (i, i + length);
        }
        z[i] = length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_is_penalised_by_its_length() {
        let found = |history: &[u32], dry: &Dry| {
            let mut logits = [0.0; 10];
            penalise(&mut logits, history, dry, &mut Scratch::default());
            logits
        };
        let dry = Dry {
            multiplier: 1.0,
            base: 2.0,
            ..Dry::default()
        };
        let at = |id: usize, x: f32| {
            let mut logits = [0.0; 10];
            logits[id] = -x;
            logits
        };
        // 2 3 was followed by 4; 1 2 3 too.
        assert_eq!(found(&[2, 3, 4, 2, 3], &dry), at(4, 1.0));
        assert_eq!(found(&[1, 2, 3, 4, 1, 2, 3], &dry), at(4, 2.0));
        // The longest counts, not the last; and one token is no repetition.
        assert_eq!(found(&[1, 2, 3, 4, 2, 3, 4, 1, 2, 3], &dry), at(4, 2.0));
        assert_eq!(found(&[3, 4, 3], &dry), [0.0; 10]);
        // Overlapping: five times 7 end four times 7, which 7 followed.
        assert_eq!(found(&[7; 5], &dry), at(7, 4.0));
        let broken = |breaker: u32| Dry {
            sequence_breakers: vec![breaker],
            ..dry.clone()
        };
        assert_eq!(found(&[1, 2, 3, 4, 1, 2, 3], &broken(1)), at(4, 1.0));
        assert_eq!(found(&[1, 2, 3, 4, 1, 2, 3], &broken(2)), [0.0; 10]);
        assert_eq!(found(&[1, 2, 3, 4, 1, 2, 3], &broken(4)), [0.0; 10]);
        assert_eq!(found(&[], &dry), [0.0; 10]);
        // A power past f32 is a ban in effect, not a NaN.
        assert_eq!(found(&[7; 1000], &dry), at(7, -f32::MIN));
    }
}
