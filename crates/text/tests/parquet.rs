//! Parquet files that another program wrote (`fixtures/make_parquet.py`), whole and damaged.

use foretoken_text::{Conversations, DataFormat, Documents, Role, find_sources};
use std::path::PathBuf;

fn fixture(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/fixtures", name].iter().collect();
    path.to_str().unwrap().to_owned()
}

#[test]
fn texts_and_nested_messages() {
    let texts: Vec<_> = Documents::open(&[fixture("texts.parquet")], &Default::default())
        .unwrap()
        .map(|document| document.unwrap())
        .map(|document| (document.text, document.line))
        .collect();
    assert_eq!(texts, [("첫째\n줄".into(), 1), ("second".into(), 2)]);
    let talks = fixture("talks.parquet");
    let sources = find_sources(&[&talks], None).unwrap();
    assert_eq!(
        DataFormat::guess(&sources, &Default::default()).unwrap(),
        DataFormat::Chat
    );
    let talks: Vec<_> = Conversations::of(sources, &Default::default())
        .map(Result::unwrap)
        .collect();
    assert_eq!(talks[0].messages[1].content, "반가워, \"친구\".");
    let roles: Vec<Role> = talks[1].messages.iter().map(|message| message.role).collect();
    assert_eq!(roles[..3], [Role::System, Role::User, Role::Assistant]);
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_file() {
    let all = |path: &str| -> Result<Vec<_>, _> { Documents::open(&[path], &Default::default())?.collect() };
    let error = all(&fixture("zstd.parquet")).unwrap_err().to_string();
    assert!(error.contains("zstd.parquet") && error.contains("snappy"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.parquet");
    for name in ["texts.parquet", "talks.parquet"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        // Cut anywhere, and every byte another: an error or other text, never a fall.
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let error = all(path.to_str().unwrap()).unwrap_err().to_string();
            assert!(error.contains("bad.parquet"), "{error}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            let _ = all(path.to_str().unwrap());
        }
    }
}
