//! The page: one file that needs nothing else, read without scripts as well. It is HTML and well-formed XML at once.

use super::axes::{Across, Along, Spread};
use super::html::{escape, language};
use super::panel::{COLORS, Panel, panels};
use super::{draw, tables, verdict};
use foretoken::train::report::{RunReport, Sample, Summary, differences};
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Samples of a run that are shown, and how many characters of each: what a page may weigh.
const SAMPLES: usize = 60;
const SAMPLE_CHARS: usize = 2_000;

/// The page about some runs; at least one.
pub(super) fn page(runs: &[RunReport]) -> String {
    let rows: Vec<Summary> = runs.iter().map(RunReport::summary).collect();
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let title = escape(&format!("Training report: {}", names.join(", ")));
    let differences = differences(runs);
    let mut body = String::new();
    writeln!(body, "<header><h1>{title}</h1>").expect("a string takes all");
    if runs.len() > 1 {
        paragraph(&mut body, "", &verdict::of_all(runs, &rows, &differences));
    }
    for (run, row) in runs.iter().zip(&rows) {
        let name = if runs.len() > 1 { run.name.as_str() } else { "" };
        paragraph(&mut body, name, &verdict::of_one(run, row));
    }
    body.push_str("</header>\n<main>\n");
    charts(&mut body, runs);
    section(&mut body, "figures", "Figures", &tables::figures(&rows));
    samples(&mut body, runs);
    let config = format!(
        "<details{}><summary>All fields</summary>{}</details>",
        open(runs),
        tables::configs(runs, &differences)
    );
    section(&mut body, "config", "Config", &config);
    body.push_str("</main>\n");
    let version = env!("CARGO_PKG_VERSION");
    format!(
        r#"<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"/>
<meta name="generator" content="foretoken {version}"/>
<link rel="icon" href="data:,"/>
<title>{title}</title>
<style>
{STYLE}{rules}</style>
</head>
<body>
{body}<footer>Written by foretoken {version}. This file needs no network.</footer>
<script>
{SCRIPT}</script>
</body>
</html>
"#,
        rules = rules(runs.len())
    )
}

/// The table stands open where there is something to compare.
fn open(runs: &[RunReport]) -> &'static str {
    if runs.len() > 1 { r#" open="open""# } else { "" }
}

fn paragraph(body: &mut String, name: &str, sentences: &[String]) {
    let name = match name {
        "" => String::new(),
        name => format!("<b>{}</b> ", escape(name)),
    };
    writeln!(body, "<p>{name}{}</p>", escape(&sentences.join(" "))).expect("a string takes all");
}

fn section(body: &mut String, id: &str, title: &str, content: &str) {
    writeln!(
        body,
        r#"<section id="{id}" aria-labelledby="{id}-title"><h2 id="{id}-title">{title}</h2>{content}</section>"#
    )
    .expect("a string takes all");
}

/// What is shown is chosen by controls that style alone reads.
fn rules(runs: usize) -> String {
    let mut rules = String::new();
    for along in Along::ALL {
        for spread in Spread::ALL {
            let (x, s) = (along.id(), spread.id());
            writeln!(
                rules,
                "body:has(#x-{x}:checked):has(#s-{s}:checked) .x-{x}.s-{s} {{ display: block }}"
            )
            .expect("a string takes all");
        }
    }
    for run in 0..runs {
        writeln!(rules, "body:has(#g{run}:not(:checked)) .g{run} {{ display: none }}").expect("a string takes all");
    }
    rules
}

fn charts(body: &mut String, runs: &[RunReport]) {
    let mut across = Vec::new();
    for along in Along::ALL {
        for log in [false, true] {
            across.extend(Across::new(runs, along, log).map(|one| (one, log)));
        }
    }
    controls(body, runs, &across);
    body.push_str("<div class=\"charts\">\n");
    for panel in panels(runs) {
        let notes = draw::notes(&panel);
        let notes = notes
            .iter()
            .map(|note| format!("<p>{}</p>", escape(note)))
            .collect::<String>();
        let legend = legend(&panel, runs.len());
        let content = format!(
            r#"{legend}<div class="charts-of">{}</div><output aria-live="polite"></output><div class="notes">{notes}</div><details><summary>Table</summary>{}</details>"#,
            draw::panel(&panel, &across, runs.len()),
            tables::values(&panel)
        );
        section(body, panel.id, panel.title, &content);
    }
    body.push_str("</div>\n<p class=\"notes\">Smoothed lines are local linear fits (Cleveland 1979) over a window of 4% of the chart to each side, \
                   or six values where that is wider; they do not lag. The unsmoothed values stay within the band.</p>\n");
}

/// The colours' names within a chart; of several runs the page's controls are the legend.
fn legend(panel: &Panel<'_>, runs: usize) -> String {
    if runs > 1 || panel.series.len() < 2 {
        return String::new();
    }
    let entry = |series: &super::panel::Series<'_>| {
        format!(r#"<span class="key c{}">{}</span>"#, series.color, escape(&series.name))
    };
    let entries: String = panel.series.iter().map(entry).collect();
    format!(r#"<p class="legend">{entries}</p>"#)
}

fn controls(body: &mut String, runs: &[RunReport], across: &[(Across, bool)]) {
    if across.is_empty() {
        return;
    }
    let radio = |name: &str, id: &str, label: &str, checked: bool| {
        let checked = if checked { r#" checked="checked""# } else { "" };
        format!(r#"<label><input type="radio" name="{name}" id="{id}"{checked}/> {label}</label>"#)
    };
    body.push_str(r#"<form class="controls" autocomplete="off"><fieldset><legend>Along x</legend>"#);
    for along in Along::ALL {
        if across.iter().any(|(one, _)| one.along == along) {
            let id = format!("x-{}", along.id());
            body.push_str(&radio("x", &id, along.id(), along == across[0].0.along));
        }
    }
    body.push_str("</fieldset><fieldset><legend>Axes</legend>");
    let fitting = Spread::fitting(runs);
    for (spread, label) in Spread::ALL.into_iter().zip(["linear", "log x", "log–log"]) {
        let id = format!("s-{}", spread.id());
        body.push_str(&radio("s", &id, label, spread == fitting));
    }
    body.push_str("</fieldset>");
    if runs.len() > 1 {
        body.push_str("<fieldset><legend>Runs</legend>");
        for (i, run) in runs.iter().enumerate() {
            let (color, name) = (i % COLORS, escape(&run.name));
            write!(
                body,
                r#"<label class="key c{color}"><input type="checkbox" id="g{i}" checked="checked"/> {name}</label>"#
            )
            .expect("a string takes all");
        }
        body.push_str("</fieldset>");
    }
    body.push_str("</form>\n");
}

/// What the runs wrote while they trained: a list a run, of which the script shows one step at a time.
fn samples(body: &mut String, runs: &[RunReport]) {
    if runs.iter().all(|run| run.samples.is_empty()) {
        return;
    }
    let mut content = String::from(r#"<div class="slider" hidden="hidden"></div><div class="samples">"#);
    for (i, run) in runs.iter().enumerate().filter(|(_, run)| !run.samples.is_empty()) {
        let shown = thinned(&run.samples);
        let left = run.samples.len() - shown.len();
        let left = match left {
            0 => String::new(),
            _ => format!(
                " <small>{} of {} samples, evenly</small>",
                shown.len(),
                run.samples.len()
            ),
        };
        write!(content, r#"<div class="g{i}"><h3>{}{left}</h3><ol>"#, escape(&run.name)).expect("a string takes all");
        for sample in shown {
            content.push_str(&item(sample));
        }
        content.push_str("</ol></div>");
    }
    content.push_str("</div>");
    section(body, "samples", "Samples over time", &content);
}

/// First, last, and what lies evenly between.
fn thinned(samples: &[Sample]) -> Vec<&Sample> {
    if samples.len() <= SAMPLES {
        return samples.iter().collect();
    }
    let last = samples.len() - 1;
    (0..SAMPLES).map(|i| &samples[i * last / (SAMPLES - 1)]).collect()
}

fn item(sample: &Sample) -> String {
    let cut = |text: &str| match text.char_indices().nth(SAMPLE_CHARS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    };
    let (prompt, text) = (cut(&sample.prompt), cut(&sample.text));
    let lang = language(&format!("{prompt}{text}"));
    let prompt = match prompt.as_str() {
        "" => String::new(),
        prompt => format!("<span class=\"prompt\">{}</span>", escape(prompt)),
    };
    let (step, text) = (sample.step, escape(&text));
    let grouped = crate::terminal::grouped(step);
    format!(
        r#"<li data-step="{step}"><b>step {grouped}</b><div class="text" lang="{lang}" dir="auto">{prompt}{text}</div></li>"#
    )
}
