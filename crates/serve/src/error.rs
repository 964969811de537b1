//! Why a server does not start, or stops.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server does not start, or stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address that others reach, and no key.
    #[error("{host} is reached from other machines: give --api-key-file FILE with a key a line, or serve on 127.0.0.1")]
    Open {
        /// As it was given.
        host: std::net::IpAddr,
    },
    /// A file of keys without one.
    #[error("{} holds no key: expected one a line", .path.display())]
    NoKeys {
        /// The file.
        path: PathBuf,
    },
    /// Nothing to serve.
    #[error("neither a model nor a folder of runs was named: expected at least one")]
    NoModel,
    /// Two models of one name.
    #[error("two models are called {name}: name one of them otherwise, as NAME=PATH")]
    SameName {
        /// Theirs.
        name: String,
    },
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {source}; take another --host or --port")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Not enough memory for so many texts at once.
    #[error(
        "{name}: {max_concurrent} texts at once need up to {needed} beside the weights, and {available} are free: take \
         --max-concurrent {fitting}{}",
        if *.fitting == 0 { ", which is none: take a smaller model" } else { "" }
    )]
    Memory {
        /// The model.
        name: String,
        /// As it was asked for.
        max_concurrent: usize,
        /// With full contexts.
        needed: String,
        /// Free now, without what was promised to other models.
        available: String,
        /// How many fit.
        fitting: usize,
    },
    /// A model cannot be opened.
    #[error("{name}: {source}")]
    Model {
        /// Its name.
        name: String,
        /// Why.
        source: Box<foretoken::Error>,
    },
    /// Our mistake, said by the thread that made it.
    #[error("the thread of the model {name} has failed: this is a bug of foretoken")]
    Thread {
        /// The model.
        name: String,
    },
    /// The machine gives no thread or no timer.
    #[error("the server cannot run: {0}")]
    Machine(#[from] std::io::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] foretoken::formats::Error),
}
