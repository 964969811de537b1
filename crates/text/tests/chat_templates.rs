//! Chat templates against `transformers.apply_chat_template`; `fixtures/make_chat_templates.py` makes what is compared.

use foretoken_text::{ChatTemplate, Conversation, Message, Role, Tokenizer};
use serde_json::Value;

fn messages(list: &Value) -> Vec<Message> {
    let read = |message: &Value| {
        let role: Role = message["role"].as_str().unwrap().parse().unwrap();
        Message::new(role, message["content"].as_str().unwrap())
    };
    list.as_array().unwrap().iter().map(read).collect()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

/// Bytes, and the special tokens of a format.
fn tokenizer(special: &Value) -> Tokenizer {
    let mut parts = Tokenizer::byte().parts();
    for name in special.as_array().unwrap() {
        parts.special.push(parts.tokens.len() as u32);
        parts.tokens.push(name.as_str().unwrap().to_owned().into());
    }
    Tokenizer::from_parts(&parts).unwrap()
}

#[test]
fn five_formats_as_transformers_renders_them() {
    let formats: Value = serde_json::from_str(include_str!("fixtures/chat_templates.json")).unwrap();
    assert_eq!(formats.as_array().unwrap().len(), 5);
    for format in formats.as_array().unwrap() {
        let name = text(format, "name");
        let template = ChatTemplate::new(text(format, "template"), text(format, "bos"), text(format, "eos")).unwrap();
        let tokenizer = tokenizer(&format["special"]);
        for case in format["cases"].as_array().unwrap() {
            let said = messages(&case["messages"]);
            let prompt = case["add_generation_prompt"].as_bool().unwrap();
            let ours = template.render(&said, prompt);
            let Some(theirs) = case["text"].as_str() else {
                let expected = text(&case["text"], "error");
                let error = ours.unwrap_err().to_string();
                assert!(error.contains(expected), "{name}: {error}, expected {expected}");
                continue;
            };
            assert_eq!(ours.unwrap(), theirs, "{name}");
            let ids = if prompt {
                template.encode_prompt(&tokenizer, &said).unwrap()
            } else {
                learned(&template, &tokenizer, &said, name)
            };
            assert_eq!(ids, tokenizer.encode_with_special(theirs), "{name}: bytes do not merge");
        }
    }
}

/// The ids, once what is learned of them is known to be the answers, each with the one token that ends it.
fn learned(template: &ChatTemplate, tokenizer: &Tokenizer, said: &[Message], name: &str) -> Vec<u32> {
    let messages = said.to_vec();
    let example = template.encode(tokenizer, &Conversation { messages }).unwrap();
    let pairs = example.ids.iter().zip(&example.learn);
    let ids: Vec<u32> = pairs.filter(|&(_, &learn)| learn).map(|(&id, _)| id).collect();
    let ends = ids.iter().filter(|id| tokenizer.is_special(**id)).count();
    let answers: Vec<&str> = said
        .iter()
        .filter(|message| message.role == Role::Assistant)
        .map(|message| message.content.trim())
        .collect();
    assert_eq!(ends, answers.len(), "{name}");
    let parts = ids.split(|id| tokenizer.is_special(*id));
    let parts: Vec<String> = parts.map(|part| tokenizer.decode(part).unwrap()).collect();
    let found: Vec<&str> = parts.iter().map(|part| part.trim()).collect();
    assert_eq!(found[..answers.len()], answers, "{name}");
    example.ids
}
