//! What is said before step 0, and at the end.

use crate::terminal::{STRONG, grouped, paint, short, stdout_color};
use foretoken::kernels::Pool;
use foretoken::model::{OptimizerKind, human_bytes, sizes};
use foretoken::text::DataFormat;
use foretoken::train::{
    BuiltIn, Data, LearningRate, LossOn, Metrics, Outcome, Packed, Run, RunConfig, resident_memory,
};

/// What is about to be done: data, model, memory, steps, machine.
pub(super) fn before(run: &Run, pool: &Pool, limit: f64) -> String {
    let config = run.trainer.config();
    let mut out = String::new();
    let mut line = |label: &str, text: String| {
        out += &format!("{} {text}\n", paint(&format!("{label:<10}"), STRONG, stdout_color()));
    };
    line("run", run.dir.display().to_string());
    if let Some(checkpoint) = &run.resumed {
        line(
            "resumes",
            format!("step {} from {}", checkpoint.state.step, checkpoint.path.display()),
        );
    }
    data(run, config, &mut line);
    model(run, config, pool, &mut line);
    super::init::lines(run, &mut line);
    let (t, positions) = (config.t(), run.trainer.model.dims().n_positions);
    if t < positions && config.init.is_none() {
        let text = "--seq-len is below n_positions: positions from T on stay untrained, and text past them is noise";
        line(
            "note",
            format!("{text}; --n-positions {t} makes a model that slides there instead"),
        );
    }
    let tokens = config.tokens_a_step();
    let whole = match &run.data.train {
        Data::Text(_) => run.data.summary.train_tokens,
        Data::Examples(packed) => (packed.report.rows * config.t()) as u64,
    };
    let epochs = tokens as f64 * config.steps as f64 / whole as f64;
    line(
        "steps",
        format!(
            "{} of {} x {} x {} = {} tokens (B, T, micro-batches): {} tokens in all, {epochs:.2} times the data",
            grouped(config.steps),
            config.b(),
            config.t(),
            config.grad_accum,
            grouped(tokens),
            short(tokens as f64 * config.steps as f64),
        ),
    );
    let rate = config.learning_rate();
    line(
        "rate",
        format!(
            "{:?}, up to {:.1e} over {} steps, down to {:.1e}",
            rate.schedule, rate.lr, rate.warmup, rate.min_lr
        )
        .to_lowercase(),
    );
    let flops = run.trainer.step_flops(&run.data.train);
    line(
        "machine",
        format!(
            "{} threads on {}: {:.0} GFLOP/s measured; a step of {:.1} GFLOP takes {:.0} ms at best",
            pool.threads(),
            pool.isa().name(),
            limit / 1e9,
            flops / 1e9,
            1e3 * flops / limit
        ),
    );
    out + "\n"
}

fn data(run: &Run, config: &RunConfig, line: &mut impl FnMut(&str, String)) {
    let summary = &run.data.summary;
    let what = match summary.format {
        DataFormat::Text => "documents",
        DataFormat::Qa => "questions and answers",
        DataFormat::Chat => "conversations",
    };
    let part = |documents: u64, bytes: u64, tokens: u64| {
        format!(
            "{} {what}, {}, {} tokens",
            grouped(documents),
            human_bytes(bytes),
            grouped(tokens)
        )
    };
    let names = match &config.data[..] {
        [first, _, _, _, ..] => format!("{first} and {} more", config.data.len() - 1),
        [only] if only == "-" => "standard input".into(),
        names => names.join(", "),
    };
    let cached = if run.data.cached { " (from the cache)" } else { "" };
    let train = part(summary.train_documents, summary.train_bytes, summary.train_tokens);
    line("data", format!("{names}: {train}{cached}"));
    if summary.val_tokens > 0 {
        line(
            "validation",
            part(summary.val_documents, summary.val_bytes, summary.val_tokens),
        );
    }
    if let Data::Examples(packed) = &run.data.train {
        examples(packed, config, line);
        if let Some(Data::Examples(val)) = &run.data.val {
            let (all, each) = (val.batches(config.b()), config.eval_batches);
            if all > each {
                line(
                    "",
                    format!(
                        "an evaluation reads {each} of {all} batches of the validation: --eval-batches {all} reads all"
                    ),
                );
            }
        }
        line("example", super::example::first(packed, &run.data.tokenizer));
    }
    if let (Some(bits), Some(loss)) = (summary.floor_bits_per_byte, summary.floor_loss()) {
        line(
            "floor",
            format!("{bits:.3} bits per byte, a loss of {loss:.3}: the entropy of the stories' source"),
        );
    }
    let tokenizer = &run.data.tokenizer;
    let bytes = summary.train_bytes as f64 / summary.train_tokens.max(1) as f64;
    line(
        "tokenizer",
        format!(
            "{}, {} tokens, {bytes:.2} bytes a token",
            tokenizer.kind(),
            grouped(tokenizer.vocab_size() as u64)
        ),
    );
}

/// How conversations lie in the rows of a batch.
fn examples(packed: &Packed, config: &RunConfig, line: &mut impl FnMut(&str, String)) {
    let report = packed.report;
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let on = match config.loss_on {
        LossOn::Answers => "answers and the tokens that end them",
        LossOn::All => "all but first tokens",
    };
    line(
        "packing",
        format!(
            "{} in {} rows of {} tokens, {:.1}% of them filled; loss on {on}: {:.0}% of the tokens",
            grouped(report.examples as u64),
            grouped(report.rows as u64),
            config.t(),
            share(report.tokens, (report.rows * config.t()) as u64),
            share(report.targets, report.tokens),
        ),
    );
    if report.cut > 0 {
        line(
            "note",
            format!(
                "{} are longer than --seq-len {}: their last {} tokens are kept",
                grouped(report.cut as u64),
                config.t(),
                config.t() + 1
            ),
        );
    }
    if report.left_out > 0 {
        line(
            "note",
            format!(
                "{} hold nothing to learn and are left out",
                grouped(report.left_out as u64)
            ),
        );
    }
}

fn model(run: &Run, config: &RunConfig, pool: &Pool, line: &mut impl FnMut(&str, String)) {
    let model = &run.trainer.model;
    let dims = model.dims();
    line(
        "model",
        format!(
            "{} with L={} d={} h={} dh={} f={} V={} n_positions={}",
            model.model_type(),
            dims.n_layer,
            dims.n_embd,
            dims.n_head,
            dims.head_dim(),
            dims.n_inner,
            grouped(dims.vocab_size as u64),
            dims.n_positions
        ),
    );
    let options = config.size_options(pool.threads());
    let trainable = run.trainer.trainable();
    let Ok(report) = sizes::report_of(&**model, trainable, config.b(), config.t(), &options) else {
        return;
    };
    let parts = report.parameters.parts.iter().filter(|part| part.count > 0);
    let parts: Vec<String> = parts
        .map(|part| {
            format!(
                "{} {}",
                crate::size_table::part_name(part.part),
                short(part.count as f64)
            )
        })
        .collect();
    line(
        "parameters",
        format!("{}: {}", grouped(report.parameters.count), parts.join(", ")),
    );
    let items: Vec<String> = report
        .training
        .items
        .iter()
        .map(|item| format!("{} {}", item.name, human_bytes(item.bytes)))
        .collect();
    line(
        "memory",
        format!("{} predicted: {}", human_bytes(report.training.bytes), items.join(", ")),
    );
    if config.optimizer == OptimizerKind::Muon {
        line(
            "optimizer",
            muon(&report.flops, trainable.table().hidden().len(), config.tokens_a_step()),
        );
    }
}

/// What Muon costs, and where it pays.
fn muon(flops: &sizes::Flops, parameters: usize, tokens: u64) -> String {
    let share = flops.step_optimizer / flops.step_training;
    let from = flops.muon_pays_from();
    let verdict = if share <= 0.1 {
        "likely to pay here"
    } else {
        "here it pays only where it saves as many steps"
    };
    format!(
        "muon for {} parameters in hidden matrices, adamw for the rest; Newton-Schulz adds {:.1} GFLOP a step, {:.0}% of \
         forward and backward ({} tokens); it is below 10% from about {} tokens a step on: {verdict}",
        short(parameters as f64),
        flops.step_optimizer / 1e9,
        100.0 * share,
        grouped(tokens),
        grouped(from as u64),
    )
}

/// How it went, and what to do next.
pub(super) fn after(run: &Run, outcome: Outcome) -> anyhow::Result<String> {
    let metrics: Vec<Metrics> = run.metrics()?;
    let config = run.trainer.config();
    let color = stdout_color();
    let mut out = format!(
        "\n{}\n",
        paint(&super::ending(outcome, run.step(), config.steps), STRONG, color)
    );
    let Some(last) = metrics.last() else { return Ok(out) };
    let summary = &run.data.summary;
    out += &crate::plot::loss_plot(
        &metrics,
        summary.floor_loss(),
        crate::terminal::width().min(100),
        12,
        color,
    );
    if let Some((best, step)) = run.best() {
        out += &format!("validation loss {best:.4} at step {step}");
        if let Some(bits) = summary.bits_per_byte(best) {
            out += &format!(", {bits:.3} bits per byte");
        }
        if let Some(floor) = summary.floor_bits_per_byte {
            out += &format!("; the floor is {floor:.3}");
        }
        out += "\n";
    }
    let memory = resident_memory().map_or(String::new(), |(_, peak)| {
        format!(", at most {} of memory", human_bytes(peak))
    });
    let seconds = crate::terminal::duration(last.time_s);
    out += &format!("{} tokens in {seconds}{memory}\n\n", grouped(last.tokens));
    let dir = run.dir.display();
    let what = match config.lora_rank {
        Some(_) => super::init::adapter_hint(&run.dir),
        None => "the model, as `transformers` opens it".into(),
    };
    out += &format!("  {dir}/loss.svg       the picture\n  {dir}/latest         {what}\n");
    if run.best().is_some_and(|(_, step)| step != run.step()) {
        out += &format!("  {dir}/best           the model with the lowest validation loss\n");
    }
    out += "\nNext:\n";
    match summary.format {
        DataFormat::Text => out += &format!("  foretoken generate --model {dir} \"{}\"\n", prompt_for(config)),
        _ => out += &format!("  foretoken chat --model {dir}\n  foretoken eval --model {dir} --answers\n"),
    }
    out += &going_on(config, outcome, &dir.to_string());
    out += &format!("  foretoken size --model {dir}\n");
    if config.lora_rank.is_some() {
        out += &format!("  foretoken convert {dir} merged\n");
    }
    Ok(out)
}

/// How to go on with a run, and what that does to a learning rate that has come down.
fn going_on(config: &RunConfig, outcome: Outcome, dir: &str) -> String {
    let resume = format!("  foretoken train --resume --out {dir}");
    match outcome {
        Outcome::Interrupted => resume + "\n",
        Outcome::Patience => format!("{resume} --patience {}\n", config.patience.saturating_mul(2)),
        Outcome::Finished => {
            let rate = config.learning_rate();
            let steps = config.steps.saturating_mul(2);
            let longer = LearningRate { steps, ..rate };
            let (end, next) = (rate.at(config.steps), longer.at(config.steps));
            let mut out = format!("{resume} --steps {steps}\n");
            if next > end {
                out += &format!(
                    "      the rate has come down to {end:.1e}; with more steps it follows the longer schedule: it goes on at\n      \
                     {next:.1e} and comes down to {:.1e} at step {steps}\n",
                    longer.at(steps)
                );
            }
            out
        }
    }
}

/// A beginning that the data know.
fn prompt_for(config: &RunConfig) -> &'static str {
    if matches!(BuiltIn::of(&config.data), Ok(Some(_))) {
        "One sunny morning, "
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_on_says_what_becomes_of_the_rate_and_of_patience() {
        let run = |schedule: &str| {
            let table = format!("steps = 700\nlr = 1e-3\nwarmup = 0\npatience = 3\nschedule = '{schedule}'");
            RunConfig::from_toml(&table, "run.toml").unwrap().resolve().unwrap()
        };
        let next = |schedule, outcome| going_on(&run(schedule), outcome, "r");
        for (schedule, rate) in [("cosine", "5.5e-4"), ("linear", "5.5e-4"), ("wsd", "1.0e-3")] {
            let text = next(schedule, Outcome::Finished);
            assert!(
                text.starts_with("  foretoken train --resume --out r --steps 1400\n"),
                "{text}"
            );
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let says = format!(
                "come down to 1.0e-4; with more steps it follows the longer schedule: it goes on at {rate} and comes down \
                 to 1.0e-4 at step 1400"
            );
            assert!(words.ends_with(&says), "{text}");
        }
        assert_eq!(
            next("constant", Outcome::Finished),
            "  foretoken train --resume --out r --steps 1400\n"
        );
        assert_eq!(
            next("cosine", Outcome::Patience),
            "  foretoken train --resume --out r --patience 6\n"
        );
        assert_eq!(
            next("cosine", Outcome::Interrupted),
            "  foretoken train --resume --out r\n"
        );
    }
}
