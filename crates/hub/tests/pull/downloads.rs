//! What networks do to a download.

use crate::repository::*;
use crate::server::{Answer, Request};
use foretoken_hub::{Destination, Error, Event, Hub, Patience};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A hub whose n-th answer (from 0) with the bytes of the weights is another one.
fn spoilt(spoil: impl Fn(usize, &Request, Answer) -> Answer + Send + Sync + 'static) -> Place {
    let n = AtomicUsize::new(0);
    Place::new(move |request| {
        let answer = answer(request);
        match request.path.ends_with(WEIGHTS) && request.method == "GET" {
            true => spoil(n.fetch_add(1, Ordering::SeqCst), request, answer),
            false => answer,
        }
    })
}

fn ranges(place: &Place) -> Vec<Option<usize>> {
    place.gets(WEIGHTS).iter().map(Request::from).collect()
}

#[test]
fn a_cut_connection_is_gone_on_with() {
    let place = spoilt(|n, _, answer| Answer {
        cut: [Some(700_000), Some(100_000), None][n],
        ..answer
    });
    let (bytes, received) = place.ok(&[WEIGHTS]);
    assert_eq!((&bytes[0], received), (&weights(), weights().len() as u64));
    assert_eq!(ranges(&place), [None, Some(700_000), Some(800_000)]);
}

#[test]
fn a_pull_that_ended_is_gone_on_with_by_the_next() {
    let place = spoilt(|_, request, answer| match request.from() {
        None => Answer {
            cut: Some(500_000),
            ..answer
        },
        Some(_) => Answer::new(503, ""),
    });
    let error = place.error(&[WEIGHTS]);
    assert!(error.contains("HTTP 503, 4 times"), "{error}");
    // What came is kept under a name that nobody opens, and no branch points to it.
    let part = place.blob(&format!("{}.incomplete", sha256(&weights())));
    assert_eq!(std::fs::read(&part).unwrap(), weights()[..500_000]);
    assert_eq!(place.cache().snapshot(&REPO.parse().unwrap()), None);
    let place = place.then(answer);
    let (bytes, received) = place.ok(&[WEIGHTS]);
    assert_eq!((&bytes[0], received), (&weights(), weights().len() as u64 - 500_000));
    assert_eq!(ranges(&place), [Some(500_000)]);
    assert!(!part.exists());
}

#[test]
fn a_partial_file_that_is_wrong_is_thrown_away() {
    let begin = |bytes: &[u8]| {
        let place = Place::new(answer);
        let part = place.blob(&format!("{}.incomplete", sha256(&weights())));
        std::fs::create_dir_all(part.parent().unwrap()).unwrap();
        std::fs::write(part, bytes).unwrap();
        assert_eq!(place.ok(&[WEIGHTS]).0, [weights()]);
        ranges(&place)
    };
    // Damaged, whole and damaged, whole and right, longer than the file.
    assert_eq!(begin(&vec![9; 1000]), [Some(1000), None]);
    assert_eq!(begin(&vec![9; weights().len()]), [None]);
    assert_eq!(begin(&weights()), []);
    assert_eq!(begin(&vec![9; weights().len() + 1]), [None]);
}

#[test]
fn a_server_that_ignores_ranges_is_begun_with_again() {
    let place = spoilt(|n, _, answer| match n {
        0 => Answer {
            cut: Some(300_000),
            ..answer
        },
        _ => Answer::new(200, weights()),
    });
    let (bytes, received) = place.ok(&[WEIGHTS]);
    assert_eq!((&bytes[0], received), (&weights(), 300_000 + weights().len() as u64));
    assert_eq!(ranges(&place), [None, Some(300_000)]);
}

#[test]
fn ranges_that_are_refused_or_answered_with_others() {
    for spoilt_answer in [
        Answer::new(416, "").with("Content-Range", "bytes */1200000"),
        Answer::new(206, &weights()[5..]).with("Content-Range", "bytes 5-1199999/1200000"),
        Answer::new(206, &weights()[5..]),
    ] {
        let place = spoilt(move |n, _, answer| match n {
            0 => Answer {
                cut: Some(300_000),
                ..answer
            },
            1 => spoilt_answer.clone(),
            _ => answer,
        });
        assert_eq!(place.ok(&[WEIGHTS]).0, [weights()]);
        assert_eq!(ranges(&place), [None, Some(300_000), None]);
    }
    // And no end of it.
    let place = spoilt(|_, _, _| Answer::new(416, ""));
    assert!(place.error(&[WEIGHTS]).contains("HTTP 416"));
}

#[test]
fn bytes_that_are_not_those_of_the_repository_leave_no_file() {
    let flipped = || {
        let mut bytes = weights();
        bytes[1_000_000] ^= 1;
        bytes
    };
    let place = spoilt(move |_, _, _| Answer::new(200, flipped()));
    let error = place.error(&[WEIGHTS]);
    assert!(
        error.contains("SHA-256") && error.contains(&sha256(&weights())),
        "{error}"
    );
    assert_eq!(ranges(&place), [None], "the same server, the same bytes");
    assert_eq!(files(&place.blob("")), [] as [&str; 0]);
    // A small file has Git's sum.
    let place = place.then(|request| match request.path.ends_with(CONFIG) {
        true => Answer::new(200, r#"{"model_type":"evil"}"#),
        false => answer(request),
    });
    assert!(place.error(&[CONFIG]).contains("Git SHA-1"));
    assert_eq!(files(&place.blob("")), [] as [&str; 0]);
}

#[test]
fn lengths_that_are_not_those_of_the_repository_leave_no_file() {
    let long = [weights(), vec![0; 10]].concat();
    for answer in [
        Answer::new(200, &long[..1000]),
        Answer::new(200, &*long),
        // Without a length the end is where the connection ends.
        Answer::new(200, &*long).without("Content-Length"),
    ] {
        let place = spoilt(move |_, _, _| answer.clone());
        let error = place.error(&[WEIGHTS]);
        assert!(error.contains("1200000 were announced"), "{error}");
        assert_eq!(files(&place.blob("")), [] as [&str; 0]);
    }
    let place = spoilt(|_, _, answer| answer.without("Content-Length"));
    assert_eq!(place.ok(&[WEIGHTS]).0, [weights()]);
}

#[test]
fn a_busy_server_is_asked_again() {
    let place = spoilt(|n, _, answer| match n {
        0 => Answer::new(429, "").with("Retry-After", 0),
        1 => Answer::new(429, "").with("RateLimit", "\"api\";r=0;t=0"),
        2 => Answer::new(500, ""),
        _ => answer,
    });
    let (pulled, events) = place.pull(&[WEIGHTS]);
    assert_eq!(pulled.unwrap().0[0].received, weights().len() as u64);
    let retries: Vec<&String> = events.iter().filter(|event| event.starts_with("Retry")).collect();
    assert!(
        retries[0].contains("429") && retries[0].contains("pause: 0ns"),
        "{events:?}"
    );
    assert!(
        retries[1].contains("429") && retries[1].contains("pause: 0ns"),
        "{events:?}"
    );
    assert!(
        retries[2].contains("500") && retries[2].contains("pause: 4ms"),
        "{events:?}"
    );
    // The listing, too; and nobody waits for an hour.
    let asked = Arc::new(AtomicUsize::new(0));
    let place = place.then(
        move |request| match is_listing(request) && asked.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Answer::new(429, "").with("Retry-After", 0),
            false => answer(request),
        },
    );
    assert_eq!(place.ok(&[CONFIG]).0, [config()]);
    let place = place.then(|_| Answer::new(429, "").with("Retry-After", 3600));
    let error = place.error(&[CONFIG]);
    assert!(error.contains("HTTP 429; it asks to wait 3600 s"), "{error}");
    assert_eq!(place.server.asked().len(), 1);
}

#[test]
fn steady_progress_is_no_failure_but_a_server_that_always_begins_again_is() {
    // More cuts than tries, each after more than a mebibyte of a larger file.
    let place = Place::new(answer);
    let big = Arc::new(vec![7u8; 8 << 20]);
    let (size, sum) = (big.len(), sha256(&big));
    let serve = move |ignore_ranges: bool| {
        let (big, sum) = (Arc::clone(&big), sum.clone());
        move |request: &Request| {
            if is_listing(request) {
                let file = format!(r#"{{"rfilename":"big","size":{size},"lfs":{{"sha256":"{sum}"}}}}"#);
                return Answer::new(200, format!(r#"{{"sha":"{COMMIT}","siblings":[{file}]}}"#));
            }
            let answer = match ignore_ranges {
                true => Answer::new(200, &**big),
                false => Answer::part(request, &big),
            };
            let cut = Some(answer.body.len().min(3 << 19));
            Answer { cut, ..answer }
        }
    };
    let place = place.then(serve(false));
    assert_eq!(place.ok(&["big"]).1, 8 << 20);
    assert_eq!(place.gets("big").len(), 6);
    std::fs::remove_dir_all(place.cache().path()).unwrap();
    let place = place.then(serve(true));
    let error = place.error(&["big"]);
    assert!(error.contains("times"), "{error}");
    assert!(place.gets("big").len() <= 5);
}

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let patience = Patience {
        tries: 2,
        pause: Duration::from_millis(1),
        silence: Duration::from_millis(200),
    };
    let hub = Hub::new(&url, None).unwrap().with_patience(patience);
    let error = hub.list(&REPO.parse().unwrap(), &mut |_| {}).unwrap_err().to_string();
    assert!(
        error.starts_with(&url) && error.contains("2 times") && error.contains("network"),
        "{error}"
    );
    // Somebody who takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let hub = Hub::new(&url, None).unwrap().with_patience(patience);
    let error = hub.list(&REPO.parse().unwrap(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("timeout"), "{error}");
}

#[test]
fn a_listing_without_sums_is_made_up_for_by_the_heads_of_the_files() {
    let place = Place::new(|request| match is_listing(request) {
        true => bare_listing(),
        false => answer(request),
    });
    assert_eq!(place.ok(&[CONFIG, WEIGHTS]).0, [config(), weights()]);
    assert!(place.blob(&sha256(&weights())).exists());
    assert_eq!(place.ok(&[CONFIG, WEIGHTS]).1, 0);
    assert_eq!(place.gets(WEIGHTS).len(), 1);
    // No tag, no file.
    let place = place.then(|request| match is_listing(request) {
        true => bare_listing(),
        false => answer(request).without("ETag"),
    });
    let error = place.error(&[CONFIG]);
    assert!(error.contains("no ETag"), "{error}");
}

/// A mirror whose files may change under a fixed name, with tags that are no sums.
fn changing(tag: impl Fn(&Request) -> usize + Send + Sync + 'static, cut: bool) -> Place {
    Place::new(move |request| {
        if is_listing(request) {
            return bare_listing();
        }
        let tag = tag(request);
        let bytes = vec![tag as u8; 1000 + tag];
        let answer = Answer::part(request, &bytes).with("ETag", format!("W/\"tag-{tag}\""));
        Answer {
            cut: (cut && tag == 0).then_some(500).filter(|_| request.from().is_none()),
            ..answer
        }
    })
}

#[test]
fn a_file_whose_tag_changes_on_its_way_is_begun_again() {
    // The head and the first 500 bytes are those of version 0; what follows is version 1.
    let n = AtomicUsize::new(0);
    let place = changing(move |_| usize::from(n.fetch_add(1, Ordering::SeqCst) >= 2), true);
    assert_eq!(place.ok(&[CONFIG]).0, [vec![1; 1001]]);
    assert_eq!(files(&place.blob("")), ["tag-1"]);
    let n = AtomicUsize::new(0);
    let place = changing(move |_| n.fetch_add(1, Ordering::SeqCst), false);
    let error = place.error(&[CONFIG]);
    assert!(error.contains("another one each time"), "{error}");
    assert_eq!(files(&place.blob("")), [] as [&str; 0]);
}

#[test]
fn in_a_directory_the_partial_file_of_an_older_version_goes() {
    let place = spoilt(|_, request, answer| match request.from() {
        None => Answer {
            cut: Some(500_000),
            ..answer
        },
        Some(_) => Answer::new(500, ""),
    });
    let dir = place.dir.path().join("dir");
    let pull = |place: &Place| place.pull_to(Destination::Directory(dir.clone()), REPO, &[WEIGHTS]).0;
    std::fs::create_dir(&dir).unwrap();
    let old = dir.join(format!("{WEIGHTS}.0123456789abcdef.incomplete"));
    std::fs::write(&old, "old").unwrap();
    std::fs::write(dir.join("notes.incomplete"), "mine").unwrap();
    pull(&place).unwrap_err();
    let part = format!("{WEIGHTS}.{}.incomplete", &sha256(&weights())[..16]);
    assert_eq!(files(&dir), [".pull.lock", &*part, "notes.incomplete"]);
    let place = place.then(answer);
    assert_eq!(pull(&place).unwrap().0[0].received, weights().len() as u64 - 500_000);
    assert_eq!(files(&dir), [".pull.lock", WEIGHTS, "notes.incomplete"]);
}

#[test]
fn two_pulls_at_once_fetch_once() {
    // The first to ask for the weights has to wait until the second one has had the time to begin.
    let waiting = Arc::new(Mutex::new(()));
    let gate = Arc::clone(&waiting);
    let place = Place::new(move |request| {
        if request.path.ends_with(WEIGHTS) {
            drop(gate.lock().unwrap());
        }
        answer(request)
    });
    for to_cache in [true, false] {
        let dir = place.dir.path().join("dir");
        let pull = || {
            let destination = match to_cache {
                true => Destination::Cache(place.cache()),
                false => Destination::Directory(dir.clone()),
            };
            let (pulled, events) = place.pull_to(destination, REPO, &[CONFIG, WEIGHTS]);
            let (fetched, at) = pulled.unwrap();
            assert_eq!(std::fs::read(at.join(WEIGHTS)).unwrap(), weights());
            let waited = events.iter().any(|event| event.starts_with("Waits"));
            (fetched[1].received, waited)
        };
        let held = waiting.lock().unwrap();
        let (first, second) = std::thread::scope(|scope| {
            let (first, second) = (scope.spawn(pull), scope.spawn(pull));
            std::thread::sleep(Duration::from_millis(300));
            drop(held);
            (first.join().unwrap(), second.join().unwrap())
        });
        let mut received = [first.0, second.0];
        received.sort_unstable();
        assert_eq!(received, [0, weights().len() as u64], "cache: {to_cache}");
        assert!(first.1 || second.1, "one waits for the other");
    }
}

#[test]
fn an_empty_file_needs_no_bytes() {
    let place = Place::new(|request| match is_listing(request) {
        true => {
            let file = format!(r#"{{"rfilename":"{CONFIG}","size":0,"blobId":"{}"}}"#, git_blob(b""));
            Answer::new(200, format!(r#"{{"sha":"{COMMIT}","siblings":[{file}]}}"#))
        }
        false => Answer::new(500, ""),
    });
    assert_eq!(place.ok(&[CONFIG]), (vec![vec![]], 0));
}

#[test]
fn a_connection_that_is_not_safe_is_not_tried_again() {
    // Somebody who does not speak TLS.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    let hub = Hub::new(&url, Some("t")).unwrap();
    let mut on_event = |event: Event<'_>| panic!("{event:?}");
    let error = hub.list(&REPO.parse().unwrap(), &mut on_event).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    answering.join().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roots.pem");
    std::fs::write(&file, "no certificate").unwrap();
    for path in [&file, &dir.path().join("nosuch")] {
        let error = Hub::new(&url, None).unwrap().with_roots(path).unwrap_err().to_string();
        assert!(error.starts_with("SSL_CERT_FILE cannot be used"), "{error}");
    }
}
