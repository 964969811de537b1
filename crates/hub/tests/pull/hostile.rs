//! A server that means ill.

use crate::repository::*;
use crate::server::Answer;
use foretoken_hub::{Destination, Error};

/// A hub with one file of any name.
fn with_file(name: &str) -> Place {
    let name = serde_json::to_string(name).unwrap();
    Place::new(move |request| {
        if !is_listing(request) {
            return Answer::part(request, &config());
        }
        let (size, blob) = (config().len(), git_blob(&config()));
        let file = format!(r#"{{"rfilename":{name},"size":{size},"blobId":"{blob}"}}"#);
        Answer::new(200, format!(r#"{{"sha":"{COMMIT}","siblings":[{file}]}}"#))
    })
}

#[test]
fn names_that_lead_elsewhere_are_refused_before_anything_is_asked_for() {
    for name in [
        "../evil.json",
        "../../../../.bashrc",
        "a/../../b",
        "/etc/cron.d/x",
        "C:\\windows\\x",
        "C:x",
        "..\\x",
        "a\0b",
        "a\nb",
        ".",
        "..",
        "",
        "a//b",
        &"a".repeat(5000),
    ] {
        let place = with_file(name);
        let own = place.dir.path().join("own");
        for destination in [Destination::Cache(place.cache()), Destination::Directory(own)] {
            let error = place.pull_to(destination, REPO, &[name]).0.unwrap_err();
            assert!(matches!(error, Error::Name { what: "file", .. }), "{name:?}: {error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
        assert_eq!(files(place.dir.path()), [] as [&str; 0], "{name:?}");
        assert!(place.server.asked().iter().all(is_listing));
    }
    assert_eq!(with_file("a/b.json").ok(&["a/b.json"]).0, [config()]);
}

#[test]
fn a_name_is_shown_without_what_moves_a_cursor() {
    let error = with_file("\u{1b}[2Jx").error(&["y"]);
    assert!(error.contains("\u{fffd}[2Jx"), "{error}");
}

#[test]
fn listings_that_are_none() {
    let commit = |sha: &str| format!(r#"{{"sha":"{sha}","siblings":[]}}"#);
    let long = format!(r#"{{"sha":"{COMMIT}","x":"{}"}}"#, "x".repeat(1 << 24));
    for body in [
        String::new(),
        "<html>".into(),
        "[]".into(),
        "{}".into(),
        commit(""),
        commit("../../../etc"),
        commit(&COMMIT.to_uppercase()),
        format!(r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":5}}]}}"#),
        format!(r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"a","size":-1}}]}}"#),
        "[".repeat(100_000),
        long,
    ] {
        let place = Place::new(move |_| Answer::new(200, body.clone()));
        let error = place.error(&[CONFIG]);
        assert!(
            error.contains("does not answer as the Hugging Face hub does"),
            "{error}"
        );
        assert_eq!(place.server.asked().len(), 1);
    }
}

#[test]
fn tags_that_lead_elsewhere_and_sums_that_are_none() {
    for tag in ["../../evil", "/etc/passwd", "a.b", "", "\\x", "a b"] {
        let place = Place::new(move |request| match is_listing(request) {
            // Sums in the listing that are none are as good as no sums.
            true => Answer::new(
                200,
                format!(
                    r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"{CONFIG}","size":5,"blobId":{}}}]}}"#,
                    serde_json::Value::from(tag)
                ),
            ),
            false => Answer::new(200, "12345").with("ETag", format!("\"{tag}\"")),
        });
        let error = place.error(&[CONFIG]);
        assert!(error.contains("no ETag"), "{tag}: {error}");
        assert_eq!(files(place.dir.path()), [] as [&str; 0]);
    }
}

#[test]
fn a_size_beyond_any_disk_is_refused_before_anything_is_fetched() {
    let place = Place::new(|request| match is_listing(request) {
        true => Answer::new(
            200,
            listing().replace(&weights().len().to_string(), &u64::MAX.to_string()),
        ),
        false => answer(request),
    });
    let error = place.error(&[CONFIG, WEIGHTS]);
    assert!(error.contains("disk full"), "{error}");
    assert!(place.server.asked().iter().all(is_listing));
}

#[test]
fn another_commit_than_the_one_asked_for() {
    let place = Place::new(answer);
    let other = COMMIT.replace('0', "a");
    let cache = Destination::Cache(place.cache());
    let error = place
        .pull_to(cache, &format!("{REPO}@{other}"), &[CONFIG])
        .0
        .unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
}
