//! Compares foretoken with what PyTorch computed from the same weights.
//!
//! `cargo run --release -p foretoken --example reference -- DIR` prints one JSON object: the largest error of each
//! quantity, as max abs difference over max abs value, and whether the greedy tokens are equal. `DIR` holds
//! a GPT-2 in Hugging Face's layout, `case.json` and `expected.safetensors`, as
//! `crates/foretoken/tests/fixtures/make_fixture.py` writes them.

mod compare;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: reference DIR")?;
    println!("{}", serde_json::to_string(&compare::compare(dir.as_ref())?)?);
    Ok(())
}
