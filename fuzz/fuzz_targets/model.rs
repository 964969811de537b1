//! Any bytes as a GGUF model: its sizes, weights and tokeniser.
#![no_main]

#[path = "../../crates/foretoken/tests/hostile/mod.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hostile::check(bytes);
});
