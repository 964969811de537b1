//! Who may ask: before anything of a request is read but its headers.

use crate::fault::Fault;
use crate::options::Options;
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode, Version, header};
use std::net::IpAddr;

/// Refuses hosts and origins that are not ours, and those without a key; says which key it was. What is `open` needs none.
pub(crate) fn check(parts: &Parts, options: &Options, open: bool) -> Result<Option<usize>, Fault> {
    let host = host(parts)?;
    if let Some(host) = &host
        && !is_allowed(host, &options.allowed_hosts)
    {
        let message = format!("the host {host:?} is not served here: --allow-host adds names");
        return Err(Fault::request(StatusCode::FORBIDDEN, "host_not_allowed", message));
    }
    origin(&parts.headers, host.as_deref())?;
    if options.keys.is_empty() || open {
        return Ok(None);
    }
    let given = one(&parts.headers, header::AUTHORIZATION)?.unwrap_or_default();
    let key = match given.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => options.keys.find(key.trim()),
        _ => {
            return Err(Fault::unauthorized(
                "no API key was given: expected `Authorization: Bearer KEY`",
            ));
        }
    };
    match key {
        None => Err(Fault::unauthorized("this API key is not known here")),
        key => Ok(key),
    }
}

/// Whom the client thinks to talk to. HTTP/1.0 need not say.
fn host(parts: &Parts) -> Result<Option<String>, Fault> {
    let named = match parts.uri.authority() {
        Some(authority) => Some(authority.to_string()),
        None => one(&parts.headers, header::HOST)?.map(str::to_owned),
    };
    match named {
        None if parts.version != Version::HTTP_10 => {
            let message = "the Host header is missing";
            Err(Fault::request(StatusCode::BAD_REQUEST, "invalid_header", message))
        }
        named => Ok(named),
    }
}

/// A page whose name was made to point here still says that name. Numbers are nobody's name.
fn is_allowed(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        // An IPv6 address in brackets.
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => address,
            Some((address, port)) if is_port(port) => address,
            _ => return false,
        },
        None => match host.rsplit_once(':') {
            Some((name, port)) if is_port(&format!(":{port}")) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Browsers say which page asks. Only pages from here may: others' are refused, not just their answers hidden.
fn origin(headers: &HeaderMap, host: Option<&str>) -> Result<(), Fault> {
    let Some(origin) = one(headers, header::ORIGIN)? else {
        return Ok(());
    };
    let place = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    match (place, host) {
        (Some(place), Some(host)) if place.eq_ignore_ascii_case(host) => Ok(()),
        _ => {
            let message = format!("pages of {origin:?} may not ask this server");
            Err(Fault::request(StatusCode::FORBIDDEN, "origin_not_allowed", message))
        }
    }
}

/// A header that may stand there once.
fn one(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, Fault> {
    let wrong = |what: &str| {
        let message = format!("the header {name} {what}");
        Fault::request(StatusCode::BAD_REQUEST, "invalid_header", message)
    };
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(wrong("is given twice"));
    }
    value.to_str().map(Some).map_err(|_| wrong("is not ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use hyper::Request;

    fn status(headers: &[(&str, &str)], options: &Options) -> u16 {
        let mut request = Request::builder().uri("/v1/models");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, options, false).map_or_else(|fault| fault.status.as_u16(), |_| 200)
    }

    #[test]
    fn only_our_own_names_are_answered_to() {
        let mut options = Options::default();
        let host = |name: &str| status(&[("host", name)], &options);
        for ours in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.:80",
            "127.0.0.1:1",
            "10.0.0.7",
            "[::1]:8080",
            "[::1]",
        ] {
            assert_eq!(host(ours), 200, "{ours}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "",
            "[::1",
            "[::1]x",
            "a:b",
            "localhost:99999",
        ] {
            assert_eq!(host(foreign), 403, "{foreign:?}");
        }
        options.allowed_hosts = vec!["gpt.example".into()];
        assert_eq!(status(&[("host", "GPT.example:443")], &options), 200);
        assert_eq!(status(&[], &options), 400);
        assert_eq!(status(&[("host", "localhost"), ("host", "localhost")], &options), 400);
    }

    #[test]
    fn pages_from_elsewhere_are_refused() {
        let options = Options::default();
        let origin = |origin: &str| status(&[("host", "localhost:80"), ("origin", origin)], &options);
        assert_eq!(origin("http://localhost:80"), 200);
        for foreign in [
            "null",
            "http://evil.example",
            "http://localhost:81",
            "file://",
            "http://localhost:80.evil.example",
        ] {
            assert_eq!(origin(foreign), 403, "{foreign}");
        }
    }

    #[test]
    fn a_key_is_asked_of_everybody_where_there_is_one() {
        let options = Options {
            keys: Keys::new(["right", "other"]),
            ..Options::default()
        };
        let given = |value: &str| status(&[("host", "localhost"), ("authorization", value)], &options);
        assert_eq!((given("Bearer right"), given("bearer  other")), (200, 200));
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            "Basic right",
            "right",
            "Bearer right other",
        ] {
            assert_eq!(given(wrong), 401, "{wrong}");
        }
        assert_eq!(status(&[("host", "localhost")], &options), 401);
    }
}
