//! Just enough of URLs: whose they are, and where a redirect leads.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;

/// All but what RFC 3986 calls unreserved.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// One component of a path: a `/` in it is not one.
pub(crate) fn component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// A path of several components.
pub(crate) fn path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// Scheme, host and port: who a URL belongs to. `None` where it is not HTTP.
pub(crate) fn origin(url: &Uri) -> Option<(String, String, u16)> {
    let scheme = url.scheme_str()?.to_ascii_lowercase();
    let default = match &*scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let host = url.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
    Some((scheme, host, url.port_u16().unwrap_or(default)))
}

/// Where the `Location` of an answer leads, as RFC 3986 resolves it. `None` where that is not HTTP, or leaves HTTPS.
pub(crate) fn redirect(from: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let location = location.split('#').next()?.trim();
    let absolute = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.split(['/', '?']).next()?.contains(':') {
        location.to_owned()
    } else {
        let directory = from.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    let to: Uri = absolute.parse().ok()?;
    let kept = scheme.eq_ignore_ascii_case("http") || to.scheme_str()?.eq_ignore_ascii_case("https");
    (kept && origin(&to).is_some()).then_some(to)
}

/// A URL as it may be shown: without its query, where signatures are, and without user and password.
pub(crate) fn shown(url: &Uri) -> String {
    let port = url.port_u16().map_or(String::new(), |port| format!(":{port}"));
    let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default());
    crate::error::shown(&format!("{scheme}://{host}{port}{}", url.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let same = |a: &str, b: &str| origin(&uri(a)) == origin(&uri(b));
        assert!(same("https://hub.co/a", "https://HUB.co:443/b?c"));
        for other in [
            "http://hub.co",
            "https://hub.co:8443",
            "https://hub.co.evil.net",
            "https://hub.co@evil.net",
        ] {
            assert!(!same("https://hub.co", other), "{other}");
        }
        assert_eq!(origin(&uri("ftp://hub.co")), None);
        assert_eq!(origin(&uri("/relative")), None);
    }

    #[test]
    fn redirects_lead_on_but_never_out_of_https() {
        let from = uri("https://hub.co/a/resolve/main/x.bin?download=1");
        let to = |location: &str| redirect(&from, location).map(|uri| uri.to_string());
        for (location, expected) in [
            ("/api/x?y=1", "https://hub.co/api/x?y=1"),
            ("y.bin", "https://hub.co/a/resolve/main/y.bin"),
            ("https://cdn.net/z?sig=a:b#f", "https://cdn.net/z?sig=a:b"),
            ("//cdn.net/z", "https://cdn.net/z"),
            ("y?t=1:2", "https://hub.co/a/resolve/main/y?t=1:2"),
        ] {
            assert_eq!(to(location).as_deref(), Some(expected), "{location}");
        }
        for bad in [
            "http://hub.co/x",
            "ftp://hub.co/x",
            "file:///etc/passwd",
            "javascript:x",
            "https://",
            "ht tp://x",
        ] {
            assert_eq!(to(bad), None, "{bad}");
        }
        assert!(redirect(&uri("http://127.0.0.1:80/a"), "https://cdn.net/z").is_some());
    }

    #[test]
    fn names_are_encoded_and_secrets_not_shown() {
        assert_eq!(component("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(path("a b/가?.json"), "a%20b/%EA%B0%80%3F.json");
        assert_eq!(
            shown(&uri("https://me:pw@cdn.net:8443/x?Signature=1")),
            "https://cdn.net:8443/x"
        );
    }
}
