//! README.ko.md says the same as README.md: the same commands, the same figures.

use std::path::Path;

/// A line of a README that the other must have, too: where it stands, what kind it is, and what of it counts.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    line: usize,
    kind: &'static str,
    says: String,
}

/// What counts of a README, in its order: commands without their comments, other code as it is, the figures of tables.
fn held(text: &str) -> Vec<Held> {
    let (mut all, mut code): (Vec<Held>, Option<&str>) = (Vec::new(), None);
    for (line, row) in text.lines().enumerate() {
        let mut hold = |kind, says: String| {
            all.push(Held {
                line: line + 1,
                kind,
                says,
            });
        };
        match (code, row.strip_prefix("```")) {
            (None, Some(language)) => {
                code = Some(language);
                hold("block of code", language.to_owned());
            }
            (Some(_), Some(_)) => code = None,
            (Some("sh"), None) => hold("command", command(row)),
            (Some(_), None) => hold("line of code", row.to_owned()),
            (None, None) if row.starts_with('|') => hold("row of a table", figures(row)),
            (None, None) => {}
        }
    }
    all
}

/// A command without its comment, which begins with a # behind a space and outside of quotes.
fn command(row: &str) -> String {
    let (mut quote, mut before) = (None, ' ');
    let comment = row.char_indices().find(|&(_, c)| {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '#' && before.is_whitespace() => return true,
            _ => {}
        }
        before = c;
        false
    });
    row[..comment.map_or(row.len(), |(at, _)| at)].trim_end().to_owned()
}

/// The numbers of every cell; words, and units behind the numbers, may be in any language.
fn figures(row: &str) -> String {
    let cell = |cell: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-^".contains(c);
        let words = cell.split(|c: char| !is_part(c));
        let numbers = words.filter_map(|word| {
            // 1.76x and 1.76배, 2.1 s and 2.1초 are one number.
            let word = word.strip_suffix('x').unwrap_or(word).trim_matches(['.', '-']);
            word.starts_with(|c: char| c.is_ascii_digit()).then_some(word)
        });
        let mut numbers: Vec<&str> = numbers.collect();
        // Words stand in another order in another language.
        numbers.sort_unstable();
        numbers.join(" ")
    };
    row.trim_matches('|')
        .split('|')
        .map(cell)
        .collect::<Vec<_>>()
        .join(" | ")
}

#[test]
fn the_korean_readme_has_the_same_commands_and_figures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect(name);
    let (english, korean) = (held(&read("README.md")), held(&read("README.ko.md")));
    assert!(
        english.len() > 80,
        "README.md: {} lines were found to hold",
        english.len()
    );
    for (one, two) in english.iter().zip(&korean) {
        assert!(
            (one.kind, &one.says) == (two.kind, &two.says),
            "README.md and README.ko.md differ:\n  README.md:{}     {}: {}\n  README.ko.md:{}  {}: {}\n\
             What comes first in one and not in the other is to be written there, too; comments and words may be in Korean.",
            one.line,
            one.kind,
            one.says,
            two.line,
            two.kind,
            two.says,
        );
    }
    let (name, more) = match english.len() > korean.len() {
        true => ("README.md", english.get(korean.len())),
        false => ("README.ko.md", korean.get(english.len())),
    };
    if let Some(one) = more {
        panic!(
            "{name}:{} has a {} that the other README lacks: {}",
            one.line, one.kind, one.says
        );
    }
}

#[test]
fn comments_are_no_commands_and_words_are_no_figures() {
    assert_eq!(command("train --data a   # 글"), "train --data a");
    assert_eq!(
        command("generate --stop \"# #\" '#' # x"),
        "generate --stop \"# #\" '#'"
    );
    assert_eq!(
        figures("| a B=4 T=64 | 228 tokens/s, 80% of it | 1.76x |"),
        "4 64 | 228 80 | 1.76"
    );
    assert_eq!(
        figures("| 나 B=4 T=64 | 228 토큰/초, 한계의 80% | 1.76배 |"),
        "4 64 | 228 80 | 1.76"
    );
    assert_ne!(figures("| 1e-6 |"), figures("| 1e-5 |"));
    assert_eq!(held("```sh\nx # y\n```\n| 1 |\n| |").len(), 4);
}
