//! Rows against what was put into them.

use super::*;
use std::fs::File;

const PAD: u32 = 99;

/// Example `i`: ids that no other has, learned from the middle on.
fn example(i: usize, len: usize) -> Example {
    Example {
        ids: (0..len).map(|j| (100 * i + j) as u32).collect(),
        learn: (0..len).map(|j| j >= len / 2 && len > 2).collect(),
    }
}

fn packed(lengths: &[usize], t: usize, loss_on: LossOn, seed: u64) -> Packed {
    let dir = tempfile::tempdir().unwrap();
    let (ids, sizes) = (dir.path().join("ids"), dir.path().join("lengths"));
    let mut written = Vec::new();
    let mut file = File::create(&ids).unwrap();
    for (i, &len) in lengths.iter().enumerate() {
        write_example(&mut file, &mut written, &example(i, len)).unwrap();
    }
    std::fs::write(&sizes, written).unwrap();
    Packed::new(Examples::open(&ids, &sizes, 1 << 20).unwrap(), t, loss_on, seed, PAD).unwrap()
}

/// Inputs, and where which targets carry loss.
type Document = (Vec<u32>, Vec<(usize, i32)>);

fn documents(window: &Window, t: usize) -> Vec<Document> {
    let mut first = 0;
    let documents = window.documents.iter().map(|&len| {
        let range = first..first + len;
        assert!(first / t == (first + len - 1) / t, "a document stays in its row");
        first += len;
        let targets = window.targets[range.clone()].iter().copied().enumerate();
        let learned = targets.filter(|(_, id)| *id != IGNORE_INDEX).collect();
        (window.ids[range].to_vec(), learned)
    });
    let documents = documents.collect();
    assert_eq!((first, window.targets.len()), (window.ids.len(), first));
    documents
}

fn lengths() -> Vec<usize> {
    (0..90).map(|i| [2, 3, 5, 9, 12, 17, 33, 40][i * 7 % 8]).collect()
}

#[test]
fn every_example_comes_once_an_epoch_with_the_targets_it_has() {
    let (t, b) = (32, 3);
    for loss_on in [LossOn::Answers, LossOn::All] {
        let packed = packed(&lengths(), t, loss_on, 7);
        let rows = packed.report.rows as u64;
        let mut window = Window::default();
        for epoch in 0..3 {
            let mut seen = vec![0; lengths().len()];
            // Batches of one row: an epoch is a whole number of them.
            for index in epoch * rows..(epoch + 1) * rows {
                let count = packed.train(&mut window, 1, 7, index).unwrap();
                let mut learned = 0;
                for (ids, targets) in documents(&window, t) {
                    learned += targets.len() as u64;
                    if ids[0] == PAD {
                        assert!(ids.iter().all(|&id| id == PAD) && targets.is_empty());
                        continue;
                    }
                    let i = ids[0] as usize / 100;
                    let whole = example(i, lengths()[i]);
                    let kept = whole.ids.len().saturating_sub(t + 1);
                    assert_eq!(ids, whole.ids[kept..whole.ids.len() - 1], "example {i}");
                    let expected = (kept + 1..whole.ids.len())
                        .filter(|&j| loss_on == LossOn::All || whole.learn[j])
                        .map(|j| (j - kept - 1, whole.ids[j] as i32));
                    assert_eq!(targets, expected.collect::<Vec<_>>(), "example {i}");
                    seen[i] += 1;
                }
                assert_eq!(learned, count);
            }
            let all = |i: usize| usize::from(loss_on == LossOn::All || lengths()[i] > 2);
            assert!((0..seen.len()).all(|i| seen[i] == all(i)), "{seen:?}");
        }
        // The same rows in order, padded at the end.
        let mut total = 0;
        for index in 0..packed.batches(b) as u64 {
            total += packed.eval(&mut window, b, index).unwrap();
            assert_eq!(window.ids.len(), b * t);
        }
        assert_eq!(total, packed.report.targets);
    }
}

#[test]
fn a_batch_is_a_function_of_seed_and_index() {
    let packed = packed(&lengths(), 64, LossOn::Answers, 3);
    let (mut one, mut other) = (Window::default(), Window::default());
    let mut all = Vec::new();
    for index in 0..20 {
        packed.train(&mut one, 4, 3, index).unwrap();
        all.push(one.ids.clone());
    }
    // From the end: what was drawn before does not matter.
    for index in (0..20).rev() {
        packed.train(&mut other, 4, 3, index).unwrap();
        assert_eq!(other.ids, all[index as usize]);
    }
    packed.train(&mut other, 4, 4, 0).unwrap();
    assert_ne!(other.ids, all[0], "another seed, another order");
}

#[test]
fn rows_are_filled_and_what_is_too_long_or_empty_is_told() {
    let lengths: Vec<usize> = (0..2000).map(|i| 5 + i * 31 % 27).collect();
    let packed = packed(&lengths, 128, LossOn::Answers, 1);
    let PackingReport {
        rows, tokens, examples, ..
    } = packed.report;
    assert_eq!(examples, 2000);
    let filled = tokens as f64 / (rows * 128) as f64;
    assert!(filled > 0.98, "{filled}");
    let few = super::tests::packed(&[2, 200, 1, 50], 64, LossOn::Answers, 1);
    assert_eq!(
        few.report,
        PackingReport {
            rows: 2,
            examples: 2,
            tokens: 64 + 49,
            targets: 64 + 25,
            cut: 1,
            left_out: 2
        }
    );
}

#[test]
fn damaged_files_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (ids, sizes) = (dir.path().join("ids"), dir.path().join("lengths"));
    std::fs::write(&ids, [1_u32, 2, 900].map(u32::to_le_bytes).concat()).unwrap();
    std::fs::write(&sizes, 2_u32.to_le_bytes()).unwrap();
    assert!(matches!(
        Examples::open(&ids, &sizes, 10),
        Err(Error::ExampleFile {
            found: 3,
            expected: 2,
            ..
        })
    ));
    std::fs::write(&sizes, 3_u32.to_le_bytes()).unwrap();
    let examples = Examples::open(&ids, &sizes, 10).unwrap();
    assert!(matches!(
        examples.get(0),
        Err(Error::TokenFile {
            id: 900,
            position: 2,
            ..
        })
    ));
}
