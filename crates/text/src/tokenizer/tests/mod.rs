//! Tokenisers against their oracles: tiktoken for GPT-2's ids, `tokenizers` for the files; and hostile files.

mod hostile;

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use tiktoken_rs::CoreBPE;

use super::alphabet::bytes_to_token;
use super::*;

/// English, Korean (composed and as jamo), emoji with joiners, other scripts, white space, controls, look-alikes of
/// special tokens and of byte tokens.
const SAMPLES: &[&str] = &[
    "",
    " ",
    "Hello, world! It's 2026; we'll see they've 'S 'RE.",
    "안녕하세요. 오늘은 날씨가 참 좋네요ㅋㅋㅋ ㅠㅠ 1지망 학교",
    "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}",
    "👩‍👩‍👧‍👦🇰🇷 ok 👍🏽!",
    "日本語の文章。 Ünïcödé naïve Ελληνικά العربية हिन्दी",
    "a  b   c\n\n\n d\t\te \r\n f\u{a0}\u{a0}g\u{3000}h\u{2003} ",
    "   leading and trailing   ",
    "\n",
    "\u{0}\u{1}\u{7f}\u{85}\u{feff}\u{fffd}\u{10ffff}",
    "fn main() { println!(\"{:?}\", x[0] += 1); } // ½ ² Ⅷ ٣",
    "<|endoftext|> <0x41> <0xEA>Ġ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

const TRAINING: &str = "The quick brown fox jumps over the lazy dog. The dog didn't care; the fox jumped again and again.\n\
    다람쥐 헌 쳇바퀴에 타고파. 다람쥐는 오늘도 쳇바퀴를 돌리고 내일도 쳇바퀴를 돌린다.\n\
    banana bandana cabana aaaa aaaaaaaa abab ababab 1234 12345 !!! !!!!!\n";

fn trained(kind: Kind, text: &str, vocab_size: usize) -> Tokenizer {
    let mut trainer = Trainer::new(kind, vocab_size).unwrap();
    trainer.feed(text);
    trainer.finish()
}

fn tokenizers() -> [Tokenizer; 3] {
    [
        Tokenizer::byte(),
        trained(Kind::Char, TRAINING, 0),
        trained(Kind::Bpe, TRAINING, 400),
    ]
}

static GPT2: LazyLock<(CoreBPE, Tokenizer)> = LazyLock::new(|| {
    let oracle = tiktoken_rs::r50k_base().unwrap();
    let tokens: Vec<Vec<u8>> = (0..50256).map(|id| oracle.decode_bytes(&[id]).unwrap()).collect();
    let (vocab, merges) = gpt2_files(&tokens);
    let tokenizer = Tokenizer::from_gpt2(&serde_json::to_vec(&vocab).unwrap(), merges.as_bytes()).unwrap();
    (oracle, tokenizer)
});

/// GPT-2's `vocab.json` and `merges.txt` from its tokens in order of rank: the merge of a token is what is left of its
/// bytes when all earlier merges are done.
fn gpt2_files(tokens: &[Vec<u8>]) -> (Value, String) {
    let ranks: HashMap<&[u8], usize> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.as_slice(), id))
        .collect();
    let mut merges = String::from("#version: 0.2\n");
    for (id, token) in tokens.iter().enumerate().skip(256) {
        let mut parts: Vec<&[u8]> = token.chunks(1).collect();
        while parts.len() > 2 {
            let rank = |i: usize| {
                ranks
                    .get([parts[i], parts[i + 1]].concat().as_slice())
                    .filter(|&&rank| rank < id)
            };
            let best = (0..parts.len() - 1)
                .filter_map(|i| Some((rank(i)?, i)))
                .min()
                .unwrap()
                .1;
            let start = parts[..best].iter().map(|part| part.len()).sum::<usize>();
            let end = start + parts[best].len() + parts[best + 1].len();
            parts.splice(best..best + 2, [&token[start..end]]);
        }
        merges += &format!("{} {}\n", bytes_to_token(parts[0]), bytes_to_token(parts[1]));
    }
    let mut vocab: serde_json::Map<String, Value> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (bytes_to_token(token), json!(id)))
        .collect();
    vocab.insert(END_OF_TEXT.to_owned(), json!(tokens.len()));
    (vocab.into(), merges)
}

#[test]
fn gpt2_gives_the_ids_of_tiktoken() {
    let (oracle, tokenizer) = &*GPT2;
    assert_eq!(
        (tokenizer.vocab_size(), tokenizer.eos_id(), tokenizer.kind()),
        (50257, 50256, Kind::Bpe)
    );
    assert_eq!(tokenizer.encode("Hello world"), [15496, 995]);
    for text in SAMPLES.iter().copied().chain([TRAINING, include_str!("../mod.rs")]) {
        assert_eq!(tokenizer.encode(text), oracle.encode_ordinary(text), "{text:?}");
        assert_eq!(
            tokenizer.encode_with_special(text),
            oracle.encode_with_special_tokens(text),
            "{text:?}"
        );
    }
    for id in 0..50256 {
        assert_eq!(tokenizer.id_to_bytes(id).unwrap(), oracle.decode_bytes(&[id]).unwrap());
    }
}

#[test]
fn gpt2_comes_back_from_its_tokenizer_json() {
    let tokenizer = &GPT2.1;
    let json = tokenizer.to_json();
    let again = Tokenizer::from_bytes(&json).unwrap();
    assert_eq!(again.fingerprint(), tokenizer.fingerprint());
    assert_same_as_hugging_face(tokenizer);
    // As the file on the hub has it: no type, empty prefixes, a post-processor, merges as pairs.
    let mut file: Value = serde_json::from_slice(&json).unwrap();
    let model = file["model"].as_object_mut().unwrap();
    model.remove("type");
    model.insert("unk_token".into(), json!(""));
    model.insert("continuing_subword_prefix".into(), json!(""));
    model.insert("end_of_word_suffix".into(), json!(""));
    for merge in model["merges"].as_array_mut().unwrap() {
        *merge = merge.as_str().unwrap().split(' ').collect();
    }
    file["post_processor"] = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false});
    let again = Tokenizer::from_bytes(&serde_json::to_vec(&file).unwrap()).unwrap();
    assert_eq!(again.fingerprint(), tokenizer.fingerprint());
}

/// What `transformers` 5 saves: a template around the text, with no token in it.
#[test]
fn a_template_that_adds_nothing_changes_nothing() {
    for kind in [Kind::Byte, Kind::Char, Kind::Bpe] {
        let tokenizer = trained(kind, TRAINING, 300);
        let mut file: Value = serde_json::from_slice(&tokenizer.to_json()).unwrap();
        let piece = |id, type_id| json!({"Sequence": {"id": id, "type_id": type_id}});
        file["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [piece("A", 0)],
            "pair": [piece("A", 0), piece("B", 1)],
            "special_tokens": {},
        });
        let json = serde_json::to_vec(&file).unwrap();
        let again = Tokenizer::from_bytes(&json).unwrap();
        assert_eq!(again.fingerprint(), tokenizer.fingerprint());
        let theirs = tokenizers::Tokenizer::from_bytes(&json).unwrap();
        for text in SAMPLES {
            assert_eq!(
                theirs.encode(*text, true).unwrap().get_ids(),
                again.encode_with_special(text),
                "{text:?}"
            );
        }
    }
}

/// Hugging Face's library reads the file to the same ids, and from them the same text.
fn assert_same_as_hugging_face(tokenizer: &Tokenizer) {
    let mut oracle = ::tokenizers::Tokenizer::from_bytes(tokenizer.to_json()).unwrap();
    assert_eq!(oracle.get_vocab_size(true), tokenizer.vocab_size());
    assert_eq!(oracle.get_vocab_size(false), tokenizer.vocab_size());
    for text in SAMPLES {
        oracle.set_encode_special_tokens(true);
        let ids = tokenizer.encode(text);
        assert_eq!(
            oracle.encode(*text, false).unwrap().get_ids(),
            ids,
            "{} {text:?}",
            tokenizer.kind()
        );
        assert_eq!(
            oracle.decode(&ids, false).unwrap(),
            *text,
            "{} {text:?}",
            tokenizer.kind()
        );
        oracle.set_encode_special_tokens(false);
        let ids = tokenizer.encode_with_special(text);
        assert_eq!(
            oracle.encode(*text, false).unwrap().get_ids(),
            ids,
            "{} {text:?}",
            tokenizer.kind()
        );
    }
}

#[test]
fn hugging_face_reads_every_kind_to_the_same_ids() {
    for tokenizer in tokenizers() {
        assert_same_as_hugging_face(&tokenizer);
        let again = Tokenizer::from_bytes(&tokenizer.to_json()).unwrap();
        assert_eq!((again.kind(), again.to_json()), (tokenizer.kind(), tokenizer.to_json()));
        assert_eq!(tokenizer.eos_id() as usize, tokenizer.vocab_size() - 1);
    }
}

/// Digits one by one, as SmolLM has it; and every tokeniser is made again of its parts.
#[test]
fn digits_alone_as_hugging_face_has_them() {
    let trained = trained(Kind::Bpe, &format!("{TRAINING} 12 1200 year 2024 2024"), 500);
    let mut parts = trained.parts();
    parts.pattern = Pattern::Digits;
    let tokenizer = Tokenizer::from_parts(&parts).unwrap();
    let ids = |tokenizer: &Tokenizer| tokenizer.encode("in 2024");
    assert!(ids(&tokenizer).len() > ids(&trained).len());
    for tokenizer in tokenizers().iter().chain([&tokenizer]) {
        assert_same_as_hugging_face(tokenizer);
        let read = Tokenizer::from_bytes(&tokenizer.to_json()).unwrap();
        let made = Tokenizer::from_parts(&tokenizer.parts()).unwrap();
        assert_eq!((read.parts(), made.parts()), (tokenizer.parts(), tokenizer.parts()));
    }
}

#[test]
fn vocabularies_by_hand() {
    let char = trained(Kind::Char, "나가 가", 0);
    assert_eq!(char.encode("가나 "), [1, 2, 0]);
    // 3 characters, 127 other ASCII bytes, 64 + 51 bytes of longer characters, the end.
    assert_eq!(char.vocab_size(), 3 + 127 + 115 + 1);
    assert_eq!(char.encode("다").len(), 3);

    // aa comes 6 times and ab 2 times: (a,a), then (aa,a) 3 times, then (a,b) twice before (aaa,b) of the same count?
    let bpe = trained(Kind::Bpe, "xaaa yaaa zaaa", 300);
    let learnt: Vec<&[u8]> = (256..bpe.vocab_size() as u32 - 1)
        .map(|id| bpe.id_to_bytes(id).unwrap())
        .collect();
    assert_eq!(learnt, [b"aa".as_slice(), b"aaa"]);
    // Of equal counts the lower ids win: b before c.
    let bpe = trained(Kind::Bpe, "bd bd cd cd", 300);
    let learnt: Vec<&[u8]> = (256..bpe.vocab_size() as u32 - 1)
        .map(|id| bpe.id_to_bytes(id).unwrap())
        .collect();
    assert_eq!(learnt, [b"bd".as_slice(), b"cd", b" cd"]);
}

#[test]
fn training_does_not_depend_on_order_or_pieces() {
    let lines: Vec<&str> = TRAINING.split_inclusive(' ').collect();
    let expected = {
        let mut trainer = Trainer::new(Kind::Bpe, 420).unwrap();
        lines.iter().for_each(|line| trainer.feed(line));
        trainer.finish().to_json()
    };
    // The hash maps are seeded anew each time, so equal results are no accident of one order.
    for turn in 0..50 {
        let mut lines = lines.clone();
        lines.rotate_left(turn % 7);
        if turn % 2 == 1 {
            lines.reverse();
        }
        let mut trainer = Trainer::new(Kind::Bpe, 420).unwrap();
        lines.iter().for_each(|line| trainer.feed(line));
        assert!(trainer.finish().to_json() == expected, "turn {turn}");
    }
}

#[test]
fn training_agrees_with_hugging_face() {
    use ::tokenizers::models::bpe::{BPE, BpeTrainer};
    use ::tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use ::tokenizers::{NormalizerWrapper, TokenizerImpl};
    let mut oracle = TokenizerImpl::<BPE, NormalizerWrapper, ByteLevel, ByteLevel, ByteLevel>::new(BPE::default());
    oracle.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    let alphabet = ByteLevel::alphabet().into_iter().collect();
    let trainer = BpeTrainer::builder()
        .show_progress(false)
        .min_frequency(2)
        .initial_alphabet(alphabet);
    let text = concat!(
        include_str!("../read.rs"),
        include_str!("../mod.rs"),
        include_str!("../train.rs")
    );
    oracle
        .train(&mut trainer.vocab_size(1000).build(), [text].into_iter())
        .unwrap();
    let oracle: Value = serde_json::from_str(&oracle.to_string(false).unwrap()).unwrap();
    let ours: Value = serde_json::from_slice(&trained(Kind::Bpe, text, 1001).to_json()).unwrap();
    let pairs: Vec<Value> = ours["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|merge| merge.as_str().unwrap().split(' ').collect())
        .collect();
    assert!(pairs.len() > 700);
    assert_eq!(&pairs, oracle["model"]["merges"].as_array().unwrap());
}

#[test]
fn words_without_end_train_and_encode() {
    let long = "가나다라".repeat(20_000) + &"ab".repeat(50_000);
    let tokenizer = trained(Kind::Bpe, &long, 600);
    let ids = tokenizer.encode(&long);
    assert!(ids.len() < long.len() / 50, "{}", ids.len());
    assert_eq!(tokenizer.decode(&ids).unwrap(), long);
}

#[test]
fn vocabulary_sizes_that_cannot_be_are_refused() {
    for size in [0, 256, usize::MAX] {
        assert!(matches!(
            Trainer::new(Kind::Bpe, size),
            Err(Error::VocabularySize { .. })
        ));
    }
    let smallest = trained(Kind::Bpe, TRAINING, 257);
    assert_eq!((smallest.vocab_size(), smallest.kind()), (257, Kind::Byte));
    assert_eq!(
        Tokenizer::from_bytes(&smallest.to_json()).unwrap().fingerprint(),
        smallest.fingerprint()
    );
}

#[test]
fn ids_outside_the_vocabulary_are_refused() {
    let tokenizer = Tokenizer::byte();
    let message = tokenizer.decode(&[65, 257]).unwrap_err().to_string();
    assert_eq!(message, "token id 257: the vocabulary has 257 tokens, 0 to 256");
    let mut stream = tokenizer.stream();
    stream.push(0xEA).unwrap();
    assert!(stream.push(u32::MAX).is_err());
    assert_eq!(stream.finish(), "\u{fffd}");
}

#[test]
fn batches_share_a_long_text() {
    let long = "그는 말했다, it's \n\n  fine. ".repeat(30_000);
    for tokenizer in tokenizers() {
        let texts = [long.as_str(), "", "짧다", &long[3..]];
        let expected: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode(text)).collect();
        for threads in [0, 1, 3] {
            assert!(tokenizer.encode_batch(&texts, threads) == expected);
        }
    }
}

proptest! {
    #[test]
    fn every_text_comes_back(text in any::<String>()) {
        for tokenizer in &tokenizers() {
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&text)).unwrap(), &text);
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode_with_special(&text)).unwrap(), &text);
        }
    }

    #[test]
    fn gpt2_gives_the_ids_of_tiktoken_for_any_text(text in any::<String>()) {
        prop_assert_eq!(GPT2.1.encode(&text), GPT2.0.encode_ordinary(&text));
    }

    #[test]
    fn gpt2_gives_the_ids_of_tiktoken_for_text_like_ours(text in "[a-zA-Z가-힣 \n\t.,'0-9\u{3000}ㅋ👍]{0,80}") {
        prop_assert_eq!(GPT2.1.encode(&text), GPT2.0.encode_ordinary(&text));
    }

    #[test]
    fn streams_give_what_decoding_the_whole_gives(ids in prop::collection::vec(0..246u32, 0..40), text in any::<String>()) {
        for tokenizer in &tokenizers() {
            for ids in [&ids, &tokenizer.encode(&text)] {
                let mut stream = tokenizer.stream();
                let mut streamed: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
let rest = stream.finish();
streamed += &rest;
                prop_assert_eq!(streamed, tokenizer.decode(ids).unwrap());
            }
        }
    }

    #[test]
    fn streams_of_text_never_print_half_a_character(text in "[a가👍é\u{10ffff} ]{0,20}") {
        for tokenizer in &tokenizers() {
            let mut stream = tokenizer.stream();
            let mut streamed = String::new();
            for id in tokenizer.encode(&text) {
                streamed += &stream.push(id).unwrap();
                prop_assert!(text.starts_with(&streamed));
            }
            prop_assert_eq!(&streamed, &text);
            prop_assert_eq!(stream.finish(), String::new());
        }
    }

    #[test]
    fn no_bytes_panic(change in prop::collection::vec((0..6000usize, any::<u8>()), 1..4), cut in 0..6000usize) {
        let mut json = trained(Kind::Bpe, "abab", 300).to_json();
        for (at, byte) in change {
            let length = json.len();
            json[at % length] = byte;
        }
        // Whatever is read can be used and written.
        for json in [&json[..], &json[..cut.min(json.len())]] {
            if let Ok(tokenizer) = Tokenizer::from_bytes(json) {
                prop_assert_eq!(tokenizer.decode(&tokenizer.encode("abab 가")).unwrap(), "abab 가");
                prop_assert!(Tokenizer::from_bytes(&tokenizer.to_json()).is_ok());
            }
        }
    }
}
