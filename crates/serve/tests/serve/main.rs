//! The server over real sockets.

mod bad;
mod common;
mod leaving;
mod page;
mod runs;
mod texts;
