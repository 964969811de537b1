//! The page: files that lie in this binary, and nothing that they need from elsewhere.
//!
//! They hold no secret, so they are given without a key; what they ask for then needs one.

use crate::body::Body;
use crate::fault::Fault;
use crate::respond;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use std::sync::LazyLock;

/// What the page may load, and from where: itself alone. Nobody shows it in a frame, and no text becomes a script.
const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct Asset {
    /// Below `/page/`.
    path: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($path:literal,)*) => {
        [$(Asset { path: $path, bytes: include_bytes!(concat!("../page/", $path)) },)*]
    };
}

/// All of them; a test compares the list with the folder.
static ASSETS: &[Asset] = &assets![
    "icon.svg",
    "index.html",
    "key.js",
    "lib/api.js",
    "lib/colour.js",
    "lib/dom.js",
    "lib/place.js",
    "lib/table.js",
    "lib/visible.js",
    "lib/words.js",
    "look/attention.js",
    "look/card.js",
    "look/chips.js",
    "look/costs.js",
    "look/embed.js",
    "look/head.js",
    "look/heat.js",
    "look/inside.js",
    "look/look.css",
    "look/look.js",
    "look/neurons.js",
    "look/next.js",
    "look/numbers.js",
    "look/parts.js",
    "look/pattern.js",
    "look/reading.js",
    "look/shape.js",
    "look/side.js",
    "look/sizes.js",
    "look/stream.js",
    "look/tokens.js",
    "look/walk.js",
    "look/why.js",
    "look/words.js",
    "page.js",
    "play/chat.js",
    "play/chips.js",
    "play/choices.js",
    "play/complete.js",
    "play/play.css",
    "play/play.js",
    "play/samplers.js",
    "play/state.js",
    "play/status.js",
    "play/words.js",
    "play/writer.js",
    "runs/axis.js",
    "runs/chart.js",
    "runs/config.js",
    "runs/curves.js",
    "runs/facts.js",
    "runs/list.js",
    "runs/probes.js",
    "runs/runs.css",
    "runs/runs.js",
    "runs/samples.js",
    "runs/say.js",
    "runs/store.js",
    "runs/words.js",
    "style.css",
    "theme.js",
    "words.js",
];

/// What tells a browser whether it has a file already.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let tag = |asset: &Asset| {
        let sum = blake3::hash(asset.bytes).to_hex();
        HeaderValue::from_str(&format!("\"{}\"", &sum[..32])).expect("hexadecimal digits")
    };
    ASSETS.iter().map(tag).collect()
});

/// A file by its path below `/page/`; of `/` itself, nothing, the page.
pub(crate) fn file(path: &str, headers: &HeaderMap) -> Result<Response<Body>, Fault> {
    let path = if path.is_empty() { "index.html" } else { path };
    let Some(index) = ASSETS.iter().position(|asset| asset.path == path) else {
        let message = "the page has no such file";
        return Err(Fault::request(StatusCode::NOT_FOUND, "not_found", message));
    };
    let tag = &TAGS[index];
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|given| given.trim().trim_start_matches("W/"))
        .any(|given| given == "*" || given.as_bytes() == tag.as_bytes());
    let mut response = match known {
        true => respond::text(content_type(path), Body::Whole(None)),
        false => respond::text(content_type(path), Bytes::from_static(ASSETS[index].bytes)),
    };
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag.clone());
    // Another version of the server has another page: it is asked each time, and mostly says that nothing is new.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => unreachable!("a file of the page of an unknown type: {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    /// Bytes of the whole page at most.
    const MOST: usize = 400_000;

    /// All files below a folder, by their paths from `root`.
    fn below(root: &Path, folder: &Path, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(root, &path, into);
            } else {
                let parts: Vec<_> = path.strip_prefix(root).unwrap().iter().collect();
                let parts: Vec<_> = parts.iter().map(|part| part.to_str().unwrap()).collect();
                into.insert(parts.join("/"));
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_together_they_are_small() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let mut files = BTreeSet::new();
        below(&folder, &folder, &mut files);
        let listed: Vec<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
        assert_eq!(
            listed,
            files.into_iter().collect::<Vec<_>>(),
            "page.rs lists them in order"
        );
        let bytes: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(bytes <= MOST, "the page has {bytes} bytes: at most {MOST}");
        for asset in ASSETS {
            content_type(asset.path);
        }
    }

    /// The keys of `export const NAME = { "key": …`: words.js keeps each on a line of its own, as a string.
    fn keys(file: &str, name: &str) -> BTreeMap<String, String> {
        let begin = format!("export const {name} = {{");
        let (_, rest) = file.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (body, _) = rest.split_once("\n};").expect("its end");
        let line = |line: &str| {
            let (key, value) = line.trim().strip_prefix('"')?.split_once("\":")?;
            Some((key.to_owned(), value.trim().to_owned()))
        };
        body.lines().filter_map(line).collect()
    }

    /// The places of a text, as {n}, and of a function the names it takes.
    fn places(text: &str) -> BTreeSet<&str> {
        let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        names.flat_map(|(names, _)| names.split(',')).map(str::trim).collect()
    }

    #[test]
    fn both_languages_say_the_same_things() {
        let mut checked = 0;
        for asset in ASSETS {
            if !asset.path.ends_with("words.js") || asset.path == "lib/words.js" {
                continue;
            }
            let file = std::str::from_utf8(asset.bytes).unwrap();
            let (en, ko) = (keys(file, "en"), keys(file, "ko"));
            let of = |words: &BTreeMap<String, String>| words.keys().cloned().collect::<Vec<_>>();
            assert_eq!(of(&en), of(&ko), "{}", asset.path);
            assert!(en.len() > 5, "{}", asset.path);
            for (key, text) in &en {
                // A function may choose its words by a number in one language alone.
                if !text.starts_with('(') {
                    assert_eq!(places(text), places(&ko[key]), "{} {key}", asset.path);
                }
            }
            checked += 1;
        }
        assert!(checked > 0);
    }

    #[test]
    fn no_file_asks_for_something_from_elsewhere_or_makes_html_of_text() {
        for asset in ASSETS {
            let file = std::str::from_utf8(asset.bytes).unwrap();
            // The name of a namespace is no address that anybody goes to.
            let file = file.replace("http://www.w3.org/2000/svg", "");
            for never in [
                "http://",
                "https://",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ] {
                assert!(!file.contains(never), "{} has {never}", asset.path);
            }
        }
    }
}
