//! Answers as OpenAI's interface writes them.

use crate::choice::{Mark, Part};
use crate::plan::Kind;
use foretoken::generate::Logprob;
use foretoken::text::Tokenizer;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// What stands for a probability of 0, since JSON has no infinity.
const NEVER: f32 = -9999.0;

/// What all parts of an answer say.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
    /// Whether log-probabilities are reported.
    pub(crate) logprobs: bool,
    /// [`Plan::by_token`](crate::plan::Plan::by_token).
    pub(crate) by_token: bool,
}

/// Tokens of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) prompt: usize,
    pub(crate) cached: usize,
    pub(crate) generated: usize,
}

impl Usage {
    pub(crate) fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.generated,
            "total_tokens": self.prompt + self.generated,
            "prompt_tokens_details": { "cached_tokens": self.cached },
        })
    }
}

/// An answer that is not streamed.
#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    object: &'a str,
    created: u64,
    model: &'a str,
    choices: &'a [Box<RawValue>],
    usage: Value,
}

impl Head {
    /// The whole answer. Its choices are JSON already: together they may be long.
    pub(crate) fn whole(&self, choices: &[Box<RawValue>], usage: Usage) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Whole {
            id: &self.id,
            object: match self.kind {
                Kind::Completion => "text_completion",
                Kind::Chat => "chat.completion",
            },
            created: self.created,
            model: &self.model,
            choices,
            usage: usage.json(),
        })
    }

    /// One of its choices.
    pub(crate) fn choice(&self, index: usize, part: &Part, tokenizer: &Tokenizer) -> Value {
        let logprobs = self.logprobs(part, tokenizer);
        match self.kind {
            Kind::Completion => json!({
                "index": index, "text": part.text, "logprobs": logprobs, "finish_reason": part.finish,
            }),
            Kind::Chat => json!({
                "index": index,
                "message": { "role": "assistant", "content": part.text, "refusal": null },
                "logprobs": logprobs,
                "finish_reason": part.finish,
            }),
        }
    }

    /// A part of a stream. `usage` is told in the last, and null in the others, where it was asked for.
    pub(crate) fn chunk(&self, choices: Vec<Value>, usage: Option<Option<Usage>>) -> Value {
        let object = match self.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion.chunk",
        };
        let mut chunk = self.object(object, choices);
        if let Some(usage) = usage {
            chunk["usage"] = usage.map_or(Value::Null, Usage::json);
        }
        chunk
    }

    /// What is new of a choice; `first` also says who speaks.
    pub(crate) fn delta(&self, index: usize, part: &Part, first: bool, tokenizer: &Tokenizer) -> Value {
        if self.kind == Kind::Completion {
            return self.choice(index, part, tokenizer);
        }
        let mut delta = Map::new();
        if first {
            delta.insert("role".into(), "assistant".into());
        }
        if first || !part.text.is_empty() {
            delta.insert("content".into(), part.text.as_str().into());
        }
        json!({
            "index": index, "delta": delta, "logprobs": self.logprobs(part, tokenizer), "finish_reason": part.finish,
        })
    }

    fn object(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices,
        })
    }

    fn logprobs(&self, part: &Part, tokenizer: &Tokenizer) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        match self.by_token {
            false => parallel(&part.marks, tokenizer),
            true => json!({
                "content": part.marks.iter().map(|mark| content(mark, tokenizer)).collect::<Vec<_>>(), "refusal": null,
            }),
        }
    }
}

/// The four lists of `/v1/completions`.
fn parallel(marks: &[Mark], tokenizer: &Tokenizer) -> Value {
    let list = |f: &dyn Fn(&Mark) -> Value| marks.iter().map(f).collect::<Vec<_>>();
    json!({
        "tokens": list(&|mark| spelled(mark.id, tokenizer).into()),
        "token_logprobs": list(&|mark| mark.thought.as_ref().map_or(Value::Null, |thought| number(thought.token.logprob))),
        "top_logprobs": list(&|mark| top(mark, tokenizer)),
        "text_offset": list(&|mark| mark.offset.into()),
    })
}

/// The likeliest tokens of a place, and the one that stands there. Of two that are spelled alike the likelier stays.
fn top(mark: &Mark, tokenizer: &Tokenizer) -> Value {
    let Some(thought) = &mark.thought else {
        return Value::Null;
    };
    let mut map = Map::new();
    for Logprob { id, logprob } in thought.top.iter().chain([&thought.token]) {
        map.entry(spelled(*id, tokenizer)).or_insert_with(|| number(*logprob));
    }
    map.into()
}

/// A token of `/v1/chat/completions`, with its id beside what OpenAI says of it. Nothing is thought of a prompt's first.
fn content(mark: &Mark, tokenizer: &Tokenizer) -> Value {
    let entry = |id: u32, logprob: Value| {
        let bytes = tokenizer.id_to_bytes(id).unwrap_or_default();
        json!({ "id": id, "token": String::from_utf8_lossy(bytes), "logprob": logprob, "bytes": bytes })
    };
    let Some(thought) = &mark.thought else {
        return entry(mark.id, Value::Null);
    };
    let mut token = entry(mark.id, number(thought.token.logprob));
    let top = thought.top.iter().map(|top| entry(top.id, number(top.logprob)));
    token["top_logprobs"] = top.collect();
    token
}

/// A token's text, or its bytes where they are no whole characters: `bytes:\xec\x95`.
fn spelled(id: u32, tokenizer: &Tokenizer) -> String {
    let bytes = tokenizer.id_to_bytes(id).unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes
            .iter()
            .fold("bytes:".to_owned(), |text, byte| text + &format!("\\x{byte:02x}")),
    }
}

/// The shortest decimal that is this f32 and no other: equal numbers are equal texts, and read back they are equal.
fn number(logprob: f32) -> Value {
    let logprob = logprob.max(NEVER);
    logprob.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
