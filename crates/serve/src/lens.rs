//! `/lens/{view}`: what happens inside of a model, in the JSON of `foretoken lens VIEW --json`.

use crate::body::Body;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::parameters;
use crate::respond::{self, Received};
use crate::worker::Work;
use foretoken::lens::Weighing;
use foretoken::look::{Granularity, Look};
use foretoken::{Error, Gpt};
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::oneshot;

/// The views there are.
pub(crate) const VIEWS: [&str; 8] = ["shape", "tokens", "embed", "attn", "stream", "why", "next", "neurons"];

/// Tokens of a text that is looked at: a head's pattern has a number for each pair.
const LONGEST: usize = 1024;
/// Cells of a head's small map, a side.
const SMALL_MAP: usize = 16;
/// Positions whose stream is read, and how many unless said.
const MOST_POSITIONS: usize = 64;
const POSITIONS: usize = 12;

/// Answers with a view. The model's thread makes it between two tokens of the texts under way, which wait for it.
pub(crate) async fn answer(view: &str, body: Received) -> Result<Response<Body>, Fault> {
    let Some(view) = VIEWS.iter().copied().find(|known| *known == view) else {
        let message = format!("there is no such view: expected one of {}", VIEWS.join(", "));
        return Err(Fault::request(StatusCode::NOT_FOUND, "not_found", message));
    };
    let (model, body) = respond::blocking(body, |state, body| {
        let model = state.model(&Fields::top(body)?)?;
        model.loaded()?;
        Ok((model, body.clone()))
    })
    .await?;
    let _place = model.places.clone().try_acquire_owned().map_err(|_| Fault::busy())?;
    let (tell, told) = oneshot::channel();
    let name = model.name.clone();
    model.send(Work::Look(Box::new(move |gpt| {
        // Whoever has left wants no view.
        if !tell.is_closed() {
            let _ = tell.send(look(view, &body, gpt, &name));
        }
    })))?;
    let seen = told
        .await
        .unwrap_or_else(|_| Err(Fault::server("the thread of the model has failed")));
    seen.map(respond::written)
}

fn look(view: &str, body: &Value, gpt: &Gpt, name: &str) -> Result<String, Fault> {
    let fields = Fields::top(body)?;
    let text = fields.required("text")?;
    let text = text.as_str().ok_or_else(|| fields.wrong("text", "a string"))?;
    let look = gpt.look(text).map_err(fault)?.naming_model(name);
    if look.ids().len() > LONGEST {
        let message = format!("the text has {} tokens: expected at most {LONGEST}", look.ids().len());
        return Err(Fault::field("text", message));
    }
    let whole =
        |field: &str, most: u64, unless: usize| Ok(fields.whole(field, 0..=most)?.map_or(unless, |n| n as usize));
    match view {
        "shape" => json(look.shape()),
        "tokens" => json(look.tokens(granularity(&fields)?)),
        "embed" => json(Ok(look.embedding(whole("nearest", 50, 8)?))),
        "attn" => attention(&fields, &look),
        "stream" => json(look.stream(&positions(&fields, &look)?, whole("top", 50, 5)?)),
        "why" => why(&fields, &look),
        "next" => json(look.next(
            position(&fields, &look)?,
            parameters::sampling(&fields)?,
            whole("top", 200, 20)?,
        )),
        _ => {
            let layers = gpt.model().dims().n_layer;
            let layer = whole("layer", layers as u64 - 1, layers / 2)?;
            json(look.neurons(layer, whole("count", 100, 10)?, whole("contexts", 20, 5)?))
        }
    }
}

fn json<V: serde::Serialize>(seen: Result<V, Error>) -> Result<String, Fault> {
    serde_json::to_string(&seen.map_err(fault)?).map_err(|error| Fault::server(error.to_string()))
}

fn attention(fields: &Fields<'_>, look: &Look<'_>) -> Result<String, Fault> {
    let expected = "[layer, head]";
    let head = match fields.get("head") {
        None => return json(look.attention(SMALL_MAP)),
        Some(Value::Array(pair)) if pair.len() == 2 => (pair[0].as_u64(), pair[1].as_u64()),
        Some(_) => return Err(fields.wrong("head", expected)),
    };
    let (Some(layer), Some(head)) = head else {
        return Err(fields.wrong("head", expected));
    };
    let cells = match fields.string("cells")? {
        None | Some("weight") => Weighing::Weight,
        Some("value") => Weighing::Value,
        Some("score") => Weighing::Score,
        Some(_) => return Err(fields.wrong("cells", "weight, value or score")),
    };
    json(look.head(layer as usize, head as usize, cells, granularity(fields)?))
}

fn granularity(fields: &Fields<'_>) -> Result<Granularity, Fault> {
    match fields.string("by")? {
        None | Some("token") => Ok(Granularity::Token),
        Some("syllable") => Ok(Granularity::Syllable),
        Some("word") => Ok(Granularity::Word),
        Some(_) => Err(fields.wrong("by", "token, syllable or word")),
    }
}

/// `at`: positions that may count from the end; the last ones unless given.
fn positions(fields: &Fields<'_>, look: &Look<'_>) -> Result<Vec<usize>, Fault> {
    let t = look.ids().len();
    let Some(value) = fields.get("at") else {
        return Ok((t.saturating_sub(POSITIONS)..t).collect());
    };
    let wrong = || fields.wrong("at", &format!("a list of 1 to {MOST_POSITIONS} positions, as [0, -1]"));
    let list = value
        .as_array()
        .filter(|list| (1..=MOST_POSITIONS).contains(&list.len()));
    let position = |value: &Value| look.position(value.as_i64().ok_or_else(wrong)? as isize).map_err(fault);
    list.ok_or_else(wrong)?.iter().map(position).collect()
}

/// `at`: one position, the last unless given.
fn position(fields: &Fields<'_>, look: &Look<'_>) -> Result<usize, Fault> {
    let at = match fields.get("at") {
        None => -1,
        Some(value) => value
            .as_i64()
            .ok_or_else(|| fields.wrong("at", "a position, as 3 or -1"))?,
    };
    look.position(at as isize).map_err(fault)
}

fn why(fields: &Fields<'_>, look: &Look<'_>) -> Result<String, Fault> {
    let position = position(fields, look)?;
    let token = |field: &str| {
        let named = fields.string(field)?;
        let token = named.map(|named| look.gpt().token(named)).transpose();
        token.map_err(|error| Fault::field(field, error.to_string()))
    };
    let (token, against) = (token("token")?, token("not")?);
    if against.is_some() && against == token {
        return Err(Fault::field(
            "not",
            "`token` and `not` are the same token: there is no difference to explain",
        ));
    }
    let heads = fields.whole("heads", 0..=64)?.unwrap_or(8) as usize;
    let mut view = look
        .why(position, token, against, heads, fields.bool("ablate")?)
        .map_err(fault)?;
    if let Some(other) = fields.string("patch")? {
        let other = look.gpt().look(other);
        let patched = other.and_then(|other| look.patched(&other, position, view.token.0, against));
        view.patched = patched.map_err(|error| Fault::field("patch", error.to_string()))?;
    }
    json(Ok(view))
}

/// What a refused look means to whoever asked for it.
fn fault(error: Error) -> Fault {
    let param = match &error {
        Error::TooLong { .. } | Error::Empty => "text",
        Error::NoToken { .. } => "token",
        Error::NoPosition { .. } => "at",
        Error::NoHead { .. } => "head",
        _ => return Fault::server(error.to_string()),
    };
    Fault::field(param, error.to_string())
}
