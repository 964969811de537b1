//! One text of a request as it grows: from what the engine tells to what a client is told.

use crate::fault::Fault;
use crate::plan::{Plan, Prompt};
use foretoken::TextStream;
use foretoken::generate::{self, Event, Finish, Thought};
use foretoken::text::Tokenizer;
use hyper::StatusCode;
use std::collections::VecDeque;

/// A token of a text and what the model thought of it; nothing of a prompt's first.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) id: u32,
    pub(crate) thought: Option<Thought>,
    /// Characters of the text before it.
    pub(crate) offset: usize,
}

/// What came to a text.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) text: String,
    /// Where log-probabilities are asked for: the tokens whose text is now shown.
    pub(crate) marks: Vec<Mark>,
    pub(crate) finish: Option<&'static str>,
}

impl Part {
    /// Whether there is something to tell.
    pub(crate) fn says(&self) -> bool {
        !self.text.is_empty() || !self.marks.is_empty() || self.finish.is_some()
    }

    /// Puts the next part behind this one.
    pub(crate) fn append(&mut self, next: Part) {
        self.text += &next.text;
        self.marks.extend(next.marks);
        self.finish = self.finish.or(next.finish);
    }
}

/// A text as it grows.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    prompt: &'a Prompt,
    echo: bool,
    logprobs: bool,
    tells_end: bool,
    /// None once it has ended.
    stream: Option<TextStream<'a>>,
    /// Characters before the first token of the text, and those shown since.
    base: usize,
    shown: usize,
    /// Where the tokens of the prompt begin, in characters; those that were told are gone.
    prompt_offsets: VecDeque<(u32, usize)>,
    /// Tokens whose text is held back.
    held: VecDeque<Mark>,
    /// Tokens so far.
    pub(crate) tokens: usize,
    /// Tokens of the prompt that had been read before.
    pub(crate) cached: usize,
    /// The sum of their log-probabilities.
    logprob: f64,
}

impl<'a> Choice<'a> {
    /// The beginning of a text after one of the plan's prompts.
    pub(crate) fn new(plan: &'a Plan, prompt: &'a Prompt, tokenizer: &'a Tokenizer) -> Result<Self, Fault> {
        let (echo, logprobs) = (plan.echo, plan.logprobs.is_some());
        let mut prompt_offsets = VecDeque::new();
        if echo && logprobs {
            let mut stream = TextStream::new(tokenizer, &[]);
            for &id in &prompt.ids {
                prompt_offsets.push_back((id, stream.decoded()));
                stream.push(id).map_err(ours)?;
            }
        }
        Ok(Self {
            prompt,
            echo,
            logprobs,
            tells_end: plan.tells_end,
            stream: Some(TextStream::new(tokenizer, &plan.parameters.stop)),
            base: if echo { prompt.text.chars().count() } else { 0 },
            shown: 0,
            prompt_offsets,
            held: VecDeque::new(),
            tokens: 0,
            cached: 0,
            logprob: 0.0,
        })
    }

    /// The mean log-probability of its tokens: by it the best of several is found.
    pub(crate) fn mean_logprob(&self) -> f64 {
        self.logprob / self.tokens.max(1) as f64
    }

    /// What a client is told of an event.
    pub(crate) fn on(&mut self, event: Event) -> Result<Part, Fault> {
        // A stop string ended it, and the engine went a step further before it knew.
        if self.stream.is_none() {
            return Ok(Part::default());
        }
        match event {
            Event::Admitted { cached } => {
                self.cached = cached;
                let text = if self.echo {
                    self.prompt.text.clone()
                } else {
                    String::new()
                };
                let marks = self.prompt_mark(None).into_iter().collect();
                Ok(Part {
                    text,
                    marks,
                    finish: None,
                })
            }
            Event::Scored(thoughts) => {
                let marks = thoughts
                    .into_iter()
                    .filter_map(|thought| self.prompt_mark(Some(thought)));
                Ok(Part {
                    marks: marks.collect(),
                    ..Part::default()
                })
            }
            Event::Token { id, thought } => self.token(id, thought),
            Event::Finished { finish, end } => Ok(self.finish(&finish, end)),
            Event::Failed(error) => Err(failed(&error)),
        }
    }

    fn prompt_mark(&mut self, thought: Option<Thought>) -> Option<Mark> {
        let (id, offset) = self.prompt_offsets.pop_front()?;
        Some(Mark { id, thought, offset })
    }

    fn token(&mut self, id: u32, thought: Option<Thought>) -> Result<Part, Fault> {
        self.tokens += 1;
        self.logprob += thought.as_ref().map_or(0.0, |thought| f64::from(thought.token.logprob));
        let stream = self.stream.as_mut().expect("a text that has not ended");
        let offset = self.base + stream.decoded();
        let (text, stopped) = stream.push(id).map_err(ours)?;
        if self.logprobs {
            self.held.push_back(Mark { id, thought, offset });
        }
        self.shown += text.chars().count();
        if stopped {
            self.stream = None;
        }
        Ok(Part {
            text,
            marks: self.released(false),
            finish: stopped.then_some("stop"),
        })
    }

    fn finish(&mut self, finish: &Finish, end: Option<Thought>) -> Part {
        let stream = self.stream.take().expect("a text that has not ended");
        let decoded = self.base + stream.decoded();
        let (text, stopped) = stream.finish();
        self.shown += text.chars().count();
        let mut marks = self.released(!stopped);
        if let (true, true, Some(end)) = (self.tells_end, self.logprobs, end) {
            marks.push(Mark {
                id: end.token.id,
                thought: Some(end),
                offset: decoded,
            });
        }
        let length = *finish == Finish::MaxTokens && !stopped;
        Part {
            text,
            marks,
            finish: Some(if length { "length" } else { "stop" }),
        }
    }

    /// The held tokens that begin within the text that is shown, or all.
    fn released(&mut self, all: bool) -> Vec<Mark> {
        let end = self.base + self.shown;
        let count = match all {
            true => self.held.len(),
            false => self.held.iter().take_while(|mark| mark.offset < end).count(),
        };
        self.held.drain(..count).collect()
    }
}

/// What a failed text means to whoever asked for it.
fn failed(error: &generate::Error) -> Fault {
    match error {
        generate::Error::Constraint(message) => Fault::field("response_format", message.clone()),
        generate::Error::NoCandidate { .. } => Fault::field("logit_bias", error.to_string()),
        generate::Error::Model(_) => Fault::unavailable(error.to_string()),
        error => Fault::server(error.to_string()),
    }
}

fn ours(error: foretoken::Error) -> Fault {
    Fault::request(StatusCode::INTERNAL_SERVER_ERROR, "tokenizer", error.to_string())
}
