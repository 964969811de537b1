//! Writing `tokenizer.json` and `tokenizer_config.json`.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::alphabet::bytes_to_token;
use super::form::{Added, special};
use super::{Encoder, Pattern, Tokenizer};

impl Tokenizer {
    /// The `tokenizer.json` of this tokeniser: the same bytes for the same tokeniser, on every machine.
    pub fn to_json(&self) -> Vec<u8> {
        let vocab = VocabOut(self);
        let added: Vec<Added<'_>> = self.special.iter().map(|(id, name)| special(*id, name)).collect();
        let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
        let fallback = json!({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]});
        let (pre_tokenizer, decoder, merges) = match &self.encoder {
            Encoder::Byte(_) => (byte_level(false), byte_level(false), Vec::new()),
            Encoder::Char(_) => (json!(null), fallback, Vec::new()),
            Encoder::Bpe(bpe) => {
                let token = |id| bytes_to_token(self.tokens.get(id).expect("merges name tokens"));
                let line = |&(left, right): &(u32, u32)| format!("{} {}", token(left), token(right));
                let pre_tokenizer = match bpe.pattern {
                    Pattern::Gpt2 => byte_level(true),
                    Pattern::Digits => {
                        let digits = json!({"type": "Digits", "individual_digits": true});
                        json!({"type": "Sequence", "pretokenizers": [digits, byte_level(true)]})
                    }
                };
                (pre_tokenizer, byte_level(true), bpe.merges.iter().map(line).collect())
            }
        };
        let file = FileOut {
            version: "1.0",
            truncation: (),
            padding: (),
            added_tokens: added,
            normalizer: (),
            pre_tokenizer,
            post_processor: (),
            decoder,
            model: ModelOut {
                kind: "BPE",
                dropout: (),
                unk_token: (),
                continuing_subword_prefix: (),
                end_of_word_suffix: (),
                fuse_unk: false,
                byte_fallback: matches!(self.encoder, Encoder::Char(_)),
                ignore_merges: false,
                vocab,
                merges,
            },
        };
        let mut json = serde_json::to_vec_pretty(&file).expect("strings and numbers");
        json.push(b'\n');
        json
    }

    /// The `tokenizer_config.json` beside it, with which `transformers.AutoTokenizer` opens the directory.
    /// `model_max_length` is the model's `n_positions`, `chat_template` the text of a [`crate::ChatTemplate`].
    pub fn tokenizer_config_json(&self, model_max_length: usize, chat_template: Option<&str>) -> Vec<u8> {
        let end = String::from_utf8_lossy(self.tokens.get(self.eos).expect("the end is a token"));
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": model_max_length,
            "bos_token": end,
            "eos_token": end,
            "clean_up_tokenization_spaces": false,
        });
        if let Some(template) = chat_template {
            config["chat_template"] = template.into();
        }
        let mut json = serde_json::to_vec_pretty(&config).expect("strings and numbers");
        json.push(b'\n');
        json
    }

    /// The string that stands for a token in `vocab`.
    pub(super) fn token_name(&self, id: u32) -> String {
        let bytes = self.tokens.get(id).expect("an id below V");
        if let Ok(at) = self.special.binary_search_by_key(&id, |(id, _)| *id) {
            return self.special[at].1.clone();
        }
        match &self.encoder {
            Encoder::Char(chars) if bytes.len() == 1 && chars.fallback[usize::from(bytes[0])] == id => {
                format!("<0x{:02X}>", bytes[0])
            }
            Encoder::Char(_) => String::from_utf8_lossy(bytes).into_owned(),
            _ => bytes_to_token(bytes),
        }
    }
}

#[derive(Serialize)]
struct FileOut<'a> {
    version: &'static str,
    truncation: (),
    padding: (),
    added_tokens: Vec<Added<'a>>,
    normalizer: (),
    pre_tokenizer: serde_json::Value,
    post_processor: (),
    decoder: serde_json::Value,
    model: ModelOut<'a>,
}

#[derive(Serialize)]
struct ModelOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    dropout: (),
    unk_token: (),
    continuing_subword_prefix: (),
    end_of_word_suffix: (),
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: VocabOut<'a>,
    /// `"a b"`: every version reads it, and no token holds a space.
    merges: Vec<String>,
}

/// Tokens in order of id.
struct VocabOut<'a>(&'a Tokenizer);

impl Serialize for VocabOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.vocab_size()))?;
        for id in 0..self.0.vocab_size() as u32 {
            map.serialize_entry(&self.0.token_name(id), &id)?;
        }
        map.end()
    }
}
