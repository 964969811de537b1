//! What is served where. The table is also what the OpenAPI document is written from.

use crate::body::Body;
use crate::fault::Fault;
use crate::plan::Kind;
use crate::state::State;
use crate::ticket::Ticket;
use crate::{generate, guard, lens, openapi, page, respond, runs, size, tokens};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Page,
    Health,
    Metrics,
    OpenApi,
    Models,
    Model,
    Texts(Kind),
    Tokenize,
    Detokenize,
    TokenizerInfo,
    Lens,
    Size,
    Runs(runs::Ask),
    Probe,
}

impl Does {
    /// What is answered without a key: nothing of a model is in it.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Does::Page | Does::Health)
    }
}

/// A method and a path.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) post: bool,
    /// A name in braces at its end stands for the rest of the path, before its end for one part of it.
    pub(crate) path: &'static str,
    pub(crate) does: Does,
    pub(crate) summary: &'static str,
}

const fn get(path: &'static str, does: Does, summary: &'static str) -> Route {
    Route {
        post: false,
        path,
        does,
        summary,
    }
}

const fn post(path: &'static str, does: Does, summary: &'static str) -> Route {
    Route {
        post: true,
        path,
        does,
        summary,
    }
}

/// All there is.
pub(crate) const ROUTES: [Route; 19] = [
    get("/", Does::Page, "The page, for a browser"),
    get("/page/{file}", Does::Page, "The files that it is made of"),
    get(
        "/health",
        Does::Health,
        "Whether all models can be asked; 503 while they cannot",
    ),
    get("/metrics", Does::Metrics, "Counters for Prometheus"),
    get("/openapi.json", Does::OpenApi, "This document"),
    get("/v1/models", Does::Models, "The models that are served"),
    get("/v1/models/{model}", Does::Model, "One of them"),
    post(
        "/v1/completions",
        Does::Texts(Kind::Completion),
        "The texts that follow prompts, with log-probabilities if asked",
    ),
    post(
        "/v1/chat/completions",
        Does::Texts(Kind::Chat),
        "The answers to a conversation",
    ),
    post("/tokenize", Does::Tokenize, "The tokens of a text or of a conversation"),
    post("/detokenize", Does::Detokenize, "The text of tokens"),
    get(
        "/tokenizer_info",
        Does::TokenizerInfo,
        "What a client needs to know of a model's tokeniser",
    ),
    post(
        "/lens/{view}",
        Does::Lens,
        "What happens inside of a model: shape, tokens, embed, attn, stream, why, next or neurons",
    ),
    post(
        "/size",
        Does::Size,
        "The sizes of a model that is served, or of one with other numbers: parameters, memory, flops, and what fits",
    ),
    get(
        "/runs",
        Does::Runs(runs::Ask::List),
        "The runs that can be watched, each in a row",
    ),
    get(
        "/runs/{run}",
        Does::Runs(runs::Ask::Run),
        "A run: its curves in buckets, config, data and checkpoints",
    ),
    get(
        "/runs/{run}/steps",
        Does::Runs(runs::Ask::Steps),
        "The steps of a run from one on, that one among them",
    ),
    get(
        "/runs/{run}/samples",
        Does::Runs(runs::Ask::Samples),
        "What a run wrote while it trained",
    ),
    post(
        "/runs/{run}/probe",
        Does::Probe,
        "What a checkpoint of a run does with a text",
    ),
];

/// The route of a path, and what stands in its braces.
fn find(path: &str) -> Option<(&'static Route, &str)> {
    let exact = ROUTES.iter().find(|route| route.path == path && !path.contains('{'));
    if let Some(route) = exact {
        return Some((route, ""));
    }
    let under = |route: &'static Route| {
        let (start, name) = route.path.split_once('{')?;
        let (_, end) = name.split_once('}')?;
        let rest = path.strip_prefix(start)?.strip_suffix(end)?;
        let is_one = end.is_empty() || !rest.contains('/');
        (is_one && !rest.is_empty() && !rest.contains('{')).then_some((route, rest))
    };
    // The longest that fits: /runs/{run}/steps is no run called a/steps.
    ROUTES
        .iter()
        .filter_map(under)
        .max_by_key(|(route, _)| route.path.len())
}

/// Answers a request, whatever it is. It counts from here on, also where its client has left before anything is done for it.
pub(crate) fn handle(
    state: Arc<State>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Body>> + Send {
    let (parts, body) = request.into_parts();
    let path = find(parts.uri.path()).map_or("?", |(route, _)| route.path);
    let mut ticket = Some(Ticket::new(state.clone(), peer, parts.method.as_str(), path));
    async move {
        let answered = dispatch(&state, &parts, body, &mut ticket).await;
        let response = answered.unwrap_or_else(|fault| respond::fault(&fault));
        // A stream has taken it along.
        if let Some(ticket) = &mut ticket {
            ticket.status(response.status().as_u16());
        }
        response
    }
}

async fn dispatch(
    state: &Arc<State>,
    parts: &Parts,
    body: Incoming,
    ticket: &mut Option<Ticket>,
) -> Result<Response<Body>, Fault> {
    let found = find(parts.uri.path());
    let open = found.is_some_and(|(route, _)| route.does.is_open());
    let key = guard::check(parts, &state.options, open)?;
    let Some((route, rest)) = found else {
        let message = "there is nothing at this path: /openapi.json lists what there is";
        return Err(Fault::request(StatusCode::NOT_FOUND, "not_found", message));
    };
    let fits = match route.post {
        true => parts.method == Method::POST,
        false => parts.method == Method::GET || parts.method == Method::HEAD,
    };
    if !fits {
        let method = if route.post { "POST" } else { "GET" };
        let message = format!("{} is asked with {method}", route.path);
        return Err(Fault::request(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        ));
    }
    if let Does::Runs(ask) = route.does {
        return runs::answer(state, ask, decoded(rest), query(parts, "from")).await;
    }
    if !route.post {
        return look_up(state, parts, route.does, rest);
    }
    let body = respond::read(state, body).await?;
    match route.does {
        Does::Texts(kind) => generate::answer(state, kind, body, key, ticket).await,
        Does::Lens => lens::answer(rest, body).await,
        Does::Size => respond::blocking(body, size::size).await.map(respond::written),
        Does::Probe => runs::probe(state, decoded(rest), body).await,
        Does::Tokenize => respond::blocking(body, tokens::tokenize).await.map(respond::written),
        _ => respond::blocking(body, tokens::detokenize).await.map(respond::written),
    }
}

/// What needs no body.
fn look_up(state: &State, parts: &Parts, does: Does, rest: &str) -> Result<Response<Body>, Fault> {
    Ok(match does {
        Does::Page => page::file(rest, &parts.headers)?,
        Does::Health => health(state),
        Does::Metrics => {
            let page = state.metrics.page(state.models.iter().map(|model| &**model));
            respond::text("text/plain; version=0.0.4; charset=utf-8", page)
        }
        Does::Models => {
            let list: Vec<Value> = state.models.iter().map(|model| model_object(model)).collect();
            respond::json(&json!({ "object": "list", "data": list }))
        }
        Does::Model => respond::json(&model_object(&*state.named(&decoded(rest))?)),
        Does::TokenizerInfo => {
            let model = query(parts, "model");
            respond::json(&tokens::info(state, model.as_deref())?)
        }
        _ => respond::json(&openapi::document()),
    })
}

/// A value of the address's query.
fn query(parts: &Parts, name: &str) -> Option<String> {
    let mut pairs = parts.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(given, _)| *given == name).map(|(_, value)| decoded(value))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

fn health(state: &State) -> Response<Body> {
    let loading: Vec<&str> = state
        .models
        .iter()
        .filter(|model| !model.is_loaded())
        .map(|model| model.name.as_str())
        .collect();
    let (status, ready) = match (state.draining.load(Ordering::Relaxed), loading.is_empty()) {
        (true, _) => ("draining", false),
        (false, false) => ("loading", false),
        (false, true) => ("ok", true),
    };
    let mut response = respond::json(&json!({ "status": status, "loading": loading }));
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(header::RETRY_AFTER, 1.into());
    }
    response
}

fn model_object(model: &crate::model::Model) -> Value {
    let context = model.loaded().ok().map(|loaded| loaded.context());
    json!({
        "id": model.name, "object": "model", "created": model.created, "owned_by": "foretoken", "max_model_len": context,
    })
}
