//! The server over real sockets.

mod bad;
mod common;
mod leaving;
mod runs;
mod texts;
