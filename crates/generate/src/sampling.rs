//! How a token is chosen: the parameters and what they may hold.

use crate::error::Error;

/// How the next token is drawn from the model's distribution.
///
/// The steps run in Hugging Face's order, so that a `generation_config.json` means here what it means there: repetition
/// penalty, temperature, top-k, top-p, min-p. Each step sees what the one before left, as probabilities that again sum to
/// 1: top-p counts the mass of the tempered tokens that top-k kept. (llama.cpp tempers last; its top-p cuts the
/// distribution as the model gave it, whatever the temperature.) Tokens of equal logit rank by the lower id, so every
/// step keeps an exact number of them.
///
/// The default leaves the distribution as it is: temperature 1, everything else off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it: below 1 bolder, above 1 more even. 0 takes the likeliest token every time (greedy).
    pub temperature: f32,
    /// Keeps the `top_k` likeliest tokens. 0 = off.
    pub top_k: usize,
    /// Keeps the fewest likeliest tokens that hold this share of the probability (Holtzman et al., arXiv 1904.09751); the
    /// likeliest always. 1 = off.
    pub top_p: f32,
    /// Keeps tokens at least this fraction as likely as the likeliest (Nguyen et al., arXiv 2407.01082). 0 = off.
    pub min_p: f32,
    /// The logit of every token that the history holds is divided by it where positive and multiplied where negative
    /// (CTRL: Keskar et al., arXiv 1909.05858), once, however often the token occurs. 1 = off; below 1 repeats are
    /// welcome. The [`Generator`](crate::Generator)'s history is prompt and generated tokens, the newest n_positions of
    /// them.
    pub repetition_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
        }
    }
}

impl Sampling {
    /// The likeliest token every time.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// Whether every field holds something that means something.
    ///
    /// # Errors
    /// [`Error::Sampling`] for the first field that does not.
    pub fn validate(&self) -> Result<(), Error> {
        let check = |field, found: f32, valid: bool, expected| match valid {
            true => Ok(()),
            false => Err(Error::Sampling { field, found, expected }),
        };
        // `is_normal` refuses NaN, infinity, and numbers so small that dividing by them overflows.
        let t = self.temperature;
        check(
            "temperature",
            t,
            t == 0.0 || t > 0.0 && t.is_normal(),
            "0 (greedy) or a positive number",
        )?;
        let share = "a number from 0 to 1";
        check("top_p", self.top_p, (0.0..=1.0).contains(&self.top_p), share)?;
        check("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), share)?;
        let penalty = self.repetition_penalty;
        check(
            "repetition_penalty",
            penalty,
            (0.01..=100.0).contains(&penalty),
            "a number from 0.01 to 100 (1 = off)",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_value_is_named_with_what_is_expected() {
        let d = Sampling::default();
        let at = |field: &str, x: f32| match field {
            "temperature" => Sampling { temperature: x, ..d },
            "top_p" => Sampling { top_p: x, ..d },
            "min_p" => Sampling { min_p: x, ..d },
            _ => Sampling {
                repetition_penalty: x,
                ..d
            },
        };
        let nan = f32::NAN;
        let inf = f32::INFINITY;
        for (field, good, bad) in [
            ("temperature", vec![0.0, -0.0, 0.7, 2.0], vec![nan, inf, -0.1, 1e-40]),
            ("top_p", vec![0.0, 0.5, 1.0], vec![nan, inf, -0.1, 1.1]),
            ("min_p", vec![0.0, 0.5, 1.0], vec![nan, inf, -0.1, 1.1]),
            (
                "repetition_penalty",
                vec![0.5, 1.0, 1.3],
                vec![nan, inf, -1.0, 0.0, 101.0],
            ),
        ] {
            for x in good {
                at(field, x).validate().unwrap();
            }
            for x in bad {
                let error = at(field, x).validate().unwrap_err().to_string();
                assert!(
                    error.contains(&format!("`{field}` is {x}")) && error.contains("expected"),
                    "{error}"
                );
            }
        }
    }
}
