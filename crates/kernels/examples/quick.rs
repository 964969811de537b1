//! scratch
use foretoken_kernels::*;
use std::time::Instant;
fn main() {
    for isa in Isa::available().into_iter().rev() {
        if isa.name() == "portable" {
            continue;
        }
        for threads in [1, 2] {
            let pool = Pool::with_isa(threads, isa);
            for (m, n, k) in [
                (4096, 768, 768),
                (4096, 2304, 768),
                (4096, 768, 3072),
                (4096, 3072, 768),
                (256, 2304, 768),
                (256, 768, 3072),
                (1024, 50257, 768),
                (768, 128, 128),
                (768, 512, 128),
            ] {
                let a = vec![0.5f32; m * k];
                let b = vec![0.25f32; k * n];
                let mut c = vec![0.0f32; m * n];
                print!("{} t{threads} {m}x{n}x{k}:", isa.name());
                for o in 0..4 {
                    let am = if o & 1 == 0 {
                        Mat::new(&a, m, k)
                    } else {
                        Mat::new(&a, k, m).t()
                    };
                    let bm = if o & 2 == 0 {
                        Mat::new(&b, k, n)
                    } else {
                        Mat::new(&b, n, k).t()
                    };
                    let mut best = f64::MAX;
                    for _ in 0..5 {
                        let t = Instant::now();
                        matmul(&pool, &mut c, am, bm, Epilogue::Store);
                        best = best.min(t.elapsed().as_secs_f64());
                    }
                    print!(
                        " {}{} {:6.1}",
                        ["N", "T"][o & 1],
                        ["N", "T"][o >> 1],
                        2.0 * (m * n * k) as f64 / best / 1e9
                    );
                }
                println!();
            }
        }
    }
}
