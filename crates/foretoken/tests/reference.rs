//! foretoken against PyTorch: logits, losses, every gradient, ten steps of AdamW, greedy tokens.

#[path = "../examples/reference/compare.rs"]
mod compare;

use std::path::{Path, PathBuf};

fn check(dir: &Path) {
    let errors = compare::compare(dir).unwrap();
    println!("{errors:?}");
    assert!(errors.greedy_equal, "{errors:?}");
    let tight = [
        errors.logits,
        errors.loss,
        errors.masked_loss,
        errors.grads,
        errors.adamw_losses,
        errors.grad_norms,
        errors.params_after_by_tensor,
    ];
    assert!(tight.iter().all(|&error| error <= 1e-4), "{errors:?}");
    assert!(errors.params_after <= 1e-3, "{errors:?}");
    // Rounding against rounding, see `Errors::key_bias_after`: ten steps of 1e-3 are the most either can move.
    assert!(errors.key_bias_after <= 0.1, "{errors:?}");
}

#[test]
fn equals_pytorch_on_a_small_gpt2() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2"));
}

/// Heads that share keys, positions that turn, a head that is the embedding.
#[test]
fn equals_pytorch_on_a_small_llama() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama"));
}

/// A head of its own, and an MLP too narrow to take the gradient of qkv.
#[test]
fn equals_pytorch_on_an_untied_llama() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-untied"));
}

/// A case of other sizes (T = 37, d = 60, h = 5, V = 101) that lies beside the checkout where it is worked on.
#[test]
fn equals_pytorch_on_odd_sizes() {
    let dir: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/gpt2-odd");
    if dir.exists() {
        check(&dir);
    } else {
        println!("skipped: {} is not there", dir.display());
    }
}
