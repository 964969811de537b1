//! Files that are refused, each for its own reason.

use super::*;

/// What reading a small BPE gives after a change to its file.
fn after(change: impl FnOnce(&mut Value)) -> Result<Tokenizer, Error> {
    let mut file: Value = serde_json::from_slice(&trained(Kind::Bpe, "abab cdcd", 300).to_json()).unwrap();
    change(&mut file);
    Tokenizer::from_bytes(&serde_json::to_vec(&file).unwrap())
}

#[track_caller]
fn refused(result: Result<Tokenizer, Error>, expected: &str) {
    let message = result.unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
    assert!(message.len() < 400, "{message}");
}

#[test]
fn unchanged_it_is_read() {
    after(|_| ()).unwrap();
}

#[test]
fn pattern_that_explodes() {
    let pattern = json!({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": false});
    refused(
        after(|file| file["pre_tokenizer"] = pattern),
        "pre_tokenizer is `Split`, expected ByteLevel",
    );
}

#[test]
fn pattern_of_a_million_anchors() {
    let normalizer = json!({"type": "Replace", "pattern": {"Regex": "^".repeat(1_000_000)}, "content": ""});
    refused(
        after(|file| file["normalizer"] = normalizer),
        "normalizer is `Replace`, expected null",
    );
}

#[test]
fn id_of_two_to_the_32_minus_1() {
    refused(
        after(|file| file["model"]["vocab"]["a"] = json!(u32::MAX)),
        "but `a` is 4294967295",
    );
}

#[test]
fn id_past_32_bits() {
    refused(
        after(|file| file["model"]["vocab"]["a"] = json!(1u64 << 32)),
        "4294967296",
    );
}

#[test]
fn negative_id() {
    refused(after(|file| file["model"]["vocab"]["a"] = json!(-1)), "-1");
}

#[test]
fn gap_between_ids() {
    refused(
        after(|file| file["model"]["vocab"]["extra"] = json!(9999)),
        "`extra` is 9999",
    );
}

#[test]
fn two_tokens_of_one_id() {
    refused(
        after(|file| file["model"]["vocab"]["a"] = json!(0)),
        "both have the id 0",
    );
}

#[test]
fn token_twice() {
    let json = String::from_utf8(trained(Kind::Bpe, "abab", 300).to_json()).unwrap();
    let json = json.replacen("\"!\": 0,", "\"!\": 0, \"!\": 0,", 1);
    refused(Tokenizer::from_bytes(json.as_bytes()), "`!` is there twice");
}

#[test]
fn merge_of_an_absent_token() {
    refused(
        after(|file| file["model"]["merges"][0] = json!("ab zz")),
        "merge 1 names `zz`",
    );
    refused(
        after(|file| file["model"]["merges"][0] = json!("z q")),
        "merge 1 names `zq`",
    );
}

#[test]
fn merge_of_one_or_three_tokens() {
    refused(after(|file| file["model"]["merges"][0] = json!("ab")), "not two tokens");
    refused(
        after(|file| file["model"]["merges"][0] = json!("a b c")),
        "not two tokens",
    );
    refused(
        after(|file| file["model"]["merges"][0] = json!(["a"])),
        "invalid length 1",
    );
    refused(
        after(|file| file["model"]["merges"][0] = json!(["a", "b", "c"])),
        "invalid length 3",
    );
}

#[test]
fn merge_twice() {
    refused(
        after(|file| file["model"]["merges"][1] = file["model"]["merges"][0].clone()),
        "is there twice",
    );
}

#[test]
fn merge_into_a_special_token() {
    let change = |file: &mut Value| {
        file["added_tokens"][0]["content"] = json!("ab");
        let end = file["added_tokens"][0]["id"].clone();
        let vocab = file["model"]["vocab"].as_object_mut().unwrap();
        let ab = vocab["ab"].clone();
        vocab.insert("spare".into(), ab);
        vocab.remove(END_OF_TEXT);
        vocab.insert("ab".into(), end);
    };
    refused(after(change), "special token");
}

#[test]
fn empty_added_token() {
    refused(after(|file| file["added_tokens"][0]["content"] = json!("")), "is empty");
}

#[test]
fn added_token_that_ordinary_text_holds() {
    refused(
        after(|file| file["added_tokens"][0]["special"] = json!(false)),
        "expected special",
    );
}

#[test]
fn added_token_of_another_id() {
    refused(
        after(|file| file["added_tokens"][0]["id"] = json!(3)),
        "has the id 3, in the vocabulary",
    );
}

#[test]
fn no_end_of_text() {
    refused(
        after(|file| file["added_tokens"] = json!([])),
        "no special token `<|endoftext|>`",
    );
}

#[test]
fn lone_surrogate() {
    let json = String::from_utf8(trained(Kind::Bpe, "abab", 300).to_json()).unwrap();
    let json = json.replacen("\"!\"", "\"\\ud800\"", 1);
    refused(Tokenizer::from_bytes(json.as_bytes()), "line");
}

#[test]
fn token_that_stands_for_no_bytes() {
    let next = |file: &mut Value| json!(file["model"]["vocab"].as_object().unwrap().len());
    refused(
        after(|file| file["model"]["vocab"]["가"] = next(file)),
        "stands for no byte",
    );
}

#[test]
fn byte_without_a_token() {
    let change = |file: &mut Value| {
        let vocab = file["model"]["vocab"].as_object_mut().unwrap();
        let id = vocab.remove("Q").unwrap();
        vocab.insert("QQQ".into(), id);
    };
    refused(after(change), "no token for the byte 0x51");
}

/// As SmolLM's vocabulary has it: what `tokenizers` drops is dropped, and the rest of the text stays.
#[test]
fn control_characters_without_a_token() {
    let change = |file: &mut Value| {
        let vocab = file["model"]["vocab"].as_object_mut().unwrap();
        for (name, new) in [("\u{104}", "4"), ("\u{f1}", "5")] {
            let id = vocab.remove(name).unwrap();
            vocab.insert(new.repeat(9), id);
        }
    };
    let tokenizer = after(change).unwrap();
    let text = "a\u{4}b\u{4}, \u{40000}c";
    let decoded = tokenizer.decode_bytes(&tokenizer.encode(text)).unwrap();
    assert_eq!(decoded, b"ab, \x80\x80\x80c");
}

#[test]
fn character_vocabulary_with_holes() {
    let json = String::from_utf8(trained(Kind::Char, "abc", 0).to_json()).unwrap();
    refused(
        Tokenizer::from_bytes(json.replacen("<0xEA>", "<0xZZ>", 1).as_bytes()),
        "neither a character nor a byte",
    );
    refused(
        Tokenizer::from_bytes(json.replacen("<0xEA>", "한", 1).as_bytes()),
        "no token `<0xEA>`",
    );
}

#[test]
fn other_models_and_options() {
    refused(
        after(|file| file["model"]["type"] = json!("Unigram")),
        "model is `Unigram`, expected BPE",
    );
    refused(after(|file| file["model"]["dropout"] = json!(0.1)), "dropout");
    refused(
        after(|file| file["model"]["ignore_merges"] = json!(true)),
        "ignore_merges",
    );
    refused(
        after(|file| file["model"]["end_of_word_suffix"] = json!("</w>")),
        "suffix",
    );
    refused(
        after(|file| file["pre_tokenizer"]["add_prefix_space"] = json!(true)),
        "add_prefix_space",
    );
    refused(
        after(|file| file["pre_tokenizer"]["use_regex"] = json!(false)),
        "use_regex",
    );
    refused(
        after(|file| file["pre_tokenizer"] = json!(null)),
        "pre_tokenizer is `null`",
    );
    refused(
        after(|file| file["decoder"] = json!({"type": "Metaspace"})),
        "decoder is `Metaspace`",
    );
    refused(
        after(|file| file["post_processor"] = json!({"type": "BertProcessing"})),
        "post_processor",
    );
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let begin = json!({"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}});
    for single in [json!([begin, text]), json!([text, text]), json!([begin]), json!([])] {
        let template = json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}});
        refused(
            after(|file| file["post_processor"] = template),
            "post_processor is `TemplateProcessing`, expected ByteLevel, a template that adds no token",
        );
    }
    refused(
        after(|file| file["post_processor"] = json!({"type": "TemplateProcessing", "single": [{"Other": {}}]})),
        "unknown variant `Other`",
    );
}

#[test]
fn nesting_without_end() {
    let depth = 100_000;
    let json = format!("{{\"model\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    refused(Tokenizer::from_bytes(json.as_bytes()), "line 1");
    let json = format!("{{\"other\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    refused(Tokenizer::from_bytes(json.as_bytes()), "line 1");
}

#[test]
fn vocabulary_without_end() {
    let tokens: Vec<String> = (0..=LARGEST_VOCABULARY).map(|id| format!("\"{id}\":{id}")).collect();
    let json = format!("{{\"model\": {{\"vocab\": {{{}}}}}}}", tokens.join(","));
    refused(Tokenizer::from_bytes(json.as_bytes()), "more than 1048576 tokens");
}

#[test]
fn merges_and_decoders_without_end() {
    let merges = vec!["a b"; LARGEST_VOCABULARY + 1];
    refused(
        after(|file| file["model"]["merges"] = json!(merges)),
        "invalid length 1048577",
    );
    let decoders = vec![json!({"type": ""}); 17];
    refused(
        after(|file| file["decoder"]["decoders"] = json!(decoders)),
        "invalid length 17",
    );
}

#[test]
fn file_too_large() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(LARGEST_FILE * 10).unwrap();
    refused(
        Tokenizer::from_file(file.path()),
        "67108865 bytes; at most 67108864 are read",
    );
}

#[test]
fn not_a_tokenizer_at_all() {
    for json in [
        "",
        "null",
        "[]",
        "{}",
        "version https://git-lfs.github.com/spec/v1",
        "{\"model\": {}}",
    ] {
        refused(Tokenizer::from_bytes(json.as_bytes()), "tokenizer.json: ");
    }
    assert!(matches!(
        Tokenizer::from_file(Path::new("no such file")),
        Err(Error::Io { .. })
    ));
}

#[test]
fn merges_txt() {
    let vocab = serde_json::to_vec(&gpt2_files(&(0..=255).map(|byte| vec![byte]).collect::<Vec<_>>()).0).unwrap();
    assert_eq!(
        Tokenizer::from_gpt2(&vocab, b"#version: 0.2\n\n").unwrap().kind(),
        Kind::Byte
    );
    refused(
        Tokenizer::from_gpt2(&vocab, b"a\n"),
        "line 1: merge `a` is not two tokens",
    );
    refused(Tokenizer::from_gpt2(&vocab, b"a \xff\n"), "merges.txt");
    refused(Tokenizer::from_gpt2(b"{\"a\": 0}", b""), "no special token");
}

#[test]
fn as_many_special_tokens_as_may_be() {
    let add = |count: usize| {
        move |file: &mut Value| {
            let first = file["model"]["vocab"].as_object().unwrap().len();
            for id in first..first + count {
                let content = format!("{id:>0256}");
                let token = json!({"id": id, "content": content, "special": true});
                file["added_tokens"].as_array_mut().unwrap().push(token);
            }
        }
    };
    let tokenizer = after(add(4095)).unwrap();
    let last = tokenizer.special_tokens().last().unwrap();
    assert_eq!(
        tokenizer.encode_with_special(&format!("{0}<|endoftext|>{0}", last.1)),
        [last.0, tokenizer.eos_id(), last.0]
    );
    refused(after(add(4096)), "invalid length 4097, expected a list of at most 4096");
}
