//! A small matcher of sentences, for the independent reader.
//!
//! In a pattern, `%x` takes down some text under the letter `x` (without a space for `a`, `b`, `k`, `c`), and `{은}` is a
//! particle in any of its shapes.

use std::collections::HashMap;

pub(super) type Found<'t> = HashMap<char, &'t str>;

fn shapes(particle: &str) -> &'static [&'static str] {
    match particle {
        "은" => &["은", "는"],
        "이" => &["이", "가"],
        "을" => &["을", "를"],
        "과" => &["과", "와"],
        "로" => &["으로", "로"],
        "이었" => &["이었", "였"],
        _ => panic!("no particle {particle}"),
    }
}

pub(super) fn find<'t>(pattern: &str, text: &'t str) -> Option<Found<'t>> {
    let mut found = Found::new();
    go(pattern, text, &mut found).then_some(found)
}

fn go<'t>(pattern: &str, text: &'t str, found: &mut Found<'t>) -> bool {
    let Some(first) = pattern.chars().next() else {
        return text.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '%' => {
            let letter = rest.chars().next().expect("a letter after %");
            let one_word = "abkc".contains(letter);
            for (end, _) in text.char_indices().skip(1).chain([(text.len(), ' ')]) {
                if one_word && text[..end].contains(' ') {
                    return false;
                }
                if end > 0 && go(&rest[1..], &text[end..], found) {
                    found.insert(letter, &text[..end]);
                    return true;
                }
            }
            false
        }
        '{' => {
            let (particle, rest) = rest.split_once('}').expect("a closed brace");
            shapes(particle)
                .iter()
                .any(|shape| text.strip_prefix(shape).is_some_and(|text| go(rest, text, found)))
        }
        _ => text.strip_prefix(first).is_some_and(|text| go(rest, text, found)),
    }
}

#[test]
fn patterns() {
    let found = find(
        "%a{은} %b에게 %t{을} 주었어요",
        "가은이는 민수에게 장난감 기차를 주었어요",
    )
    .unwrap();
    assert_eq!(
        (found[&'a'], found[&'b'], found[&'t']),
        ("가은이", "민수", "장난감 기차")
    );
    assert!(find("%a saw %z", "Tom and Ben saw a fox").is_none());
    assert!(find("%a", "").is_none());
}
