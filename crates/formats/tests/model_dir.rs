//! Model directories: one file, shards, and indexes that lie.

use foretoken_formats::safetensors::{INDEX, MODEL, Safetensors, Tensor, Weights, index_shards, open_model_dir, write};
use foretoken_formats::{Error, Result};
use std::fs;
use std::path::Path;

/// Writes a file with one-element tensors `name = value`.
fn save(path: &Path, tensors: &[(&str, f32)]) {
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, value)| Tensor::f32(name, &[1], std::slice::from_ref(value)))
        .collect();
    let mut bytes = Vec::new();
    write(&mut bytes, &tensors, &[]).unwrap();
    fs::write(path, bytes).unwrap();
}

fn value(weights: &Weights, name: &str) -> Option<f32> {
    let mut value = [0.0];
    weights.tensor(name)?.read_f32(&mut value).unwrap();
    Some(value[0])
}

/// Opens a directory with two shards, `a` = 1 and `b` = 2 in `x` and `c` = 3 in `y`, and this weight map.
fn open(weight_map: &str) -> Result<Weights> {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("model");
    fs::create_dir(&dir).unwrap();
    save(&dir.join("x"), &[("b", 2.0), ("a", 1.0)]);
    save(&dir.join("y"), &[("c", 3.0)]);
    save(&root.path().join("outside"), &[("d", 4.0)]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../outside", dir.join("link_out")).unwrap();
        std::os::unix::fs::symlink("y", dir.join("link_in")).unwrap();
    }
    fs::write(
        dir.join(INDEX),
        format!("{{\"metadata\":{{\"total_size\":12}},\"weight_map\":{{{weight_map}}}}}"),
    )
    .unwrap();
    open_model_dir(&dir)
}

#[test]
fn one_file() {
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join(MODEL), &[("b", 2.0), ("a", 1.0)]);
    let weights = open_model_dir(dir.path()).unwrap();
    assert_eq!(weights.path(), dir.path());
    assert_eq!(weights.names().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!((value(&weights, "a"), value(&weights, "c")), (Some(1.0), None));
    match weights.require("c") {
        Err(Error::MissingTensor { tensor, .. }) => assert_eq!(tensor, "c"),
        other => panic!("{other:?}"),
    }
    let file = Weights::from(Safetensors::open(dir.path().join(MODEL)).unwrap());
    assert_eq!(value(&file, "b"), Some(2.0));
}

#[test]
fn shards() {
    let weights = open(r#""c":"y","a":"x","b":"x""#).unwrap();
    assert_eq!(weights.shards().len(), 2);
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(
        ["a", "b", "c", "d"].map(|name| value(&weights, name)),
        [Some(1.0), Some(2.0), Some(3.0), None]
    );
    assert_eq!(open("").unwrap().names().count(), 0);
}

#[test]
fn a_tensor_in_two_shards_is_the_one_the_index_names() {
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join("x"), &[("a", 1.0), ("b", 2.0)]);
    save(&dir.path().join("y"), &[("a", 3.0)]);
    for (map, expected) in [(r#""a":"y","b":"x""#, 3.0), (r#""b":"x","a":"x""#, 1.0)] {
        // A total size that is wrong, or no metadata at all, says nothing about the tensors.
        for metadata in [r#""metadata":{"total_size":999},"#, ""] {
            fs::write(
                dir.path().join(INDEX),
                format!("{{{metadata}\"weight_map\":{{{map}}}}}"),
            )
            .unwrap();
            let weights = open_model_dir(dir.path()).unwrap();
            assert_eq!(
                (value(&weights, "a"), value(&weights, "b")),
                (Some(expected), Some(2.0))
            );
        }
    }
}

#[test]
fn shards_outside_the_directory_are_refused() {
    for shard in [
        "../outside",
        "../../x",
        "/etc/passwd",
        "..",
        ".",
        "",
        "sub/x",
        "..\\\\outside",
        "C:\\\\x",
        "x\\u0000",
    ] {
        match open(&format!(r#""a":"x","d":"{shard}""#)) {
            Err(error @ Error::ShardPath { .. }) => {
                assert!(error.to_string().contains("not a plain file name"), "{error}")
            }
            other => panic!("{shard}: {other:?}"),
        }
    }
}

#[cfg(unix)]
#[test]
fn symlinks_may_not_leave_the_directory() {
    match open(r#""d":"link_out""#) {
        Err(error @ Error::ShardPath { .. }) => assert!(error.to_string().contains("symlink out"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(value(&open(r#""c":"link_in""#).unwrap(), "c"), Some(3.0));
}

#[cfg(unix)]
#[test]
fn symlinks_into_the_blobs_of_a_hub_cache_are_followed() {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("models--someone--gpt");
    let dir = model.join("snapshots/0123");
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir(model.join("blobs")).unwrap();
    save(&model.join("blobs/f00d"), &[("a", 1.0)]);
    std::os::unix::fs::symlink("../../blobs/f00d", dir.join("x")).unwrap();
    fs::write(dir.join(INDEX), r#"{"weight_map":{"a":"x"}}"#).unwrap();
    assert_eq!(value(&open_model_dir(&dir).unwrap(), "a"), Some(1.0));
    // Beside the blobs is outside.
    save(&model.join("secret"), &[("a", 1.0)]);
    fs::remove_file(dir.join("x")).unwrap();
    std::os::unix::fs::symlink("../../secret", dir.join("x")).unwrap();
    assert!(matches!(open_model_dir(&dir), Err(Error::ShardPath { .. })));
}

#[test]
fn indexes_that_lie() {
    match open(r#""a":"y""#) {
        Err(Error::MissingTensor { path, tensor }) => assert!(path.ends_with("y") && tensor == "a"),
        other => panic!("{other:?}"),
    }
    for map in [r#""a":"x","a":"x""#, r#""a":"x","a":"y""#] {
        assert!(matches!(open(map), Err(Error::DuplicateTensor { tensor, .. }) if tensor == "a"));
    }
    assert!(matches!(open(r#""a":"none""#), Err(Error::MissingShard { shard, .. }) if shard == "none"));
    assert!(matches!(open(r#""a":1"#), Err(Error::Json { line: 1, .. })));
    assert!(matches!(open(r#""a":"#), Err(Error::Json { .. })));
    let many: Vec<String> = (0..2000).map(|i| format!(r#""{i}":"shard-{i}""#)).collect();
    match open(&many.join(",")) {
        Err(Error::Json { message, .. }) => assert!(message.contains("shards"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn directories_without_weights_say_what_they_lack() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        open_model_dir(dir.path()),
        Err(Error::NoWeights { hint: "", .. })
    ));
    fs::write(dir.path().join("pytorch_model.bin"), "x").unwrap();
    let error = open_model_dir(dir.path()).unwrap_err();
    assert!(error.to_string().contains("safe_serialization"), "{error}");
    assert!(matches!(open_model_dir(dir.path().join("none")), Err(Error::Io { .. })));
    fs::write(
        dir.path().join(MODEL),
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    )
    .unwrap();
    assert!(matches!(open_model_dir(dir.path()), Err(Error::GitLfsPointer { .. })));
}

#[test]
fn an_index_names_its_shards_and_nothing_outside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(INDEX);
    let shards = |weight_map: &str| {
        fs::write(&path, format!("{{\"weight_map\":{{{weight_map}}}}}")).unwrap();
        index_shards(&path).map(|shards| shards.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(shards(r#""a":"x","b":"y","c":"x""#).unwrap(), ["x", "y"]);
    for evil in ["../x", "/etc/passwd", "", "a/b", r"a\\b", "C:x"] {
        let found = shards(&format!(r#""a":"x","b":"{evil}""#));
        assert!(matches!(found, Err(Error::ShardPath { .. })), "{evil}: {found:?}");
    }
    assert!(matches!(shards(r#""a":1"#), Err(Error::Json { .. })));
}
