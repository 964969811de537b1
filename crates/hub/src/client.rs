//! Requests to the hub: who is asked, with which token, and what an answer means.

use crate::answer::{About, Answer, header_text};
use crate::error::{Error, Result, shown};
use crate::name::{RepoId, Revision};
use crate::patience::{Patience, Tries};
use crate::url;
use foretoken_formats::json::read_bytes;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use ureq::http::{Response, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// Where the hub is unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// The hub needs two: to its cache, and on to where the bytes are.
const MAX_REDIRECTS: usize = 10;
/// The largest file of root certificates that is read; that of a system has some 250 KB.
const MAX_ROOTS: u64 = 1 << 24;

/// A server that speaks the Hugging Face hub's API.
///
/// Proxies are those of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
pub struct Hub {
    agent: Agent,
    /// Without a slash at its end.
    endpoint: String,
    origin: (String, String, u16),
    token: Option<String>,
    patience: Patience,
    roots: RootCerts,
}

impl fmt::Debug for Hub {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        let mut debug = f.debug_struct("Hub");
        debug
            .field("endpoint", &self.endpoint)
            .field("token", &token)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// The hub of `HF_ENDPOINT`, with the token of `HF_TOKEN`, trusted by the root certificates of `SSL_CERT_FILE` or else by
    /// Mozilla's, which are part of the binary.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn from_env() -> Result<Self> {
        let variable = |name| match std::env::var(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(Error::Setting {
                variable: name,
                reason: "it is not UTF-8".into(),
            }),
        };
        let endpoint = variable("HF_ENDPOINT")?;
        let hub = Self::new(
            endpoint.as_deref().unwrap_or(ENDPOINT),
            variable("HF_TOKEN")?.as_deref(),
        )?;
        match variable("SSL_CERT_FILE")? {
            Some(path) => hub.with_roots(Path::new(&path)),
            None => Ok(hub),
        }
    }

    /// A hub at a URL. The token goes to its scheme, host and port only, never to another one that it redirects to.
    ///
    /// # Errors
    /// [`Error::Setting`] for what is not an HTTP URL, and for a token that no header can hold.
    pub fn new(endpoint: &str, token: Option<&str>) -> Result<Self> {
        let endpoint = endpoint.trim().trim_end_matches('/');
        let parsed = endpoint.parse::<Uri>().ok().filter(|uri| uri.query().is_none());
        let Some(origin) = parsed.as_ref().and_then(url::origin) else {
            return Err(Error::Setting {
                variable: "HF_ENDPOINT",
                reason: format!("expected a URL like {ENDPOINT}, and it is {:?}", shown(endpoint)),
            });
        };
        let token = token.map(str::trim);
        if token.is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(Error::Setting {
                variable: "HF_TOKEN",
                reason: "a token is letters, digits and underscores on one line".into(),
            });
        }
        let (patience, roots) = (Patience::default(), RootCerts::WebPki);
        Ok(Self {
            agent: agent(&patience, &roots),
            endpoint: endpoint.to_owned(),
            origin,
            token: token.map(str::to_owned),
            patience,
            roots,
        })
    }

    /// Trusting the root certificates of a PEM file, and no others.
    ///
    /// # Errors
    /// [`Error::Setting`] for a file without any.
    pub fn with_roots(self, path: &Path) -> Result<Self> {
        let refuse = |reason: String| Error::Setting {
            variable: "SSL_CERT_FILE",
            reason,
        };
        let pem = read_bytes(path, MAX_ROOTS).map_err(|error| refuse(error.to_string()))?;
        let certificate = |item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        };
        let roots: Vec<_> = parse_pem(&pem).filter_map(certificate).collect();
        if roots.is_empty() {
            return Err(refuse(format!("{} holds no certificate in PEM form", path.display())));
        }
        let roots = RootCerts::from(roots);
        Ok(Self {
            agent: agent(&self.patience, &roots),
            roots,
            ..self
        })
    }

    /// With another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self {
            agent: agent(&patience, &self.roots),
            patience,
            ..self
        }
    }

    /// Counts attempts.
    pub(crate) fn tries(&self) -> Tries {
        Tries::new(self.patience)
    }

    /// Its URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Asks once, for the bytes from `from` on; follows redirects. Errors of the network are to be tried again.
    pub(crate) fn send(&self, method: Method, address: &str, from: u64) -> Result<Answer> {
        let bad = |url: String, message: &str| Error::Answer {
            url,
            message: message.into(),
        };
        let mut uri: Uri = address.parse().map_err(|_| bad(shown(address), "its URL is none"))?;
        let mut about = About::default();
        for _ in 0..=MAX_REDIRECTS {
            let own = url::origin(&uri).as_ref() == Some(&self.origin);
            let response = self.hop(method, &uri, own, from)?;
            if own {
                about.learn(&response);
            }
            if !response.status().is_redirection() {
                return Ok(Answer {
                    own,
                    about,
                    response,
                    uri,
                });
            }
            let next = header_text(&response, "location").and_then(|location| url::redirect(&uri, location));
            let Some(next) = next else {
                return Err(bad(
                    url::shown(&uri),
                    "it redirects to what is no URL, or away from HTTPS",
                ));
            };
            // The server of the bytes knows nothing of tags that the hub has not said already.
            if method == Method::Head && about.etag.is_some() && url::origin(&next).as_ref() != Some(&self.origin) {
                return Ok(Answer {
                    own,
                    about,
                    response,
                    uri,
                });
            }
            uri = next;
        }
        Err(bad(url::shown(&uri), "it redirects without an end"))
    }

    fn hop(&self, method: Method, uri: &Uri, own: bool, from: u64) -> Result<Response<Body>> {
        let mut request = match method {
            Method::Get => self.agent.get(uri),
            Method::Head => self.agent.head(uri),
        };
        // A compressed answer would have another length, and its ranges would be others.
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        if let (true, Some(token)) = (own, &self.token) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.call().map_err(|error| {
            let (url, message) = (url::shown(uri), shown(&error.to_string()));
            match error {
                // How rustls tells what it does not like, and what another try does not change.
                ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => Error::Tls { url, message },
                ureq::Error::Tls(_) | ureq::Error::Rustls(_) => Error::Tls { url, message },
                _ => Error::Network { url, message },
            }
        })
    }

    /// What an answer that is no success means for a repository, a revision or a file of it.
    pub(crate) fn refusal(&self, answer: &Answer, repo: &RepoId, revision: &Revision, file: Option<&str>) -> Error {
        let status = answer.status();
        let code = header_text(&answer.response, "x-error-code").unwrap_or_default();
        let repo = repo.to_string();
        match (status, file) {
            _ if !answer.own => {}
            (401 | 403, _) => {
                // Of a repository that is not there the hub says 401, too, to whoever shows no token.
                return match (&self.token, code) {
                    (None, "RepoNotFound") => self.no_repo(repo, "; a private one wants a token in HF_TOKEN"),
                    (token, code) => self.denied(repo, status, code == "GatedRepo", token.is_some()),
                };
            }
            (404, _) if code == "RevisionNotFound" => {
                return Error::NoRevision {
                    repo,
                    revision: revision.to_string(),
                };
            }
            (404, Some(name)) => {
                return Error::NoFile {
                    repo,
                    name: shown(name),
                    instead: String::new(),
                };
            }
            (404, None) => {
                let hint = match self.token {
                    Some(_) => ", or whether HF_TOKEN may see it",
                    None => "; a private one wants a token in HF_TOKEN",
                };
                return self.no_repo(repo, hint);
            }
            _ => {}
        }
        answer.error()
    }

    fn no_repo(&self, repo: String, hint: &'static str) -> Error {
        Error::NoRepo {
            endpoint: self.endpoint.clone(),
            repo,
            hint,
        }
    }

    fn denied(&self, repo: String, status: u16, gated: bool, token: bool) -> Error {
        let page = format!("{}/{repo}", self.endpoint);
        let help = match (gated, token) {
            (true, false) => format!("it is gated: accept its terms at {page}, and set HF_TOKEN to a token of yours"),
            (true, true) => format!("it is gated: accept its terms at {page} with the account of HF_TOKEN"),
            (false, false) => "it is private, gated or misspelt: set HF_TOKEN to a token that may read it".into(),
            (false, true) => "HF_TOKEN is wrong or may not read it".into(),
        };
        Error::Denied { repo, status, help }
    }
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
}

fn agent(patience: &Patience, roots: &RootCerts) -> Agent {
    let wait = Some(patience.silence);
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // Followed here: a token must not, and what the hub says of a file comes with its own answers only.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .tls_config(TlsConfig::builder().root_certs(roots.clone()).build())
        .timeout_resolve(wait)
        .timeout_connect(wait)
        .timeout_send_request(wait)
        .timeout_recv_response(wait)
        .timeout_per_read(wait)
        .user_agent(concat!("foretoken/", env!("CARGO_PKG_VERSION")));
    Agent::new_with_config(config.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_and_tokens() {
        for good in ["https://huggingface.co", "http://127.0.0.1:80/", " https://a.b/c/d/ "] {
            let hub = Hub::new(good, None).unwrap();
            assert!(!hub.endpoint().ends_with('/') && !hub.endpoint().starts_with(' '));
        }
        for bad in [
            "",
            "huggingface.co",
            "ftp://a.b",
            "https://",
            "https://a.b/?c=d",
            "not a url",
        ] {
            let error = Hub::new(bad, None).unwrap_err().to_string();
            assert!(error.starts_with("HF_ENDPOINT"), "{bad}: {error}");
        }
        for bad in ["a b", "a\nAuthorization: x", "토큰"] {
            let error = Hub::new(ENDPOINT, Some(bad)).unwrap_err().to_string();
            assert!(error.starts_with("HF_TOKEN") && !error.contains(bad), "{error}");
        }
        let hub = Hub::new(ENDPOINT, Some(" hf_secret\n")).unwrap();
        assert_eq!(hub.token.as_deref(), Some("hf_secret"));
        assert!(!format!("{hub:?}").contains("secret"));
    }
}
