//! What a person watches while files come.

use crate::terminal::{FAINT, duration, paint, paint_warning, say_error, stderr_color};
use foretoken::model::human_bytes;
use foretoken_hub::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Seconds between lines where there is no terminal to draw on.
const QUIET: Duration = Duration::from_secs(10);

/// A live line on standard error, or a line now and then where that is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    name: String,
    /// Of the files before the one that comes now.
    done: u64,
    /// Of the file that comes now.
    have: u64,
    size: u64,
    total: u64,
    received: u64,
    begun: Instant,
    last_line: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(
            ProgressStyle::with_template("{bar:24.blue/dim} {wide_msg}")
                .expect("a fixed template")
                .progress_chars("━╸─"),
        );
        Self {
            bar,
            name: String::new(),
            done: 0,
            have: 0,
            size: 0,
            total: 0,
            received: 0,
            begun: Instant::now(),
            last_line: Instant::now(),
        }
    }

    pub(super) fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Plan { files, bytes, missing } => {
                self.total += bytes;
                self.bar.set_length(self.total);
                let plural = if files == 1 { "" } else { "s" };
                let missing = match missing {
                    0 => "all there already".into(),
                    missing => format!("{} to fetch", human_bytes(missing)),
                };
                let plan = format!("{files} file{plural}, {}: {missing}", human_bytes(bytes));
                self.say(&paint(&plan, FAINT, stderr_color()));
            }
            Event::Begin { name, size, have } => {
                name.clone_into(&mut self.name);
                (self.size, self.have) = (size, have);
                self.draw();
            }
            Event::Received(bytes) => {
                self.have += bytes;
                self.received += bytes;
                self.draw();
                if self.bar.is_hidden() && self.last_line.elapsed() > QUIET {
                    self.last_line = Instant::now();
                    say_error(&format!("{}  {}", self.share(), self.line()));
                }
            }
            Event::Done { .. } => {
                self.done += self.size;
                (self.size, self.have) = (0, 0);
                self.draw();
            }
            Event::Waits { name } => self.say(&format!("another pull fetches {name}: waiting for it")),
            Event::Retry { reason, pause } => {
                let pause = duration(pause.as_secs_f64());
                self.say(&format!(
                    "{} {reason}; trying again in {pause}",
                    paint_warning("warning:")
                ));
            }
            _ => {}
        }
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| say_error(line));
    }

    fn draw(&self) {
        self.bar.set_position(self.done + self.have);
        if !self.bar.is_hidden() {
            self.bar.set_message(self.line());
        }
    }

    fn share(&self) -> String {
        let share = 100.0 * (self.done + self.have) as f64 / self.total.max(1) as f64;
        format!("{share:.0}%")
    }

    /// How far, how fast, how long, and which file.
    fn line(&self) -> String {
        let at = self.done + self.have;
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = self.received as f64 / seconds.max(1e-3);
        let mut line = format!("{} of {}", human_bytes(at), human_bytes(self.total));
        // In the first moments it is anything.
        if self.received > 0 && seconds > 1.0 {
            let left = self.total.saturating_sub(at) as f64 / rate;
            line += &format!("  {}/s  {} left", human_bytes(rate as u64), duration(left));
        }
        format!("{line}  {}", self.name)
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
