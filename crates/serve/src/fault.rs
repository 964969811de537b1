//! What a client is told went wrong, in OpenAI's form.

use hyper::StatusCode;
use serde_json::{Value, json};

/// A request that is not answered as it was meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// `error.type`.
    kind: &'static str,
    /// The field that is wrong.
    param: Option<String>,
    code: Option<&'static str>,
    /// Seconds after which it is worth trying again.
    pub(crate) retry_after: Option<u32>,
}

impl Fault {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            kind,
            param: None,
            code,
            retry_after: None,
        }
    }

    /// The client's mistake: 400, or another status of that kind.
    pub(crate) fn request(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", Some(code), message)
    }

    /// A field with a wrong value.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        let fault = Self::request(StatusCode::BAD_REQUEST, "invalid_value", message);
        fault.at(param)
    }

    /// Something that is meant for a field.
    pub(crate) fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Prompt and answer do not fit the context.
    pub(crate) fn too_long(param: &str, message: String) -> Self {
        Self::request(StatusCode::BAD_REQUEST, "context_length_exceeded", message).at(param)
    }

    /// Nobody may do that without a key.
    pub(crate) fn unauthorized(message: &str) -> Self {
        let kind = "authentication_error";
        Self::new(StatusCode::UNAUTHORIZED, kind, Some("invalid_api_key"), message)
    }

    /// More than is taken in.
    pub(crate) fn busy() -> Self {
        let mut fault = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_error",
            Some("rate_limit_exceeded"),
            "as many texts wait as may wait: try again later",
        );
        fault.retry_after = Some(1);
        fault
    }

    /// Not now: models are being opened, or the server is on its way out.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        let mut fault = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "server_error",
            Some("unavailable"),
            message,
        );
        fault.retry_after = Some(5);
        fault
    }

    /// A deadline has passed.
    pub(crate) fn late(seconds: u64) -> Self {
        let message = format!("no answer within {seconds} seconds: ask for less, or raise --timeout");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout_error", Some("timeout"), message)
    }

    /// Ours.
    pub(crate) fn server(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", None, message)
    }

    /// The body.
    pub(crate) fn body(&self) -> Value {
        json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        } })
    }
}
