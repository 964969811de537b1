//! `/size`: the sizes of a model that is served, or of one with other numbers, in the JSON of `foretoken size --json`.

use crate::fault::Fault;
use crate::fields::Fields;
use crate::state::State;
use foretoken::model::sizes::{self, Context, Fit, MAX_TOKENS, Options, Report};
use foretoken::model::{Error, Model, gpt2};
use serde::Serialize;
use serde_json::Value;

/// The numbers that make a shape, and how large each may be: a question that costs more than a moment is not answered.
const SHAPE: [(&str, u64); 5] = [
    ("n_layer", 256),
    ("n_head", 1024),
    ("n_embd", 1 << 16),
    ("vocab_size", 1 << 22),
    ("n_positions", MAX_TOKENS as u64),
];
/// Bytes that a model may be fitted into at most.
const MOST_MEMORY: u64 = 1 << 60;

#[derive(Serialize)]
struct Sizes<'a> {
    name: &'a str,
    #[serde(flatten)]
    report: Report,
    fit: Option<Fit>,
}

/// What is asked about the batch, whatever the model is.
struct Question {
    b: usize,
    t: Option<usize>,
    memory: Option<u64>,
    options: Options,
}

/// Answers with sizes: of `model` as it is served, or of GPT-2 where one of its numbers is given.
pub(crate) fn size(state: &State, body: &Value) -> Result<String, Fault> {
    let fields = Fields::top(body)?;
    let threads = fields.whole("threads", 1..=1024)?.map(|n| n as usize);
    let threads = threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    let question = Question {
        b: fields.whole("batch_size", 1..=MAX_TOKENS as u64)?.unwrap_or(1) as usize,
        t: fields.whole("seq_len", 1..=MAX_TOKENS as u64)?.map(|t| t as usize),
        memory: fields.whole("memory", 1..=MOST_MEMORY)?,
        options: Options {
            threads: threads.unwrap_or(1),
            ..Options::default()
        },
    };
    match SHAPE.iter().any(|(field, _)| fields.get(field).is_some()) {
        true => of_shape(&fields, &question),
        false => {
            let served = state.model(&fields)?;
            let loaded = served.loaded()?;
            let model = loaded.gpt.model();
            let t = question.t.unwrap_or(model.dims().n_positions);
            written(&served.name, model, Context::Trained(model), t, &question)
        }
    }
}

/// GPT-2 of the given sizes; those that are not given are those of the smallest.
fn of_shape(fields: &Fields<'_>, question: &Question) -> Result<String, Fault> {
    let mut config = gpt2::Config::default();
    // What T needs, unless the positions are given.
    config.n_positions = config.n_positions.max(question.t.unwrap_or(0));
    let places = [
        &mut config.n_layer,
        &mut config.n_head,
        &mut config.n_embd,
        &mut config.vocab_size,
        &mut config.n_positions,
    ];
    for ((field, most), place) in SHAPE.into_iter().zip(places) {
        if let Some(n) = fields.whole(field, 1..=most)? {
            *place = n as usize;
        }
    }
    let t = question.t.unwrap_or(config.n_positions);
    let make = |n_positions| -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(gpt2::Gpt2::new(gpt2::Config {
            n_positions,
            ..config.clone()
        })?))
    };
    let model = make(config.n_positions).map_err(|error| match error {
        Error::Config { field, .. } => Fault::field(field, error.to_string()),
        other => Fault::field("n_embd", other.to_string()),
    })?;
    written("gpt2 of these sizes", &*model, Context::Shape(&make), t, question)
}

fn written(
    name: &str,
    model: &dyn Model,
    context: Context<'_>,
    t: usize,
    question: &Question,
) -> Result<String, Fault> {
    let Question { b, memory, options, .. } = question;
    let wrong = |error: Error| Fault::field("seq_len", error.to_string());
    let report = sizes::report(model, *b, t, options).map_err(wrong)?;
    let fit = memory.map(|memory| sizes::fit(context, *b, t, memory, options));
    let fit = fit.transpose().map_err(wrong)?;
    let sizes = Sizes { name, report, fit };
    serde_json::to_string(&sizes).map_err(|error| Fault::server(error.to_string()))
}
