//! Every step of the protocol made to fail, in three ways: an error, a dead process, and a machine without power.

use super::failpoint::Step;
use super::failpoint::plan::{Failure, run};
use super::*;
use serde_json::{Map, Value};
use std::fs;
use std::io::{Read, Seek};

type Steps = Vec<(Step, PathBuf, PathBuf)>;

/// What a disk may have lost when the power went after `steps`: contents of new files that were not fsynced, and names
/// in directories that were not. Renames are taken to have reached the disk: that is the dangerous case.
fn lose_power(steps: &Steps) {
    let mut contents: Vec<(PathBuf, bool)> = Vec::new(); // path, fsynced
    let mut names: Vec<(PathBuf, bool)> = Vec::new();
    for (step, path, to) in steps {
        match step {
            Step::Create => {
                contents.push((path.clone(), false));
                names.push((path.clone(), false));
            }
            Step::CreateDir => names.push((path.clone(), false)),
            Step::Write | Step::Truncate => contents.iter_mut().filter(|c| &c.0 == path).for_each(|c| c.1 = false),
            Step::Sync => contents.iter_mut().filter(|c| &c.0 == path).for_each(|c| c.1 = true),
            Step::SyncDir => names
                .iter_mut()
                .filter(|n| n.0.parent() == Some(path))
                .for_each(|n| n.1 = true),
            Step::Rename => {
                for entry in contents.iter_mut().chain(&mut names) {
                    if let Ok(rest) = entry.0.strip_prefix(path) {
                        let moved = rest.as_os_str().is_empty();
                        entry.0 = if moved { to.clone() } else { to.join(rest) };
                    }
                }
                names.iter_mut().filter(|n| &n.0 == to).for_each(|n| n.1 = true);
            }
            Step::Remove => {}
        }
    }
    for (path, _) in contents.iter().filter(|c| !c.1 && c.0.exists()) {
        fs::write(path, b"").unwrap();
    }
    for (path, _) in names.iter().filter(|n| !n.1 && n.0.exists()) {
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    }
}

/// Runs `write` in a fresh directory made by `prepare`, once for each of its steps and each kind of failure, and asks
/// `is_old` and `is_new` what is there: exactly one of them has to be true. Gives the number of steps.
fn at_every_step(
    prepare: impl Fn(&Path),
    write: impl Fn(&Path) -> Result<()>,
    is_old: impl Fn(&Path) -> bool,
    is_new: impl Fn(&Path) -> bool,
) -> usize {
    let fresh = || {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        dir
    };
    let dir = fresh();
    assert!(is_old(dir.path()) && !is_new(dir.path()));
    let (result, steps) = run(None, || write(dir.path()));
    result.unwrap();
    assert!(is_new(dir.path()) && !is_old(dir.path()));
    lose_power(&steps);
    assert!(is_new(dir.path()), "lost by a power cut after success");

    let count = steps.len();
    for n in 0..count {
        for failure in [Failure::Error, Failure::DiskFull, Failure::Crash] {
            let dir = fresh();
            let before = listing(dir.path());
            let (result, done) = run(Some((n, failure)), || write(dir.path()));
            let at = format!("step {n} of {count}, {:?}, {failure:?}", steps[n].0);
            let error = result.expect_err(&at);
            assert_eq!(error.is_disk_full(), failure == Failure::DiskFull, "{at}: {error}");
            assert!(is_old(dir.path()) != is_new(dir.path()), "{at}: neither state");
            if is_old(dir.path()) && failure != Failure::Crash {
                assert_eq!(listing(dir.path()), before, "{at}: something is left behind");
            }
            if failure == Failure::Crash {
                lose_power(&done);
                assert!(
                    is_old(dir.path()) != is_new(dir.path()),
                    "{at}: neither state after a power cut"
                );
                remove_leftovers(dir.path()).unwrap();
                write_again(&write, dir.path(), &at);
                assert!(is_new(dir.path()), "{at}: not writable after a restart");
            }
        }
    }
    count
}

/// What a restarted process does: the same again, unless it finds the directory complete.
fn write_again(write: &impl Fn(&Path) -> Result<()>, dir: &Path, at: &str) {
    match write(dir) {
        Ok(()) | Err(Error::Exists { .. }) => {}
        Err(error) => panic!("{at}: {error}"),
    }
}

/// All paths below `dir`.
fn listing(dir: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(listing(&path));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}

fn checkpoint(target: &Path) -> Result<()> {
    let mut dir = DurableDir::create(target)?;
    dir.file("model.safetensors", |w| w.write_all(&[7; 3000]))?;
    dir.file("config.json", |w| w.write_all(b"{}"))?;
    dir.file("empty", |_| Ok(()))?;
    let mut extra = Map::new();
    extra.insert("step".into(), 3.into());
    dir.commit(extra)?;
    Ok(())
}

#[test]
fn a_file_is_old_or_new_at_every_step() {
    let content = |dir: &Path| fs::read(dir.join("latest")).ok();
    let steps = at_every_step(
        |dir| fs::write(dir.join("latest"), "old").unwrap(),
        |dir| write_bytes(dir.join("latest"), b"new").map(drop),
        |dir| content(dir).as_deref() == Some(b"old"),
        |dir| content(dir).as_deref() == Some(b"new"),
    );
    assert_eq!(steps, 5, "create, write, fsync, rename, fsync of the parent");
}

#[test]
fn a_new_file_is_absent_or_complete_at_every_step() {
    at_every_step(
        |_| {},
        |dir| write_bytes(dir.join("a"), b"new").map(drop),
        |dir| !dir.join("a").exists(),
        |dir| fs::read(dir.join("a")).is_ok_and(|bytes| bytes == b"new"),
    );
}

#[test]
fn a_directory_is_absent_or_verified_at_every_step() {
    let steps = at_every_step(
        |_| {},
        |dir| checkpoint(&dir.join("step-3")),
        |dir| !dir.join("step-3").exists(),
        |dir| verify_dir(dir.join("step-3")).is_ok_and(|manifest| manifest.files.len() == 3),
    );
    // Directory; create, write and fsync of four files, one of them empty; two directories fsynced, one renamed.
    assert_eq!(steps, 1 + 4 * 3 - 1 + 3);
}

#[test]
fn nested_directories_are_made_again_after_a_failure() {
    for n in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs/a/checkpoints");
        let (result, steps) = run(Some((n, Failure::Crash)), || create_dir_all(&path));
        assert_eq!(
            result.is_ok(),
            n == 6,
            "three directories, each fsynced into its parent"
        );
        lose_power(&steps);
        create_dir_all(&path).unwrap();
        assert!(path.is_dir());
        if n == 6 {
            return;
        }
    }
}

#[test]
fn a_log_holds_its_kept_lines_at_every_step() {
    // Old: three lines and a torn one. New: the first two and a third that is new. Between them: only the first two.
    let text = |dir: &Path| fs::read_to_string(dir.join("log")).unwrap();
    for n in 0.. {
        for failure in [Failure::Error, Failure::DiskFull, Failure::Crash] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("log"), "1 a\n2 b\n3 c\n4").unwrap();
            let write = || -> Result<()> {
                let mut log = AppendLog::open(dir.path().join("log"), |line| !line.starts_with('3'))?;
                log.append("3 d")?;
                log.sync()
            };
            let (result, steps) = run(Some((n, failure)), write);
            if result.is_ok() {
                assert_eq!(steps.len(), n, "open, cut, two fsyncs, write, fsync");
                assert_eq!((n, text(dir.path()).as_str()), (6, "1 a\n2 b\n3 d\n"));
                return;
            }
            let found = text(dir.path());
            let torn = "1 a\n2 b\n3 ";
            let states = ["1 a\n2 b\n3 c\n4", "1 a\n2 b\n", "1 a\n2 b\n3 d\n", torn];
            assert!(states.contains(&found.as_str()), "step {n}, {failure:?}: {found:?}");
            assert!(
                found != torn || failure == Failure::Crash,
                "step {n}: a torn line was left in the log"
            );
            write().unwrap();
            assert_eq!(text(dir.path()), "1 a\n2 b\n3 d\n", "step {n}, {failure:?}");
        }
    }
}

#[test]
fn a_log_goes_on_after_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = AppendLog::open(&path, |_| true).unwrap();
    log.append("{\"step\":1}").unwrap();
    let (result, _) = run(Some((0, Failure::DiskFull)), || log.append("{\"step\":2}"));
    assert!(result.unwrap_err().is_disk_full());
    // Even mending failed: the next line is not glued to half of the last one.
    let (result, _) = run(Some((0, Failure::Crash)), || log.append("{\"step\":2}"));
    assert!(!result.unwrap_err().is_disk_full());
    assert_ne!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
    log.append("{\"step\":3}").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":3}\n");
}

#[test]
fn a_log_keeps_leading_good_lines_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let long = "x".repeat(1 << 20);
    for (old, kept) in [
        ("", ""),
        ("a\nb\n", "a\nb\n"),
        ("a\n\nb\n", "a\n\nb\n"),
        ("a\nb", "a\n"),
        ("a\nno\nb\n", "a\n"),
        ("가\n나", "가\n"),
        (&format!("a\n{long}\nb\n"), "a\n"),
    ] {
        fs::write(&path, old).unwrap();
        AppendLog::open(&path, |line| line != "no").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), kept);
    }
    fs::write(&path, b"a\n\xff\nb\n").unwrap();
    AppendLog::open(&path, |_| true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"a\n");
}

#[test]
fn an_error_of_the_writer_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "old").unwrap();
    let error = write_file(&path, |w| {
        w.write_all(&vec![1; 1 << 20])?;
        Err(io::Error::other("no more"))
    });
    assert!(error.unwrap_err().to_string().contains("no more"));
    // Dropped half-way, as a panic would.
    let mut file = DurableFile::create(&path).unwrap();
    file.write_all(b"half").unwrap();
    drop(file);
    assert_eq!(listing(dir.path()), std::slice::from_ref(&path));
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_write_error_that_the_caller_overlooks_is_not_committed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    // The second write fails and its result is thrown away; later ones would succeed.
    let (result, _) = run(Some((2, Failure::Error)), || {
        write_file(&path, |w| {
            for piece in 0..3 {
                let _ = w.write_all(&vec![piece; 1 << 20]);
            }
            Ok(())
        })
    });
    assert!(result.is_err() && listing(dir.path()).is_empty());

    let mut checkpoint = DurableDir::create(dir.path().join("step-1")).unwrap();
    assert!(checkpoint.file("a", |_| Err(io::Error::other("no"))).is_err());
    assert!(checkpoint.commit(Map::new()).is_err());
    assert!(listing(dir.path()).is_empty());
}

#[test]
fn a_directory_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("step-3");
    let early = DurableDir::create(&target).unwrap();
    checkpoint(&target).unwrap();
    assert!(matches!(DurableDir::create(&target), Err(Error::Exists { .. })));
    assert!(matches!(early.commit(Map::new()), Err(Error::Exists { .. })));
    assert_eq!(listing(dir.path()).len(), 5);
    verify_dir(&target).unwrap();
    // A file's writer does not take the place of a directory either.
    assert!(matches!(DurableFile::create(&target), Err(Error::NotAFile { .. })));
}

#[test]
fn the_disk_is_asked_for_room_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/yet/there");
    check_space(&path, 1).unwrap();
    match check_space(&path, 1 << 60) {
        Err(error @ Error::DiskFull { .. }) => {
            assert!(
                error.is_disk_full() && error.to_string().contains("1152921504606846976 bytes"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bare_name_is_in_the_current_directory() {
    assert_eq!(parent(Path::new("latest")), Path::new("."));
    assert_eq!(parent(Path::new("runs/latest")), Path::new("runs"));
    assert!(is_temporary(temporary(Path::new("latest")).unwrap().as_os_str()));
    assert!(matches!(write_bytes("..", b""), Err(Error::NotAFile { .. })));
    assert!(matches!(DurableDir::create("none/.."), Err(Error::Io { .. })));
}

#[test]
fn leftovers_of_killed_processes_are_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| fs::write(dir.path().join(name), "x").unwrap();
    for name in [
        "keep",
        "keep.tmp",
        "keep.tmp-1",
        "keep.tmp-1-x",
        "keep.tmp--",
        "gone.tmp-12-0",
    ] {
        file(name);
    }
    fs::create_dir(dir.path().join("step-3.tmp-99-12")).unwrap();
    file("step-3.tmp-99-12/model.safetensors");
    let removed = remove_leftovers(dir.path()).unwrap();
    assert_eq!(
        removed,
        ["gone.tmp-12-0", "step-3.tmp-99-12"].map(|name| dir.path().join(name))
    );
    assert_eq!(listing(dir.path()).len(), 5);
}

#[test]
fn a_used_temporary_name_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    // Names that this process would use next, as if a process of the same id had been killed here.
    let next = temporary(&path).unwrap();
    let n: u64 = next.to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
    for used in n..n + 20 {
        let name = format!("file.tmp-{}-{used}", std::process::id());
        fs::write(dir.path().join(name), "left behind").unwrap();
    }
    write_bytes(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn every_flipped_bit_of_a_checkpoint_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("step-3");
    checkpoint(&target).unwrap();
    let files: Vec<PathBuf> = listing(&target)
        .into_iter()
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .collect();
    assert_eq!(files.len(), 3);
    // In place: a file written anew is flushed by some file systems, which takes minutes for thousands of bits.
    let change = |path: &Path, bit: usize| {
        let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.seek(io::SeekFrom::Start(bit as u64 / 8)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(io::SeekFrom::Start(bit as u64 / 8)).unwrap();
        file.write_all(&[byte[0] ^ 1 << (bit % 8)]).unwrap();
    };
    let flip = |path: &Path, bit: usize| {
        change(path, bit);
        let error = verify_dir(&target).expect_err("a flipped bit went unseen");
        change(path, bit);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(error.to_string().contains(name), "{name}, bit {bit}: {error}");
    };
    let mut random = 1_u64;
    for path in &files {
        let bits = fs::metadata(path).unwrap().len() as usize * 8;
        if path.ends_with(MANIFEST) {
            (0..bits).for_each(|bit| flip(path, bit));
        } else {
            for _ in 0..1000 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                flip(path, (random >> 33) as usize % bits);
            }
        }
    }
    verify_dir(&target).unwrap();
}

#[test]
fn damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let damaged = |damage: &dyn Fn(&Path)| {
        let target = dir.path().join("step");
        checkpoint(&target).unwrap();
        damage(&target);
        let error = verify_dir(&target).unwrap_err();
        fs::remove_dir_all(&target).unwrap();
        error
    };
    let error = damaged(&|dir| fs::remove_file(dir.join("config.json")).unwrap());
    assert!(matches!(error, Error::MissingFile { path } if path.ends_with("config.json")));
    let error = damaged(&|dir| fs::write(dir.join("empty"), "x").unwrap());
    assert!(
        matches!(
            error,
            Error::FileSize {
                expected: 0,
                found: 1,
                ..
            }
        ),
        "{error}"
    );
    let error = damaged(&|dir| fs::write(dir.join("config.json"), "[]").unwrap());
    assert!(matches!(error, Error::FileSum { .. }), "{error}");
    let error = damaged(&|dir| fs::remove_file(dir.join(MANIFEST)).unwrap());
    assert!(matches!(error, Error::NoManifest { .. }), "{error}");
    let error = damaged(&|dir| fs::write(dir.join(MANIFEST), "").unwrap());
    assert!(matches!(error, Error::Manifest { .. }), "{error}");
    let error = damaged(&|dir| fs::write(dir.join(MANIFEST), vec![b' '; 1 << 21]).unwrap());
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let error = damaged(&|dir| {
        fs::remove_file(dir.join("config.json")).unwrap();
        fs::create_dir(dir.join("config.json")).unwrap();
    });
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    assert!(matches!(verify_dir(dir.path().join("none")), Err(Error::Io { .. })));
}

#[test]
fn only_the_named_files_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("step");
    checkpoint(&target).unwrap();
    let whole = verify_dir(&target).unwrap();
    let names = ["config.json", "empty", "not listed"];
    // Another size, then another sum, then nothing at all.
    for bytes in [Some(vec![7; 2999]), Some(vec![8; 3000]), None] {
        match bytes {
            Some(bytes) => fs::write(target.join("model.safetensors"), bytes).unwrap(),
            None => fs::remove_file(target.join("model.safetensors")).unwrap(),
        }
        assert_eq!(verify_files(&target, &names).unwrap(), whole);
        let all = verify_files(&target, &["model.safetensors"]).unwrap_err().to_string();
        assert_eq!(all, verify_dir(&target).unwrap_err().to_string());
    }
    fs::write(target.join("config.json"), "[]").unwrap();
    let error = verify_files(&target, &names).unwrap_err();
    assert!(matches!(error, Error::FileSum { .. }), "{error}");
    fs::write(target.join(MANIFEST), "").unwrap();
    let error = verify_files(&target, &[]).unwrap_err();
    assert!(matches!(error, Error::Manifest { .. }), "{error}");
}

#[test]
fn manifests_that_sum_up_but_lie_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let read = |manifest: &Manifest| {
        fs::write(dir.path().join(MANIFEST), manifest.encode()).unwrap();
        verify_dir(dir.path())
    };
    let mut manifest = Manifest {
        format: MANIFEST_FORMAT,
        files: Vec::new(),
        extra: Map::new(),
    };
    assert_eq!(read(&manifest).unwrap(), manifest);
    manifest.extra.insert("이름".into(), Value::from(0.1));
    assert_eq!(read(&manifest).unwrap(), manifest);
    for name in ["../x", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "C:x", "a\0"] {
        manifest.files = vec![ManifestFile {
            name: name.into(),
            size: 0,
            blake3: String::new(),
        }];
        assert!(matches!(read(&manifest), Err(Error::Manifest { .. })), "{name:?}");
    }
    manifest.files.clear();
    manifest.format = 2;
    assert!(matches!(
        read(&manifest),
        Err(Error::ManifestFormat {
            found: 2,
            supported: 1,
            ..
        })
    ));
}
