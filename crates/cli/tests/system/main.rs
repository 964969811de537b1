//! The binary as a person meets it: the same bits, damage, bad input, signals, pipes, memory.

mod bad_input;
mod behaviour;
mod bench;
mod chat;
mod commands;
mod common;
mod convert;
mod crash;
mod disk_full;
mod eval;
mod fallback;
mod fine_tune;
mod generate;
mod lens;
mod memory;
mod pairs;
mod pull;
mod readme;
mod report;
mod same_bits;
mod sampling;
mod serve;

/// The server that the tests of the crate `foretoken-hub` pull from.
#[path = "../../../hub/tests/pull/server.rs"]
mod server;
