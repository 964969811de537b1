//! Draws the sizes of a preset: `size_demo gpt2 4 1024 8 80`: preset, B, T, GiB, columns (`json` for JSON, `plain` for ASCII).
use foretoken_model::registry::Preset;
use foretoken_model::{Error, Model, gpt2, sizes};

#[path = "../src/size_table/mod.rs"]
mod size_table;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, otherwise: usize| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(otherwise);
    let name = arguments.first().map_or("gpt2", String::as_str);
    let preset = Preset::find(name).ok_or("no such preset")?;
    let make = |n_positions| -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(gpt2::Gpt2::new(gpt2::Config {
            n_positions,
            ..preset.config()
        })?))
    };
    let (b, t) = (number(1, 4), number(2, preset.n_positions));
    let options = sizes::Options {
        threads: 2,
        ..sizes::Options::default()
    };
    let report = sizes::report(&*make(preset.n_positions.max(t))?, b, t, &options)?;
    let fit = sizes::fit(
        sizes::Context::Shape(&make),
        b,
        t,
        (number(3, 8) as u64) << 30,
        &options,
    )?;
    let last = arguments.last().map(String::as_str);
    let out = &mut std::io::stdout();
    if last == Some("json") {
        return Ok(size_table::print_json(name, &report, Some(&fit), out)?);
    }
    let plain = last == Some("plain");
    let color = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let style = size_table::Style {
        color: color && !plain,
        unicode: !plain,
        width: number(4, 80),
    };
    Ok(size_table::print(name, &report, Some(&fit), out, style)?)
}
