//! What both kinds of completions may say about how a text is generated.

use crate::fault::Fault;
use crate::fields::{Fields, wrong};
use foretoken::Grammar;
use foretoken::generate::{self, Sampling};
use serde_json::Value;
use std::hash::{BuildHasher, RandomState};

/// Stop strings of a request, and bytes of one. Evaluations send dozens.
const MOST_STOPS: usize = 256;
const LONGEST_STOP: usize = 1024;

/// The most texts after one prompt.
pub(crate) const MOST_CHOICES: u64 = 8;

/// How the texts of a request are generated.
#[derive(Debug)]
pub(crate) struct Parameters {
    pub(crate) sampling: Sampling,
    pub(crate) seed: u64,
    pub(crate) stop: Vec<String>,
    pub(crate) n: usize,
    pub(crate) stream: bool,
    /// Whether a stream ends with how many tokens it took.
    pub(crate) include_usage: bool,
    pub(crate) grammar: Option<Grammar>,
}

impl Parameters {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let stream = fields.bool("stream")?;
        let options = fields.object("stream_options")?;
        if options.is_some() && !stream {
            return Err(Fault::field(
                "stream_options",
                "`stream_options` is for `stream`: true alone",
            ));
        }
        Ok(Self {
            sampling: sampling(fields)?,
            // Without a seed every request draws its own.
            seed: seed(fields)?.unwrap_or_else(|| RandomState::new().hash_one(0)),
            stop: stops(fields)?,
            n: fields.whole("n", 1..=MOST_CHOICES)?.unwrap_or(1) as usize,
            stream,
            include_usage: options.map_or(Ok(false), |options| options.bool("include_usage"))?,
            grammar: grammar(fields)?,
        })
    }
}

pub(crate) fn sampling(fields: &Fields<'_>) -> Result<Sampling, Fault> {
    let default = Sampling::default();
    let number =
        |name: &str, default: f32, least: f64, most: f64| Ok(fields.number(name, least..=most)?.unwrap_or(default));
    let sampling = Sampling {
        temperature: number("temperature", 1.0, 0.0, 100.0)?,
        top_k: fields.whole("top_k", 0..=u64::from(u32::MAX))?.unwrap_or(0) as usize,
        top_p: number("top_p", default.top_p, 0.0, 1.0)?,
        min_p: number("min_p", default.min_p, 0.0, 1.0)?,
        typical_p: number("typical_p", default.typical_p, 0.0, 1.0)?,
        repetition_penalty: number("repetition_penalty", default.repetition_penalty, 0.01, 100.0)?,
        presence_penalty: number("presence_penalty", default.presence_penalty, -2.0, 2.0)?,
        frequency_penalty: number("frequency_penalty", default.frequency_penalty, -2.0, 2.0)?,
        logit_bias: logit_bias(fields)?,
        ..default
    };
    sampling.validate().map_err(|error| match error {
        generate::Error::Sampling { field, .. } => fields.wrong(field, "a number that means something"),
        error => Fault::field("temperature", error.to_string()),
    })?;
    Ok(sampling)
}

/// An object from ids, written as texts, to numbers from -100 to 100.
fn logit_bias(fields: &Fields<'_>) -> Result<Vec<(u32, f32)>, Fault> {
    let Some(value) = fields.get("logit_bias") else {
        return Ok(Vec::new());
    };
    let wrong = || {
        fields.wrong(
            "logit_bias",
            "an object such as {\"50256\": -100}, of token ids and biases from -100 to 100",
        )
    };
    let pair = |(id, bias): (&String, &Value)| {
        let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias));
        Ok((id.parse().map_err(|_| wrong())?, bias.ok_or_else(wrong)? as f32))
    };
    value.as_object().ok_or_else(wrong)?.iter().map(pair).collect()
}

/// Any whole number; one below 0 counts from the other end.
fn seed(fields: &Fields<'_>) -> Result<Option<u64>, Fault> {
    let Some(value) = fields.get("seed") else {
        return Ok(None);
    };
    let seed = value.as_u64().or_else(|| Some(value.as_i64()? as u64));
    seed.map(Some).ok_or_else(|| fields.wrong("seed", "a whole number"))
}

fn stops(fields: &Fields<'_>) -> Result<Vec<String>, Fault> {
    let list = match fields.get("stop") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let expected = "a string or a list of up to 256 strings of up to 1024 bytes";
    let stop = |value: &Value| Some(value.as_str().filter(|stop| stop.len() <= LONGEST_STOP)?.to_owned());
    let stops: Option<Vec<String>> = list.iter().map(stop).collect();
    stops
        .filter(|stops| stops.len() <= MOST_STOPS)
        .ok_or_else(|| fields.wrong("stop", expected))
}

/// `response_format`: OpenAI's types, and beside them `{"type": "regex", "pattern": …}` and `{"type": "lark", "grammar": …}`.
fn grammar(fields: &Fields<'_>) -> Result<Option<Grammar>, Fault> {
    let Some(format) = fields.object("response_format")? else {
        return Ok(None);
    };
    let text = |field: &str| {
        let value = format.required(field)?;
        let text = value.as_str().ok_or_else(|| format.wrong(field, "a string"))?;
        Ok::<_, Fault>(text.to_owned())
    };
    Ok(Some(match format.required("type")?.as_str() {
        Some("text") => return Ok(None),
        Some("json_object") => Grammar::JsonSchema(serde_json::json!({ "type": "object" })),
        Some("json_schema") => {
            let inner = Fields::at(format.required("json_schema")?, format.name("json_schema"))?;
            let schema = inner.required("schema")?;
            if !schema.is_object() && !schema.is_boolean() {
                return Err(wrong(&inner.name("schema"), schema, "a JSON schema"));
            }
            Grammar::JsonSchema(schema.clone())
        }
        Some("regex") => Grammar::Regex(text("pattern")?),
        Some("lark") => Grammar::Lark(text("grammar")?),
        _ => return Err(format.wrong("type", "text, json_object, json_schema, regex or lark")),
    }))
}
