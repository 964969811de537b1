//! Files to ids in bounded memory, and how long it takes:
//! `cargo run --release -p foretoken-text --example encode_files -- TOKENIZER.json TEXT_FIELD PATH...`

use std::path::Path;
use std::time::Instant;

use foretoken_text::{DocumentOptions, Documents, Error, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, text_field, paths @ ..] = arguments.as_slice() else {
        return Err("expected TOKENIZER.json TEXT_FIELD PATH...".into());
    };
    let tokenizer = Tokenizer::from_file(Path::new(tokenizer))?;
    let options = DocumentOptions {
        text_field: text_field.clone(),
        ..Default::default()
    };
    let start = Instant::now();
    let (mut ids, mut bytes) = (0, 0);
    let documents = Documents::open(paths, &options)?.inspect(|document| {
        bytes += document.as_ref().map_or(0, |document| document.text.len());
    });
    let threads = std::thread::available_parallelism()?.get();
    tokenizer.encode_documents(documents, threads, |part| -> Result<(), Error> {
        ids += part.len();
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{bytes} bytes, {ids} ids, {:.1} s, {:.0} MB/s",
        seconds,
        bytes as f64 / 1e6 / seconds
    );
    Ok(())
}
