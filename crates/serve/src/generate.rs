//! `/v1/completions` and `/v1/chat/completions`: from a body to texts, whole or as they come.

use crate::body::Body;
use crate::choice::{Choice, Part};
use crate::fault::Fault;
use crate::model::{Loaded, Model};
use crate::plan::{Kind, Plan};
use crate::respond::{self, Received};
use crate::state::State;
use crate::ticket::Ticket;
use crate::worker::{Job, Update, Work};
use crate::write::{Head, Usage};
use foretoken::generate::{self, Request};
use hyper::Response;
use hyper::body::Bytes;
use serde_json::Value;
use serde_json::value::to_raw_value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, channel, unbounded_channel};

/// Parts of a stream that wait for a client to take them; then its text waits, in less memory.
const FRAMES: usize = 16;

/// A request that was read and checked.
struct Planned {
    model: Arc<Model>,
    loaded: Arc<Loaded>,
    plan: Plan,
    requests: Vec<Request>,
}

fn plan(state: &State, kind: Kind, body: &Value) -> Result<Planned, Fault> {
    let fields = crate::fields::Fields::top(body)?;
    let model = state.model(&fields)?;
    let loaded = model.loaded()?;
    let (plan, requests) = match kind {
        Kind::Completion => Plan::completion(body, &loaded, state.most_texts())?,
        Kind::Chat => Plan::chat(body, &loaded, state.most_texts())?,
    };
    Ok(Planned {
        model,
        loaded,
        plan,
        requests,
    })
}

/// Answers a request. Of a stream, the ticket goes on to whoever writes it.
pub(crate) async fn answer(
    state: &Arc<State>,
    kind: Kind,
    body: Received,
    key: Option<usize>,
    ticket: &mut Option<Ticket>,
) -> Result<Response<Body>, Fault> {
    let planned = respond::blocking(body, move |state, body| plan(state, kind, body)).await?;
    let Planned {
        model,
        loaded,
        plan,
        requests,
    } = planned;
    let prompt_tokens = plan.prompts.iter().map(|prompt| prompt.ids.len()).sum();
    let mut own = ticket.take().expect("nobody has taken it");
    own.asks(&model, prompt_tokens);
    let serial = state.serial();
    let head = Head {
        kind,
        id: match kind {
            Kind::Completion => format!("cmpl-{:016x}{serial:08x}", state.nonce),
            Kind::Chat => format!("chatcmpl-{:016x}{serial:08x}", state.nonce),
        },
        created: respond::now(),
        model: model.name.clone(),
        logprobs: plan.logprobs.is_some(),
        by_token: plan.by_token,
    };
    // Keys take turns where there are several; else requests do.
    let flow = key
        .filter(|_| state.options.keys.len() > 1)
        .map_or(serial, |key| key as u64);
    let sent = send(state, &model, requests, flow);
    let (updates, ended) = match sent {
        Ok(sent) => sent,
        Err(fault) => {
            *ticket = Some(own);
            return Err(fault);
        }
    };
    let seconds = state.options.timeout.as_secs();
    let task = Task {
        model,
        loaded,
        plan,
        head,
        ended,
        seconds,
    };
    if task.plan.parameters.stream {
        let (frames, parts) = channel(FRAMES);
        tokio::spawn(task.stream(updates, frames, own));
        return Ok(respond::events(Body::Parts(parts)));
    }
    let whole = task.whole(updates, &mut own).await;
    *ticket = Some(own);
    whole.map(respond::written)
}

type Sent = (UnboundedReceiver<Update>, Arc<[AtomicBool]>);

/// Gives the texts to the model's thread, if there are places for them.
fn send(state: &State, model: &Model, requests: Vec<Request>, flow: u64) -> Result<Sent, Fault> {
    let places = u32::try_from(requests.len()).map_err(|_| Fault::busy())?;
    let places = model
        .places
        .clone()
        .try_acquire_many_owned(places)
        .map_err(|_| Fault::busy())?;
    let (updates, receiver) = unbounded_channel();
    let ended: Arc<[AtomicBool]> = requests.iter().map(|_| AtomicBool::new(false)).collect();
    model.send(Work::Texts(Job {
        flow,
        requests,
        updates,
        ended: ended.clone(),
        deadline: Instant::now() + state.options.timeout,
        places,
    }))?;
    Ok((receiver, ended))
}

/// A request whose texts are under way.
struct Task {
    model: Arc<Model>,
    loaded: Arc<Loaded>,
    plan: Plan,
    head: Head,
    ended: Arc<[AtomicBool]>,
    seconds: u64,
}

impl Task {
    fn run(&self, updates: UnboundedReceiver<Update>) -> Result<Run<'_>, Fault> {
        let mut choices = Vec::with_capacity(self.ended.len());
        for prompt in &self.plan.prompts {
            for _ in 0..self.plan.best_of {
                choices.push(Choice::new(&self.plan, prompt, self.loaded.gpt.tokenizer())?);
            }
        }
        Ok(Run {
            task: self,
            open: choices.len(),
            silent: vec![self.head.kind == Kind::Chat; choices.len()],
            choices,
            updates,
        })
    }

    /// The answer, once all of it is there.
    async fn whole(&self, updates: UnboundedReceiver<Update>, ticket: &mut Ticket) -> Result<String, Fault> {
        let mut run = self.run(updates)?;
        let mut texts: Vec<Part> = run.choices.iter().map(|_| Part::default()).collect();
        while let Some((index, part)) = run.next(ticket).await? {
            texts[index].append(part);
        }
        let (n, best_of) = (self.plan.parameters.n, self.plan.best_of);
        let mut choices = Vec::with_capacity(self.plan.prompts.len() * n);
        for first in (0..texts.len()).step_by(best_of) {
            let mut order: Vec<usize> = (first..first + best_of).collect();
            if best_of > n {
                let mean = |&text: &usize| run.choices[text].mean_logprob();
                order.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
            }
            for text in &order[..n] {
                let choice = self
                    .head
                    .choice(choices.len(), &texts[*text], self.loaded.gpt.tokenizer());
                choices.push(to_raw_value(&choice).map_err(unwritten)?);
                // A long answer is written while others go on.
                tokio::task::yield_now().await;
            }
        }
        self.head.whole(&choices, run.usage()).map_err(unwritten)
    }

    /// Sends the answer part by part, until the end or until the client has left.
    async fn stream(self, updates: UnboundedReceiver<Update>, frames: Sender<Bytes>, mut ticket: Ticket) {
        let sent = self.parts(updates, &frames, &mut ticket).await;
        match sent {
            Ok(true) => ticket.status(200),
            // The status says that the client has left.
            Ok(false) => {}
            Err(fault) => {
                ticket.status(fault.status.as_u16());
                let _ = frames.send(respond::event(&fault.body().to_string())).await;
            }
        }
    }

    /// Whether the client was there until the end.
    async fn parts(
        &self,
        updates: UnboundedReceiver<Update>,
        frames: &Sender<Bytes>,
        ticket: &mut Ticket,
    ) -> Result<bool, Fault> {
        let tokenizer = self.loaded.gpt.tokenizer();
        let usage = self.plan.parameters.include_usage;
        let mut run = self.run(updates)?;
        let mut begun = vec![false; run.choices.len()];
        loop {
            let next = tokio::select! {
                next = run.next(ticket) => next?,
                () = frames.closed() => return Ok(false),
            };
            let Some((index, part)) = next else {
                break;
            };
            let first = !std::mem::replace(&mut begun[index], true);
            // Of a conversation the first part says who speaks.
            let greets = first && self.head.kind == Kind::Chat;
            if !(part.says() || greets) {
                continue;
            }
            let delta = self.head.delta(index, &part, first, tokenizer);
            let chunk = self.head.chunk(vec![delta], usage.then_some(None));
            if frames.send(respond::event(&chunk.to_string())).await.is_err() {
                return Ok(false);
            }
        }
        if usage {
            let chunk = self.head.chunk(Vec::new(), Some(Some(run.usage())));
            let _ = frames.send(respond::event(&chunk.to_string())).await;
        }
        Ok(frames.send(respond::event("[DONE]")).await.is_ok())
    }
}

fn unwritten(error: serde_json::Error) -> Fault {
    Fault::server(error.to_string())
}

/// What comes of the texts of a request.
struct Run<'a> {
    task: &'a Task,
    choices: Vec<Choice<'a>>,
    /// Texts that have not ended.
    open: usize,
    /// Answers of a conversation that have said nothing yet: the white space before them is the template's, which writes it again.
    silent: Vec<bool>,
    updates: UnboundedReceiver<Update>,
}

impl Run<'_> {
    /// What comes next, and to which text; none once all have ended.
    async fn next(&mut self, ticket: &mut Ticket) -> Result<Option<(usize, Part)>, Fault> {
        if self.open == 0 {
            return Ok(None);
        }
        let (index, event) = match self.updates.recv().await {
            Some(Update::Text(index, event)) => (index, event),
            Some(Update::Late) => return Err(Fault::late(self.task.seconds)),
            Some(Update::Stopping) => return Err(Fault::unavailable("the server is being stopped")),
            None => return Err(Fault::server("the thread of the model has failed")),
        };
        if matches!(event, generate::Event::Token { .. }) {
            ticket.token(&self.task.model);
        }
        let mut part = self.choices[index].on(event)?;
        if self.silent[index] {
            part.text = part.text.trim_start().to_owned();
            self.silent[index] = part.text.is_empty();
        }
        if part.finish.is_some() {
            self.open -= 1;
            self.task.ended[index].store(true, Ordering::Relaxed);
        }
        Ok(Some((index, part)))
    }

    fn usage(&self) -> Usage {
        let first = self.choices.iter().step_by(self.task.plan.best_of);
        Usage {
            prompt: self.task.plan.prompts.iter().map(|prompt| prompt.ids.len()).sum(),
            cached: first.map(|choice| choice.cached).sum(),
            generated: self.choices.iter().map(|choice| choice.tokens).sum(),
        }
    }
}
