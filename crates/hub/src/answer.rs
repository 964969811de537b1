//! What an answer of a server says beside its bytes.

use crate::error::{Error, shown};
use crate::url;
use std::time::Duration;
use ureq::Body;
use ureq::http::{Response, Uri};

/// What the hub itself says of a file on the way to its bytes: `X-Linked-Etag` and `X-Linked-Size` where they lie elsewhere,
/// `ETag` and `Content-Length` else. <https://huggingface.co/docs/hub/local-cache> has what the tags are.
#[derive(Debug, Default)]
pub(crate) struct About {
    pub(crate) etag: Option<String>,
    pub(crate) size: Option<u64>,
}

impl About {
    pub(crate) fn learn(&mut self, response: &Response<Body>) {
        let number = |name: &str| header_text(response, name)?.trim().parse::<u64>().ok();
        let (here, whole) = (response.status().is_success(), response.status().as_u16() == 200);
        // What was said of the file before counts more than what the last answer says of itself.
        let etag = || header_text(response, "etag").filter(|_| here).and_then(plain_etag);
        let linked = header_text(response, "x-linked-etag").and_then(plain_etag);
        self.etag = linked.or(self.etag.take()).or_else(etag);
        let size = || number("content-length").filter(|_| whole);
        self.size = number("x-linked-size").or(self.size).or_else(size);
    }
}

/// An answer after all redirects.
pub(crate) struct Answer {
    /// Whether the hub itself gave it.
    pub(crate) own: bool,
    pub(crate) about: About,
    pub(crate) response: Response<Body>,
    pub(crate) uri: Uri,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Its URL as it may be shown.
    pub(crate) fn url(&self) -> String {
        url::shown(&self.uri)
    }

    /// The seconds of `Retry-After`, or of the hub's own `RateLimit: "api";r=0;t=55`: t until something remains. A date is not
    /// read.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let after = header_text(&self.response, "retry-after").map(str::trim);
        let limit = || {
            let mut items = header_text(&self.response, "ratelimit")?.split([';', ',']);
            items.find_map(|item| item.trim().strip_prefix("t="))
        };
        let seconds: u64 = after.or_else(limit)?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// Whether the same question may have another answer later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.status(), 408 | 429 | 500..=599)
    }

    /// It as an error.
    pub(crate) fn error(&self) -> Error {
        let said = header_text(&self.response, "x-error-message");
        Error::Status {
            url: self.url(),
            status: self.status(),
            message: said.map_or(String::new(), |said| format!(": {}", shown(said))),
        }
    }
}

/// A header, where it is there and text.
pub(crate) fn header_text<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// A tag without its quotes, where it can name a file.
fn plain_etag(etag: &str) -> Option<String> {
    let etag = etag.trim();
    let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    ((1..=128).contains(&etag.len()) && etag.bytes().all(allowed)).then(|| etag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_names() {
        assert_eq!(plain_etag("\"abc-1\"").as_deref(), Some("abc-1"));
        assert_eq!(plain_etag("W/\"abc\"").as_deref(), Some("abc"));
        for bad in ["", "\"\"", "\"../x\"", "a/b", "a.b", &"a".repeat(129)] {
            assert_eq!(plain_etag(bad), None, "{bad}");
        }
    }
}
