//! Every row of the ops table at GPT-2 124M shapes, on the pool's instruction set, on one thread and on all.
//!
//! `cargo bench -p foretoken-kernels` runs all; a part of a name after `--` chooses some. What binds an op is what it is
//! reported in: elements a second are flops (Gelem/s: GFLOP/s), bytes a second what has to move; the machine's limit in
//! both comes first. `FORETOKEN_ISA` forces a set. `foretoken bench` has the shapes of any preset, and shares of the limit.

#[path = "../tests/ops/table/mod.rs"]
#[expect(dead_code, reason = "a row has a half that only the tests read")]
mod table;

use criterion::{Criterion, SamplingMode, Throughput};
use foretoken_kernels::{Limits, Pool};
use std::time::Duration;
use table::{Inputs, Op, Random, ops};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let all = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut counts = vec![1, all];
    counts.dedup();
    for threads in counts {
        let pool = Pool::new(threads).expect("FORETOKEN_ISA names a set of this machine");
        let limits = Limits::measure(&pool, 256 << 20);
        println!(
            "{pool:?}: at most {:.0} GFLOP/s, {:.1} GB/s read",
            limits.flops_per_s / 1e9,
            limits.bytes_per_s / 1e9
        );
        for op in ops() {
            bench(&mut criterion, &op, &pool, &limits);
        }
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, op: &Op, pool: &Pool, limits: &Limits) {
    let shape = op.gpt2;
    let work = (op.work)(shape);
    let (flops, bytes) = (work.flops as u64, work.bytes as u64);
    let sizes = shape.map(|n| n.to_string()).join("x");
    let name = format!("{} {}", sizes.trim_end_matches("x1"), pool.isa().name());
    let mut group = criterion.benchmark_group(format!("{} t{}", op.name, pool.threads()));
    // Some take a tenth of a second: few samples, of as many runs as fit.
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .throughput(match limits.binds_flops(flops, bytes) {
            true => Throughput::Elements(flops),
            false => Throughput::Bytes(bytes),
        });
    // The inputs are made where the op was chosen, not for every row of the table.
    group.bench_function(name, |bencher| {
        let mut case = (op.case)(shape, &mut Random::new(1));
        let inputs = Inputs {
            floats: case.inputs.iter().map(Vec::as_slice).collect(),
            ids: &case.ids,
        };
        let mut outputs: Vec<&mut [f32]> = case.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        bencher.iter(|| (op.kernel)(pool, shape, &inputs, &mut outputs));
    });
    group.finish();
}
