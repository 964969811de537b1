//! What learns, and what a run that begins from a model may not say.

use super::{RunConfig, check};
use crate::error::Error;
use crate::learning::Learning;
use foretoken_model::OptimizerKind;

impl RunConfig {
    /// What learns.
    pub fn learning(&self) -> Learning {
        Learning {
            freeze: self.freeze.clone(),
            lora_rank: self.lora_rank,
            lora_alpha: self.lora_alpha,
            lora_targets: self.lora_targets.clone(),
        }
    }

    /// Whether pairs of low rank, added tokens and the optimizer go together.
    pub(super) fn check_learning(&self) -> Result<(), Error> {
        let list = |values: &[String]| values.join(",");
        let Some(rank) = self.lora_rank else {
            let alpha = self.lora_alpha.map(|alpha| alpha.to_string());
            let with_rank = || "it with --lora-rank alone".into();
            check("lora-alpha", alpha.is_none(), alpha.unwrap_or_default(), with_rank())?;
            check(
                "lora-targets",
                self.lora_targets.is_empty(),
                list(&self.lora_targets),
                with_rank(),
            )?;
            let tokens = self.add_tokens.is_empty() || self.init.is_some();
            let expected = "it with --init alone: a tokenizer that is made has its special tokens already".into();
            return check("add-tokens", tokens, list(&self.add_tokens), expected);
        };
        check("lora-rank", rank > 0, rank, "1 or more".into())?;
        let alpha = self.lora_alpha.unwrap_or(1.0);
        check(
            "lora-rank",
            self.init.is_some(),
            rank,
            "it with --init alone: pairs stand beside a model".into(),
        )?;
        check(
            "lora-alpha",
            alpha > 0.0 && (alpha as f32).is_finite(),
            alpha,
            "above 0".into(),
        )?;
        let expected = "none with --lora-rank: an adapter has no rows for new tokens; fine-tune all of the model";
        check(
            "add-tokens",
            self.add_tokens.is_empty(),
            list(&self.add_tokens),
            expected.into(),
        )?;
        let expected = "adamw with --lora-rank: Muon is for whole matrices";
        check(
            "optimizer",
            self.optimizer == OptimizerKind::AdamW,
            self.optimizer.name(),
            expected.into(),
        )
    }

    /// Fails where what learns, or the model it began from, is not that of the same run before.
    pub(crate) fn same_learning(&self, before: &RunConfig, dir: &std::path::Path) -> Result<(), Error> {
        let facts = |run: &RunConfig| {
            let text = |value: Option<String>| value.unwrap_or_else(|| "none".into());
            [
                ("--init", text(run.init.clone())),
                ("--add-tokens", run.add_tokens.join(",")),
                ("--freeze", run.freeze.join(",")),
                ("--lora-rank", text(run.lora_rank.map(|rank| rank.to_string()))),
                ("--lora-alpha", text(run.lora_alpha.map(|alpha| alpha.to_string()))),
                ("--lora-targets", run.lora_targets.join(",")),
            ]
        };
        let pairs = facts(self).into_iter().zip(facts(before));
        for ((what, now), (_, then)) in pairs {
            if now != then {
                return Err(Error::Changed {
                    what,
                    checkpoint: dir.into(),
                    found: now,
                    expected: then,
                    help: "leave it as it was, or start a new run",
                });
            }
        }
        Ok(())
    }
}
