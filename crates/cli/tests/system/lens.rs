//! `foretoken lens`.

use crate::common::{Place, object, success};
use serde_json::Value;

/// Every view of a text, with what else it asks for.
const VIEWS: [&str; 10] = [
    "shape",
    "tokens --by syllable",
    "embed",
    "attn",
    "attn --head 0.1 --by word",
    "attn --head 0.0 --at -1",
    "stream",
    "why --ablate --token a",
    "next --top 5",
    "neurons",
];

fn place() -> Place {
    let place = Place::new();
    place.ok("train --config tiny.toml --out one --quiet");
    place.write("text.txt", "미나는 Mina");
    place
}

#[test]
fn every_view_is_drawn_and_is_one_object() {
    let place = place();
    for view in VIEWS {
        let drawn = place.ok(&format!("lens {view} --model one --file text.txt"));
        assert!(drawn.lines().count() >= 3, "{view}: {drawn}");
        assert!(
            !drawn.contains('\u{fffd}') && !drawn.contains('\u{1b}'),
            "{view}: {drawn}"
        );
        let (out, err) = success(
            view,
            place.output(&format!("lens {view} --model one --file text.txt --json")),
        );
        let told = object(&out);
        assert_eq!((out.lines().count(), err.as_str()), (1, ""), "{view}");
        assert!(told["view"].is_string() && told["model"].is_string(), "{view}");
        let tokens = told["tokens"].as_array().unwrap();
        assert_eq!(
            (tokens.len(), &tokens[1]["label"]),
            (14, &Value::from("미 2/3")),
            "{view}"
        );
    }
}

#[test]
fn the_schema_has_every_field_that_a_view_writes() {
    let place = place();
    let schema = object(&place.ok("lens schema"));
    let named = |view: &str| {
        let definitions = schema["$defs"].as_object().unwrap().values();
        let mut found = definitions.filter(|one| one["properties"]["view"]["const"] == view);
        found.next().unwrap_or_else(|| panic!("no view {view}")).clone()
    };
    for view in VIEWS {
        let told = object(&place.ok(&format!("lens {view} --model one --file text.txt --json")));
        let definition = named(told["view"].as_str().unwrap());
        let described = definition["properties"].as_object().unwrap();
        let (mut fields, mut known): (Vec<&String>, Vec<&String>) = (told.keys().collect(), described.keys().collect());
        fields.sort();
        known.sort();
        assert_eq!(fields, known, "{view}");
        assert!(
            described.values().all(|one| one["description"].is_string()),
            "{view}: {described:?}"
        );
    }
    for view in ["history", "difference"] {
        named(view);
    }
}

#[test]
fn pictures_are_whole_and_show_korean() {
    let place = place();
    // A machine without a font draws no letters, and says so.
    let probe = place.output("lens next --model one Mina --png out.png");
    let fonts = probe.status.success();
    if !fonts {
        let error = String::from_utf8_lossy(&probe.stderr);
        assert!(error.contains("no font") && error.contains("--svg"), "{error}");
        eprintln!("no font on this machine: PNG files are not tested");
    }
    let check = |view: &str, command: &str| {
        place.ok(&format!("lens {command} --svg out.svg"));
        let svg = std::fs::read_to_string(place.path("out.svg")).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{view}");
        assert!(!svg.contains('\u{fffd}'), "{view}");
        let parsed = roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{view}: {error}"));
        let size = |name| parsed.root_element().attribute(name).unwrap().parse::<u32>().unwrap();
        if !fonts {
            return;
        }
        place.ok(&format!("lens {command} --png out.png"));
        let png = std::fs::read(place.path("out.png")).unwrap();
        // The head of a PNG, and of its first chunk, which holds the size: two pixels a unit.
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "{view}");
        let pixels = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        assert_eq!(
            (pixels(16), pixels(20)),
            (2 * size("width"), 2 * size("height")),
            "{view}"
        );
        std::fs::remove_file(place.path("out.png")).unwrap();
    };
    for view in VIEWS {
        check(view, &format!("{view} --model one --file text.txt"));
    }
    check("history", "history one --probe 미나는 --max-tokens 4");
    check("diff", "diff one one");
}

#[test]
fn a_logit_is_the_sum_of_its_bars_also_where_weights_are_rounded() {
    let place = place();
    for quantize in ["f32", "f16"] {
        let command = format!("lens why --token M --not a --model one --quantize {quantize} --file text.txt --json");
        let told = object(&place.ok(&command));
        let bars = told["bars"].as_array().unwrap();
        let sum: f64 = bars.iter().map(|bar| bar["added"].as_f64().unwrap()).sum();
        assert!(
            (sum - told["logit"].as_f64().unwrap()).abs() < 1e-4,
            "{quantize}: {sum} {told:?}"
        );
    }
    // A patch that changes nothing changes no logit; another text's last row brings all of it.
    let patched = |text: &str| {
        let command = format!("lens why --token M --not a --model one --patch {text} --json Mina");
        object(&place.ok(&command))
    };
    let same = patched("Mina");
    let all = |told: &crate::common::Object| told["patched"].as_array().unwrap().clone();
    assert!(
        all(&same).iter().all(|one| one["logit"] == all(&same)[0]["logit"]),
        "{same:?}"
    );
    let other = object(&place.ok("lens why --token M --not a --model one --json Mine"));
    let last = all(&patched("Mine")).last().unwrap()["logit"].as_f64().unwrap();
    assert!((last - other["logit"].as_f64().unwrap()).abs() < 1e-4);
}

#[test]
fn a_run_tells_its_history_and_two_models_their_difference() {
    let place = place();
    let told = object(&place.ok("lens history one --probe Mina --max-tokens 4 --json"));
    let checkpoints = told["checkpoints"].as_array().unwrap();
    assert!(
        !checkpoints.is_empty() && checkpoints[0]["probes"][0]["prompt"] == "Mina",
        "{told:?}"
    );
    place.ok("train --config tiny.toml --seed 7 --out two --quiet");
    let told = object(&place.ok("lens diff one two --probe Mina --max-tokens 4 --json"));
    let tensors = told["tensors"].as_array().unwrap();
    assert!(
        tensors
            .iter()
            .any(|tensor| tensor["relative"].as_f64().is_some_and(|far| far > 0.1)),
        "{told:?}"
    );
    let drawn = place.ok("lens diff one one");
    assert!(drawn.contains("wte.weight") && drawn.contains("1.000"), "{drawn}");
}

#[test]
fn wrong_questions_have_one_answer() {
    let place = place();
    for (args, says) in [
        ("attn --head 9.0 --model one Mina", "no head 9.0"),
        ("why --token Mina --model one Mina", "not one token"),
        ("why --token M --not M --model one Mina", "same token"),
        ("why --token #99999 --model one Mina", "the last id is"),
        ("why --token M --at 7 --model one Mina", "no token 7"),
        ("why --token M --patch Min --model one Mina", "4 and 3 tokens"),
        ("tokens --model one", "nothing to look at"),
        ("stream --model nowhere Mina", "nowhere"),
        ("attn --model one --file none.txt", "none.txt"),
        ("history nowhere", "nowhere"),
    ] {
        let error = place.error(&format!("lens {args}"));
        assert!(error.contains(says), "{args}: {error}");
    }
    place.write("long.txt", "Mina ".repeat(100));
    let error = place.error("lens attn --model one --file long.txt");
    assert!(error.contains("500 tokens"), "{error}");
}
