//! `foretoken tokenizer train|encode|decode`

use crate::Usage;
use clap::{Args, Subcommand};
use foretoken::formats::durable;
use foretoken::text::{DocumentOptions, Documents, Tokenizer, Trainer};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Trains a tokenizer, or turns text into token ids and back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foretoken tokenizer train --data book.txt --out tokenizer.json
  foretoken tokenizer encode --model tokenizer.json \"안녕하세요\" | foretoken tokenizer decode --model tokenizer.json")]
pub(crate) struct TokenizerCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a tokenizer.json from text; Hugging Face's `tokenizers` reads it to the same ids
    #[command(
        after_help = "Example:\n  foretoken tokenizer train --data book.txt --tokenizer bpe:4096 --out tokenizer.json"
    )]
    Train {
        /// Files, folders, patterns, or - for standard input
        #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
        data: Vec<String>,
        /// Columns of CSV and JSONL that hold the text, separated by commas
        #[arg(long, default_value = "text", value_name = "NAMES")]
        text_field: String,
        /// byte, char, or bpe[:SIZE]
        #[arg(long, default_value = "bpe:4096", value_name = "KIND")]
        tokenizer: String,
        /// Where it is written
        #[arg(long, default_value = "tokenizer.json", value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the token ids of a text on one line
    #[command(
        after_help = "Examples:\n  foretoken tokenizer encode --model tokenizer.json \"안녕하세요\"\n  foretoken tokenizer encode --model runs/001-tiny --json < book.txt"
    )]
    Encode {
        /// A tokenizer.json, a run, a checkpoint, a model directory, a GGUF file or the name of a pulled model; the latest run
        /// unless given
        #[arg(long, value_name = "PATH")]
        model: Option<PathBuf>,
        /// The text; all of standard input unless given, newlines included
        text: Option<String>,
        /// Read `<|endoftext|>` and the like as special tokens
        #[arg(long)]
        special: bool,
        /// One JSON object: ids, and the bytes of each token as text
        #[arg(long)]
        json: bool,
    },
    /// Print the text of token ids
    #[command(after_help = "Example:\n  echo 464 329 | foretoken tokenizer decode --model tokenizer.json")]
    Decode {
        /// A tokenizer.json, a run, a checkpoint, a model directory, a GGUF file or the name of a pulled model; the latest run
        /// unless given
        #[arg(long, value_name = "PATH")]
        model: Option<PathBuf>,
        /// The ids; standard input unless given
        ids: Vec<u32>,
    },
}

impl TokenizerCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Train {
                data,
                text_field,
                tokenizer,
                out,
            } => train(&data, text_field, &tokenizer, &out),
            Action::Encode {
                model,
                text,
                special,
                json,
            } => encode(&open(model.as_deref())?, text, special, json),
            Action::Decode { model, ids } => decode(&open(model.as_deref())?, ids),
        }
    }
}

fn open(path: Option<&Path>) -> anyhow::Result<Tokenizer> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => foretoken::latest_run(Path::new(crate::train::RUNS))?,
    };
    if path.is_file() && !foretoken::is_gguf(&path) {
        return Ok(Tokenizer::from_file(&path)?);
    }
    Ok(foretoken::open_tokenizer(&foretoken::locate(&path)?)?)
}

fn train(data: &[String], text_field: String, spec: &str, out: &Path) -> anyhow::Result<()> {
    let Some((kind, size)) = foretoken::train::tokenizer_kind(spec)? else {
        return Err(Usage(format!("--tokenizer is {spec}: expected byte, char, bpe or bpe:SIZE")).into());
    };
    let mut trainer = Trainer::new(kind, size)?;
    let (mut documents, mut bytes) = (0u64, 0u64);
    for document in Documents::open(
        data,
        &DocumentOptions {
            text_field,
            ..Default::default()
        },
    )? {
        let document = document?;
        trainer.feed(&document.text);
        documents += u64::from(document.ends);
        bytes += document.text.len() as u64;
    }
    let tokenizer = trainer.finish();
    durable::write_bytes(out, &tokenizer.to_json())?;
    crate::terminal::say_error(&format!(
        "{}: {} tokens from {documents} documents, {}",
        out.display(),
        tokenizer.vocab_size(),
        foretoken::model::human_bytes(bytes)
    ));
    Ok(())
}

fn encode(tokenizer: &Tokenizer, text: Option<String>, special: bool, json: bool) -> anyhow::Result<()> {
    let text = match text {
        Some(text) => text,
        None => {
            // Whole, not by lines: a token may reach over the end of a line. The last newline belongs to the text, too:
            // `decode` gives the same bytes back.
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(not_text)?;
            text
        }
    };
    let ids = if special {
        tokenizer.encode_with_special(&text)
    } else {
        tokenizer.encode(&text)
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if json {
        let piece = |&id: &u32| String::from_utf8_lossy(tokenizer.id_to_bytes(id).unwrap_or_default()).into_owned();
        let tokens: Vec<String> = ids.iter().map(piece).collect();
        writeln!(out, "{}", serde_json::json!({ "ids": ids, "tokens": tokens }))?;
    } else {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        writeln!(out, "{}", ids.join(" "))?;
    }
    out.flush()?;
    Ok(())
}

/// What is wrong with standard input that could not be read as text.
pub(crate) fn not_text(error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::InvalidData => Usage("standard input is not UTF-8 text; convert it first".into()).into(),
        _ => anyhow::Error::new(error).context("standard input"),
    }
}

fn decode(tokenizer: &Tokenizer, mut ids: Vec<u32>) -> anyhow::Result<()> {
    let given = !ids.is_empty();
    if !given {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(not_text)?;
        for word in text.split_whitespace() {
            let id = word
                .parse()
                .map_err(|_| Usage(format!("`{word}` is not a token id: expected whole numbers")))?;
            ids.push(id);
        }
    }
    let mut out = std::io::stdout().lock();
    out.write_all(&tokenizer.decode_bytes(&ids)?)?;
    if given {
        writeln!(out)?;
    }
    Ok(())
}
