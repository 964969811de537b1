//! `/tokenize`, `/detokenize` and `/tokenizer_info`, as vLLM has them and lm-evaluation-harness asks.

use crate::fault::Fault;
use crate::fields::Fields;
use crate::plan::{ids, messages};
use crate::state::State;
use serde_json::{Value, json};

/// The tokens of `prompt`, in which names of special tokens are these tokens; or those of `messages` before an answer.
pub(crate) fn tokenize(state: &State, body: &Value) -> Result<String, Fault> {
    let fields = Fields::top(body)?;
    let loaded = state.model(&fields)?.loaded()?;
    let tokenizer = loaded.gpt.tokenizer();
    let with_texts = fields.bool("return_token_strs")?;
    let tokens = match fields.get("messages") {
        Some(_) => {
            let ids = loaded.template.encode_prompt(tokenizer, &messages(&fields)?);
            ids.map_err(|error| Fault::field("messages", error.to_string()))?
        }
        None => {
            let prompt = fields.required("prompt")?;
            tokenizer.encode_with_special(prompt.as_str().ok_or_else(|| fields.wrong("prompt", "a string"))?)
        }
    };
    let text = |&id: &u32| String::from_utf8_lossy(tokenizer.id_to_bytes(id).unwrap_or_default()).into_owned();
    let texts = with_texts.then(|| tokens.iter().map(text).collect::<Vec<_>>());
    let answer = json!({
        "count": tokens.len(), "max_model_len": loaded.context(), "tokens": tokens, "token_strs": texts,
    });
    Ok(answer.to_string())
}

/// The text of `tokens`.
pub(crate) fn detokenize(state: &State, body: &Value) -> Result<String, Fault> {
    let fields = Fields::top(body)?;
    let loaded = state.model(&fields)?.loaded()?;
    let tokenizer = loaded.gpt.tokenizer();
    let list = fields.required("tokens")?.as_array();
    let list = list.ok_or_else(|| fields.wrong("tokens", "a list of token ids"))?;
    let text = tokenizer.decode(&ids(list, "tokens", tokenizer.vocab_size())?);
    let text = text.map_err(|error| Fault::field("tokens", error.to_string()))?;
    Ok(json!({ "prompt": text }).to_string())
}

/// What a client needs to know of the tokeniser of a model, the first unless named.
pub(crate) fn info(state: &State, model: Option<&str>) -> Result<Value, Fault> {
    let model = state.named_or_first(model)?;
    let loaded = model.loaded()?;
    let tokenizer = loaded.gpt.tokenizer();
    let name = |id: u32| String::from_utf8_lossy(tokenizer.id_to_bytes(id).unwrap_or_default()).into_owned();
    let special: Vec<&str> = tokenizer.special_tokens().map(|(_, name)| name).collect();
    Ok(json!({
        "tokenizer_class": tokenizer.kind().to_string(),
        "model": model.name,
        "vocab_size": tokenizer.vocab_size(),
        "model_max_length": loaded.context(),
        "eos_token": name(tokenizer.eos_id()),
        "end_token_ids": loaded.gpt.end_ids(),
        "special_tokens": special,
        "chat_template": loaded.template.source(),
    }))
}
