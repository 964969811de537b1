//! How answers are made, and bodies read.

use crate::body::Body;
use crate::fault::Fault;
use crate::state::State;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bodies of the largest size that find room together.
const BODIES: usize = 64;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// An answer of a type.
pub(crate) fn text(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An answer of JSON.
pub(crate) fn json(value: &Value) -> Response<Body> {
    written(value.to_string())
}

/// An answer of JSON that is text already.
pub(crate) fn written(json: String) -> Response<Body> {
    text("application/json", json)
}

/// An answer that comes as server-sent events.
pub(crate) fn events(body: Body) -> Response<Body> {
    let mut response = text("text/event-stream", body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A server-sent event; `data` is one line.
pub(crate) fn event(data: &str) -> Bytes {
    format!("data: {data}\n\n").into()
}

/// An error's answer.
pub(crate) fn fault(fault: &Fault) -> Response<Body> {
    let mut response = json(&fault.body());
    *response.status_mut() = fault.status;
    let headers = response.headers_mut();
    if let Some(seconds) = fault.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    match fault.status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // What is left of the body is not read.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// A body in memory, and what it takes of the memory for bodies.
pub(crate) struct Received {
    bytes: Vec<u8>,
    state: Arc<State>,
}

impl Received {
    /// Takes more, if there is room for it. Only what has come counts: whoever sends slowly takes nothing from others.
    fn extend(&mut self, more: &[u8]) -> Result<(), Fault> {
        let most = self.state.options.max_body;
        if self.bytes.len() + more.len() > most {
            return Err(large(most));
        }
        let before = self.state.body_bytes.fetch_add(more.len(), Ordering::Relaxed);
        self.bytes.extend_from_slice(more);
        match before + more.len() > BODIES * most {
            true => Err(Fault::busy()),
            false => Ok(()),
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.state.body_bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

fn large(most: usize) -> Fault {
    let message = format!("the body is larger than {most} bytes, the most that are read");
    Fault::request(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

/// A body, if it is small enough and comes in time.
pub(crate) async fn read(state: &Arc<State>, mut body: Incoming) -> Result<Received, Fault> {
    if body.size_hint().lower() > state.options.max_body as u64 {
        return Err(large(state.options.max_body));
    }
    let mut received = Received {
        bytes: Vec::new(),
        state: state.clone(),
    };
    let whole = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let message = format!("the body cannot be read: {error}");
                Fault::request(StatusCode::BAD_REQUEST, "invalid_body", message)
            })?;
            if let Some(bytes) = frame.data_ref() {
                received.extend(bytes)?;
            }
        }
        Ok(())
    };
    let seconds = state.options.body_timeout;
    match tokio::time::timeout(seconds, whole).await {
        Ok(read) => read.map(|()| received),
        Err(_) => {
            let message = format!("the body did not come within {} seconds", seconds.as_secs());
            Err(Fault::request(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        }
    }
}

/// Parses a body and does something with it where it stops nobody else: what is long to encode takes a while.
pub(crate) async fn blocking<T: Send + 'static>(
    body: Received,
    work: impl FnOnce(&State, &Value) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(move || {
        let value = serde_json::from_slice(&body.bytes).map_err(|error| {
            let message = format!("the body is no JSON: {error}");
            Fault::request(StatusCode::BAD_REQUEST, "invalid_json", message)
        })?;
        work(&body.state, &value)
    });
    done.await
        .unwrap_or_else(|_| Err(Fault::server("a bug of foretoken: the request could not be read")))
}
