//! Attention forward and backward over one long sequence, B=1 h=12 dh=64.
//!
//! `cargo run --release -p foretoken --example attention_speed -- [T 8192 [ROUNDS 5 [THREADS]]]` prints a JSON object with the
//! median seconds of the forward, of the backward and of both. It is the pair of `benches/peers/torch_attention.py`.

use foretoken::kernels::{AttentionDims, Buffer, Pool, attention_backward, attention_forward};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |value| value.parse());
    let (t, rounds) = (number(0, 8192)?, number(1, 5)?);
    let threads = number(2, std::thread::available_parallelism()?.get())?;
    if t == 0 || rounds == 0 || threads == 0 {
        return Err("every number is at least 1".into());
    }
    let pool = Pool::new(threads)?;
    let dims = AttentionDims {
        b: 1,
        t,
        h: 12,
        h_kv: 12,
        dh: 64,
    };
    let numbers = |n: usize| {
        let mut all = Buffer::zeroed(n);
        for (i, x) in all.iter_mut().enumerate() {
            *x = (i * 7919 % 1000) as f32 * 2e-3 - 1.0;
        }
        all
    };
    let (qkv, dout) = (numbers(t * dims.row()), numbers(t * dims.d()));
    let (mut out, mut lse) = (Buffer::zeroed(t * dims.d()), Buffer::zeroed(dims.h * t));
    let mut dqkv = Buffer::zeroed(t * dims.row());
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    // The first round only warms up.
    for round in 0..=rounds {
        let begun = Instant::now();
        attention_forward(&pool, &mut out, &mut lse, &qkv, dims, &[], None);
        let between = Instant::now();
        attention_backward(&pool, &mut dqkv, &dout, &qkv, &out, &lse, dims, &[], None);
        if round > 0 {
            forward.push((between - begun).as_secs_f64());
            backward.push(between.elapsed().as_secs_f64());
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (forward, backward) = (median(&mut forward), median(&mut backward));
    let seconds = forward + backward;
    println!("{{\"forward_s\": {forward:.4}, \"backward_s\": {backward:.4}, \"seconds\": {seconds:.4}}}");
    Ok(())
}
