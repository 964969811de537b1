//! Any bytes as a `tokenizer.json`: it is read, and its ids are those of a vocabulary, or it is refused.
#![no_main]

use foretoken_text::Tokenizer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_bytes(bytes) else {
        return;
    };
    let ids = tokenizer.encode("A 1st text:\n그리고 <|endoftext|>");
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
    tokenizer.decode(&ids).unwrap();
});
