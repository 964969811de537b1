//! `foretoken serve`

use crate::Usage;
use crate::dtype::Dtype;
use crate::terminal::{FAINT, paint, paint_warning, say_error, stderr_color};
use clap::Args;
use foretoken::is_gguf;
use foretoken_model::human_bytes;
use foretoken_serve::{Event, Keys, Options, Record, Served, Server};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Serves models over HTTP: a page for a browser, and OpenAI's interface (completions, chat, streams, log-probabilities).
#[derive(Debug, Args)]
#[command(after_help = "\
Only programs of this machine are answered unless --host says otherwise, which needs --api-key-file. SIGTERM and Ctrl-C let requests
under way end; a second one leaves at once. What is asked and answered is not logged.

Examples:
  foretoken serve runs/book
  foretoken serve small=openai-community/gpt2 talk=SmolLM2-135M-Instruct.Q4_1.gguf --port 8000
  foretoken serve --runs experiments                     to watch trainings: no model is needed for it
  foretoken serve model.gguf --host 0.0.0.0 --api-key-file keys.txt --allow-host gpt.example
  curl localhost:8080/v1/completions -d '{\"prompt\": \"Once upon a time\", \"max_tokens\": 40}'
  lm_eval --model local-completions --tasks lambada_openai \\
    --model_args base_url=http://localhost:8080/v1/completions,model=gpt2,max_length=1024")]
pub(crate) struct Serve {
    /// A run, a checkpoint, a model directory, a GGUF file or the name of a pulled model, each perhaps with the name clients call it by;
    /// the latest run unless given
    #[arg(value_name = "[NAME=]MODEL")]
    models: Vec<String>,
    /// The folder whose runs can be watched; runs, where `train` makes them, unless given
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: IpAddr,
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Clients show one of the keys in this file, one a line, as `Authorization: Bearer KEY`
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// A name, beside localhost and numbers, by which clients may call this server; may be given several times
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Texts of a model that are generated at once; memory is planned for them
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_concurrent: u32,
    /// Texts of a model that may wait; what comes then is told to come again
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=65536))]
    max_queue: u32,
    /// Seconds after which a request ends with an error
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
    /// Seconds that requests under way may go on after SIGTERM
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86400))]
    drain: u64,
    /// Round the weights as models are opened: less memory, and faster; as stored unless given
    #[arg(long, value_name = "TYPE")]
    quantize: Option<Dtype>,
    /// Threads of each model; one a core unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1024))]
    threads: Option<u32>,
    /// No line a request
    #[arg(long)]
    quiet: bool,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let keys = self.api_key_file.as_deref().map(Keys::read).transpose()?;
        let options = Options {
            runs: Some(self.runs_dir().to_owned()),
            host: self.host,
            port: self.port,
            keys: keys.unwrap_or_default(),
            allowed_hosts: self.allow_host.clone(),
            threads: self.threads.unwrap_or(0) as usize,
            max_concurrent: self.max_concurrent as usize,
            max_queue: self.max_queue as usize,
            timeout: Duration::from_secs(self.timeout),
            drain: Duration::from_secs(self.drain),
            ..Options::default()
        };
        let served = self.served()?;
        if served.is_empty() {
            say_error("no model is served: there is none yet, so that runs can only be watched");
        }
        let server = Server::bind(options, served).map_err(usage)?;
        let stopper = server.stopper();
        let stopped = AtomicBool::new(false);
        ctrlc::set_handler(move || {
            if stopped.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            stopper.stop();
        })?;
        let quiet = self.quiet;
        server.run(move |event| say(&event, quiet))?;
        Ok(())
    }

    fn runs_dir(&self) -> &Path {
        self.runs.as_deref().unwrap_or(Path::new(crate::train::RUNS))
    }

    fn served(&self) -> anyhow::Result<Vec<Served>> {
        let quantize = self.quantize.map(Into::into);
        if let Some(dir) = self.runs.as_deref().filter(|dir| !dir.is_dir()) {
            return Err(Usage(format!("--runs {}: expected a folder of runs", dir.display())).into());
        }
        if self.models.is_empty() {
            let path = match foretoken::latest_run(self.runs_dir()) {
                Ok(path) => path,
                // Runs without a checkpoint, or to come: they can be watched.
                Err(_) if self.runs.is_some() || foretoken::last_run(self.runs_dir()).is_some() => {
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error.into()),
            };
            let name = name_of(&path.to_string_lossy());
            return Ok(vec![Served { name, path, quantize }]);
        }
        let served = |given: &String| {
            // A path that is there is a path, whatever signs are in it.
            let (name, path) = match given.split_once('=') {
                Some((name, path)) if !name.is_empty() && !Path::new(given).exists() => (name.to_owned(), path),
                _ => (name_of(given), given.as_str()),
            };
            if name.is_empty() {
                return Err(Usage(format!("{given:?} is no model: expected MODEL or NAME=MODEL")));
            }
            let path = path.into();
            Ok(Served { name, path, quantize })
        };
        Ok(self.models.iter().map(served).collect::<Result<_, _>>()?)
    }
}

/// Of what is here the last part of its path, without `.gguf`; of what was pulled the whole name.
fn name_of(path: &str) -> String {
    let here = Path::new(path);
    if !here.exists() {
        return path.to_owned();
    }
    // `runs/book/latest` and `.` say nothing by themselves.
    let here = here.canonicalize().unwrap_or_else(|_| here.to_owned());
    let name = match is_gguf(&here) {
        true => here.file_stem(),
        false => here.file_name(),
    };
    name.map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// What the server refuses before it starts is wrong usage, but for an address that is taken.
fn usage(error: foretoken_serve::Error) -> anyhow::Error {
    use foretoken_serve::Error::{NoModel, Open, SameName};
    match error {
        Open { .. } | NoModel | SameName { .. } => Usage(error.to_string()).into(),
        error => error.into(),
    }
}

fn say(event: &Event, quiet: bool) {
    let faint = |text: String| say_error(&paint(&text, FAINT, stderr_color()));
    match event {
        Event::Listening(address) => say_error(&format!(
            "listening on http://{address}, which a browser opens as a page"
        )),
        Event::Loaded { model, took, bytes } => say_error(&format!(
            "serving {model}: opened in {:.1} s, weights of {}, up to {} for texts",
            took.as_secs_f64(),
            human_bytes(bytes[0]),
            human_bytes(bytes[1])
        )),
        Event::Draining { requests } => say_error(&format!(
            "{} no more requests are taken in; {requests} under way",
            paint_warning("stopping:")
        )),
        Event::Request(record) if !quiet => faint(line(record)),
        _ => {}
    }
}

/// A request on one line, nothing of what it said.
fn line(record: &Record) -> String {
    let mut line = format!("{} {} {} {}", record.peer, record.method, record.path, record.status);
    if let Some(model) = &record.model {
        line += &format!(" {model} {} + {} tokens", record.prompt_tokens, record.generated_tokens);
    }
    if let Some(first) = record.first_token {
        line += &format!(", the first after {:.3} s", first.as_secs_f64());
    }
    line + &format!(", {:.3} s", record.took.as_secs_f64())
}
