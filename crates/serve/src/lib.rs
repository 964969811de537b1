//! An HTTP server with OpenAI's interface over models of foretoken.
//!
//! **Knows** HTTP, and what clients may ask. **Must not know** tensors, terminals, or how a token is chosen.
//!
//! A thread a model runs the engine of `foretoken::generate`, in which all texts of a model are generated together; this crate's own
//! thread reads and writes connections, and a few more tokenise. What a request asks for is checked completely before anything
//! is taken for it, so that a bad one costs nobody else: `plan.rs`. From there one channel leads to the model's thread
//! (`worker.rs`), and one back for each request; a client that has left is seen by its channel's end, and its texts are
//! forgotten before the next token.
//!
//! **Safe by default**: the loopback address, no other without a key; hosts and origins that are not ours are refused; bodies,
//! headers, connections, texts and queues are bounded, and so is the time of each. What was asked and answered is not logged.
//!
//! ```
//! use foretoken_serve::{Event, Options, Served, Server};
//! use std::io::{Read, Write};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let tmp = tempfile::tempdir()?;
//! # let path = foretoken::doc_model(tmp.path())?;
//! let model = Served { name: "tiny".into(), path, quantize: None };
//! let options = Options { port: 0, max_concurrent: 2, ..Options::default() };
//! let server = Server::bind(options, vec![model])?;
//! let (address, stopper) = (server.address(), server.stopper());
//! let running = std::thread::spawn(move || server.run(|_| {}));
//!
//! let mut client = std::net::TcpStream::connect(address)?;
//! client.write_all(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"id\":\"tiny\""));
//!
//! stopper.stop();
//! running.join().expect("no panic")?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod body;
mod choice;
mod error;
mod event;
mod fault;
mod fields;
mod generate;
mod guard;
mod keys;
mod lens;
mod metrics;
mod model;
mod openapi;
mod options;
mod page;
mod parameters;
mod plan;
mod respond;
mod routes;
mod runs;
mod server;
mod size;
mod stall;
mod state;
mod ticket;
mod tokens;
mod worker;
mod write;

pub use error::Error;
pub use event::{Event, Record};
pub use keys::Keys;
pub use options::{Options, Served};
pub use server::{Server, Stopper};
