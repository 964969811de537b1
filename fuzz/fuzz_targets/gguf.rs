//! Any bytes as a GGUF file.
#![no_main]

#[path = "../../crates/formats/tests/hostile/gguf.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hostile::check(bytes);
});
