//! An example as the model sees it: its tokens, and which of them carry loss.

use crate::terminal::{paint, stdout_color, width};
use anstyle::{AnsiColor, Style};
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
    let mut cells = Vec::new();
    let (mut bytes, mut tokens) = (Vec::new(), 0);
    let shown = example.ids.len().min(MOST);
    for (i, (&id, &learned)) in example.ids[..shown].iter().zip(&example.learn).enumerate() {
        bytes.extend_from_slice(tokenizer.id_to_bytes(id).unwrap_or_default());
        tokens += 1;
        let goes_on = i + 1 < shown && example.learn[i + 1] == learned;
        let text = match std::str::from_utf8(&bytes) {
            // A character is not whole yet.
            Err(error) if error.error_len().is_none() && goes_on => continue,
            _ => visible(&String::from_utf8_lossy(&bytes)),
        };
        let text = if tokens > 1 { format!("{text}({tokens})") } else { text };
        cells.push(Cell { text, tokens, learned });
        bytes.clear();
        tokens = 0;
    }
    if shown < example.ids.len() {
        cells.push(Cell {
            text: "…".into(),
            tokens: 1,
            learned: false,
        });
    }
    cells
}

/// Spaces and line ends as signs; nothing that moves the cursor.
fn visible(text: &str) -> String {
    let sign = |c: char| match c {
        ' ' => '␣',
        '\n' => '⏎',
        '\t' => '⇥',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    };
    text.chars().map(sign).collect()
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
                "a·␣·나(3)·⏎·네(3)·{end}·\n{INDENT}            ^^^^^ {}\n{INDENT}10 tokens, loss on 4 of them (marked ^); \
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
