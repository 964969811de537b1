//! What `bench` prints: lines for people or objects for programs.

use crate::profile_table::{self, byte_rate, duration, flop_rate, threads, whole_percent};
use crate::terminal::{FAINT, STRONG, paint, stdout_color};
use foretoken::bench::{Event, KernelTime};
use foretoken::kernels::{Limits, Pool};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Lines or objects on standard output, one live line on standard error.
pub(super) struct Out {
    pub(super) json: bool,
    pub(super) color: bool,
    bar: ProgressBar,
}

impl Out {
    pub(super) fn new(json: bool) -> Self {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a fixed template"));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self {
            json,
            color: stdout_color(),
            bar,
        }
    }

    /// What is being done now.
    pub(super) fn phase(&self, what: &str) {
        self.bar.reset_elapsed();
        self.bar.set_message(format!("measuring {what}"));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// For people alone.
    pub(super) fn text(&self, text: &str) -> anyhow::Result<()> {
        match self.json {
            true => Ok(()),
            false => self.write(text),
        }
    }

    fn aside(&self, text: &str) -> anyhow::Result<()> {
        self.text(&paint(text, FAINT, self.color))
    }

    pub(super) fn heading(&self, what: &str) -> anyhow::Result<()> {
        self.text(&format!("\n{}\n", paint(what, STRONG, self.color)))
    }

    /// For programs alone; every object says what it was measured on.
    pub(super) fn json(&self, pool: &Pool, object: impl FnOnce() -> serde_json::Value) -> anyhow::Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut object = object();
        object["isa"] = pool.isa().name().into();
        object["threads"] = pool.threads().into();
        self.write(&format!("{object}\n"))
    }

    pub(super) fn write(&self, text: &str) -> anyhow::Result<()> {
        self.bar.suspend(|| {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        })?;
        Ok(())
    }

    pub(super) fn limits(&self, pool: &Pool, limits: &Limits) -> anyhow::Result<()> {
        self.text(&format!(
            "{:<10} {:>12} multiply-adds in registers, {:>9} read from memory\n",
            threads(pool.threads()),
            flop_rate(limits.flops_per_s),
            byte_rate(limits.bytes_per_s)
        ))?;
        self.json(pool, || {
            serde_json::json!({
                "event": "limits",
                "flops_per_s": limits.flops_per_s,
                "bytes_per_s": limits.bytes_per_s,
            })
        })
    }

    /// Tells what a benchmark tells. Where nobody can be told any more, there is nothing left to measure for.
    pub(super) fn event(&self, pool: &Pool, event: Event<'_>) {
        if let Err(error) = self.tell(pool, event) {
            std::process::exit(crate::end(&error).into());
        }
    }

    fn tell(&self, pool: &Pool, event: Event<'_>) -> anyhow::Result<()> {
        match event {
            Event::Phase(what) => {
                self.phase(what);
                Ok(())
            }
            Event::Kernel(time) => {
                self.text(&kernel(&time, self.color))?;
                self.json(pool, || {
                    let mut object = serde_json::to_value(&time).expect("plain fields");
                    object["event"] = "kernel".into();
                    object
                })
            }
            Event::Step { step, seconds, loss } => {
                self.phase(&format!("training steps: {}", step + 1));
                let note = if step == 1 { "  (not counted)" } else { "" };
                self.aside(&format!(
                    "step {step}   {:>9}  loss {loss:.4}{note}\n",
                    duration(seconds)
                ))?;
                self.json(
                    pool,
                    || serde_json::json!({"event": "step", "step": step, "seconds": seconds, "loss": loss}),
                )
            }
            Event::Round {
                round,
                prefill_tokens_per_s,
                decode_tokens_per_s,
            } => {
                self.phase(&format!("decoding: round {}", round + 1));
                let note = if round == 0 { "  (not counted)" } else { "" };
                self.aside(&format!("round {round}  {decode_tokens_per_s:>9.1} tokens/s{note}\n"))?;
                self.json(pool, || {
                    serde_json::json!({
                        "event": "round",
                        "round": round,
                        "prefill_tokens_per_s": prefill_tokens_per_s,
                        "decode_tokens_per_s": decode_tokens_per_s,
                    })
                })
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn kernel_head() -> String {
    let (color, width) = (stdout_color(), 20);
    let columns = format!(
        "{:width$} {:<24} {:>9} {:>12} {:>9}\n",
        "", "shape", "time", "rate", "of limit"
    );
    format!(
        "\n{}\n{}",
        paint("kernels", STRONG, color),
        paint(&columns, FAINT, color)
    )
}

fn kernel(time: &KernelTime, color: bool) -> String {
    let sizes: Vec<String> = time.shape.iter().map(ToString::to_string).collect();
    let operands = match profile_table::orientation(time.op) {
        op if op == time.op => String::new(),
        letters => format!("{letters:<5}"),
    };
    let limit = whole_percent(time.share_of_limit);
    format!(
        "{:20} {:<24} {:>9} {:>12} {:>9}\n",
        time.name,
        format!("{operands}{}", sizes.join(" x ")),
        duration(time.seconds),
        profile_table::rate(time.bound, time.flops_per_s, time.bytes_per_s),
        paint(&format!("{limit:>9}"), STRONG, color),
    )
}
