//! Where files come to lie.

use crate::repository::*;
use crate::server::Answer;
use foretoken_hub::{Cache, Destination};

#[test]
fn the_cache_is_laid_out_as_others_expect_it_and_a_second_pull_fetches_nothing() {
    let place = Place::new(answer);
    let wanted = REPO.parse().unwrap();
    assert_eq!(place.cache().snapshot(&wanted), None);
    let (bytes, received) = place.ok(&[CONFIG, WEIGHTS]);
    assert_eq!(bytes, [config(), weights()]);
    assert_eq!(received as usize, config().len() + weights().len());
    let (git, lfs) = (git_blob(&config()), sha256(&weights()));
    let mut expected = vec![
        format!(".locks/models--mina--tiny/{git}.lock"),
        format!(".locks/models--mina--tiny/{lfs}.lock"),
        format!("models--mina--tiny/blobs/{git}"),
        format!("models--mina--tiny/blobs/{lfs}"),
        "models--mina--tiny/refs/main".into(),
        format!("models--mina--tiny/snapshots/{COMMIT}/{CONFIG}"),
        format!("models--mina--tiny/snapshots/{COMMIT}/{WEIGHTS}"),
    ];
    expected.sort();
    assert_eq!(files(place.cache().path()), expected);
    let folder = place.cache().folder(&REPO.parse().unwrap());
    assert_eq!(std::fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    let snapshot = place.cache().snapshot(&wanted).unwrap();
    assert_eq!(snapshot, folder.join("snapshots").join(COMMIT));
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(snapshot.join(WEIGHTS)).unwrap().to_str(),
        Some(&*format!("../../blobs/{lfs}"))
    );
    // Nothing comes again, not even the heads of the files.
    let asked = place.server.asked().len();
    assert_eq!(place.ok(&[CONFIG, WEIGHTS]).1, 0);
    assert_eq!(place.server.asked().len(), asked + 1);
    assert_eq!(files(place.cache().path()), expected);
}

#[test]
fn a_branch_that_moves_on_shares_what_did_not_change() {
    let place = Place::new(answer);
    place.ok(&[CONFIG, WEIGHTS]);
    let next = COMMIT.replace('0', "e");
    let moved = next.clone();
    let place = place.then(move |request| {
        let mut back = request.clone();
        back.path = back.path.replace(&moved, COMMIT);
        let answer = answer(&back);
        match is_listing(request) {
            true => Answer::new(200, listing().replace(COMMIT, &moved)),
            false => answer,
        }
    });
    assert_eq!(place.ok(&[CONFIG, WEIGHTS, "README.md"]).1, 1);
    let dir = |revision: &str| place.cache().snapshot(&format!("{REPO}{revision}").parse().unwrap());
    assert!(dir("").unwrap().ends_with(&next));
    assert!(dir(&format!("@{COMMIT}")).unwrap().join(WEIGHTS).exists());
    assert_eq!(place.server.asked().len(), 2);
}

#[test]
fn folders_tags_and_names_that_must_be_encoded() {
    let name = "sub folder/가?.json";
    let place = Place::new(move |request| match is_listing(request) {
        true => {
            let (size, blob) = (config().len(), git_blob(&config()));
            let file = format!(r#"{{"rfilename":"{name}","size":{size},"blobId":"{blob}"}}"#);
            Answer::new(200, format!(r#"{{"sha":"{COMMIT}","siblings":[{file}]}}"#))
        }
        false => Answer::part(request, &config()),
    });
    let cache = Destination::Cache(place.cache());
    let (fetched, dir) = place.pull_to(cache, "mina/tiny@refs/pr/1", &[name]).0.unwrap();
    assert_eq!(std::fs::read(dir.join(name)).unwrap(), config());
    assert_eq!(fetched[0].path, dir.join(name));
    let paths: Vec<String> = place.server.asked().into_iter().map(|request| request.path).collect();
    assert_eq!(
        paths,
        [
            "/api/models/mina/tiny/revision/refs%2Fpr%2F1?blobs=true".to_owned(),
            format!("/mina/tiny/resolve/{COMMIT}/sub%20folder/%EA%B0%80%3F.json"),
        ]
    );
    assert!(
        place
            .cache()
            .snapshot(&"mina/tiny@refs/pr/1".parse().unwrap())
            .is_some()
    );
    assert!(place.cache().snapshot(&REPO.parse().unwrap()).is_none());
}

#[test]
fn a_directory_of_ones_own_holds_plain_files_and_nothing_of_it_is_replaced() {
    let place = Place::new(answer);
    let dir = place.dir.path().join("here/and there");
    let pull = |names: &[&str]| place.pull_to(Destination::Directory(dir.clone()), REPO, names).0;
    let (fetched, said) = pull(&[CONFIG, WEIGHTS]).unwrap();
    assert_eq!(said, dir);
    assert_eq!(fetched[1].path, dir.join(WEIGHTS));
    assert_eq!(files(&dir), [".pull.lock", CONFIG, WEIGHTS]);
    assert!(!dir.join(WEIGHTS).is_symlink() && !place.cache().path().exists());
    // The same again: its bytes are looked at, and not fetched.
    let (fetched, _) = pull(&[CONFIG, WEIGHTS]).unwrap();
    assert_eq!(fetched.iter().map(|file| file.received).sum::<u64>(), 0);
    // Somebody's own file, of the same length even.
    let mine = vec![b'x'; config().len()];
    std::fs::write(dir.join(CONFIG), &mine).unwrap();
    let error = pull(&[CONFIG]).unwrap_err().to_string();
    assert!(error.contains("there already") && error.contains(CONFIG), "{error}");
    assert_eq!(std::fs::read(dir.join(CONFIG)).unwrap(), mine);
}

#[test]
fn a_damaged_or_foreign_cache_is_mended() {
    let place = Place::new(answer);
    place.ok(&[CONFIG]);
    // Cut short by whatever; a link to nowhere.
    std::fs::write(place.blob(&git_blob(&config())), "{").unwrap();
    assert_eq!(place.ok(&[CONFIG]).0, [config()]);
    let link = place.cache().snapshot(&REPO.parse().unwrap()).unwrap().join(CONFIG);
    std::fs::remove_file(&link).unwrap();
    std::fs::write(&link, "a file in its place").unwrap();
    assert_eq!(place.ok(&[CONFIG]).0, [config()]);
    assert_eq!(Cache::new(place.cache().path()), place.cache());
}
