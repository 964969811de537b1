//! How a token is chosen: the parameters and what they may hold.

use crate::error::Error;

/// How the next token is drawn from the model's distribution.
///
/// **The order**, in one place. What changes logits comes first, and greedy is changed by it too:
///
/// 1. the [`Constraint`](crate::Constraint)'s tokens, all others are forbidden;
/// 2. `logit_bias`;
/// 3. `repetition_penalty`;
/// 4. `presence_penalty` and `frequency_penalty`;
/// 5. `dry`.
///
/// A temperature of 0 takes the likeliest token of these. Otherwise:
///
/// 6. `temperature`;
/// 7. `top_k`, `top_p`, `min_p`, `typical_p`;
/// 8. `xtc`;
/// 9. `mirostat`;
/// 10. the draw.
///
/// 2, 3, 6 and 7 stand in Hugging Face's order, so that a `generation_config.json` means here what it means there. Each step
/// sees what the one before left, as probabilities that again sum to 1: top-p counts the mass of the tempered tokens that
/// top-k kept. (llama.cpp tempers last; its top-p cuts the distribution as the model gave it, whatever the temperature.)
/// Tokens of equal logit rank by the lower id, so every step keeps an exact number of them.
///
/// The default leaves the distribution as it is: temperature 1, everything else off. What is off costs nothing.
#[derive(Clone, Debug, PartialEq)]
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
    /// Keeps the fewest tokens that hold this share of the probability, those first whose surprise -ln p is nearest to the
    /// distribution's entropy (Meister et al., arXiv 2202.00666); at least one. 1 = off.
    pub typical_p: f32,
    /// The logit of every token that the history holds is divided by it where positive and multiplied where negative
    /// (CTRL: Keskar et al., arXiv 1909.05858), once, however often the token occurs. 1 = off; below 1 repeats are
    /// welcome. The [`Generator`](crate::Generator)'s history is prompt and generated tokens, the newest n_positions of
    /// them.
    pub repetition_penalty: f32,
    /// The repetition penalty looks at the newest tokens of the history only, this many. `usize::MAX` = all.
    pub repetition_last_n: usize,
    /// Is subtracted from the logit of every token that was generated before; the prompt does not count, as in OpenAI's
    /// interface. 0 = off.
    pub presence_penalty: f32,
    /// Is subtracted from the logit of every token once for each time it was generated before. 0 = off.
    pub frequency_penalty: f32,
    /// Is added to the logits of these tokens, `(id, bias)`. -100 and below, -inf among them, forbids the token; an id
    /// that is given twice gets both.
    pub logit_bias: Vec<(u32, f32)>,
    /// Against the repetition of sequences. `None` = off.
    pub dry: Option<Dry>,
    /// Against the most expected choice. `None` = off.
    pub xtc: Option<Xtc>,
    /// Holds the surprise at a level. `None` = off.
    pub mirostat: Option<Mirostat>,
}

/// "Don't repeat yourself": a token that would continue a repetition of the text before loses
/// `multiplier * base^(n - allowed_length)` from its logit, where `n` is the length of what is repeated already, if that is
/// at least `allowed_length`. (Weidmann 2024, text-generation-webui pull request 5677.)
///
/// Unlike a penalty on single tokens it leaves grammar alone: only what was said at length before is not said again.
#[derive(Clone, Debug, PartialEq)]
pub struct Dry {
    /// What a repetition of `allowed_length` tokens costs its next token. 0 = off.
    pub multiplier: f32,
    /// How much more each further token costs, a factor.
    pub base: f32,
    /// The shortest repetition that costs something, in tokens.
    pub allowed_length: usize,
    /// Looks at the newest tokens of the history only, this many. `usize::MAX` = all.
    pub penalty_last_n: usize,
    /// Tokens that no repetition reaches over, such as those of a line break or of a speaker's colon. They are never
    /// penalised themselves.
    pub sequence_breakers: Vec<u32>,
}

impl Default for Dry {
    /// What its author recommends: 0.8, 1.75, 2 tokens; the whole history, no breakers.
    fn default() -> Self {
        Self {
            multiplier: 0.8,
            base: 1.75,
            allowed_length: 2,
            penalty_last_n: usize::MAX,
            sequence_breakers: Vec::new(),
        }
    }
}

/// "Exclude top choices": with a probability, of the tokens at least `threshold` likely all but the least likely are
/// dropped, if there are two or more. (Weidmann 2024, text-generation-webui pull request 6335.)
///
/// So the text takes an unexpected but still sensible turn. Above a threshold of 0.5 it can drop nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Xtc {
    /// How often, a share of the draws. 0 = off.
    pub probability: f32,
    /// The least probability of a top choice.
    pub threshold: f32,
}

/// Mirostat 2 (Basu et al., arXiv 2007.14966): drops tokens whose surprise -log2 p is above mu, and moves mu after each draw
/// by `eta` times how much less than `tau` the drawn token surprised; mu begins at `2 tau`. The likeliest token stays always.
///
/// It takes the place of the filters before it; where these are on too, it sees what they leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mirostat {
    /// The surprise to hold, in bits a token.
    pub tau: f32,
    /// How fast to follow.
    pub eta: f32,
}

impl Default for Mirostat {
    /// 5 bits, 0.1.
    fn default() -> Self {
        Self { tau: 5.0, eta: 0.1 }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            repetition_last_n: usize::MAX,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            dry: None,
            xtc: None,
            mirostat: None,
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
        // `is_normal` refuses NaN, infinity, and numbers so small that dividing by them overflows.
        let t = self.temperature;
        check(
            "temperature",
            t,
            t == 0.0 || t > 0.0 && t.is_normal(),
            "0 (greedy) or a positive number",
        )?;
        share("top_p", self.top_p)?;
        share("min_p", self.min_p)?;
        share("typical_p", self.typical_p)?;
        let penalty = self.repetition_penalty;
        check(
            "repetition_penalty",
            penalty,
            (0.01..=100.0).contains(&penalty),
            "a number from 0.01 to 100 (1 = off)",
        )?;
        for (field, x) in [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ] {
            let valid = (-100.0..=100.0).contains(&x);
            check(field, x, valid, "a number from -100 to 100 (0 = off)")?;
        }
        for &(_, bias) in &self.logit_bias {
            let valid = bias <= 100.0;
            check("logit_bias", bias, valid, "a number up to 100 (-100 and below forbids)")?;
        }
        self.dry.as_ref().map_or(Ok(()), Dry::validate)?;
        self.xtc.as_ref().map_or(Ok(()), Xtc::validate)?;
        self.mirostat.as_ref().map_or(Ok(()), Mirostat::validate)
    }
}

impl Dry {
    fn validate(&self) -> Result<(), Error> {
        let Self { multiplier, base, .. } = *self;
        let valid = (0.0..=100.0).contains(&multiplier);
        check("dry_multiplier", multiplier, valid, "a number from 0 (off) to 100")?;
        check(
            "dry_base",
            base,
            (1.0..=100.0).contains(&base),
            "a number from 1 to 100",
        )?;
        let length = self.allowed_length;
        check("dry_allowed_length", length as f32, length > 0, "at least 1 token")
    }
}

impl Xtc {
    fn validate(&self) -> Result<(), Error> {
        share("xtc_probability", self.probability)?;
        share("xtc_threshold", self.threshold)
    }
}

impl Mirostat {
    fn validate(&self) -> Result<(), Error> {
        let Self { tau, eta } = *self;
        let valid = tau > 0.0 && tau <= 100.0;
        check("mirostat_tau", tau, valid, "a number of bits above 0, up to 100")?;
        check("mirostat_eta", eta, (0.0..=1.0).contains(&eta), "a number from 0 to 1")
    }
}

fn share(field: &'static str, found: f32) -> Result<(), Error> {
    check(field, found, (0.0..=1.0).contains(&found), "a number from 0 to 1")
}

fn check(field: &'static str, found: f32, valid: bool, expected: &'static str) -> Result<(), Error> {
    match valid {
        true => Ok(()),
        false => Err(Error::Sampling { field, found, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_value_is_named_with_what_is_expected() {
        let at = |field: &str, x: f32| {
            let mut s = Sampling::default();
            let (mut dry, mut mirostat) = (Dry::default(), Mirostat::default());
            let mut xtc = Xtc {
                probability: 0.5,
                threshold: 0.1,
            };
            match field {
                "temperature" => s.temperature = x,
                "top_p" => s.top_p = x,
                "min_p" => s.min_p = x,
                "typical_p" => s.typical_p = x,
                "repetition_penalty" => s.repetition_penalty = x,
                "presence_penalty" => s.presence_penalty = x,
                "frequency_penalty" => s.frequency_penalty = x,
                "logit_bias" => s.logit_bias = vec![(3, 0.0), (1, x)],
                "dry_multiplier" => dry.multiplier = x,
                "dry_base" => dry.base = x,
                "dry_allowed_length" => dry.allowed_length = x as usize,
                "xtc_probability" => xtc.probability = x,
                "xtc_threshold" => xtc.threshold = x,
                "mirostat_tau" => mirostat.tau = x,
                "mirostat_eta" => mirostat.eta = x,
                _ => unreachable!("{field}"),
            }
            (s.dry, s.xtc, s.mirostat) = (Some(dry), Some(xtc), Some(mirostat));
            s
        };
        let nan = f32::NAN;
        let inf = f32::INFINITY;
        let share = (vec![0.0, 0.5, 1.0], vec![nan, inf, -0.1, 1.1]);
        for (field, (good, bad)) in [
            ("temperature", (vec![0.0, -0.0, 0.7, 2.0], vec![nan, inf, -0.1, 1e-40])),
            ("top_p", share.clone()),
            ("min_p", share.clone()),
            ("typical_p", share.clone()),
            (
                "repetition_penalty",
                (vec![0.5, 1.0, 1.3], vec![nan, inf, -1.0, 0.0, 101.0]),
            ),
            ("presence_penalty", (vec![-2.0, 0.0, 2.0], vec![nan, inf, -101.0])),
            ("frequency_penalty", (vec![-2.0, 0.0, 2.0], vec![nan, -inf, 101.0])),
            ("logit_bias", (vec![-inf, -1e9, -100.0, 100.0], vec![nan, inf, 101.0])),
            ("dry_multiplier", (vec![0.0, 0.8], vec![nan, inf, -1.0])),
            ("dry_base", (vec![1.0, 1.75], vec![nan, inf, 0.9])),
            ("dry_allowed_length", (vec![1.0, 7.0], vec![0.0])),
            ("xtc_probability", share.clone()),
            ("xtc_threshold", share),
            ("mirostat_tau", (vec![0.1, 5.0], vec![nan, inf, 0.0, -1.0])),
            ("mirostat_eta", (vec![0.0, 0.1, 1.0], vec![nan, inf, -0.1, 1.1])),
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
