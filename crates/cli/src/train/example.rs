//! An example as the model sees it: its tokens, and which of them carry loss.

use crate::terminal::{paint, stdout_color, width};
use anstyle::{AnsiColor, Style};
use foretoken::look::{Granularity, Group, pieces};
use foretoken::text::{Example, Tokenizer};
use foretoken::train::Packed;
use textwrap::core::display_width;

/// Columns before each line, as wide as the report's labels.
const INDENT: &str = "           ";
/// Between two tokens.
const BETWEEN: &str = "·";
/// Tokens that are shown at most.
const MOST: usize = 200;
const LEARNED: Style = AnsiColor::Green.on_default();

/// The first example of the data that was not left out.
pub(super) fn first(packed: &Packed, tokenizer: &Tokenizer) -> String {
    let examples = packed.examples();
    let found = (0..examples.len()).find_map(|i| examples.get(i).ok().filter(|example| example.learn.contains(&true)));
    found.map_or_else(String::new, |example| {
        draw(&example, tokenizer, width().min(110), stdout_color())
    })
}

/// Tokens that are drawn together: a character may be spread over several.
struct Cell {
    text: String,
    tokens: usize,
    learned: bool,
}

/// Tokens with a point between them; those that carry loss in colour, or underlined in a row of their own.
pub(super) fn draw(example: &Example, tokenizer: &Tokenizer, width: usize, color: bool) -> String {
    let cells = cells(example, tokenizer);
    let room = width.saturating_sub(INDENT.len()).max(20);
    let mut lines: Vec<[String; 2]> = vec![[String::new(), String::new()]];
    let mut at = 0;
    for cell in &cells {
        let wide = display_width(&cell.text) + display_width(BETWEEN);
        if at + wide > room && at > 0 {
            lines.push([String::new(), String::new()]);
            at = 0;
        }
        let [text, under] = lines.last_mut().expect("there is one");
        at += wide;
        *text += &if cell.learned {
            paint(&cell.text, LEARNED, color)
        } else {
            cell.text.clone()
        };
        *text += BETWEEN;
        let mark = if cell.learned { "^" } else { " " };
        *under += &mark.repeat(display_width(&cell.text));
        *under += " ";
    }
    let mut out = String::new();
    for [text, under] in lines {
        out += &format!("{text}\n{INDENT}");
        if !color && under.contains('^') {
            out += &format!("{}\n{INDENT}", under.trim_end());
        }
    }
    let (tokens, learned) = (example.ids.len(), example.learn.iter().filter(|learn| **learn).count());
    let how = if color { "in colour" } else { "marked ^" };
    let spread = match cells.iter().any(|cell| cell.tokens > 1) {
        true => "; a character of several tokens is drawn once, with their number",
        false => "",
    };
    out + &format!("{tokens} tokens, loss on {learned} of them ({how}){spread}")
}

fn cells(example: &Example, tokenizer: &Tokenizer) -> Vec<Cell> {
    let shown = example.ids.len().min(MOST);
    let groups = Granularity::Syllable.groups(&pieces(tokenizer, &example.ids[..shown]));
    let cell = |group: Group| {
        let tokens = group.end - group.start;
        let text = match tokens {
            1 => group.label,
            _ => format!("{}({tokens})", group.label),
        };
        let learned = example.learn[group.start];
        Cell { text, tokens, learned }
    };
    let mut cells: Vec<Cell> = groups.into_iter().map(cell).collect();
    if shown < example.ids.len() {
        cells.push(Cell {
            text: "…".into(),
            tokens: 1,
            learned: false,
        });
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken::text::{ChatTemplate, Conversation};

    #[test]
    fn a_syllable_of_three_tokens_is_drawn_once_and_answers_are_marked() {
        let tokenizer = Tokenizer::byte();
        let template = ChatTemplate::plain(&tokenizer);
        let example = template.encode(&tokenizer, &Conversation::pair("a 나", "네")).unwrap();
        let end = "<|endoftext|>";
        assert_eq!(
            draw(&example, &tokenizer, 80, false),
            format!(
                "a·␣·나(3)·⏎·␣·네(3)·{end}·\n{INDENT}            ^ ^^^^^ {}\n{INDENT}11 tokens, loss on 5 of them (marked ^); \
                 a character of several tokens is drawn once, with their number",
                "^".repeat(end.len())
            )
        );
        let colored = draw(&example, &tokenizer, 80, true);
        assert!(
            colored.contains("\u{1b}[32m네(3)\u{1b}[0m") && !colored.contains('^'),
            "{colored}"
        );
        // Narrow: no line is wider than it may be.
        let narrow = draw(&example, &tokenizer, 32, false);
        let lines: Vec<&str> = narrow.lines().collect();
        assert!(
            lines[..lines.len() - 1].iter().all(|line| display_width(line) <= 32),
            "{narrow}"
        );
    }
}
