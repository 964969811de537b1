//! Typed fields of a request's JSON. What is wrong is named as OpenAI names it: `messages[0].content`.

use crate::fault::Fault;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Characters of a wrong value that are shown.
const SHOWN: usize = 40;

/// An object of a request. Fields that nobody asks for are ignored; null is no value.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// Its own name with a dot; empty at the top.
    prefix: String,
}

impl<'a> Fields<'a> {
    /// The request itself.
    pub(crate) fn top(value: &'a Value) -> Result<Self, Fault> {
        match value {
            Value::Object(object) => Ok(Self {
                object,
                prefix: String::new(),
            }),
            other => Err(Fault::request(
                hyper::StatusCode::BAD_REQUEST,
                "invalid_json",
                format!("the body is {}: expected a JSON object", shown(other)),
            )),
        }
    }

    /// The object `value`, which stands at `name`.
    pub(crate) fn at(value: &'a Value, name: String) -> Result<Self, Fault> {
        match value {
            Value::Object(object) => Ok(Self {
                object,
                prefix: name + ".",
            }),
            other => Err(wrong(&name, other, "an object")),
        }
    }

    /// What a field is called in an error.
    pub(crate) fn name(&self, field: &str) -> String {
        format!("{}{field}", self.prefix)
    }

    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub(crate) fn required(&self, field: &str) -> Result<&'a Value, Fault> {
        let missing = || {
            let name = self.name(field);
            Fault::field(&name, format!("`{name}` is missing"))
        };
        self.get(field).ok_or_else(missing)
    }

    /// A fault about a field's value.
    pub(crate) fn wrong(&self, field: &str, expected: &str) -> Fault {
        let value = self.object.get(field).unwrap_or(&Value::Null);
        wrong(&self.name(field), value, expected)
    }

    pub(crate) fn object(&self, field: &str) -> Result<Option<Fields<'a>>, Fault> {
        let value = self.get(field);
        value.map(|value| Fields::at(value, self.name(field))).transpose()
    }

    pub(crate) fn string(&self, field: &str) -> Result<Option<&'a str>, Fault> {
        let value = self.get(field);
        value
            .map(|value| value.as_str().ok_or_else(|| self.wrong(field, "a string")))
            .transpose()
    }

    pub(crate) fn bool(&self, field: &str) -> Result<bool, Fault> {
        match self.get(field) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(field, "true or false")),
        }
    }

    pub(crate) fn whole(&self, field: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Fault> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match value.as_u64().filter(|n| range.contains(n)) {
            Some(n) => Ok(Some(n)),
            None => {
                let expected = match *range.end() {
                    u64::MAX => format!("a whole number from {}", range.start()),
                    end => format!("a whole number from {} to {end}", range.start()),
                };
                Err(self.wrong(field, &expected))
            }
        }
    }

    pub(crate) fn number(&self, field: &str, range: RangeInclusive<f64>) -> Result<Option<f32>, Fault> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match value.as_f64().filter(|x| range.contains(x)) {
            Some(x) => Ok(Some(x as f32)),
            None => {
                let expected = format!("a number from {} to {}", range.start(), range.end());
                Err(self.wrong(field, &expected))
            }
        }
    }
}

/// A fault about the value at `name`.
pub(crate) fn wrong(name: &str, found: &Value, expected: &str) -> Fault {
    Fault::field(name, format!("`{name}` is {}: expected {expected}", shown(found)))
}

/// A value as it stands in a message: prompts are not repeated, nor are lists.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(object) => format!("an object with {} fields", object.len()),
        Value::String(text) if text.chars().count() > SHOWN => "a long string".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wrong_values_are_named_with_their_path_and_what_is_expected() {
        let value = json!({ "n": 1e6, "m": -1, "deep": { "s": 5, "b": "yes" }, "none": null, "t": "0.5" });
        let fields = Fields::top(&value).unwrap();
        let message = |fault: Fault| fault.body()["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(
            message(fields.whole("n", 1..=8).unwrap_err()),
            "`n` is 1000000.0: expected a whole number from 1 to 8"
        );
        assert!(message(fields.whole("m", 0..=u64::MAX).unwrap_err()).contains("-1: expected a whole number from 0"));
        let deep = fields.object("deep").unwrap().unwrap();
        assert_eq!(deep.string("s").unwrap_err().body()["error"]["param"], "deep.s");
        assert!(message(deep.bool("b").unwrap_err()).contains("true or false"));
        assert_eq!(fields.string("none").unwrap(), None);
        assert!(fields.number("t", 0.0..=1.0).is_err() && fields.required("none").is_err());
        assert!(Fields::top(&json!([1])).is_err());
    }
}
