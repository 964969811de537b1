//! What a person watches while models are measured.

use crate::terminal::{grouped, short};
use foretoken::eval::{AnswerScore, ChoiceScore, TextScore};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::Duration;

/// One live line on standard error.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Bytes of the text, where they are known.
    bytes: Option<u64>,
    /// Tokens of it that are scored.
    limit: Option<u64>,
    model: RefCell<String>,
}

impl Progress {
    pub(super) fn new(bytes: Option<u64>, limit: Option<u64>) -> Self {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a fixed template"));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self {
            bar,
            bytes,
            limit,
            model: RefCell::default(),
        }
    }

    /// What is being measured now.
    pub(super) fn model(&self, name: &str) {
        name.clone_into(&mut self.model.borrow_mut());
        self.bar.set_message(format!("{name}: opening"));
    }

    pub(super) fn text(&self, score: &TextScore) {
        if self.bar.is_hidden() {
            return;
        }
        // Whichever comes first ends it.
        let share = |done: u64, of: Option<u64>| of.filter(|&of| of > 0).map_or(0.0, |of| done as f64 / of as f64);
        let done = share(score.tokens, self.limit).max(share(score.bytes, self.bytes));
        let done = match done {
            0.0 => String::new(),
            done => format!("{:.0}%  ", 100.0 * done.min(1.0)),
        };
        self.bar.set_message(format!(
            "{}: {done}{} tokens  loss {:.4}  {:.3} bits/byte  {} tok/s",
            self.model.borrow(),
            grouped(score.tokens),
            score.loss.mean(),
            score.bits_per_byte(),
            short(score.tokens_per_s()),
        ));
    }

    pub(super) fn choices(&self, score: &ChoiceScore, questions: usize) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_message(format!(
            "{}: {} of {} questions  acc {:.3}  acc_norm {:.3}",
            self.model.borrow(),
            grouped(score.questions),
            grouped(questions as u64),
            score.accuracy.mean(),
            score.accuracy_norm.mean(),
        ));
    }

    pub(super) fn answers(&self, score: &AnswerScore, questions: usize) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_message(format!(
            "{}: {} of {} questions  loss {:.3}  exact {:.3}  F1 {:.3}",
            self.model.borrow(),
            grouped(score.each.len() as u64),
            grouped(questions as u64),
            score.loss.mean(),
            score.all.exact.mean(),
            score.all.f1.mean(),
        ));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
