//! Every row of the ops table at GPT-2 124M shapes, on the pool's instruction set and all its threads.
//!
//! `cargo bench -p foretoken-kernels` runs all; a part of a name after `--` chooses some. Items a second are flops
//! (Gitem/s: GFLOP/s), bytes a second what has to move. `FORETOKEN_ISA` forces a set.

#[path = "../tests/ops/table/mod.rs"]
#[expect(dead_code, reason = "a row has a half that only the tests read")]
mod table;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use foretoken_kernels::{Pool, peak_flops, read_bandwidth};
use std::sync::LazyLock;
use table::{Inputs, Op, Random, ops};

/// Threads a bench runs on: one, and all there are.
static POOLS: LazyLock<Vec<Pool>> = LazyLock::new(|| {
    let all = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut counts = vec![1, all];
    counts.dedup();
    counts
        .into_iter()
        .map(|threads| Pool::new(threads).expect("FORETOKEN_ISA names a set of this machine"))
        .collect()
});

fn main() {
    for pool in POOLS.iter() {
        let (flops, bytes) = (peak_flops(pool), read_bandwidth(pool, 256 << 20));
        println!(
            "{pool:?}: at most {:.0} GFLOP/s, {:.1} GB/s read",
            flops / 1e9,
            bytes / 1e9
        );
    }
    divan::main();
}

/// A row on a pool, under the name it is reported and chosen by.
struct Row {
    op: Op,
    pool: &'static Pool,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape = self.op.gpt2.map(|n| n.to_string()).join("x");
        write!(
            f,
            "{} {} t{}",
            self.op.name,
            shape.trim_end_matches("x1"),
            self.pool.threads()
        )
    }
}

fn rows() -> Vec<Row> {
    POOLS
        .iter()
        .flat_map(|pool| ops().into_iter().map(move |op| Row { op, pool }))
        .collect()
}

#[divan::bench(args = rows(), max_time = 1.0, sample_size = 1)]
fn op(bencher: Bencher<'_, '_>, row: &Row) {
    let (op, shape) = (&row.op, row.op.gpt2);
    let mut case = (op.case)(shape, &mut Random::new(1));
    let work = (op.work)(shape);
    let inputs = Inputs {
        floats: case.inputs.iter().map(Vec::as_slice).collect(),
        ids: &case.ids,
    };
    let mut outputs: Vec<&mut [f32]> = case.outputs.iter_mut().map(Vec::as_mut_slice).collect();
    bencher
        .counter(ItemsCount::new(work.flops))
        .counter(BytesCount::new(work.bytes))
        .bench_local(|| (op.kernel)(row.pool, shape, &inputs, &mut outputs));
}
