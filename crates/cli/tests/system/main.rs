//! The binary as a person meets it: the same bits, damage, bad input, signals, pipes, memory.

mod bad_input;
mod behaviour;
mod bench;
mod commands;
mod common;
mod convert;
mod disk_full;
mod fallback;
mod generate;
mod memory;
mod same_bits;
mod sampling;
