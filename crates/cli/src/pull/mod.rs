//! `foretoken pull REPO[@REVISION]`

mod choose;
mod progress;

use crate::terminal::say_error;
use choose::Choice;
use clap::Args;
use foretoken::formats::safetensors;
use foretoken_hub::{Cache, Destination, Error, Event, Fetched, Hub, Listing, Pull as Files, RepoRef};
use progress::Progress;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Fetches a model from the Hugging Face hub.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foretoken pull openai-community/gpt2
  foretoken generate --model openai-community/gpt2 \"Once upon a time\"
  foretoken pull ORG/NAME@v1.0 --to models/name
  foretoken pull ORG/NAME --file model-q8_0.gguf

Fetched is what foretoken opens: config.json, the tokenizer, and the weights in safetensors.
What is there already is not fetched again, and what broke off goes on where it stopped. The
only line on standard output is where the model is now: its directory, or the file where one
GGUF was asked for. Every command finds it by its name, too.

Environment:
  HF_TOKEN      a token of yours, for private and gated models; sent to HF_ENDPOINT only
  HF_ENDPOINT   the hub, or a mirror of it [https://huggingface.co]
  HF_HOME       where models are kept, as Hugging Face's tools do [~/.cache/huggingface]
  HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE    how to get there, and whom to believe")]
pub(crate) struct Pull {
    /// ORG/NAME, or ORG/NAME@ and a branch, a tag or a commit; the branch main unless given
    #[arg(value_name = "REPO[@REVISION]")]
    repo: RepoRef,
    /// Put the files into this directory, not into the cache; nothing that is there is replaced
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Fetch these files of the repository only, such as one of its GGUFs; may be given several times
    #[arg(long, value_name = "NAME", num_args = 1..)]
    file: Vec<String>,
    /// One JSON object on standard output: where the model is, and each of its files
    #[arg(long)]
    json: bool,
}

impl Pull {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let hub = Hub::from_env()?;
        let destination = match &self.to {
            Some(dir) => Destination::Directory(dir.clone()),
            None => Destination::Cache(Cache::from_env().ok_or(Error::NoHome)?),
        };
        ctrlc::set_handler(|| {
            say_error("\nStopped. What came is kept: the same command goes on from there.");
            std::process::exit(130);
        })?;
        let mut progress = Progress::new();
        let fetched = self.fetch(&hub, destination, &mut |event| progress.event(event));
        progress.end();
        let (listing, files, directory) = fetched?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let seconds = begun.elapsed().as_secs_f64();
            writeln!(out, "{}", self.object(&listing, &files, &directory, seconds))?;
        } else {
            // A GGUF is a model by itself.
            let alone = files
                .iter()
                .find(|file| files.len() == 1 && choose::is_gguf(&file.name));
            writeln!(out, "{}", alone.map_or(&directory, |file| &file.path).display())?;
        }
        Ok(())
    }

    /// Fetches what was asked for, or what foretoken opens.
    fn fetch(
        &self,
        hub: &Hub,
        destination: Destination,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> anyhow::Result<(Listing, Vec<Fetched>, PathBuf)> {
        let listing = hub.list(&self.repo, on_event)?;
        let pull = Files::new(hub, &listing, destination);
        let choice = match &self.file[..] {
            [] => choose::model(&listing)?,
            files => choose::given(files)?,
        };
        let fetched = match choice {
            Choice::Files(names) => pull.fetch(&names, on_event)?,
            // Which shards there are is said by their index.
            Choice::Sharded(names) => {
                let mut fetched = pull.fetch(&[safetensors::INDEX], on_event)?;
                let shards = safetensors::index_shards(&fetched[0].path)?;
                let rest: Vec<&str> = names.into_iter().chain(shards.iter().map(|shard| &**shard)).collect();
                fetched.extend(pull.fetch(&rest, on_event)?);
                fetched
            }
        };
        let directory = pull.finish()?;
        Ok((listing, fetched, directory))
    }

    /// What `--json` tells.
    fn object(
        &self,
        listing: &Listing,
        files: &[Fetched],
        directory: &std::path::Path,
        seconds: f64,
    ) -> serde_json::Value {
        let file = |file: &Fetched| {
            serde_json::json!({
                "name": file.name,
                "path": file.path,
                "bytes": file.size,
                "received_bytes": file.received,
                "sum": file.sum.as_ref().map(|sum| sum.hex()),
                "sum_kind": file.sum.as_ref().map(|sum| sum.kind()),
            })
        };
        serde_json::json!({
            "repo": listing.repo.as_str(),
            "revision": listing.revision.as_str(),
            "commit": listing.commit.as_str(),
            "directory": directory,
            "bytes": files.iter().map(|file| file.size).sum::<u64>(),
            "received_bytes": files.iter().map(|file| file.received).sum::<u64>(),
            "files": files.iter().map(file).collect::<Vec<_>>(),
            "time_s": seconds,
        })
    }
}
