//! The row of Muon's step: shape (rows, columns of a matrix, matrices side by side).

use super::{Op, Random, Shape, Work, floats_case, nan, wide};
use foretoken_kernels::{MuonShape, muon, muon_reference};

/// Learning rate and weight decay. A rate of 1 shows the whole error of the iteration.
const RATES: (f64, f64) = (1.0, 0.1);

fn sizes([rows, width, blocks, _]: Shape) -> MuonShape {
    MuonShape {
        rows,
        cols: width * blocks,
        blocks,
    }
}

/// Rows and columns take turns at the tail.
fn shape(random: &mut Random, tail: usize) -> Shape {
    let mut shape = [random.up_to(40), random.up_to(40), random.up_to(3), 1];
    shape[random.below(2)] = tail;
    shape
}

pub(super) fn ops() -> Vec<Op> {
    vec![Op {
        name: "muon",
        sizes: "rows, columns, matrices",
        shape,
        large: &[[130, 150, 2, 1], [400, 20, 1, 1]],
        gpt2: [768, 768, 3, 1],
        work: |s| Work {
            flops: sizes(s).flops() as usize,
            // Of five iterations' three products.
            bytes: {
                let (side, long) = (s[0].min(s[1]), s[0].max(s[1]));
                5 * 4 * s[2] * (5 * side * long + 5 * side * side)
            },
        },
        case: |s, random| {
            let n = s[0] * s[1] * s[2];
            floats_case(vec![random.floats(n)], vec![random.floats(n), nan(sizes(s).scratch())])
        },
        kernel: |pool, s, i, out| {
            let [weight, scratch] = out else { unreachable!() };
            muon(pool, weight, i.floats[0], sizes(s), RATES, scratch);
        },
        reference: |s, case| {
            let (weight, update) = (wide(&case.outputs[0]), wide(&case.inputs[0]));
            vec![muon_reference(&weight, &update, sizes(s), RATES), Vec::new()]
        },
        tolerance: 6e-6,
        terms: |_| 1,
    }]
}
