//! What foretoken makes of every line of a text, for `benches/peers/check_checkpoint.py` to hold against `transformers`.
//!
//! `cargo run --release -p foretoken --example logits -- MODEL TEXT_FILE > ours.jsonl` prints a JSON object for each line
//! that is not empty. `MODEL` is a run, a checkpoint or a directory in Hugging Face's layout.
//!
//! ```text
//! {"text": "…",             the line
//!  "ids": [T],              as ordinary text: names of special tokens are letters
//!  "special_ids": [T'],     the names of special tokens taken as such
//!  "decoded": "…",          the text of ids
//!  "logits": [[V]; T],      of the first n_positions ids
//!  "greedy": [≤ 16]}        the likeliest next tokens, as far as the context reaches, without the end token
//! ```

use foretoken::generate::{Generator, Options, Sampling};
use foretoken::model::decode_scored;
use foretoken::{Gpt, open};
use std::error::Error;
use std::io::Write;

const GREEDY: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, text] = &args[..] else {
        return Err("usage: logits MODEL TEXT_FILE".into());
    };
    let gpt = open(model)?;
    let text = std::fs::read_to_string(text).map_err(|error| format!("{text}: {error}"))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let tokenizer = gpt.tokenizer();
        let ids = tokenizer.encode(line);
        let row = serde_json::json!({
            "text": line,
            "special_ids": tokenizer.encode_with_special(line),
            "decoded": tokenizer.decode(&ids)?,
            "logits": logits(&gpt, &ids)?,
            "greedy": greedy(&gpt, &ids)?,
            "ids": ids,
        });
        serde_json::to_writer(&mut out, &row)?;
        writeln!(out)?;
    }
    Ok(out.flush()?)
}

/// The logits (V) that follow each of the first n_positions ids.
fn logits(gpt: &Gpt, ids: &[u32]) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    let (model, t) = (gpt.model(), ids.len().min(gpt.model().dims().n_positions));
    let v = model.dims().vocab_size;
    let mut state = model.decode_state(t, gpt.weights().cache_type())?;
    let mut logits = Vec::with_capacity(t * v);
    decode_scored(model, gpt.pool(), gpt.weights(), &mut state, &ids[..t], 0, |_, rows| {
        logits.extend_from_slice(rows);
    });
    Ok(logits.chunks(v).map(<[f32]>::to_vec).collect())
}

/// The likeliest tokens after `ids`, none past the context: `transformers` does not go beyond it.
fn greedy(gpt: &Gpt, ids: &[u32]) -> Result<Vec<u32>, Box<dyn Error>> {
    let room = gpt.model().dims().n_positions.saturating_sub(ids.len());
    let mut generator = Generator::new(gpt.model(), gpt.pool(), gpt.weights())?;
    generator.prompt(ids, None)?;
    let options = Options {
        sampling: Sampling::greedy(),
        seed: 0,
        max_tokens: GREEDY.min(room),
        end: vec![gpt.tokenizer().eos_id()],
        vocab_size: usize::MAX,
        speculate: 0,
    };
    let tokens = generator.sample(&options, 0)?;
    Ok(tokens
        .map(|token| token.map(|token| token.id))
        .collect::<Result<_, _>>()?)
}
