//! What must hold for any bytes as a GGUF model. Shared by the mutation test and the fuzz target.

use foretoken::formats::gguf::Gguf;
use foretoken::model::{load_gguf, registry};

/// Makes model, weights and tokeniser of `bytes`. True where there is a whole model.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let Ok(file) = Gguf::parse(bytes) else { return false };
    let tokenizer = foretoken::gguf_tokenizer(&file);
    if let Ok(tokenizer) = &tokenizer {
        let ids = tokenizer.encode_with_special("A 1st text:\n그리고 <|endoftext|>");
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        tokenizer.decode(&ids).unwrap();
        assert!(tokenizer.is_special(tokenizer.eos_id()));
    }
    let Ok(model) = registry::from_gguf(&file) else {
        return false;
    };
    let Ok(weights) = load_gguf(&*model, &file) else {
        return false;
    };
    assert_eq!(weights.len(), model.params().floats());
    // Every number of the arena was in the file.
    assert!(model.params().count() <= 8 * bytes.len() as u64);
    tokenizer.is_ok_and(|tokenizer| tokenizer.vocab_size() <= model.dims().vocab_size)
}
