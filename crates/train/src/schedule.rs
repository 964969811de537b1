//! The learning rate of each step.

use serde::{Deserialize, Serialize};

/// The shape after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Stays at the peak.
    Constant,
    /// Falls in a straight line to the minimum.
    Linear,
    /// Falls along half a cosine to the minimum (Loshchilov and Hutter, arXiv 1608.03983).
    Cosine,
    /// Warm-up, stable, decay: stays at the peak and falls in a straight line over the last fifth (Hu et al., arXiv
    /// 2404.06395).
    Wsd,
}

/// The part of the steps that [`Schedule::Wsd`] decays over.
const WSD_DECAY: f64 = 0.2;

/// A schedule with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// The shape.
    pub schedule: Schedule,
    /// The peak.
    pub lr: f64,
    /// Where it ends.
    pub min_lr: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Steps in all.
    pub steps: u64,
}

impl LearningRate {
    /// The rate of a step, counted from 0.
    ///
    /// ```
    /// use foretoken_train::{LearningRate, Schedule};
    /// let rate = LearningRate { schedule: Schedule::Cosine, lr: 1.0, min_lr: 0.1, warmup: 3, steps: 103 };
    /// assert_eq!((rate.at(0), rate.at(2), rate.at(3)), (0.25, 0.75, 1.0));
    /// assert!((rate.at(53) - 0.55).abs() < 1e-12); // half-way down
    /// assert!((rate.at(103) - 0.1).abs() < 1e-12);
    /// ```
    pub fn at(&self, step: u64) -> f64 {
        let Self {
            lr,
            min_lr,
            warmup,
            steps,
            ..
        } = *self;
        if step < warmup {
            return lr * (step + 1) as f64 / (warmup + 1) as f64;
        }
        let done = ((step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64).min(1.0);
        match self.schedule {
            Schedule::Constant => lr,
            Schedule::Linear => lr + (min_lr - lr) * done,
            Schedule::Cosine => min_lr + (lr - min_lr) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Schedule::Wsd => lr + (min_lr - lr) * ((done - (1.0 - WSD_DECAY)) / WSD_DECAY).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_starts_and_ends_where_it_says() {
        for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine, Schedule::Wsd] {
            let rate = LearningRate {
                schedule,
                lr: 1e-3,
                min_lr: 1e-4,
                warmup: 10,
                steps: 110,
            };
            assert!((rate.at(10) - 1e-3).abs() < 1e-12, "{schedule:?}");
            let end = if schedule == Schedule::Constant { 1e-3 } else { 1e-4 };
            assert!(
                (rate.at(110) - end).abs() < 1e-12 && (rate.at(10_000) - end).abs() < 1e-12,
                "{schedule:?}"
            );
            assert!((0..200).all(|s| rate.at(s) > 0.0 && rate.at(s) <= 1e-3 + 1e-15));
        }
        let wsd = LearningRate {
            schedule: Schedule::Wsd,
            lr: 1.0,
            min_lr: 0.0,
            warmup: 0,
            steps: 100,
        };
        assert_eq!((wsd.at(80), wsd.at(0)), (1.0, 1.0));
        assert!((wsd.at(90) - 0.5).abs() < 1e-12);
    }
}
