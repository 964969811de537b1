//! How answers are made, and bodies read.

use crate::body::Body;
use crate::fault::Fault;
use crate::state::State;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;

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
    text("application/json", value.to_string())
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

/// A body, if it is small enough and comes in time.
pub(crate) async fn read(state: &State, body: Incoming) -> Result<Bytes, Fault> {
    let most = state.options.max_body;
    let large = || {
        let message = format!("the body is larger than {most} bytes, the most that are read");
        Fault::request(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    };
    if body.size_hint().lower() > most as u64 {
        return Err(large());
    }
    let seconds = state.options.body_timeout;
    match tokio::time::timeout(seconds, Limited::new(body, most).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(large()),
        Ok(Err(error)) => {
            let message = format!("the body cannot be read: {error}");
            Err(Fault::request(StatusCode::BAD_REQUEST, "invalid_body", message))
        }
        Err(_) => {
            let message = format!("the body did not come within {} seconds", seconds.as_secs());
            Err(Fault::request(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        }
    }
}

/// Parses a body and does something with it where it stops nobody else: what is long to encode takes a while.
pub(crate) async fn blocking<T: Send + 'static>(
    state: &Arc<State>,
    body: Bytes,
    work: impl FnOnce(&State, &Value) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let state = state.clone();
    let done = tokio::task::spawn_blocking(move || {
        let value = serde_json::from_slice(&body).map_err(|error| {
            let message = format!("the body is no JSON: {error}");
            Fault::request(StatusCode::BAD_REQUEST, "invalid_json", message)
        })?;
        work(&state, &value)
    });
    done.await
        .unwrap_or_else(|_| Err(Fault::server("a bug of foretoken: the request could not be read")))
}
