//! Flags that say how tokens are chosen.

use crate::Usage;
use clap::Args;
use foretoken::generate::{Dry, Mirostat, Sampling, Xtc};
use foretoken::text::Tokenizer;

/// What no repetition reaches over unless said otherwise: ends of lines, speakers, quotes, emphasis.
const BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];

/// How a token is chosen; in this order, the draw last.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling (in this order)")]
pub(crate) struct SamplingFlags {
    /// Add BIAS to a token's logit, -100 forbids it; may be given several times
    #[arg(long, value_name = "ID:BIAS", value_parser = logit_bias, allow_hyphen_values = true)]
    logit_bias: Vec<(u32, f32)>,
    /// Above 1, tokens that were seen become less likely
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    repetition_penalty: f32,
    /// The repetition penalty looks at the last N tokens; at the whole context unless given
    #[arg(long, value_name = "N")]
    repetition_last_n: Option<usize>,
    /// Taken from the logits of tokens that were generated before
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    presence_penalty: f32,
    /// Taken from the logits of tokens for each time they were generated before
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    frequency_penalty: f32,
    /// DRY: what repeating a sequence costs its next token; 0 is off, 0.8 is usual
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    dry_multiplier: f32,
    /// DRY: the cost grows by this factor with each token of the sequence
    #[arg(long, default_value_t = 1.75, value_name = "X")]
    dry_base: f32,
    /// DRY: the shortest sequence whose repetition costs something
    #[arg(long, default_value_t = 2, value_name = "N")]
    dry_allowed_length: usize,
    /// DRY looks at the last N tokens; at the whole context unless given
    #[arg(long, value_name = "N")]
    dry_penalty_last_n: Option<usize>,
    /// DRY: no sequence reaches over tokens with this text, in place of \n : " and *; `none` is none
    #[arg(long, value_name = "TEXT")]
    dry_sequence_breaker: Vec<String>,
    /// Above 1 more surprising, below 1 safer, 0 always the likeliest token
    #[arg(long, default_value_t = 0.8, value_name = "X")]
    temperature: f32,
    /// Choose among the K likeliest tokens; 0 is all
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// Choose among the likeliest tokens that together have probability P
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    top_p: f32,
    /// Choose among tokens at least P times as likely as the likeliest
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    min_p: f32,
    /// Choose among the tokens nearest to the expected surprise that together have probability P
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    typical_p: f32,
    /// XTC: how often the top choices but the last are left out; 0 is off, 0.5 is usual
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    xtc_probability: f32,
    /// XTC: what a top choice has at least
    #[arg(long, default_value_t = 0.1, value_name = "P")]
    xtc_threshold: f32,
    /// Mirostat 2: hold the surprise at so many bits a token; off unless given, 5 is usual
    #[arg(long, value_name = "BITS")]
    mirostat_tau: Option<f32>,
    /// Mirostat 2: how fast it follows
    #[arg(long, default_value_t = 0.1, value_name = "X", requires = "mirostat_tau")]
    mirostat_eta: f32,
}

impl SamplingFlags {
    /// Without the tokens that break sequences: [`SamplingFlags::breakers`] finds these once there is a tokeniser.
    pub(crate) fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            typical_p: self.typical_p,
            repetition_penalty: self.repetition_penalty,
            repetition_last_n: self.repetition_last_n.unwrap_or(usize::MAX),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias.clone(),
            dry: (self.dry_multiplier != 0.0).then(|| Dry {
                multiplier: self.dry_multiplier,
                base: self.dry_base,
                allowed_length: self.dry_allowed_length,
                penalty_last_n: self.dry_penalty_last_n.unwrap_or(usize::MAX),
                sequence_breakers: Vec::new(),
            }),
            xtc: (self.xtc_probability != 0.0).then_some(Xtc {
                probability: self.xtc_probability,
                threshold: self.xtc_threshold,
            }),
            mirostat: self.mirostat_tau.map(|tau| Mirostat {
                tau,
                eta: self.mirostat_eta,
            }),
        }
    }

    /// The tokens that break DRY's sequences: those whose text holds a breaker.
    pub(crate) fn breakers(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, Usage> {
        if self.dry_multiplier == 0.0 || self.dry_sequence_breaker == ["none"] {
            return Ok(Vec::new());
        }
        let given = !self.dry_sequence_breaker.is_empty();
        let texts: Vec<String> = match given {
            true => self.dry_sequence_breaker.iter().map(|text| unescape(text)).collect(),
            false => BREAKERS.map(str::to_owned).to_vec(),
        };
        let mut breakers = Vec::new();
        for text in texts {
            let before = breakers.len();
            let holds = |id: &u32| {
                let bytes = tokenizer.id_to_bytes(*id).unwrap_or_default();
                !text.is_empty() && bytes.windows(text.len()).any(|window| window == text.as_bytes())
            };
            breakers.extend((0..tokenizer.vocab_size() as u32).filter(holds));
            if given && breakers.len() == before {
                return Err(Usage(format!(
                    "--dry-sequence-breaker {text:?}: no token of this model holds this text; take a shorter one, \
                     such as a punctuation mark"
                )));
            }
        }
        breakers.sort_unstable();
        breakers.dedup();
        Ok(breakers)
    }
}

/// `\n` and `\t` as they are typed into a shell.
fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let expected = || "expected ID:BIAS, such as 50256:-100".to_owned();
    let (id, bias) = text.split_once(':').ok_or_else(expected)?;
    Ok((
        id.parse().map_err(|_| expected())?,
        bias.parse().map_err(|_| expected())?,
    ))
}
