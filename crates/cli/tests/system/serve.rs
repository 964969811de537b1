//! `serve` as the binary does it: the port it says, signals, wrong usage.

use crate::common::{Place, failure, object};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

struct Server {
    child: Child,
    address: String,
    log: BufReader<std::process::ChildStderr>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// The server once its model is open, and the address it printed.
    fn start(place: &Place, args: &str) -> Self {
        let mut command = place.command(&format!("serve --port 0 --threads 1 {args}"));
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = || {
            let mut line = String::new();
            log.read_line(&mut line).expect("a line");
            line.trim_end().to_owned()
        };
        let address = line()
            .strip_prefix("listening on http://")
            .and_then(|line| line.strip_suffix(", which a browser opens as a page"))
            .expect("its address")
            .to_owned();
        let opened = line();
        assert!(opened.starts_with("serving "), "{opened}");
        Self { child, address, log }
    }

    fn ask(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        stream.write_all(request.as_bytes()).expect("a request");
        stream
    }

    fn post(&self, body: &str) -> TcpStream {
        let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        self.ask(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    fn signal(&self, name: &str) {
        let kill = std::process::Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(kill.expect("kill").success());
    }
}

fn whole(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

fn place() -> Place {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 1 --n-positions 4096 --seq-len 32 --out run --quiet");
    place
}

#[test]
#[cfg(unix)]
fn a_signal_lets_requests_under_way_end_and_the_log_says_nothing_of_what_they_said() {
    let place = place();
    let mut server = Server::start(&place, "run");
    let body =
        r#"{"model": "run", "prompt": "secret", "max_tokens": 3000, "stream": true, "logit_bias": {"256": -100}}"#;
    let mut streams: Vec<TcpStream> = (0..8).map(|_| server.post(body)).collect();
    for stream in &mut streams {
        // Taken in, which its first bytes say.
        let mut first = [0; 15];
        stream.read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200 OK");
    }
    server.signal("-TERM");
    for stream in streams {
        let text = whole(stream);
        assert!(
            text.contains("\"finish_reason\":\"length\"") && text.contains("data: [DONE]"),
            "{text}"
        );
    }
    let mut log = String::new();
    server.log.read_to_string(&mut log).expect("the log");
    assert_eq!(server.child.wait().expect("its end").code(), Some(0), "{log}");
    assert!(log.contains("no more requests") && !log.contains("secret"), "{log}");
    let lines = log
        .lines()
        .filter(|line| line.contains("POST /v1/completions 200 run 6 + 3000 tokens"));
    assert_eq!(lines.count(), 8, "{log}");
}

#[test]
#[cfg(unix)]
fn a_second_signal_leaves_at_once() {
    let place = place();
    let mut server = Server::start(&place, "run --drain 600");
    let body = r#"{"prompt": "a", "max_tokens": 4000, "n": 8, "logit_bias": {"256": -100}}"#;
    let asking: Vec<TcpStream> = (0..16).map(|_| server.post(body)).collect();
    std::thread::sleep(Duration::from_millis(100));
    server.signal("-INT");
    let mut line = String::new();
    while !line.contains("stopping:") {
        line.clear();
        assert!(server.log.read_line(&mut line).expect("a line") > 0);
    }
    server.signal("-INT");
    assert_eq!(server.child.wait().expect("its end").code(), Some(130));
    drop(asking);
}

#[test]
fn models_have_the_names_they_were_given_or_those_of_their_paths() {
    let place = place();
    let server = Server::start(&place, "run small=run/latest --quiet");
    let text = whole(server.ask("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    let models = object(text.rsplit("\r\n\r\n").next().expect("a body"));
    let names: Vec<&str> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["run", "small"]);
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is_opened() {
    let place = Place::new();
    for (args, code, says) in [
        ("serve run --host 0.0.0.0", 2, "--api-key-file"),
        ("serve a=run a=run", 2, "NAME=PATH"),
        ("serve run --max-concurrent 0", 2, "--max-concurrent"),
        ("serve run --port 0", 1, "run"),
        ("serve", 1, "train"),
        ("serve run --api-key-file missing", 1, "missing"),
    ] {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(code), "{args}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(says), "{args}: {error}");
    }
    place.write("keys", "# none\n");
    assert!(failure("serve", place.output("serve run --api-key-file keys")).contains("no key"));
}
