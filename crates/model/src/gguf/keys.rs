//! Keys of a GGUF file: sizes, and what would change the numbers.

use super::EMBEDDING;
use crate::error::Error;
use foretoken_formats::gguf::{Gguf, Value};

/// Keys behind the architecture's name that change the numbers, and the values with which they do not.
const NEUTRAL: [(&str, &[f64]); 16] = [
    ("expert_count", &[0.0]),
    ("expert_used_count", &[0.0]),
    ("attention.sliding_window", &[0.0]),
    ("attention.causal", &[1.0]),
    ("attention.scale", &[0.0]),
    ("attention.clamp_kqv", &[0.0]),
    ("attention.max_alibi_bias", &[0.0]),
    ("attn_logit_softcapping", &[0.0]),
    ("final_logit_softcapping", &[0.0]),
    ("rope.scaling.factor", &[0.0, 1.0]),
    ("rope.scaling.attn_factor", &[1.0]),
    ("rope.scale_linear", &[0.0, 1.0]),
    ("use_parallel_residual", &[0.0]),
    ("logit_scale", &[0.0, 1.0]),
    ("residual_scale", &[0.0, 1.0]),
    ("embedding_scale", &[0.0, 1.0]),
];

/// The keys of one architecture in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    pub(crate) file: &'a Gguf,
    /// What stands before their names, without the dot.
    pub(crate) arch: &'static str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    /// A size that has to be there.
    pub(crate) fn size(&self, name: &str) -> Result<usize, Error> {
        let key = self.key(name);
        let found = self.file.require(&key, "a whole number", Value::as_u64)?;
        Ok(usize::try_from(found).unwrap_or(usize::MAX)) // far past every limit of a config
    }

    /// A size, where it is told.
    pub(crate) fn optional_size(&self, name: &str) -> Result<Option<usize>, Error> {
        match self.file.get(&self.key(name)) {
            Some(_) => self.size(name).map(Some),
            None => Ok(None),
        }
    }

    /// A number, where it is told.
    pub(crate) fn optional_float(&self, name: &str) -> Result<Option<f64>, Error> {
        Ok(self.file.optional(&self.key(name), "a float", Value::as_f64)?)
    }

    /// A number that has to be there.
    pub(crate) fn float(&self, name: &str) -> Result<f64, Error> {
        Ok(self.file.require(&self.key(name), "a float", Value::as_f64)?)
    }

    /// The id of a special token, where it is told: `bos` or `eos`.
    pub(crate) fn token(&self, which: &str) -> Result<Option<u32>, Error> {
        let key = format!("tokenizer.ggml.{which}_token_id");
        let id = |value: Value<'_>| value.as_u64()?.try_into().ok();
        Ok(self.file.optional(&key, "a token id", id)?)
    }

    /// V: rows of the embedding.
    pub(crate) fn vocab_size(&self) -> Result<usize, Error> {
        let rows = self.file.require_tensor(EMBEDDING)?.shape.first().copied();
        Ok(rows.unwrap_or(0))
    }

    /// Fails where `found` under `name` is not what the others ask for.
    pub(crate) fn expect(&self, name: &str, found: Option<usize>, expected: usize) -> Result<(), Error> {
        match found {
            Some(found) if found != expected => Err(self.refuse(name, found, expected.to_string())),
            _ => Ok(()),
        }
    }

    /// Fails where a key says what is not computed here.
    pub(crate) fn expect_neutral(&self) -> Result<(), Error> {
        if let Some(scaling) = self.file.get(&self.key("rope.scaling.type"))
            && scaling.as_str() != Some("none")
        {
            return Err(self.refuse("rope.scaling.type", scaling, "none: angles are not scaled here".into()));
        }
        for (name, neutral) in NEUTRAL {
            let Some(value) = self.file.get(&self.key(name)) else {
                continue;
            };
            let number = value.as_f64().or(value.as_i64().map(|x| x as f64));
            let number = number.or(value.as_bool().map(|x| f64::from(u8::from(x))));
            if !number.is_some_and(|number| neutral.contains(&number)) {
                return Err(self.refuse(
                    name,
                    value,
                    format!("{}: anything else is not computed here", neutral[0]),
                ));
            }
        }
        Ok(())
    }

    fn refuse(&self, name: &str, found: impl ToString, expected: String) -> Error {
        Error::Key {
            path: self.file.path().display().to_string(),
            key: self.key(name),
            found: found.to_string(),
            expected,
        }
    }

    /// The error of a config whose fields were read from here, in the words of the file. `names` are pairs of field and key.
    pub(crate) fn in_file(&self, names: &[(&str, &str)], error: Error) -> Error {
        match error {
            Error::Config { field, found, expected } => match names.iter().find(|(name, _)| *name == field) {
                // No key: see `Keys::vocab_size`.
                Some((_, EMBEDDING)) => Error::Key {
                    path: self.file.path().display().to_string(),
                    key: format!("{EMBEDDING}, its rows"),
                    found,
                    expected,
                },
                Some((_, key)) => self.refuse(key, found, expected),
                None => Error::Config { field, found, expected },
            },
            other => other,
        }
    }
}
