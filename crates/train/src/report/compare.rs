//! In what several runs differ before anything was trained.

use super::RunReport;
use serde::Serialize;

/// A field of `run.toml`, and what each run has there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key.
    pub field: String,
    /// A value a run, as TOML writes it; none where it is left out.
    pub values: Vec<Option<String>>,
    /// Whether they differ.
    pub differs: bool,
}

/// Every field of the runs' configs in the order of `run.toml`, with whether the runs differ there.
pub fn differences(runs: &[RunReport]) -> Vec<Difference> {
    let tables: Vec<toml::Table> = runs
        .iter()
        // By way of the text: 0.2 in f32 is another number in f64.
        .map(|run| run.config.to_toml().parse().expect("it is read as it is written"))
        .collect();
    // Each run in its own order: a field that only a later one has comes where it has it.
    let mut fields: Vec<&String> = Vec::new();
    for run in runs.iter().map(|run| run.config.to_toml()).zip(&tables) {
        let (text, table) = run;
        let mut at = 0;
        for line in text.lines() {
            let key = line.split_once(" = ").map_or("", |(key, _)| key);
            let Some((key, _)) = table.get_key_value(key) else {
                continue;
            };
            match fields.iter().position(|field| *field == key) {
                Some(found) => at = found + 1,
                None => {
                    fields.insert(at, key);
                    at += 1;
                }
            }
        }
    }
    let row = |field: &String| {
        let values: Vec<Option<String>> = tables
            .iter()
            .map(|table| table.get(field).map(ToString::to_string))
            .collect();
        Difference {
            field: field.clone(),
            differs: values.iter().any(|value| *value != values[0]),
            values,
        }
    };
    fields.into_iter().map(row).collect()
}
