//! What servers refuse, and who gets to see a token.

use crate::repository::*;
use crate::server::{Answer, Server};
use foretoken_hub::Error;
use std::sync::Arc;

/// The error of a hub that answers the listing so, asked once.
fn listing_error(token: Option<&'static str>, answer: Answer) -> Error {
    let mut place = Place::new(move |_| answer.clone());
    place.token = token;
    let error = place.pull(&[CONFIG]).0.unwrap_err();
    assert_eq!(place.server.asked().len(), 1, "{error}");
    assert!(!place.cache().path().exists());
    error
}

#[test]
fn who_may_not_read_is_told_what_to_do() {
    let code = |status: u16, code: &str| Answer::new(status, "").with("X-Error-Code", code);
    for (token, answer, words) in [
        (
            None,
            code(401, "RepoNotFound"),
            ["no model mina/tiny", "spelling", "HF_TOKEN"],
        ),
        (
            None,
            Answer::new(404, ""),
            ["no model mina/tiny", "spelling", "HF_TOKEN"],
        ),
        (
            Some("t"),
            code(404, "RepoNotFound"),
            ["no model mina/tiny", "spelling", "HF_TOKEN may see it"],
        ),
        (
            None,
            code(404, "RevisionNotFound"),
            ["mina/tiny has no branch", "\"main\"", "leave"],
        ),
        (
            None,
            Answer::new(401, ""),
            ["private, gated or misspelt", "set HF_TOKEN", "401"],
        ),
        (
            Some("t"),
            Answer::new(401, ""),
            ["HF_TOKEN is wrong", "may not read it", "401"],
        ),
        (
            None,
            code(401, "GatedRepo"),
            ["gated: accept its terms at http", "mina/tiny", "set HF_TOKEN"],
        ),
        (
            Some("t"),
            code(403, "GatedRepo"),
            ["gated: accept its terms at http", "account of HF_TOKEN", "403"],
        ),
        (
            None,
            Answer::new(400, "").with("X-Error-Message", "not so"),
            ["HTTP 400", ": not so", ""],
        ),
    ] {
        let error = listing_error(token, answer).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there() {
    let place = Place::new(answer);
    let error = place.error(&["confg.json"]);
    assert!(
        error.contains("no file \"confg.json\"; it holds config.json, README.md"),
        "{error}"
    );
    // Listed, and gated or gone all the same.
    let place = place.then(|request| match is_listing(request) {
        true => answer(request),
        false => Answer::new(403, "").with("X-Error-Code", "GatedRepo"),
    });
    assert!(place.error(&[CONFIG]).contains("gated"));
    let place = place.then(|request| match is_listing(request) {
        true => answer(request),
        false => Answer::new(404, ""),
    });
    assert!(matches!(place.pull(&[CONFIG]).0, Err(Error::NoFile { .. })));
    assert_eq!(files(&place.blob("")), [] as [&str; 0]);
    assert_eq!(place.gets(CONFIG).len(), 1);
}

#[test]
fn a_token_goes_to_the_hub_and_to_nobody_else() {
    let elsewhere = Arc::new(Server::start(|request| {
        Answer::part(request, &weights()).with("ETag", "\"of-the-store\"")
    }));
    let store = Arc::clone(&elsewhere);
    for bare in [false, true] {
        let store = store.url();
        let mut place = Place::new(move |request| {
            let lfs = sha256(&weights());
            let linked = |answer: Answer| {
                answer
                    .with("X-Linked-Etag", format!("\"{lfs}\""))
                    .with("X-Linked-Size", weights().len())
            };
            let path = request.path.as_str();
            match () {
                () if is_listing(request) && path.contains("/api/models/mina/tiny/") => {
                    Answer::new(307, "").with("Location", "/api/models/new/name/revision/main")
                }
                () if is_listing(request) && bare => bare_listing(),
                () if is_listing(request) => Answer::new(200, listing()),
                // To the hub's own cache, and from there to a store.
                () if path.starts_with("/cached") => {
                    linked(Answer::new(302, "").with("Location", format!("{store}/bytes?Signature=secret")))
                }
                () if path.ends_with(WEIGHTS) => linked(Answer::new(307, "").with("Location", "/cached?x=1")),
                () => answer(request),
            }
        });
        place.token = Some("hf_token");
        assert_eq!(place.ok(&[CONFIG, WEIGHTS]).0, [config(), weights()]);
        for request in place.server.asked() {
            assert_eq!(request.header("authorization"), Some("Bearer hf_token"), "{request:?}");
            assert_eq!(request.header("accept-encoding"), Some("identity"), "{request:?}");
        }
        assert!(
            place
                .server
                .asked()
                .iter()
                .any(|request| request.path.starts_with("/cached"))
        );
    }
    let asked = elsewhere.asked();
    assert_eq!(
        asked.iter().map(|request| &*request.method).collect::<Vec<_>>(),
        ["GET", "GET"]
    );
    for request in asked {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.path, "/bytes?Signature=secret");
    }
    // The store's own refusals are not about tokens, and its signatures are not shown.
    let closed = Server::start(|_| Answer::new(403, "no"));
    let location = format!("{}/bytes?Signature=secret", closed.url());
    let place = Place::new(move |request| match is_listing(request) {
        true => answer(request),
        false => Answer::new(302, "").with("Location", &location),
    });
    let error = place.error(&[WEIGHTS]);
    assert!(error.contains("HTTP 403") && error.contains("/bytes"), "{error}");
    assert!(!error.contains("secret") && !error.contains("HF_TOKEN"), "{error}");
}

#[test]
fn redirects_that_lead_nowhere() {
    for location in [
        "",
        "ftp://example.org/x",
        "file:///etc/passwd",
        "ht tp://",
        "/api/models/again",
    ] {
        let place = Place::new(move |_| Answer::new(302, "").with("Location", location));
        let error = place.error(&[CONFIG]);
        assert!(error.contains("redirects"), "{location}: {error}");
        assert!(place.server.asked().len() <= 11);
    }
}
