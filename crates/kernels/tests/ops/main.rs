//! What must hold for every op of the table, on every instruction set this machine has.

#[expect(dead_code, reason = "a row has a half that only the benches read")]
mod table;

use foretoken_kernels::{Buffer, Isa, Pool};
use table::{Case, Inputs, Op, Random, Shape, ops};

/// Tails of the vector dimension: every one of four vectors, and past them.
const TAILS: std::ops::RangeInclusive<usize> = 1..=70;
/// Floats before and after every slice.
const GUARD: usize = 32;
/// What they hold: a NaN, so that one that is read shows in the result, of a pattern no kernel makes.
const GUARD_BITS: u32 = 0x7fc0_dead;

/// A slice `offset` floats past a 64-byte boundary, guarded on both sides.
struct Placed {
    buffer: Buffer,
    start: usize,
    len: usize,
}

impl Placed {
    fn new(floats: &[f32], offset: usize) -> Self {
        let start = GUARD + offset % 16;
        let mut buffer = Buffer::zeroed(start + floats.len() + GUARD);
        buffer.fill(f32::from_bits(GUARD_BITS));
        buffer[start..start + floats.len()].copy_from_slice(floats);
        Self {
            buffer,
            start,
            len: floats.len(),
        }
    }

    fn floats(&self) -> &[f32] {
        &self.buffer[self.start..self.start + self.len]
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..self.start + self.len]
    }

    /// Whether both guards are as they were.
    fn guarded(&self) -> bool {
        let (before, after) = (&self.buffer[..self.start], &self.buffer[self.start + self.len..]);
        before.iter().chain(after).all(|x| x.to_bits() == GUARD_BITS)
    }
}

/// Runs the op on slices at the given misalignment, each at one of its own, and returns the outputs.
///
/// # Panics
/// Where the op wrote outside its outputs.
fn run(op: &Op, pool: &Pool, shape: Shape, case: &Case, offset: usize) -> Vec<Vec<f32>> {
    let place = |(i, floats): (usize, &Vec<f32>)| Placed::new(floats, offset + 5 * i);
    let inputs: Vec<Placed> = case.inputs.iter().enumerate().map(place).collect();
    let mut outputs: Vec<Placed> = case.outputs.iter().rev().enumerate().map(place).collect();
    outputs.reverse();
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Placed::floats_mut).collect();
    let floats = inputs.iter().map(Placed::floats).collect();
    let args = Inputs { floats, ids: &case.ids };
    (op.kernel)(pool, shape, &args, &mut slices);
    for (i, output) in outputs.iter().enumerate() {
        assert!(output.guarded(), "{} {shape:?} {pool:?}: output {i} was left", op.name);
    }
    outputs.iter().map(|output| output.floats().to_vec()).collect()
}

/// Every op at every tail and at its large shapes: op, shape, case, misalignment.
fn every_case(mut property: impl FnMut(&Op, Shape, &Case, usize)) {
    for (seed, op) in ops().iter().enumerate() {
        let mut random = Random::new(seed as u64);
        for tail in TAILS {
            let shape = (op.shape)(&mut random, tail);
            let case = (op.case)(shape, &mut random);
            property(op, shape, &case, tail + tail / 16);
        }
        for &shape in op.large {
            let case = (op.case)(shape, &mut random);
            property(op, shape, &case, random.below(16));
        }
    }
}

fn bits(outputs: &[Vec<f32>]) -> Vec<Vec<u32>> {
    outputs
        .iter()
        .map(|output| output.iter().map(|x| x.to_bits()).collect())
        .collect()
}

#[test]
fn every_set_agrees_with_f64_within_the_row_s_tolerance() {
    let pools: Vec<Pool> = Isa::available().into_iter().map(|isa| Pool::with_isa(2, isa)).collect();
    every_case(|op, shape, case, offset| {
        let wanted = (op.reference)(shape, case);
        assert_eq!(
            wanted.len(),
            case.outputs.len(),
            "{}: every output has an oracle",
            op.name
        );
        for pool in &pools {
            let outputs = run(op, pool, shape, case, offset);
            for (o, (output, wanted)) in outputs.iter().zip(&wanted).enumerate() {
                assert!(
                    wanted.is_empty() || wanted.len() == output.len(),
                    "{} output {o}",
                    op.name
                );
                for (i, (&got, want)) in output.iter().zip(wanted).enumerate() {
                    let error = (f64::from(got) - want).abs() / (1.0 + want.abs());
                    let bound = op.tolerance * ((op.terms)(shape) as f64).sqrt();
                    assert!(
                        error <= bound,
                        "{} {} = {shape:?}, {pool:?}, output {o} at {i}: {got}, want {want}, error {error:e} > {bound:e}",
                        op.name,
                        op.sizes
                    );
                }
            }
        }
    });
}

/// AVX2 and AVX-512 too, which the crate's front page promises.
#[test]
fn bits_depend_neither_on_threads_nor_on_the_vector_set() {
    let sets: Vec<[Pool; 3]> = Isa::available()
        .into_iter()
        .map(|isa| [1, 2, 3].map(|threads| Pool::with_isa(threads, isa)))
        .collect();
    every_case(|op, shape, case, offset| {
        let mut vector_sets: Option<Vec<Vec<u32>>> = None;
        for pools in &sets {
            let alone = bits(&run(op, &pools[0], shape, case, offset));
            for pool in &pools[1..] {
                let together = bits(&run(op, pool, shape, case, offset));
                assert!(alone == together, "{} {} = {shape:?}, {pool:?}", op.name, op.sizes);
            }
            if pools[0].isa() != Isa::Portable {
                let first = vector_sets.get_or_insert_with(|| alone.clone());
                assert!(
                    alone == *first,
                    "{} {} = {shape:?}: {:?} differs",
                    op.name,
                    op.sizes,
                    pools[0]
                );
            }
        }
    });
}

/// What the profile counts is what the table says, but for what a fused epilogue reads, the half of attention's square that
/// is never seen, and the softmax of the head, whose row states its products; a kernel without a guard, or with one inside
/// another, does not pass.
#[test]
fn every_op_counts_its_flops_and_bytes_and_keeps_its_bits() {
    let pool = Pool::with_isa(2, Isa::Portable);
    for op in ops() {
        let (mut random, shape) = (Random::new(7), op.large[0]);
        let case = (op.case)(shape, &mut random);
        let quiet = bits(&run(&op, &pool, shape, &case, 0));
        pool.start_profile();
        let profiled = bits(&run(&op, &pool, shape, &case, 0));
        let times = pool.take_profile();
        assert!(quiet == profiled, "{} {shape:?}", op.name);
        let work = (op.work)(shape);
        let products = times.iter().filter(|time| time.op != "cross_entropy");
        for (what, counted, stated) in [
            ("flops", products.map(|time| time.flops).sum::<u64>(), work.flops as u64),
            ("bytes", times.iter().map(|time| time.bytes).sum(), work.bytes as u64),
        ] {
            assert!(
                stated <= 2 * counted && counted <= 2 * stated,
                "{} {} = {shape:?}: {counted} {what}, the table states {stated}; {times:?}",
                op.name,
                op.sizes
            );
        }
    }
}

#[test]
fn bits_do_not_depend_on_alignment() {
    for (seed, op) in ops().iter().enumerate() {
        let mut random = Random::new(1000 + seed as u64);
        for tail in [1, 15, 16, 33, 67] {
            let shape = (op.shape)(&mut random, tail);
            let case = (op.case)(shape, &mut random);
            for isa in Isa::available() {
                let pool = Pool::with_isa(1, isa);
                let aligned = bits(&run(op, &pool, shape, &case, 0));
                for offset in 1..16 {
                    let moved = bits(&run(op, &pool, shape, &case, offset));
                    assert!(
                        aligned == moved,
                        "{} {} = {shape:?}, {pool:?}, offset {offset}",
                        op.name,
                        op.sizes
                    );
                }
            }
        }
    }
}
