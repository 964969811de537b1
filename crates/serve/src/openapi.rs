//! The OpenAPI document.

use crate::plan::Kind;
use crate::routes::{Does, ROUTES, Route};
use crate::runs::Ask;
use serde_json::{Map, Value, json};

/// A field of a request: its name, type and meaning.
type Field = (&'static str, &'static str, &'static str);

/// How texts are generated.
const PARAMETERS: [Field; 16] = [
    ("model", "string", "Which model; may be left out where there is but one"),
    ("n", "integer", "Texts after each prompt, 1 to 8"),
    ("stream", "boolean", "Server-sent events, the last of them [DONE]"),
    (
        "stream_options",
        "object",
        "include_usage: a last part says how many tokens it took",
    ),
    (
        "stop",
        "string",
        "Ends a text before this string, or before any of a list of up to 256",
    ),
    (
        "seed",
        "integer",
        "The same seed gives the same text, whoever else is served",
    ),
    ("temperature", "number", "0 takes the likeliest token; 1 unless given"),
    (
        "top_p",
        "number",
        "Keeps the likeliest tokens that together have this probability",
    ),
    ("top_k", "integer", "Keeps so many of the likeliest tokens; 0 is all"),
    (
        "min_p",
        "number",
        "Keeps tokens at least this fraction as likely as the likeliest",
    ),
    (
        "typical_p",
        "number",
        "Keeps tokens nearest to the expected surprise, with this probability together",
    ),
    (
        "repetition_penalty",
        "number",
        "Above 1, tokens that were seen become less likely",
    ),
    (
        "presence_penalty",
        "number",
        "-2 to 2, taken from logits of tokens generated before",
    ),
    (
        "frequency_penalty",
        "number",
        "-2 to 2, for each time a token was generated before",
    ),
    ("logit_bias", "object", "From token ids to -100 to 100"),
    (
        "response_format",
        "object",
        "type: text, json_object, json_schema (json_schema.schema), regex (pattern) or lark (grammar)",
    ),
];

const COMPLETION: [Field; 6] = [
    (
        "prompt",
        "string",
        "A text, a list of texts, a list of token ids, or a list of such lists",
    ),
    ("max_tokens", "integer", "Tokens of a text at most; 16 unless given"),
    (
        "logprobs",
        "integer",
        "0 to 5: the likeliest tokens that are reported at each place",
    ),
    (
        "top_logprobs",
        "integer",
        "0 to 20, in the place of `logprobs`: reported as chats have it, with ids and bytes, and with the end token that ended a text",
    ),
    (
        "echo",
        "boolean",
        "The prompt stands before the text, and is scored where `logprobs` is given",
    ),
    ("best_of", "integer", "Texts of which the best `n` are given"),
];

const CHAT: [Field; 5] = [
    (
        "messages",
        "array",
        "Objects with `role` (system, user or assistant) and `content`",
    ),
    (
        "max_completion_tokens",
        "integer",
        "Tokens of an answer at most; what the context has room for unless given",
    ),
    ("max_tokens", "integer", "The older name of `max_completion_tokens`"),
    ("logprobs", "boolean", "Whether log-probabilities are reported"),
    (
        "top_logprobs",
        "integer",
        "0 to 20: the likeliest tokens that are reported at each place",
    ),
];

const TOKENIZE: [Field; 4] = [
    ("model", "string", "Which model; may be left out where there is but one"),
    (
        "prompt",
        "string",
        "A text; names of special tokens in it are these tokens",
    ),
    (
        "messages",
        "array",
        "In place of a text: a conversation, up to an answer",
    ),
    ("return_token_strs", "boolean", "Also what each token says"),
];

const DETOKENIZE: [Field; 2] = [
    ("model", "string", "Which model; may be left out where there is but one"),
    ("tokens", "array", "Token ids"),
];

/// Of all views; each takes those that mean something to it.
const LENS: [Field; 14] = [
    ("model", "string", "Which model; may be left out where there is but one"),
    ("text", "string", "What is looked at, at most 1024 tokens"),
    ("by", "string", "tokens, attn: token, syllable or word"),
    ("nearest", "integer", "embed: neighbours of each token"),
    (
        "head",
        "array",
        "attn: [layer, head] in full; all of them in small unless given",
    ),
    ("cells", "string", "attn with a head: weight, value or score"),
    ("at", "array", "stream: positions, as [0, -1]; why, next: one position"),
    ("top", "integer", "stream, next: likeliest tokens"),
    (
        "token",
        "string",
        "why: whose logit, by its text or as #42; the likeliest unless given",
    ),
    ("not", "string", "why: how far it is above this one's"),
    ("heads", "integer", "why: heads that are named"),
    ("ablate", "boolean", "why: also the logit without each of these heads"),
    (
        "patch",
        "string",
        "why: also put the stream of this text in, place by place",
    ),
    (
        "count",
        "integer",
        "neurons: how many, of `layer`, each with `contexts` places",
    ),
];

/// Numbers of a shape make the question one about GPT-2; without them it is about `model`.
const SIZE: [Field; 10] = [
    ("model", "string", "Which model; may be left out where there is but one"),
    ("n_layer", "integer", "L: number of blocks"),
    ("n_head", "integer", "h: number of heads"),
    ("n_embd", "integer", "d: width of the residual stream"),
    ("vocab_size", "integer", "V: size of the vocabulary"),
    (
        "n_positions",
        "integer",
        "The longest context; as long as `seq_len` needs unless given",
    ),
    ("batch_size", "integer", "B: sequences in a batch; 1 unless given"),
    (
        "seq_len",
        "integer",
        "T: tokens in a sequence; the whole context unless given",
    ),
    ("memory", "integer", "Also say what fits into so many bytes"),
    ("threads", "integer", "Threads; one a core unless given"),
];

const PROBE: [Field; 3] = [
    ("text", "string", "What the checkpoint goes on from, at most 4096 bytes"),
    ("step", "integer", "Which checkpoint; the newest unless given"),
    (
        "max_tokens",
        "integer",
        "Tokens that it writes, 0 to 128; 24 unless given",
    ),
];

/// The fields of a route's body.
pub(crate) fn fields(does: Does) -> Vec<Field> {
    match does {
        Does::Texts(Kind::Completion) => [&COMPLETION[..], &PARAMETERS].concat(),
        Does::Texts(Kind::Chat) => [&CHAT[..], &PARAMETERS].concat(),
        Does::Tokenize => TOKENIZE.to_vec(),
        Does::Detokenize => DETOKENIZE.to_vec(),
        Does::Lens => LENS.to_vec(),
        Does::Size => SIZE.to_vec(),
        Does::Probe => PROBE.to_vec(),
        _ => Vec::new(),
    }
}

/// The document, in OpenAPI 3.1.
pub(crate) fn document() -> Value {
    let paths: Map<String, Value> = ROUTES
        .iter()
        .map(|route| (route.path.to_owned(), path(route)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "foretoken", "version": env!("CARGO_PKG_VERSION"),
            "description": "OpenAI's interface, and what evaluations need beside it",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Error": {
                "type": "object",
                "properties": { "error": { "type": "object", "properties": {
                    "message": { "type": "string" },
                    "type": { "type": "string" },
                    "param": { "type": ["string", "null"] },
                    "code": { "type": ["string", "null"] },
                } } },
            } },
        },
    })
}

fn path(route: &Route) -> Value {
    let error = json!({
        "description": "What is wrong, and with which field",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    });
    let content = match route.does {
        Does::Metrics => json!({ "text/plain": {} }),
        Does::Page if route.path == "/" => json!({ "text/html": {} }),
        Does::Page => json!({ "text/javascript": {}, "text/css": {}, "image/svg+xml": {} }),
        Does::Texts(_) => json!({ "application/json": {}, "text/event-stream": {} }),
        _ => json!({ "application/json": {} }),
    };
    let mut operation = json!({
        "summary": route.summary,
        "responses": { "200": { "description": "The answer", "content": content }, "default": error },
    });
    if !route.does.is_open() {
        operation["security"] = json!([{ "key": [] }, {}]);
    }
    if let Some((_, name)) = route.path.split_once('{') {
        let name = name.split_once('}').map_or(name, |(name, _)| name);
        operation["parameters"] = json!([{
            "name": name, "in": "path", "required": true, "schema": { "type": "string" },
        }]);
    }
    if route.does == Does::Runs(Ask::Steps)
        && let Some(parameters) = operation["parameters"].as_array_mut()
    {
        parameters.push(json!({ "name": "from", "in": "query", "schema": { "type": "integer" } }));
    }
    if route.does == Does::TokenizerInfo {
        operation["parameters"] = json!([{ "name": "model", "in": "query", "schema": { "type": "string" } }]);
    }
    if route.post {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": { "type": "object", "properties": properties(route.does) } } },
        });
    }
    json!({ if route.post { "post" } else { "get" }: operation })
}

fn properties(does: Does) -> Map<String, Value> {
    let property = |(name, kind, meaning): Field| {
        let schema = match name {
            "prompt" | "stop" => json!({ "type": [kind, "array"], "description": meaning }),
            _ => json!({ "type": kind, "description": meaning }),
        };
        (name.to_owned(), schema)
    };
    fields(does).into_iter().map(property).collect()
}
