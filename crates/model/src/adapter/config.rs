//! `adapter_config.json`.

use super::{ALL_LINEAR, CONFIG};
use crate::error::Error;
use foretoken_formats::json;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

/// The largest that is read.
const BYTES: u64 = 1 << 20;
/// The largest rank: no matrix on a CPU has as many columns.
const LARGEST_RANK: usize = 1 << 17;

/// Fields that, set, ask for other numbers than W + s B A.
const REFUSED: [&str; 15] = [
    "use_dora",
    "modules_to_save",
    "lora_bias",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "use_qalora",
    "alora_invocation_tokens",
    "megatron_config",
    "kasa_config",
    "monteclora_config",
    "use_bdlora",
    "arrow_config",
    "velora_config",
    "loftq_config",
];
/// Ways to begin that change the base's own weights.
const CHANGES_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// What decides the numbers of an adapter, and which base it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// The base model: a path, or a repository's name.
    pub base: Option<String>,
    /// The revision of that repository.
    pub revision: Option<String>,
    /// r.
    pub rank: usize,
    /// alpha: a pair is scaled by alpha / r.
    pub alpha: f64,
    /// A pair is scaled by alpha / sqrt(r) instead.
    pub use_rslora: bool,
    /// Other ranks: patterns of modules' names, of which the first that matches counts.
    pub rank_pattern: Vec<(String, usize)>,
    /// Other alphas, alike.
    pub alpha_pattern: Vec<(String, f64)>,
    /// What has a pair.
    pub target_modules: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Fields {
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    #[serde(default)]
    revision: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    rank_pattern: Option<Patterns<usize>>,
    #[serde(default)]
    alpha_pattern: Option<Patterns<f64>>,
    #[serde(default)]
    target_modules: Option<Targets>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Targets {
    One(String),
    Several(Vec<String>),
}

impl AdapterConfig {
    /// Reads [`CONFIG`] of a directory.
    ///
    /// # Errors
    /// It cannot be read, is no JSON, or [`Error::AdapterField`].
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(CONFIG);
        let bytes = json::read_bytes(&path, BYTES)?;
        let value: Value = json::read_bounded(&path, BYTES)?;
        let refuse = |field: &str, found: String, expected: &str| refuse(&path, field, found, expected);
        let kind = value["peft_type"].as_str().unwrap_or("missing");
        if kind != "LORA" {
            return Err(refuse("peft_type", kind.into(), "LORA"));
        }
        let is_set = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(items) => !items.is_empty(),
            _ => true,
        };
        if let Some(field) = REFUSED.iter().find(|field| is_set(&value[**field])) {
            let expected = "none: merge such an adapter with PEFT (`merge_and_unload`), and open the result";
            return Err(refuse(field, value[*field].to_string(), expected));
        }
        match value["bias"].as_str() {
            None | Some("none") => {}
            Some(found) => return Err(refuse("bias", found.into(), "none: biases of an adapter are not read")),
        }
        let begins = value["init_lora_weights"].as_str().unwrap_or_default();
        if CHANGES_BASE.iter().any(|name| begins.starts_with(name)) {
            let expected = "a beginning that leaves the base as it is; save the adapter converted to LoRA";
            return Err(refuse("init_lora_weights", begins.into(), expected));
        }
        // Once more, for the order of the patterns.
        let fields: Fields = serde_json::from_slice(&bytes)
            .map_err(|error| refuse("r, lora_alpha, …", error.to_string(), "the fields that PEFT writes"))?;
        let config = Self {
            base: fields.base_model_name_or_path,
            revision: fields.revision,
            rank: fields.r,
            alpha: fields.lora_alpha,
            use_rslora: fields.use_rslora,
            rank_pattern: fields.rank_pattern.map_or_else(Vec::new, |patterns| patterns.0),
            alpha_pattern: fields.alpha_pattern.map_or_else(Vec::new, |patterns| patterns.0),
            target_modules: match fields.target_modules {
                None => Vec::new(),
                Some(Targets::One(name)) => vec![name],
                Some(Targets::Several(names)) => names,
            },
        };
        let ranks = config.rank_pattern.iter().map(|(_, rank)| *rank);
        for rank in ranks.chain([config.rank]) {
            if !(1..=LARGEST_RANK).contains(&rank) {
                return Err(refuse("r", rank.to_string(), "a rank from 1 on"));
            }
        }
        for (pattern, _) in &config.rank_pattern {
            matches(pattern, "").map_err(|error| refuse("rank_pattern", error, "patterns of modules' names"))?;
        }
        for (pattern, _) in &config.alpha_pattern {
            matches(pattern, "").map_err(|error| refuse("alpha_pattern", error, "patterns of modules' names"))?;
        }
        Ok(config)
    }

    /// Rank and alpha of a module, by its name in the model with its head.
    ///
    /// # Errors
    /// [`Error::AdapterField`] for a pattern that is none.
    pub(super) fn of(&self, module: &str) -> Result<(usize, f64), Error> {
        let wrong = |error: String| refuse(Path::new(CONFIG), "rank_pattern", error, "patterns of modules' names");
        let rank = first(&self.rank_pattern, module).map_err(wrong)?;
        let alpha = first(&self.alpha_pattern, module).map_err(wrong)?;
        Ok((rank.unwrap_or(self.rank), alpha.unwrap_or(self.alpha)))
    }

    /// The file as PEFT writes it. `transposed` where the model's matrices are (in,out), as GPT-2's are.
    pub fn to_json(&self, transposed: bool) -> Vec<u8> {
        let targets = match &self.target_modules[..] {
            [only] if only == ALL_LINEAR => json!(only),
            names => json!(names),
        };
        let ranks: serde_json::Map<_, _> = self.rank_pattern.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let alphas: serde_json::Map<_, _> = self.alpha_pattern.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        // PEFT's alphas are whole numbers, as a rule.
        let alpha = match self.alpha as i64 {
            whole if whole as f64 == self.alpha => json!(whole),
            _ => json!(self.alpha),
        };
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base,
            "revision": self.revision,
            "inference_mode": true,
            "r": self.rank,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "target_modules": targets,
            "fan_in_fan_out": transposed,
            "bias": "none",
            "use_rslora": self.use_rslora,
            "use_dora": false,
            "modules_to_save": null,
            "init_lora_weights": true,
            "layers_to_transform": null,
            "layers_pattern": null,
            "rank_pattern": ranks,
            "alpha_pattern": alphas,
        });
        let mut json = serde_json::to_vec_pretty(&config).expect("plain values");
        json.push(b'\n');
        json
    }
}

fn refuse(path: &Path, field: &str, found: String, expected: &str) -> Error {
    Error::AdapterField {
        path: path.display().to_string(),
        field: field.into(),
        found: found.chars().take(120).collect(),
        expected: expected.into(),
    }
}

/// The value of the first pattern that matches a module.
fn first<T: Copy>(patterns: &[(String, T)], module: &str) -> Result<Option<T>, String> {
    for (pattern, value) in patterns {
        if matches(pattern, module)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

/// Whether the last parts of a module's name are what a pattern says, which is an expression as Python has them.
fn matches(pattern: &str, module: &str) -> Result<bool, String> {
    let expression = regex::RegexBuilder::new(&format!(r"^(.*\.)?({pattern})$"))
        .size_limit(1 << 20)
        .build();
    let said = |error: regex::Error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(expression.map_err(said)?.is_match(module))
}

/// A JSON object in the order of its file.
struct Patterns<T>(Vec<(String, T)>);

/// More patterns than a model has modules mean nothing.
const MOST_PATTERNS: usize = 1 << 14;

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patterns<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = Patterns<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of patterns and numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Patterns<T>, A::Error> {
                let mut found = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if found.len() == MOST_PATTERNS {
                        return Err(serde::de::Error::custom(format_args!(
                            "more than {MOST_PATTERNS} patterns"
                        )));
                    }
                    found.push(entry);
                }
                Ok(Patterns(found))
            }
        }
        deserializer.deserialize_map(Map(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: Value) -> Result<AdapterConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG), config.to_string()).unwrap();
        AdapterConfig::read(dir.path()).map_err(|error| error.to_string())
    }

    fn plain() -> Value {
        json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]})
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = AdapterConfig {
            base: Some("org/name".into()),
            revision: None,
            rank: 4,
            alpha: 8.0,
            use_rslora: true,
            rank_pattern: vec![("layers.0.self_attn.q_proj".into(), 2)],
            alpha_pattern: vec![("v_proj".into(), 3.5)],
            target_modules: vec!["q_proj".into(), "v_proj".into()],
        };
        let json: Value = serde_json::from_slice(&config.to_json(false)).unwrap();
        assert_eq!(read(json).unwrap(), config);
    }

    #[test]
    fn the_first_pattern_that_matches_counts() {
        let mut config = plain();
        config["alpha_pattern"] = serde_json::from_str(r#"{"layers\\.[01]\\..*q_proj": 1, "q_proj": 2}"#).unwrap();
        config["rank_pattern"] = json!({"k_proj": 16});
        let config = read(config).unwrap();
        let of = |module| config.of(module).unwrap();
        assert_eq!(of("model.layers.0.self_attn.q_proj"), (4, 1.0));
        assert_eq!(of("model.layers.2.self_attn.q_proj"), (4, 2.0));
        assert_eq!(of("model.layers.2.self_attn.k_proj"), (16, 8.0));
        assert_eq!(of("model.layers.2.self_attn.xq_proj"), (4, 8.0));
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (field, value) in [
            ("peft_type", json!("IA3")),
            ("use_dora", json!(true)),
            ("bias", json!("all")),
            ("modules_to_save", json!(["lm_head"])),
            ("layer_replication", json!([[0, 4]])),
            ("trainable_token_indices", json!([1])),
            ("init_lora_weights", json!("pissa_niter_4")),
            ("r", json!(0)),
            ("r", json!(-1)),
            ("r", json!("four")),
            ("lora_alpha", json!(null)),
            ("rank_pattern", json!({"(": 2})),
            ("rank_pattern", json!({"q_proj": 0})),
        ] {
            let mut config = plain();
            config[field] = value.clone();
            let error = read(config).unwrap_err();
            let named = error.contains(field) || error.contains("r, lora_alpha") || error.contains("`r`");
            assert!(named && error.contains("expected"), "{field} = {value}: {error}");
        }
        assert!(read(json!([])).is_err() && read(json!({"peft_type": "LORA"})).is_err());
        let mut harmless = plain();
        for (field, value) in [
            ("modules_to_save", json!([])),
            ("bias", json!("none")),
            ("loftq_config", json!({})),
            ("init_lora_weights", json!("gaussian")),
            ("fan_in_fan_out", json!(true)),
            ("a_field_of_tomorrow", json!(1)),
        ] {
            harmless[field] = value;
        }
        assert!(read(harmless).is_ok());
    }
}
