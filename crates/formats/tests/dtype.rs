//! Quantised blocks by their properties: how far a value is from what it becomes, and that broken ones stay visible.

use foretoken_formats::dtype::{Dtype, f16_to_f32};
use proptest::collection::vec;
use proptest::prelude::*;

fn through(dtype: Dtype, x: &[f32]) -> Vec<f32> {
    let mut bytes = vec![0; dtype.bytes(x.len()).unwrap()];
    dtype.encode(x, &mut bytes);
    let mut found = vec![0.0; x.len()];
    dtype.decode(&bytes, &mut found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Half a step, or a whole one where a value is cut off at the far end, and the rounding of the scales to 11 bits.
    #[test]
    fn values_stay_near(x in vec(-1.0_f32..1.0, 64), power in -3..8_i32) {
        let x: Vec<f32> = x.iter().map(|x| x * 2f32.powi(power)).collect();
        for (dtype, steps) in [(Dtype::Q8_0, 0.5), (Dtype::Q4_0, 1.0), (Dtype::Q4_1, 0.5)] {
            let found = through(dtype, &x);
            for (x, found) in x.chunks(32).zip(found.chunks(32)) {
                let amax = x.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
                let (min, max) = x.iter().fold((f32::MAX, f32::MIN), |(a, b), &x| (a.min(x), b.max(x)));
                let step = match dtype {
                    Dtype::Q8_0 => amax / 127.0,
                    Dtype::Q4_0 => amax / 8.0,
                    _ => (max - min) / 15.0,
                };
                let bound = steps * step + 2.0 * amax * 2f32.powi(-10);
                for (x, found) in x.iter().zip(found) {
                    prop_assert!((x - found).abs() <= bound, "{} {} {} {}", dtype, x, found, bound);
                }
            }
        }
    }

    /// What is not finite, or overflows the scale, decodes to something that is not finite: nothing hides it.
    #[test]
    fn broken_weights_stay_visible(
        x in vec(-1.0_f32..1.0, 32),
        at in 0..32_usize,
        broken in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38, -3e38]),
    ) {
        let mut x = x;
        x[at] = broken;
        for dtype in [Dtype::F16, Dtype::Q8_0, Dtype::Q4_0, Dtype::Q4_1] {
            let found = through(dtype, &x);
            prop_assert!(!found[at].is_finite(), "{} {}", dtype, found[at]);
        }
    }

    /// Any bytes are blocks.
    #[test]
    fn any_bytes_decode(bytes in vec(any::<u8>(), 2 * 210)) {
        for dtype in Dtype::ALL {
            let blocks = bytes.len() / dtype.block_bytes();
            let mut found = vec![f32::NAN; blocks * dtype.block_len()];
            dtype.decode(&bytes[..blocks * dtype.block_bytes()], &mut found);
        }
    }
}

#[test]
fn blocks_worked_by_hand() {
    // d = 1, q = -3 and 127.
    let mut out = [0.0; 32];
    let mut block = [0_u8; 34];
    block[1] = 0x3c;
    (block[2], block[33]) = (-3_i8 as u8, 127);
    Dtype::Q8_0.decode(&block, &mut out);
    assert_eq!((out[0], out[1], out[31]), (-3.0, 0.0, 127.0));

    // The largest magnitude is exact whatever its sign: -8 steps of d = 0.5.
    let mut x = [0.0; 32];
    (x[5], x[20]) = (-4.0, 3.5);
    assert_eq!((through(Dtype::Q4_0, &x)[5], through(Dtype::Q4_0, &x)[20]), (-4.0, 3.5));
    // +4 is 8 steps of -0.5; on the other side 7 steps are the end.
    (x[5], x[20]) = (4.0, -4.0);
    assert_eq!((through(Dtype::Q4_0, &x)[5], through(Dtype::Q4_0, &x)[20]), (4.0, -3.5));

    // 0 to 15 in steps of 1, from 2 on.
    let x: [f32; 32] = std::array::from_fn(|i| 2.0 + (i % 16) as f32);
    assert_eq!(through(Dtype::Q4_1, &x), x);

    // Halves away from zero: d = 1 because of the 127.
    let mut x = [0.0; 32];
    (x[0], x[1], x[2], x[3], x[4]) = (127.0, 2.5, -2.5, 0.5_f32.next_down(), -0.5);
    let found = through(Dtype::Q8_0, &x);
    assert_eq!(found[..5], [127.0, 3.0, -3.0, 0.0, -1.0]);

    // Of two zeros the first is the least.
    for (first, second, m) in [(0.0, -0.0, 0x00), (-0.0, 0.0, 0x80)] {
        let mut x = [1.0; 32];
        (x[7], x[30]) = (first, second);
        let mut block = [0; 20];
        Dtype::Q4_1.encode(&x, &mut block);
        assert_eq!(block[2..4], [0, m]);
    }
    // Zeros of both signs only: no step, and not a negative one.
    let mut x = [0.0; 32];
    x[31] = -0.0;
    let mut block = [1; 20];
    Dtype::Q4_1.encode(&x, &mut block);
    assert_eq!(block, [0; 20]);
}

#[test]
fn numbers_and_names_are_ggmls() {
    for dtype in Dtype::ALL {
        assert_eq!(Dtype::from_ggml_type(dtype.ggml_type()), Some(dtype));
        assert_eq!(dtype.to_string(), dtype.name());
        let (len, bytes) = (dtype.block_len(), dtype.block_bytes());
        assert_eq!((dtype.bytes(0), dtype.bytes(3 * len)), (Some(0), Some(3 * bytes)));
        assert_eq!(dtype.bytes(len + 1), if len == 1 { Some(2 * bytes) } else { None });
        // The most blocks there can be.
        let most = usize::MAX / len * len;
        assert_eq!(dtype.bytes(most), (most / len).checked_mul(bytes));
    }
    assert_eq!(Dtype::F32.bytes(usize::MAX), None);
    assert_eq!(f16_to_f32(0x3555), 0.333_251_95);
}

#[test]
#[should_panic(expected = "32 elements of Q4_0 in 17 bytes")]
fn a_wrong_length_is_the_callers_mistake() {
    Dtype::Q4_0.decode(&[0; 17], &mut [0.0; 32]);
}

#[test]
#[should_panic(expected = "Q6_K is only read")]
fn what_is_only_read_is_not_encoded() {
    assert!(!Dtype::Q6_K.can_encode());
    Dtype::Q6_K.encode(&[0.0; 256], &mut [0; 210]);
}
