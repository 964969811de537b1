//! What of a model a run trains: frozen tensors by pattern, or pairs of low rank.

use crate::error::Error;
use foretoken_model::{Model, ParamSpec, Rank, Trainable, adapter};
use std::collections::BTreeMap;

/// What learns, as the flags say it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learning {
    /// Patterns of tensors' names that stay as they are: `*` is any text, `?` a character, `[0-5]` one of these.
    pub freeze: Vec<String>,
    /// r of pairs of low rank, where they learn in the stead of the model.
    pub lora_rank: Option<usize>,
    /// alpha; a pair is scaled by alpha / r. 2 r unless given.
    pub lora_alpha: Option<f64>,
    /// Modules that have a pair; PEFT's choice for the model unless given.
    pub lora_targets: Vec<String>,
}

impl Learning {
    /// What of `model` learns.
    ///
    /// # Errors
    /// [`Error::Value`]: a pattern that matches nothing, a target that is none, a rank past the matrices', and where nothing is
    /// left to learn.
    pub fn of(&self, model: &dyn Model) -> Result<Trainable, Error> {
        let frozen = Frozen::new(&self.freeze, model)?;
        let trainable = match self.lora_rank {
            None => Trainable::unfrozen(model.params(), |spec| frozen.has(model, spec)),
            Some(rank) => {
                let targets = adapter::targets(model, &self.lora_targets).map_err(|error| match error {
                    foretoken_model::Error::Config { found, expected, .. } => {
                        Error::value("lora-targets", &found, expected)
                    }
                    error => error.into(),
                })?;
                let least = targets.iter().flat_map(|spec| spec.shape.iter().copied()).min();
                let most = least.unwrap_or(0);
                if !(1..=most).contains(&rank) {
                    let expected = format!("1 to {most}, the smallest side of the matrices");
                    return Err(Error::value("lora-rank", &rank.to_string(), expected));
                }
                let scale = (self.alpha() / rank as f64) as f32;
                let chosen = |spec: &ParamSpec| {
                    targets.iter().any(|target| target.name == spec.name) && !frozen.has(model, spec)
                };
                Trainable::low_rank(model.params(), |spec| chosen(spec).then_some(Rank { rank, scale }))
            }
        };
        if trainable.table().count() == 0 {
            let expected = "patterns that leave something to learn".into();
            return Err(Error::value("freeze", &self.freeze.join(","), expected));
        }
        Ok(trainable)
    }

    /// alpha of the pairs.
    pub fn alpha(&self) -> f64 {
        self.lora_alpha.unwrap_or(2.0 * self.lora_rank.unwrap_or(0) as f64)
    }
}

/// Patterns of names.
struct Frozen(Vec<glob::Pattern>);

impl Frozen {
    fn new(patterns: &[String], model: &dyn Model) -> Result<Self, Error> {
        let mut all = Vec::with_capacity(patterns.len());
        for text in patterns {
            let pattern = glob::Pattern::new(text)
                .map_err(|error| Error::value("freeze", text, format!("a pattern such as *.h.[0-5].* ({error})")))?;
            let one = Self(vec![pattern]);
            if !model.params().specs().iter().any(|spec| one.has(model, spec)) {
                let near = near(text, model).join(", ");
                let expected = format!("a pattern of tensors that the model has; near are {near}");
                return Err(Error::value("freeze", text, expected));
            }
            all.extend(one.0);
        }
        Ok(Self(all))
    }

    /// By the name of the table, or by that in the model with its head.
    fn has(&self, model: &dyn Model, spec: &ParamSpec) -> bool {
        let full = format!("{}{}", model.hf_prefix(), spec.name);
        let matches = |pattern: &glob::Pattern| pattern.matches(&spec.name) || pattern.matches(&full);
        self.0.iter().any(matches)
    }
}

/// The three names that are most like a pattern, those of all layers as one.
fn near(pattern: &str, model: &dyn Model) -> Vec<String> {
    let mut layers: BTreeMap<String, usize> = BTreeMap::new();
    for spec in model.params().specs() {
        let parts = spec.name.split('.');
        let name: Vec<&str> = parts
            .map(|part| if part.parse::<usize>().is_ok() { "*" } else { part })
            .collect();
        *layers.entry(name.join(".")).or_default() += 1;
    }
    let letters = |text: &str| -> Vec<char> { text.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect() };
    let wanted = letters(pattern);
    let mut names: Vec<(usize, String)> = layers
        .into_keys()
        .map(|name| (common(&wanted, &letters(&name)), name))
        .collect();
    names.sort_by_key(|(common, name)| (std::cmp::Reverse(*common), name.len()));
    names.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Letters of the longest common subsequence.
fn common(a: &[char], b: &[char]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_model::registry;

    fn gpt2() -> Box<dyn Model> {
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 13, "n_positions": 8, "n_embd": 12, "n_layer": 3, "n_head": 2,
        });
        registry::from_config(&config).unwrap()
    }

    fn learns(learning: &Learning) -> Result<Vec<String>, String> {
        let trainable = learning.of(&*gpt2()).map_err(|error| error.to_string())?;
        Ok(trainable.table().specs().iter().map(|spec| spec.name.clone()).collect())
    }

    #[test]
    fn patterns_freeze_by_either_name() {
        let frozen = |freeze: &[&str]| {
            learns(&Learning {
                freeze: freeze.iter().map(|&text| text.to_owned()).collect(),
                ..Learning::default()
            })
        };
        assert_eq!(frozen(&[]).unwrap().len(), 4 + 3 * 12);
        for pattern in ["*.h.[0-1].*", "h.[0-1].*", "transformer.h.[01].*"] {
            let names = frozen(&[pattern]).unwrap();
            assert_eq!(names.len(), 4 + 12, "{pattern}");
            assert!(names.contains(&"h.2.ln_1.weight".to_owned()));
        }
        assert_eq!(frozen(&["*wte*", "*wpe*", "*.bias"]).unwrap().len(), 1 + 3 * 6);
        let error = frozen(&["*.q_proj.*"]).unwrap_err();
        assert!(
            error.contains("--freeze is *.q_proj.*") && error.contains("c_proj"),
            "{error}"
        );
        assert!(frozen(&["h.[0-.*"]).unwrap_err().contains("a pattern such as"));
        assert!(frozen(&["*"]).unwrap_err().contains("something to learn"));
    }

    #[test]
    fn pairs_stand_beside_what_the_targets_name() {
        let of = |targets: &[&str], rank, freeze: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            learns(&Learning {
                freeze: texts(freeze),
                lora_rank: Some(rank),
                lora_targets: texts(targets),
                ..Learning::default()
            })
        };
        let names = of(&[], 2, &[]).unwrap();
        assert_eq!(names.len(), 3 * 2);
        assert_eq!(
            names[..2],
            ["h.0.attn.c_attn.lora_A.weight", "h.0.attn.c_attn.lora_B.weight"]
        );
        assert_eq!(of(&["c_proj"], 2, &[]).unwrap().len(), 3 * 4);
        assert_eq!(of(&["mlp.c_proj"], 2, &["h.0.*"]).unwrap().len(), 2 * 2);
        assert_eq!(of(&["all-linear"], 2, &[]).unwrap().len(), 3 * 8);
        let error = of(&["q_proj"], 2, &[]).unwrap_err();
        assert!(
            error.contains("--lora-targets is q_proj") && error.contains("c_attn, c_fc, c_proj"),
            "{error}"
        );
        assert!(of(&["proj"], 2, &[]).is_err(), "whole parts of a name");
        for rank in [0, 13] {
            let error = of(&[], rank, &[]).unwrap_err();
            assert!(error.contains("--lora-rank") && error.contains("1 to 12"), "{error}");
        }
        let learning = Learning {
            lora_rank: Some(4),
            ..Learning::default()
        };
        assert_eq!(learning.alpha(), 8.0);
    }
}
