//! Any bytes as a safetensors file.
#![no_main]

#[path = "../../crates/formats/tests/hostile/safetensors.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hostile::check(bytes);
});
