use super::*;
use foretoken_model::gpt2::{Config, Gpt2};
use foretoken_model::registry::{PRESETS, Preset};
use foretoken_model::{Error, Model, sizes};
use textwrap::core::display_width;

const PLAIN: Style = Style {
    color: false,
    unicode: true,
    width: 80,
};

fn config(name: &str) -> Config {
    Preset::find(name).unwrap().config()
}

fn report(config: Config, b: usize, t: usize) -> Report {
    sizes::report(&Gpt2::new(config).unwrap(), b, t, &sizes::Options::default()).unwrap()
}

fn fit(name: &str, b: usize, t: usize, memory: u64) -> Fit {
    let make = |n_positions| -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(Gpt2::new(Config {
            n_positions,
            ..config(name)
        })?))
    };
    sizes::fit(sizes::Context::Shape(&make), b, t, memory, &sizes::Options::default()).unwrap()
}

fn draw(name: &str, report: &Report, fit: Option<&Fit>, style: Style) -> String {
    let mut out = Vec::new();
    print(name, report, fit, &mut out, style).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn no_line_is_wider_than_the_terminal_or_ends_in_spaces() {
    for preset in PRESETS {
        let n = preset.n_positions;
        for (b, t) in [(1, 1), (4, n), (64, n)] {
            let report = report(preset.config(), b, t);
            let fit = fit(preset.name, b, t, 8 << 30);
            for width in [80, 100, 120, 200] {
                for line in draw(
                    &format!("한국어 {}", preset.name),
                    &report,
                    Some(&fit),
                    Style { width, ..PLAIN },
                )
                .lines()
                {
                    assert!(display_width(line) <= width, "{width} columns: {line}");
                    assert_eq!(line, line.trim_end());
                }
            }
        }
    }
    // Long contexts and layers by the hundred make long numbers and names; columns give way.
    let long = Config {
        n_positions: 131_072,
        n_layer: 128,
        n_head: 128,
        n_embd: 16_384,
        ..Config::default()
    };
    for line in draw("long", &report(long, 64, 131_072), None, PLAIN).lines() {
        assert!(display_width(line) <= 80, "{line}");
    }
}

#[test]
fn a_narrow_terminal_loses_columns_and_no_numbers() {
    let report = report(config("gpt2"), 4, 1024);
    for width in [0, 20, 50, 70] {
        let text = draw("모델 gpt2", &report, None, Style { width, ..PLAIN });
        for number in [
            "124,439,808",
            "4 x 12 x 1,024 x 1,024",
            "192 MiB",
            "50,257 x 768",
            "38,597,376",
        ] {
            assert!(text.contains(number), "{number} at {width} columns");
        }
    }
}

#[test]
fn without_unicode_everything_is_ascii_and_without_color_there_are_no_escapes() {
    let (report, fit) = (report(config("gpt3-175b"), 1, 2048), fit("gpt3-175b", 1, 2048, 4 << 40));
    let plain = draw("gpt3-175b", &report, Some(&fit), PLAIN);
    assert!(!plain.contains('\x1b') && !plain.is_ascii());
    assert!(
        draw(
            "gpt3-175b",
            &report,
            Some(&fit),
            Style {
                unicode: false,
                ..PLAIN
            }
        )
        .is_ascii()
    );
    let colored = draw("gpt3-175b", &report, Some(&fit), Style { color: true, ..PLAIN });
    assert!(colored.contains("\x1b[1m"));
    let mut stripped = String::new();
    let mut pieces = colored.split('\x1b');
    stripped += pieces.next().unwrap();
    for piece in pieces {
        stripped += piece.split_once('m').expect("a colour ends").1;
    }
    assert_eq!(stripped, plain, "colours change no column");
}

/// A whole block as it is drawn, of a model small enough to check by hand.
#[test]
fn the_walk_is_drawn_with_its_shortcuts() {
    let small = Config {
        vocab_size: 1000,
        n_positions: 32,
        n_embd: 48,
        n_head: 4,
        n_layer: 2,
        ..Config::default()
    };
    let text = draw(
        "small",
        &report(small, 2, 32),
        None,
        Style {
            unicode: false,
            ..PLAIN
        },
    );
    let from = text.find(". |").unwrap();
    let to = from + text[from..].find("  |    ln_f").unwrap();
    let want = "\
. |    2 layers, each:
| +-.  ln_1       B T d     2 x 32 x 48      12.0 KiB          working
| | |    each token to mean 0 and variance 1, a gain, a bias; 96 parameters (the
| | |    backward makes it again)
| | |  c_attn     B T 3d    2 x 32 x 144     36.0 KiB   885 k  kept
| | |    queries, keys, values of all heads at once; 7,056 parameters
| | |  q, k, v    B h T dh  2 x 4 x 32 x 12  12.0 KiB          view
| | |    three of these: every head has dh columns of each (they lie in c_attn's
| | |    output)
| | |  scores     B h T T   2 x 4 x 32 x 32  32.0 KiB   101 k  never
| | |    q k^T / sqrt(dh): how well each query meets each key (in small tiles
| | |    that stay in cache, made again in the backward)
| | |  softmax    B h T T   2 x 4 x 32 x 32  32.0 KiB          never
| | |    to weights that sum to 1; keys that come later get 0 (in the same
| | |    tiles; one number a query is kept, lse (B h T))
| | |  weights v  B h T dh  2 x 4 x 32 x 12  12.0 KiB   101 k  view
| | |    the values, averaged by these weights (written straight into the joined
| | |    heads)
| | |  heads      B T d     2 x 32 x 48      12.0 KiB          kept
| | |    the heads side by side: width d again
| | |  c_proj     B T d     2 x 32 x 48      12.0 KiB   295 k  never
| | |    what the heads found, mixed; 2,352 parameters (added to x in the same
| | |    pass)
| +-'  + x        B T d     2 x 32 x 48      12.0 KiB          kept
| |      the shortcut: attention moves x
| +-.  ln_2       B T d     2 x 32 x 48      12.0 KiB          working
| | |    as ln_1, of the moved x; 96 parameters (the backward makes it again)
| | |  c_fc       B T f     2 x 32 x 192     48.0 KiB  1.18 M  kept
| | |    each token alone, out to width f; 9,408 parameters
| | |  gelu       B T f     2 x 32 x 192     48.0 KiB          working
| | |    what is positive passes, little else (the backward makes it again)
| | |  c_proj     B T d     2 x 32 x 48      12.0 KiB  1.18 M  never
| | |    back to width d; 9,264 parameters (added to x in the same pass)
| +-'  + x        B T d     2 x 32 x 48      12.0 KiB          kept
| |      the shortcut again: the next block's x
' |    all 2: 244 KiB kept, 7.48 Mflop forward
";
    assert_eq!(&text[from..to], want, "{}", &text[from..to]);
}

#[test]
fn bars_are_shares() {
    let mut out = Vec::new();
    let page = |unicode, out| Page {
        out,
        style: Style { unicode, ..PLAIN },
    };
    let unicode = page(true, &mut out);
    for (share, want) in [
        (0.0, ""),
        (1e-9, "▏"),
        (0.5, "██"),
        (0.53, "██▏"),
        (1.0, "████"),
        (2.0, "████"),
    ] {
        assert_eq!(unicode.bar(share, 4), want, "{share}");
    }
    let mut out = Vec::new();
    let ascii = page(false, &mut out);
    for (share, want) in [(0.0, ""), (0.1, "#"), (0.5, "##"), (1.0, "####")] {
        assert_eq!(ascii.bar(share, 4), want, "{share}");
    }
}

#[test]
fn what_fits_is_said_in_words() {
    let report = report(config("gpt2"), 4, 1024);
    let text = draw("gpt2", &report, Some(&fit("gpt2", 4, 1024, 8 << 30)), PLAIN);
    assert!(text.contains("takes 8.00 GiB; past n_positions"), "{text}");
    let text = draw("gpt2", &report, Some(&fit("gpt2", 4, 1024, 1 << 30)), PLAIN);
    assert!(text.contains("T = 1 needs 1.8"), "{text}");
    let gpt2 = Gpt2::new(config("gpt2")).unwrap();
    let trained = sizes::Context::Trained(&gpt2);
    let fit = sizes::fit(trained, 4, 1024, 8 << 30, &sizes::Options::default()).unwrap();
    assert!(draw("gpt2", &report, Some(&fit), PLAIN).contains("; all of n_positions"));
}

#[test]
fn json_is_one_object_on_one_line() {
    let mut out = Vec::new();
    print_json(
        "tiny",
        &report(config("tiny"), 1, 8),
        Some(&fit("tiny", 1, 8, 1 << 30)),
        &mut out,
    )
    .unwrap();
    assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["name"], "tiny");
    assert_eq!(json["walk"][0]["name"], "ids");
    assert_eq!(json["fit"]["memory"], 1 << 30);
    assert!(json["fit"]["training"]["longest"]["largest"].as_u64().unwrap() > 256);
}
