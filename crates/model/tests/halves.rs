//! Half-precision weights become the same floats inside a kernel's region, where denormal numbers count as zero.

use foretoken_formats::dtype::Dtype;
use foretoken_kernels::Pool;

#[test]
fn halves_do_not_depend_on_how_denormals_count() {
    let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let pool = Pool::new(2).unwrap();
    for dtype in [Dtype::F16, Dtype::BF16] {
        let through = || {
            let mut floats = vec![0.0; 1 << 16];
            dtype.decode(&bytes, &mut floats);
            let mut again = vec![0; bytes.len()];
            dtype.encode(&floats, &mut again);
            (floats.into_iter().map(f32::to_bits).collect::<Vec<_>>(), again)
        };
        let expected = through();
        pool.run(8, |_| assert!(through() == expected, "{dtype}"));
    }
}
