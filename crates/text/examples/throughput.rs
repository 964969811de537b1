//! How fast the tokenisers train and encode, on files of your own, and what `tokenizers` needs for the same:
//! `cargo run --release -p foretoken-text --example throughput -- FOLDER FILE...`. Leaves the tokenisers and their ids
//! in FOLDER, for other programs to compare.

use std::path::Path;
use std::time::Instant;

use foretoken_text::{Kind, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("expected FOLDER FILE...")?;
    for path in arguments {
        let text = std::fs::read_to_string(&path)?;
        let megabytes = text.len() as f64 / 1e6;
        for kind in [Kind::Byte, Kind::Char, Kind::Bpe] {
            let start = Instant::now();
            let mut trainer = Trainer::new(kind, 4096)?;
            trainer.feed(&text);
            let tokenizer = trainer.finish();
            let training = start.elapsed().as_secs_f64();

            let start = Instant::now();
            let ids = tokenizer.encode(&text);
            let encoding = megabytes / start.elapsed().as_secs_f64();
            let start = Instant::now();
            assert!(tokenizer.encode_batch(&[&text], 2) == [ids.as_slice()]);
            let batch = megabytes / start.elapsed().as_secs_f64();
            let start = Instant::now();
            assert!(tokenizer.decode(&ids)? == text);
            let decoding = megabytes / start.elapsed().as_secs_f64();

            let oracle = tokenizers::Tokenizer::from_bytes(tokenizer.to_json()).map_err(|error| error.to_string())?;
            let start = Instant::now();

            let lines = text
                .split_inclusive('\n')
                .map(|line| oracle.encode_fast(line, false).map(|ids| ids.len()));
            let _count = lines.sum::<Result<usize, _>>().map_err(|error| error.to_string())?;
            let other = megabytes / start.elapsed().as_secs_f64();
            println!(
                "{path} {kind}: V {}, {} ids, {:.2} bytes an id; train {training:.2} s, encode {encoding:.0} MB/s, on \
                 two threads {batch:.0} MB/s, decode {decoding:.0} MB/s; tokenizers encodes {other:.1} MB/s",
                tokenizer.vocab_size(),
                ids.len(),
                text.len() as f64 / ids.len() as f64,
            );
            let stem = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy();
            let folder = Path::new(&folder).join(format!("{stem}-{kind}"));
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("tokenizer.json"), tokenizer.to_json())?;
            std::fs::write(
                folder.join("tokenizer_config.json"),
                tokenizer.tokenizer_config_json(256, None),
            )?;
            let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            std::fs::write(folder.join("ids.u32"), ids)?;
        }
    }
    Ok(())
}
