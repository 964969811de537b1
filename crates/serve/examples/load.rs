//! Many short requests at a server of this process: `load MODEL [REQUESTS] [CLIENTS]`.
//!
//! Of ten one is cut off by its client and of twenty one is malformed. Every request must end once, with the status that
//! belongs to it, and memory must not grow. The server and its clients share the machine, so the rate says little.

use foretoken_serve::{Event, Options, Served, Server};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a client does with request `i`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Whole,
    Stream,
    /// Sent and left.
    Cut,
    /// Left after the first part of a stream.
    CutStream,
    Malformed,
}

fn kind(i: u64) -> Kind {
    match i % 20 {
        0 => Kind::Cut,
        10 => Kind::CutStream,
        5 => Kind::Malformed,
        n if n % 3 == 0 => Kind::Stream,
        _ => Kind::Whole,
    }
}

fn request(i: u64) -> String {
    let body = match kind(i) {
        Kind::Malformed => format!("{{\"prompt\": \"a\", \"n\": {i}000000}}"),
        kind => {
            let stream = matches!(kind, Kind::Stream | Kind::CutStream);
            let prompt = "Mina went to the forest "[..1 + i as usize % 24].to_owned();
            format!(
                "{{\"prompt\": \"{prompt}\", \"max_tokens\": {}, \"seed\": {i}, \"stream\": {stream}}}",
                1 + i % 8
            )
        }
    };
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads an answer to its end; returns its status.
fn answer(client: &mut BufReader<TcpStream>) -> std::io::Result<u16> {
    let mut line = String::new();
    client.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let mut length = None;
    loop {
        line.clear();
        client.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().ok();
        }
    }
    if let Some(length) = length {
        client.read_exact(&mut vec![0; length])?;
        return Ok(status);
    }
    loop {
        line.clear();
        client.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        client.read_exact(&mut vec![0; size + 2])?;
        if size == 0 {
            return Ok(status);
        }
    }
}

fn run(address: SocketAddr, next: &AtomicU64, requests: u64, busy: &AtomicU64) -> std::io::Result<()> {
    let connect = || {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok::<_, std::io::Error>(BufReader::new(stream))
    };
    let mut kept = connect()?;
    loop {
        let i = next.fetch_add(1, Ordering::Relaxed);
        if i >= requests {
            return Ok(());
        }
        let request = request(i);
        if matches!(kind(i), Kind::Cut | Kind::CutStream) {
            let mut client = connect()?;
            client.get_mut().write_all(request.as_bytes())?;
            if kind(i) == Kind::CutStream {
                client.read_line(&mut String::new())?;
            }
            continue;
        }
        kept.get_mut().write_all(request.as_bytes())?;
        match (kind(i), answer(&mut kept)?) {
            (Kind::Malformed, 400) | (Kind::Whole | Kind::Stream, 200) => {}
            (Kind::Whole | Kind::Stream, 429) => {
                busy.fetch_add(1, Ordering::Relaxed);
            }
            (kind, status) => panic!("request {i}, {kind:?}: {status}"),
        }
    }
}

/// Resident memory in MiB.
fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("usage: load MODEL [REQUESTS] [CLIENTS]")?.into();
    let number = |at: usize, unless: u64| args.get(at).map_or(Ok(unless), |text| text.parse());
    let (requests, clients) = (number(2, 100_000)?, number(3, 24)?);
    let options = Options {
        port: 0,
        ..Options::default()
    };
    let server = Server::bind(
        options,
        vec![Served {
            name: "m".into(),
            path,
            quantize: None,
        }],
    )?;
    let (address, stopper) = (server.address(), server.stopper());
    let ended: Arc<Mutex<std::collections::BTreeMap<u16, u64>>> = Arc::default();
    let (opened, open) = std::sync::mpsc::channel();
    let kept = ended.clone();
    let running = std::thread::spawn(move || {
        server.run(move |event| match event {
            Event::Request(record) => *kept.lock().expect("no panic").entry(record.status).or_default() += 1,
            Event::Loaded { .. } => opened.send(()).expect("main waits"),
            _ => {}
        })
    });
    open.recv()?;
    let (next, busy, begun) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    // After each fifth.
    let mut grown: Vec<f64> = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| scope.spawn(|| run(address, &next, requests, &busy)))
            .collect();
        while next.load(Ordering::Relaxed) < requests {
            std::thread::sleep(Duration::from_millis(20));
            if next.load(Ordering::Relaxed) > (grown.len() as u64 + 1) * requests / 5 {
                grown.push(memory());
            }
        }
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    // The last that were cut off may not have been seen yet.
    std::thread::sleep(Duration::from_secs(1));
    stopper.stop();
    running.join().expect("no panic")?;
    let ended = ended.lock().expect("no panic");
    let total: u64 = ended.values().sum();
    println!("{requests} requests in {seconds:.1} s, ended by status: {ended:?}; told to come again: {busy:?}");
    grown.push(memory());
    // Warm after two of them: until then the allocator meets its busiest moments.
    let early = grown[grown.len().min(2) - 1];
    let more = 100.0 * (memory() / early - 1.0);
    println!("memory after each fifth, and at the end: {grown:.1?} MiB, {more:+.1}% since the second");
    assert_eq!(total, requests, "every request ends once");
    assert_eq!(
        ended.get(&400).copied().unwrap_or(0),
        (0..requests).filter(|&i| kind(i) == Kind::Malformed).count() as u64
    );
    // Fewer are all warming up.
    assert!(requests < 100_000 || more < 5.0, "memory grows");
    Ok(())
}
