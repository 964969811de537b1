//! A server over a tiny model, and a client that sends any bytes.

use foretoken_serve::{Error, Event, Options, Record, Served, Server, Stopper};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Positions of the model.
pub(crate) const CONTEXT: usize = 4096;
/// Its end token; ids below are bytes.
pub(crate) const END: u32 = 256;

/// A model of bytes with a long context, made once.
pub(crate) fn model() -> PathBuf {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = foretoken::train::RunConfig {
            data: vec!["corpus:100".into()],
            tokenizer: "byte".into(),
            n_layer: Some(1),
            n_head: Some(2),
            n_embd: Some(16),
            n_positions: Some(CONTEXT),
            seq_len: Some(32),
            batch_size: Some(2),
            steps: 3,
            ..Default::default()
        };
        let (pool, run) = (foretoken::kernels::Pool::new(1).unwrap(), dir.path().join("run"));
        let mut training =
            foretoken::train::Run::start(config, &run, &dir.path().join("cache"), &pool, &mut |_| {}).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        training.train(&pool, &stop, &mut |_| {}).unwrap();
        (dir, run)
    });
    path.clone()
}

/// A server of this process.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stopper: Stopper,
    pub(crate) records: Arc<Mutex<Vec<Record>>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Running {
    /// With the model called `tiny`, once it is open.
    pub(crate) fn start(options: Options) -> Self {
        let running = Self::of(options, &["tiny"]);
        running.ready();
        running
    }

    pub(crate) fn of(options: Options, names: &[&str]) -> Self {
        let served = |name: &&str| Served {
            name: (*name).into(),
            path: model(),
            quantize: None,
        };
        let options = Options {
            port: 0,
            threads: 1,
            ..options
        };
        let server = Server::bind(options, names.iter().map(served).collect()).unwrap();
        let (address, stopper) = (server.address(), server.stopper());
        let records = Arc::new(Mutex::new(Vec::new()));
        let kept = records.clone();
        let thread = std::thread::spawn(move || {
            server.run(move |event| {
                if let Event::Request(record) = event {
                    kept.lock().unwrap().push(record);
                }
            })
        });
        Self {
            address,
            stopper,
            records,
            thread: Some(thread),
        }
    }

    pub(crate) fn ready(&self) {
        wait("the model", || self.get("/health").status == 200);
    }

    /// Stops it and says how it ended.
    pub(crate) fn stop(&mut self) -> Result<(), Error> {
        self.stopper.stop();
        self.thread
            .take()
            .expect("it is stopped once")
            .join()
            .expect("no panic")
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Client(BufReader::new(stream))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.connect().asks(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.connect().asks(&posted(path, &body.to_string()))
    }

    /// The answer of a request that must succeed.
    pub(crate) fn ok(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        answer.json()
    }

    /// The first text of a completion.
    pub(crate) fn text(&self, body: &Value) -> String {
        self.ok("/v1/completions", body)["choices"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A number of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").body;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("{name}: {page}"));
        line.trim().parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() && !std::thread::panicking() {
            self.stop().unwrap();
        }
    }
}

/// A request with a body.
pub(crate) fn posted(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Waits for something that must come.
pub(crate) fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A server that refuses a request closes before all of it is there.
        let _ = self.0.get_mut().write_all(bytes.as_ref());
    }

    pub(crate) fn asks(mut self, request: &str) -> Answer {
        self.send(request);
        self.answer()
    }

    /// A line, without its end; none at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// All that comes until the server closes.
    pub(crate) fn answer(mut self) -> Answer {
        let status = self.line().unwrap_or_default();
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        self.rest(status.unwrap_or(0))
    }

    /// What comes behind the first line.
    pub(crate) fn rest(mut self, status: u16) -> Answer {
        let (mut headers, mut chunked) = (Vec::new(), false);
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked");
            headers.push(line.to_ascii_lowercase());
        }
        let mut body = Vec::new();
        if chunked {
            while let Some(size) = self.line().and_then(|size| usize::from_str_radix(&size, 16).ok()) {
                let mut chunk = vec![0; size + 2];
                if size == 0 || self.0.read_exact(&mut chunk).is_err() {
                    break;
                }
                body.extend_from_slice(&chunk[..size]);
            }
        } else {
            let _ = self.0.read_to_end(&mut body);
        }
        Answer {
            status,
            headers,
            body: String::from_utf8(body).expect("UTF-8"),
        }
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The parts of a stream, and whether it ended as it should.
    pub(crate) fn parts(&self) -> (Vec<Value>, bool) {
        let data: Vec<&str> = self
            .body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .collect();
        let parts = data.iter().filter(|data| **data != "[DONE]");
        let parts = parts.map(|data| serde_json::from_str(data).unwrap()).collect();
        (parts, data.last() == Some(&"[DONE]"))
    }
}
