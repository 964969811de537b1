//! A model that a run begins from, instead of from nothing.

use crate::config::RunConfig;
use crate::error::Error;
use foretoken_kernels::Buffer;
use foretoken_model::Model;
use foretoken_model::registry::Arch;
use foretoken_text::{ChatTemplate, Tokenizer};
use serde_json::Value;

/// What [`RunConfig::tokenizer`] says where the tokeniser is that of the model the run begins from.
pub const TOKENIZER_OF_INIT: &str = "init";

/// An opened model to begin from: the crate above knows where models are and what their files mean.
#[derive(Debug)]
pub struct Init {
    /// The architecture, with the run's dropout and with rows for added tokens.
    pub model: Box<dyn Model>,
    /// An arena of its parameters.
    pub weights: Buffer,
    /// Its tokeniser, added tokens included.
    pub tokenizer: Tokenizer,
    /// How it writes conversations, where it says so.
    pub template: Option<ChatTemplate>,
    /// What a checkpoint has beside the weights: names and contents, `config.json` among them.
    pub files: Vec<(String, Vec<u8>)>,
    /// What the weights hash to, before tokens were added.
    pub fingerprint: String,
    /// The model as an adapter names its base: a path, or a repository's name.
    pub base: String,
    /// The revision of that repository.
    pub revision: Option<String>,
}

impl Init {
    /// The run with the sizes of this model.
    ///
    /// # Errors
    /// [`Error::Value`] for a size that the run has otherwise, [`Error::OtherInit`] where the run began from other weights.
    pub fn adopt(&self, config: RunConfig) -> Result<RunConfig, Error> {
        let dims = self.model.dims();
        let heads = self.model.config()["num_key_value_heads"].as_u64();
        let mut config = config;
        for (flag, field, has) in [
            ("n-layer", &mut config.n_layer, dims.n_layer),
            ("n-head", &mut config.n_head, dims.n_head),
            ("n-embd", &mut config.n_embd, dims.n_embd),
            ("n-positions", &mut config.n_positions, dims.n_positions),
            ("vocab-size", &mut config.vocab_size, dims.vocab_size),
        ] {
            adopt(flag, field, has)?;
        }
        match heads {
            Some(heads) => adopt("n-kv-head", &mut config.n_kv_head, heads as usize)?,
            None => {
                if let Some(found) = config.n_kv_head {
                    return Err(contradicts("n-kv-head", found, "none"));
                }
            }
        }
        config.arch = Arch::of(self.model.model_type()).unwrap_or(config.arch);
        // One that was chosen, and not for this model.
        if ![TOKENIZER_OF_INIT, &RunConfig::default().tokenizer].contains(&&*config.tokenizer) {
            let expected = "none, for the model of --init has its own; leave the flag out".into();
            return Err(Error::value("tokenizer", &config.tokenizer, expected));
        }
        config.tokenizer = TOKENIZER_OF_INIT.into();
        match &config.init_weights {
            Some(then) if *then != self.fingerprint => Err(Error::OtherInit {
                init: config.init.unwrap_or_default(),
                found: self.fingerprint.clone(),
                expected: then.clone(),
            }),
            _ => {
                config.init_weights = Some(self.fingerprint.clone());
                Ok(config)
            }
        }
    }
}

impl Init {
    /// Writes the template that a model without one learns conversations with into its files.
    pub(crate) fn tell_template(&mut self, template: &ChatTemplate) {
        const NAME: &str = "tokenizer_config.json";
        if self.template.is_some() {
            return;
        }
        let found = self.files.iter().find(|(name, _)| name == NAME);
        let config = found.and_then(|(_, bytes)| serde_json::from_slice::<Value>(bytes).ok());
        let bytes = match config.filter(Value::is_object) {
            Some(mut config) => {
                config["chat_template"] = template.source().into();
                serde_json::to_vec_pretty(&config).expect("plain values")
            }
            None => {
                let limit = self.model.dims().n_positions;
                self.tokenizer.tokenizer_config_json(limit, Some(template.source()))
            }
        };
        self.files.retain(|(name, _)| name != NAME);
        self.files.push((NAME.into(), bytes));
    }
}

fn adopt(flag: &'static str, field: &mut Option<usize>, has: usize) -> Result<(), Error> {
    match field.replace(has) {
        Some(found) if found != has => Err(contradicts(flag, found, has)),
        _ => Ok(()),
    }
}

fn contradicts(flag: &'static str, found: usize, has: impl std::fmt::Display) -> Error {
    let expected = format!("{has}, as the model of --init has it; leave the flag out");
    Error::value(flag, &found.to_string(), expected)
}
