//! A request for texts, read and checked completely before anything is taken for it.

use crate::fault::Fault;
use crate::fields::{Fields, wrong};
use crate::model::Loaded;
use crate::parameters::{MOST_CHOICES, Parameters};
use foretoken::generate::{Constraint, Request};
use foretoken::text::{Message, Role};
use serde_json::Value;

/// Tokens of a completion whose request does not say.
const COMPLETION_TOKENS: u64 = 16;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Completion,
    Chat,
}

/// A prompt in tokens.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) ids: Vec<u32>,
    /// As it was given, or what the ids say.
    pub(crate) text: String,
}

/// All that a request says.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) parameters: Parameters,
    pub(crate) max_tokens: Vec<usize>,
    /// How many of the likeliest tokens are reported beside each token's own log-probability; `None` = no report.
    pub(crate) logprobs: Option<usize>,
    /// Whether log-probabilities are reported token by token, with ids and bytes; else as four lists.
    pub(crate) by_token: bool,
    /// Whether the end token that ended a text is reported, too: whoever scores a prompt counts on a place for every token that was
    /// asked for, and whoever asks for ids wants to know how likely the end was.
    pub(crate) tells_end: bool,
    /// Whether the prompt stands before each text.
    pub(crate) echo: bool,
    /// Texts after each prompt, of which the best `n` are given.
    pub(crate) best_of: usize,
}

impl Plan {
    /// Of `/v1/completions`.
    pub(crate) fn completion(body: &Value, loaded: &Loaded, most_texts: usize) -> Result<(Plan, Vec<Request>), Fault> {
        let fields = Fields::top(body)?;
        let parameters = Parameters::read(&fields)?;
        let best_of = fields.whole("best_of", 1..=MOST_CHOICES)?;
        let best_of = best_of.map_or(parameters.n, |best_of| best_of as usize);
        if best_of < parameters.n {
            return Err(Fault::field(
                "best_of",
                "`best_of` is less than `n`: expected at least as many",
            ));
        }
        if parameters.stream && best_of > parameters.n {
            return Err(Fault::field(
                "best_of",
                "which text is best is known when all have ended: `stream` cannot be true",
            ));
        }
        if fields.get("suffix").is_some_and(|suffix| suffix != "") {
            return Err(Fault::field(
                "suffix",
                "`suffix` is not supported: these models read from left to right",
            ));
        }
        let echo = fields.bool("echo")?;
        let (lists, by_token) = (fields.whole("logprobs", 0..=5)?, fields.whole("top_logprobs", 0..=20)?);
        if lists.is_some() && by_token.is_some() {
            return Err(Fault::field(
                "top_logprobs",
                "`logprobs` and `top_logprobs` are two forms of one report: expected one of them",
            ));
        }
        let asked = fields.whole("max_tokens", 0..=u64::MAX)?.unwrap_or(COMPLETION_TOKENS);
        let prompts = prompts(&fields, loaded)?;
        let mut plan = Plan {
            max_tokens: vec![usize::try_from(asked).unwrap_or(usize::MAX); prompts.len()],
            prompts,
            logprobs: by_token.or(lists).map(|n| n as usize),
            by_token: by_token.is_some(),
            tells_end: echo || by_token.is_some(),
            echo,
            best_of,
            parameters,
        };
        let requests = plan.requests(loaded, "prompt", most_texts)?;
        Ok((plan, requests))
    }

    /// Of `/v1/chat/completions`.
    pub(crate) fn chat(body: &Value, loaded: &Loaded, most_texts: usize) -> Result<(Plan, Vec<Request>), Fault> {
        let fields = Fields::top(body)?;
        let parameters = Parameters::read(&fields)?;
        for (field, empty) in [("tools", 0), ("functions", 0)] {
            if fields
                .get(field)
                .and_then(Value::as_array)
                .is_some_and(|list| list.len() > empty)
            {
                return Err(Fault::field(field, format!("`{field}` are not supported")));
            }
        }
        let logprobs = fields.bool("logprobs")?;
        let top = fields.whole("top_logprobs", 0..=20)?;
        if top.is_some() && !logprobs {
            return Err(Fault::field(
                "top_logprobs",
                "`top_logprobs` is for `logprobs`: true alone",
            ));
        }
        // The newer name goes before.
        let asked = match fields.whole("max_completion_tokens", 1..=u64::MAX)? {
            Some(asked) => Some(asked),
            None => fields.whole("max_tokens", 1..=u64::MAX)?,
        };
        let messages = messages(&fields)?;
        let ids = loaded.template.encode_prompt(loaded.gpt.tokenizer(), &messages);
        let ids = ids.map_err(|error| Fault::field("messages", error.to_string()))?;
        let room = loaded.context().saturating_sub(ids.len()).max(1);
        let mut plan = Plan {
            max_tokens: vec![asked.map_or(room, |asked| usize::try_from(asked).unwrap_or(usize::MAX))],
            prompts: vec![Prompt {
                ids,
                text: String::new(),
            }],
            logprobs: logprobs.then_some(top.unwrap_or(0) as usize),
            by_token: true,
            tells_end: false,
            echo: false,
            best_of: parameters.n,
            parameters,
        };
        let requests = plan.requests(loaded, "messages", most_texts)?;
        Ok((plan, requests))
    }

    /// What the engine is asked for: the texts of the first prompt, then those of the next.
    fn requests(&mut self, loaded: &Loaded, param: &str, most_texts: usize) -> Result<Vec<Request>, Fault> {
        let (context, vocab_size) = (loaded.context(), loaded.gpt.tokenizer().vocab_size());
        let texts = self.prompts.len() * self.best_of;
        if texts > most_texts {
            let message = format!("{texts} texts in one request: expected at most {most_texts}");
            return Err(Fault::field(param, message));
        }
        if let Some((id, _)) = self
            .parameters
            .sampling
            .logit_bias
            .iter()
            .find(|(id, _)| *id as usize >= vocab_size)
        {
            let message = format!("`logit_bias` names token {id}: expected ids below {vocab_size}");
            return Err(Fault::field("logit_bias", message));
        }
        for (prompt, &max_tokens) in self.prompts.iter().zip(&self.max_tokens) {
            let tokens = prompt.ids.len();
            if tokens.saturating_add(max_tokens) > context {
                let message = format!(
                    "a prompt of {tokens} tokens and up to {max_tokens} more do not fit the context of {context} tokens"
                );
                let param = if tokens >= context { param } else { "max_tokens" };
                return Err(Fault::too_long(param, message));
            }
        }
        // Compiled once, whatever the number of texts.
        let grammar = self.parameters.grammar.as_ref();
        let constraint = grammar.map(|grammar| loaded.constraint(grammar)).transpose();
        let constraint = constraint.map_err(|error| Fault::field("response_format", error.to_string()))?;
        let mut requests = Vec::with_capacity(texts);
        for (prompt, &max_tokens) in self.prompts.iter().zip(&self.max_tokens) {
            for index in 0..self.best_of {
                requests.push(Request {
                    prompt: prompt.ids.clone(),
                    sampling: self.parameters.sampling.clone(),
                    seed: self.parameters.seed,
                    index: index as u32,
                    max_tokens,
                    end: loaded.gpt.end_ids(),
                    vocab_size,
                    constraint: constraint
                        .clone()
                        .map(|constraint| Box::new(constraint) as Box<dyn Constraint + Send>),
                    logprobs: self.reported(),
                    score_prompt: self.echo && self.logprobs.is_some(),
                });
            }
        }
        Ok(requests)
    }

    /// [`Request::logprobs`]: the best of several is found by what the model thought of them.
    fn reported(&self) -> Option<usize> {
        self.logprobs.or((self.best_of > self.parameters.n).then_some(0))
    }
}

/// `prompt`: a text, a list of texts, a list of ids, or a list of such lists.
fn prompts(fields: &Fields<'_>, loaded: &Loaded) -> Result<Vec<Prompt>, Fault> {
    let expected = "a string, a list of strings, a list of token ids, or a list of such lists, none of them empty";
    let value = fields.required("prompt")?;
    let list = match value {
        Value::Array(list) if list.is_empty() => return Err(fields.wrong("prompt", expected)),
        Value::Array(list) if list[0].is_number() => std::slice::from_ref(value),
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let nested = value.as_array().is_some_and(|list| !list[0].is_number());
    let mut prompts = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let name = if nested {
            format!("prompt[{index}]")
        } else {
            "prompt".into()
        };
        prompts.push(match value {
            Value::String(text) => text_prompt(text, loaded),
            Value::Array(ids) if !ids.is_empty() => id_prompt(ids, &name, loaded)?,
            other => return Err(wrong(&name, other, expected)),
        });
    }
    Ok(prompts)
}

/// A text that begins with nothing begins as texts do in training.
fn text_prompt(text: &str, loaded: &Loaded) -> Prompt {
    let tokenizer = loaded.gpt.tokenizer();
    let mut ids = tokenizer.encode(text);
    if ids.is_empty() {
        ids.push(tokenizer.eos_id());
    }
    Prompt {
        ids,
        text: text.to_owned(),
    }
}

fn id_prompt(list: &[Value], name: &str, loaded: &Loaded) -> Result<Prompt, Fault> {
    let tokenizer = loaded.gpt.tokenizer();
    let ids = ids(list, name, tokenizer.vocab_size())?;
    let text = tokenizer
        .decode(&ids)
        .map_err(|error| Fault::field(name, error.to_string()))?;
    Ok(Prompt { ids, text })
}

/// Token ids below `vocab_size`.
pub(crate) fn ids(list: &[Value], name: &str, vocab_size: usize) -> Result<Vec<u32>, Fault> {
    let id = |(index, value): (usize, &Value)| {
        let id = value.as_u64().filter(|&id| id < vocab_size as u64);
        id.map(|id| id as u32).ok_or_else(|| {
            let expected = format!("a token id from 0 to {}", vocab_size - 1);
            wrong(&format!("{name}[{index}]"), value, &expected)
        })
    };
    list.iter().enumerate().map(id).collect()
}

/// `messages`: each with a `role` and a `content`, which is a text or a list of parts of type `text`.
pub(crate) fn messages(fields: &Fields<'_>) -> Result<Vec<Message>, Fault> {
    let list = fields.required("messages")?.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| fields.wrong("messages", "a list of at least one message"))?;
    let message = |(index, value): (usize, &Value)| {
        let message = Fields::at(value, fields.name(&format!("messages[{index}]")))?;
        let role = match message.required("role")?.as_str() {
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            _ => return Err(message.wrong("role", "system, developer, user or assistant")),
        };
        Ok(Message::new(role, content(&message)?))
    };
    list.iter().enumerate().map(message).collect()
}

fn content(message: &Fields<'_>) -> Result<String, Fault> {
    match message.required("content")? {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let mut whole = String::new();
            for (index, part) in parts.iter().enumerate() {
                let part = Fields::at(part, message.name(&format!("content[{index}]")))?;
                if part.required("type")? != "text" {
                    return Err(part.wrong("type", "text, which is all that these models read"));
                }
                let text = part.required("text")?;
                whole += text.as_str().ok_or_else(|| part.wrong("text", "a string"))?;
            }
            Ok(whole)
        }
        _ => Err(message.wrong("content", "a string, or a list of parts of type text")),
    }
}
