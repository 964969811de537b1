//! Views in a terminal: colour where there is colour, numbers without it.

use super::History;
use super::color::{magnitude, signed};
use super::table::{Cell, cut, left, on, painted, right, table};
use crate::terminal::{FAINT, STRONG, grouped, paint, short, stdout_color, width};
use foretoken::lens::{HeadMap, TensorChange};
use foretoken::look::{
    Attention, Difference, Embedding, HeadView, Looked, Neurons, Next, Piece, Probed, Shape, Stream, Tokens, Why,
};
use textwrap::core::display_width;

/// Columns of a reading, with the space behind it.
const READING: usize = 11;
/// Columns of a step's name.
const STEP: usize = 14;

/// Where a view is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    color: bool,
    width: usize,
}

impl Page {
    pub(super) fn of_terminal() -> Self {
        Self {
            color: stdout_color(),
            width: width(),
        }
    }

    fn head(&self, name: &str, what: &str) -> String {
        let what = paint(what, FAINT, self.color);
        format!("{}  {what}\n", paint(name, STRONG, self.color))
    }

    fn rows(&self, rows: &[Vec<Cell>]) -> String {
        table(rows, "  ", self.color)
    }
}

/// The row of a table's heads.
fn heads(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|&name| left(name)).collect()
}

/// Positions whose stream finds room.
pub(super) fn stream_columns() -> usize {
    (width().saturating_sub(STEP) / READING).max(1)
}

fn percent(part: f64) -> String {
    match part {
        part if part >= 0.0995 => format!("{:.0}%", 100.0 * part),
        part if part >= 0.00095 => format!("{:.1}%", 100.0 * part),
        0.0 => "0".into(),
        part => format!("{:.0e}", part),
    }
}

pub(super) fn shape(view: &Shape, page: Page) -> String {
    let mut out = page.head(&view.model, &format!("T={}, one sequence", view.tokens.len()));
    let mut rows = vec![heads(&[
        "step",
        "shape",
        "numbers",
        "bytes",
        "flops",
        "mean length",
        "",
    ])];
    for step in &view.steps {
        let (letters, sizes): (Vec<&str>, Vec<String>) = step
            .step
            .shape
            .iter()
            .map(|&(letter, n)| (letter, n.to_string()))
            .unzip();
        let flops = step.step.forward_flops * step.step.runs() as f64;
        let norms: Vec<String> = step.norms.iter().map(|norm| format!("{norm:.1}")).collect();
        let repeated = step.step.layers.map_or(String::new(), |layers| format!("x {layers}"));
        rows.push(vec![
            left(step.step.name),
            left(format!("({})", letters.join(","))),
            right(sizes.join(" x ")),
            right(foretoken::model::human_bytes(step.bytes)),
            right(if flops > 0.0 { short(flops) } else { String::new() }),
            right(norms.join(" … ")),
            left(repeated),
        ]);
    }
    out += &page.rows(&rows);
    out + &paint(
        "mean length: of a token's vector, in the first layer … in the last\n",
        FAINT,
        page.color,
    )
}

pub(super) fn tokens(view: &Tokens, page: Page) -> String {
    let name = match view.by {
        foretoken::look::Granularity::Token => "tokens",
        foretoken::look::Granularity::Syllable => "characters",
        foretoken::look::Granularity::Word => "words",
    };
    let groups = match view.by {
        foretoken::look::Granularity::Token => String::new(),
        _ => format!(", {} {name}", view.groups.len()),
    };
    let what = format!(
        "{} tokens{groups}, {:.1} bits, {:.3} bits a byte, {:.2} characters a token",
        view.tokens.len(),
        view.bits,
        view.bits_per_byte,
        view.characters_per_token
    );
    let mut out = page.head(&view.model, &what);
    let most = view.groups.iter().map(|group| group.bits).fold(1e-9, f64::max);
    let mut rows = vec![heads(&["at", "says", "ids", "bytes", "bits", ""])];
    for surprise in &view.groups {
        let group = &surprise.group;
        let pieces = &view.tokens[group.start..group.end];
        let ids: Vec<String> = pieces.iter().map(|piece| piece.id.to_string()).collect();
        let label = if pieces.len() == 1 {
            &pieces[0].label
        } else {
            &group.label
        };
        let bytes: String = pieces
            .iter()
            .flat_map(|piece| &piece.bytes)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let part = surprise.bits / most;
        let bar = "█".repeat((20.0 * part).round() as usize);
        rows.push(vec![
            right(group.start.to_string()),
            on(magnitude(part), cut(label, 30)),
            left(cut(&ids.join(" "), 24)),
            left(cut(&bytes, 24)),
            right(format!("{:.2}", surprise.bits)),
            left(bar),
        ]);
    }
    out += &page.rows(&rows);
    out
}

pub(super) fn embedding(view: &Embedding, page: Page) -> String {
    let mut out = page.head(
        &view.model,
        "nearest tokens by the cosine of their embeddings, and the distance",
    );
    let mut rows = Vec::new();
    for of in &view.neighbours {
        let mut row = vec![left(cut(&of.label, 16))];
        let room = (page.width.saturating_sub(18) / 18).max(1);
        row.extend(
            of.nearest
                .iter()
                .take(room)
                .map(|(near, label)| left(format!("{} {:.2} {:.1}", cut(label, 8), near.cosine, near.distance))),
        );
        rows.push(row);
    }
    out += &page.rows(&rows);
    out.push('\n');
    out += &page.head(
        "plane",
        &format!(
            "the two directions in which these tokens differ most: {} of it all",
            percent(view.shown)
        ),
    );
    out += &scatter(view, page);
    if !view.positions.is_empty() {
        out.push('\n');
        out += &page.head(
            "positions",
            "cosine of the position embeddings, from the first to the last",
        );
        let side = view.positions.len();
        let map: Vec<f32> = view.similarity.iter().map(|&x| x.max(0.0) as f32).collect();
        out += &small(&map, side, page).join("\n");
        out.push('\n');
    }
    out
}

/// Labels where the points are; what would cover another goes a line down.
fn scatter(view: &Embedding, page: Page) -> String {
    let (wide, high) = (page.width.min(100), 20);
    let ends = |of: &dyn Fn(usize) -> f64| {
        let all = (0..view.plane.len()).map(of);
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        })
    };
    let (x, y) = (ends(&|i| view.plane[i].x), ends(&|i| view.plane[i].y));
    let at = |value: f64, (low, high): (f64, f64), room: usize| {
        if high > low {
            ((value - low) / (high - low) * room as f64).round() as usize
        } else {
            0
        }
    };
    let mut lines = vec![vec![None::<char>; wide]; high];
    'points: for point in &view.plane {
        let label = cut(&point.label, 10);
        let size = display_width(&label);
        let column = at(point.x, x, wide - 12);
        let row = at(-point.y, (-y.1, -y.0), high - 1);
        for row in row..high {
            if (column..column + size + 1).all(|c| c >= wide || lines[row][c].is_none()) {
                let mut c = column;
                for character in label.chars() {
                    lines[row][c] = Some(character);
                    // The second column of a wide character stays empty, and is nobody else's.
                    let broad = display_width(&character.to_string()).max(1);
                    (c + 1..c + broad).for_each(|c| lines[row][c] = Some('\0'));
                    c += broad;
                }
                continue 'points;
            }
        }
    }
    let line = |line: Vec<Option<char>>| {
        let text: String = line
            .into_iter()
            .map(|c| c.unwrap_or(' '))
            .filter(|&c| c != '\0')
            .collect();
        text.trim_end().to_owned() + "\n"
    };
    lines.into_iter().map(line).collect()
}

/// A small map: two cells a character where there is colour, shades without it.
fn small(cells: &[f32], side: usize, page: Page) -> Vec<String> {
    const SHADES: [char; 6] = [' ', '·', '░', '▒', '▓', '█'];
    let at = |i: usize, j: usize| if i < side { cells[i * side + j] } else { 0.0 };
    (0..side.div_ceil(2))
        .map(|i| {
            let pair = |j: usize| (at(2 * i, j), at(2 * i + 1, j));
            (0..side)
                .map(|j| match (page.color, pair(j)) {
                    (true, (top, below)) => {
                        let ([r, g, b], [tr, tg, tb]) = (magnitude(below.into()), magnitude(top.into()));
                        format!("\u{1b}[48;2;{r};{g};{b}m\u{1b}[38;2;{tr};{tg};{tb}m▀\u{1b}[0m")
                    }
                    (false, (top, below)) => {
                        let shade = (f64::from(top.max(below)) * 5.0).ceil().clamp(0.0, 5.0);
                        SHADES[shade as usize].to_string()
                    }
                })
                .collect()
        })
        .collect()
}

pub(super) fn attention(view: &Attention, page: Page) -> String {
    let what = format!(
        "T={}; each head in small: a row a query, a column what it looks at",
        view.tokens.len()
    );
    let mut out = page.head(&view.model, &what);
    let side = view.heads.first().map_or(1, |map| map.side);
    let name = |map: &HeadMap| format!("{}.{}", map.layer, map.head);
    let wide = side.max(view.heads.iter().map(|map| name(map).len()).max().unwrap_or(1)) + 2;
    let mut layers: Vec<Vec<&HeadMap>> = Vec::new();
    for map in &view.heads {
        match layers.last_mut() {
            Some(heads) if heads[0].layer == map.layer => heads.push(map),
            _ => layers.push(vec![map]),
        }
    }
    for heads in layers.iter().flat_map(|heads| heads.chunks((page.width / wide).max(1))) {
        let line: String = heads.iter().map(|map| format!("{:wide$}", name(map))).collect();
        out += &format!("{}\n", line.trim_end());
        let maps: Vec<Vec<String>> = heads.iter().map(|map| small(&map.cells, map.side, page)).collect();
        for row in 0..side.div_ceil(2) {
            let line: String = maps
                .iter()
                .map(|map| format!("{}{}", map[row], " ".repeat(wide - side)))
                .collect();
            out += &format!("{}\n", line.trim_end_matches(' '));
        }
        out.push('\n');
    }
    out + &badges(&view.heads, page)
}

/// How much a head does of one thing.
type Score = fn(&HeadMap) -> Option<f64>;

/// The heads that do most of what heads are known to do.
fn badges(heads: &[HeadMap], page: Page) -> String {
    let kinds: [(&str, Score); 4] = [
        ("previous token", |map| map.badges.previous),
        ("induction", |map| map.badges.induction),
        ("same token", |map| map.badges.duplicate),
        ("first token", |map| map.badges.first),
    ];
    let rows = kinds.map(|(name, of)| {
        let mut found: Vec<(f64, String)> = heads
            .iter()
            .filter_map(|map| Some((of(map)?, format!("{}.{}", map.layer, map.head))))
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut row = vec![left(name)];
        match found.is_empty() {
            true => row.push(left("no token of this text comes twice")),
            false => row.extend(
                found
                    .iter()
                    .take(5)
                    .map(|(score, head)| left(format!("{head} {score:.2}"))),
            ),
        }
        row
    });
    page.head(
        "heads",
        "mean weight at the token before, after an earlier like one, at like ones, at the first",
    ) + &page.rows(&rows)
}

pub(super) fn head(view: &HeadView, at: Option<usize>, page: Page) -> String {
    let what = format!(
        "{} of head {}.{}, T={}",
        kind(view),
        view.layer,
        view.head,
        view.tokens.len()
    );
    let mut out = page.head(&view.model, &what);
    let n = view.groups.len();
    let label = |group: usize| cut(view_label(view, group), 14);
    if let Some(at) = at {
        let group = view
            .groups
            .iter()
            .position(|group| (group.start..group.end).contains(&at))
            .unwrap_or(0);
        let list = |name: &str, found: Vec<Looked>| {
            let mut rows = vec![vec![left(name)]];
            rows.extend(found.into_iter().map(|looked| {
                vec![
                    right(looked.group.to_string()),
                    left(label(looked.group)),
                    right(format!("{:.3}", looked.weight)),
                ]
            }));
            page.rows(&rows)
        };
        out += &list(&format!("{group} {} looks at", label(group)), view.looks_at(group, 10));
        return out + &list("is looked at by", view.looked_at_by(group, 10));
    }
    let labels = (0..n).map(|i| display_width(&label(i))).max().unwrap_or(0);
    let room = page.width.saturating_sub(labels + 6) / 3;
    if n > room {
        out += &paint(
            &format!("{n} columns find no room: what each query looks at most\n"),
            FAINT,
            page.color,
        );
        let rows: Vec<Vec<Cell>> = (0..n)
            .map(|group| {
                let mut row = vec![right(group.to_string()), left(label(group))];
                row.extend(view.looks_at(group, 4).into_iter().map(|looked| {
                    left(format!(
                        "{} {} {:.2}",
                        looked.group,
                        cut(view_label(view, looked.group), 8),
                        looked.weight
                    ))
                }));
                row
            })
            .collect();
        return out + &page.rows(&rows);
    }
    let most = view.weights.iter().fold(1e-9f32, |most, weight| most.max(weight.abs()));
    let column = |i: usize| format!("{i:>3}");
    out += &format!("{}{}\n", " ".repeat(labels + 4), (0..n).map(column).collect::<String>());
    for (i, row) in view.weights.chunks_exact(n).enumerate() {
        let space = " ".repeat(labels - display_width(&label(i)));
        out += &format!("{i:>3} {}{space}", label(i));
        for (j, &weight) in row.iter().enumerate() {
            let part = f64::from(weight / most);
            let text = match (j <= i, view.weighing) {
                (false, _) => "   ".to_owned(),
                (true, foretoken::lens::Weighing::Weight) => format!("{:>3}", (100.0 * weight).round() as i32),
                (true, _) => format!("{:>3.0}", weight),
            };
            let ground = if weight < 0.0 { signed(part) } else { magnitude(part) };
            out += &if page.color && j <= i {
                painted(&text, ground)
            } else {
                text
            };
        }
        out = out.trim_end_matches(' ').to_owned() + "\n";
    }
    out
}

fn view_label(view: &HeadView, group: usize) -> &str {
    let found = &view.groups[group];
    match found.end - found.start {
        1 => &view.tokens[found.start].label,
        _ => &found.label,
    }
}

pub(super) fn kind(view: &HeadView) -> &'static str {
    match view.weighing {
        foretoken::lens::Weighing::Weight => "weights in percent",
        foretoken::lens::Weighing::Value => "weights times the length of what is written",
        foretoken::lens::Weighing::Score => "raw scores",
    }
}

pub(super) fn stream(view: &Stream, page: Page) -> String {
    let what = "what the model would say after each step, and how likely; * is what truly follows";
    let mut out = page.head(&view.model, what);
    let label = |&position: &usize| cut(&view.tokens[position].label, READING - 2);
    let mut rows = vec![
        std::iter::once(left(""))
            .chain(view.positions.iter().map(|p| left(label(p))))
            .collect::<Vec<_>>(),
    ];
    for (name, cells) in view.steps.iter().zip(&view.cells).rev() {
        let mut row = vec![left(name.clone())];
        row.extend(cells.iter().zip(&view.targets).map(|(cell, target)| {
            let top = &cell.reading.top[0];
            let right = target.as_ref().is_some_and(|(id, _)| *id == top.id);
            let text = format!("{}{}", cut(&cell.labels[0], 5), if right { "*" } else { "" });
            let space = " ".repeat(6usize.saturating_sub(display_width(&text)));
            on(
                magnitude(top.probability),
                format!("{text}{space}{:>3.0}", 100.0 * top.probability),
            )
        }));
        rows.push(row);
    }
    out += &table(&rows, " ", page.color);
    // The last position in full: how each step moves it.
    let Some(last) = view.positions.len().checked_sub(1) else {
        return out;
    };
    let target = view.targets[last]
        .as_ref()
        .map_or(String::new(), |(_, label)| format!("; rank and probability of {label}"));
    out.push('\n');
    out += &page.head(
        &format!("behind {} {}", view.positions[last], view.tokens[view.positions[last]].label),
        &format!("bits of entropy, bits from the last (KL), length of the stream, how far and which way the step went{target}"),
    );
    let mut rows = vec![heads(&[
        "", "entropy", "KL", "length", "moved", "cosine", "rank", "p", "top",
    ])];
    for (name, cells) in view.steps.iter().zip(&view.cells) {
        let cell = &cells[last];
        let reading = &cell.reading;
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
        rows.push(vec![
            left(name.clone()),
            right(format!("{:.2}", reading.entropy)),
            right(format!("{:.2}", reading.divergence)),
            right(format!("{:.1}", reading.norm)),
            right(number(reading.moved)),
            right(number(reading.turned)),
            right(reading.rank.map_or(String::new(), |rank| grouped(rank as u64))),
            right(reading.probability.map_or(String::new(), percent)),
            left(
                cell.labels
                    .iter()
                    .map(|label| cut(label, 12))
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
        ]);
    }
    out += &page.rows(&rows);
    out + &paint(
        "early steps are read with a head that was trained for the last: suggestive, not exact\n",
        FAINT,
        page.color,
    )
}

pub(super) fn why(view: &Why, page: Page) -> String {
    let over = view
        .against
        .as_ref()
        .map_or(String::new(), |(_, label)| format!(" over {label}"));
    let what = format!(
        "logit of {}{over} behind {} {}: {:.3}",
        view.token.1, view.position, view.tokens[view.position].label, view.logit
    );
    let mut out = page.head(&view.model, &what);
    let most = view.bars.iter().map(|bar| bar.added.abs()).fold(1e-9, f64::max);
    let half = (page.width.saturating_sub(34) / 2).clamp(8, 30);
    let row = |name: &str, added: f64| {
        let size = (added.abs() / most * half as f64).round() as usize;
        let (before, after) = match added < 0.0 {
            true => (
                format!("{}{}", " ".repeat(half - size.min(half)), "█".repeat(size.min(half))),
                String::new(),
            ),
            false => (" ".repeat(half), "█".repeat(size.min(half))),
        };
        vec![
            left(name),
            right(format!("{added:+.3}")),
            left(format!("{before}│{after}")),
        ]
    };
    let mut rows: Vec<Vec<Cell>> = view.bars.iter().map(|bar| row(&bar.name, bar.added)).collect();
    rows.push(vec![
        left("sum"),
        right(format!("{:+.3}", view.bars.iter().map(|bar| bar.added).sum::<f64>())),
    ]);
    out += &page.rows(&rows);
    out.push('\n');
    out += &page.head(
        "heads",
        "what the largest added of their layer's attention, and from which tokens (weight, added)",
    );
    let label = |position: usize| cut(&view.tokens[position].label, 10);
    let rows: Vec<Vec<Cell>> = (view.heads.iter())
        .map(|bar| {
            let mut row = vec![
                left(format!("{}.{}", bar.layer, bar.head)),
                right(format!("{:+.3}", bar.added)),
            ];
            row.extend(bar.sources.iter().map(|source| {
                left(format!(
                    "{} {} {:.2} {:+.2}",
                    source.position,
                    label(source.position),
                    source.weight,
                    source.added
                ))
            }));
            row
        })
        .collect();
    out += &page.rows(&rows);
    if !view.ablated.is_empty() {
        out.push('\n');
        out += &page.head(
            "measured by removal",
            "the logit without the head, which counts what it does by way of later layers too",
        );
        let rows: Vec<Vec<Cell>> = (view.ablated.iter())
            .map(|one| {
                vec![
                    left(format!("{}.{}", one.layer, one.head)),
                    right(format!("{:.3}", one.logit)),
                    right(format!("{:+.3}", one.change)),
                ]
            })
            .collect();
        out += &page.rows(&rows);
    }
    if !view.patched.is_empty() {
        out.push('\n');
        out += &page.head(
            "patched",
            "the logit where the stream after a step is the other text's, at one token",
        );
        let mut places: Vec<usize> = view.patched.iter().map(|one| one.position).collect();
        places.sort_unstable();
        places.dedup();
        let mut rows = vec![
            std::iter::once(left(""))
                .chain(places.iter().map(|&p| right(format!("{p} {}", label(p)))))
                .collect(),
        ];
        for step in view.patched.chunks(places.len()) {
            let cells = step.iter().map(|one| right(format!("{:.3}", one.logit)));
            rows.push(
                std::iter::once(left(step[0].name.clone()))
                    .chain(cells)
                    .collect::<Vec<_>>(),
            );
        }
        out += &page.rows(&rows);
    }
    out
}

pub(super) fn next(view: &Next, page: Page) -> String {
    let what = format!(
        "what follows {} tokens: {:.2} bits of entropy; at temperature {} the draw is among {}",
        view.tokens.len(),
        view.entropy,
        view.temperature,
        grouped(view.kept as u64)
    );
    let mut out = page.head(&view.model, &what);
    let mut rows = vec![heads(&["rank", "token", "id", "logit", "p", "p at T", "drawn", ""])];
    for choice in &view.choices {
        let bar = "█".repeat((20.0 * choice.drawn.unwrap_or(0.0)).round() as usize);
        let name = if choice.ends {
            format!("{} (ends)", choice.label)
        } else {
            choice.label.clone()
        };
        rows.push(vec![
            right(grouped(choice.rank as u64)),
            on(magnitude(choice.probability), cut(&name, 24)),
            right(choice.id.to_string()),
            right(format!("{:.2}", choice.logit)),
            right(percent(choice.probability)),
            right(percent(choice.tempered)),
            right(choice.drawn.map_or("cut".into(), percent)),
            left(bar),
        ]);
    }
    out += &page.rows(&rows);
    out
}

pub(super) fn neurons(view: &Neurons, page: Page) -> String {
    let what = format!(
        "layer {}: the neurons whose largest activation stands out most, and where",
        view.layer
    );
    let mut out = page.head(&view.model, &what);
    for neuron in &view.neurons {
        let about = format!(
            "mean {:.3}, the largest {:.1} deviations above",
            neuron.mean, neuron.sharpness
        );
        out += &page.head(&format!("neuron {}", neuron.neuron), &about);
        for context in &neuron.contexts {
            let token = paint(&format!("[{}]", context.token), STRONG, page.color);
            let value = context.milli as f64 / 1000.0;
            out += &format!("  {value:>8.2}  {}{token}{}\n", context.before, context.after);
        }
    }
    out
}

fn changes(tensors: &[TensorChange], page: Page) -> String {
    let mut rows = vec![heads(&["tensor", "shape", "rms", "after", "change", "cosine", ""])];
    let most = tensors
        .iter()
        .map(|t| t.relative)
        .filter(|r| r.is_finite())
        .fold(1e-12, f64::max);
    for tensor in tensors {
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        let part = (tensor.relative / most).min(1.0);
        rows.push(vec![
            left(tensor.name.clone()),
            left(shape.join(" x ")),
            right(format!("{:.4}", tensor.rms)),
            right(format!("{:.4}", tensor.rms_after)),
            right(percent(tensor.relative)),
            right(format!("{:.3}", tensor.cosine)),
            left("█".repeat((20.0 * part).round() as usize)),
        ]);
    }
    page.rows(&rows)
}

fn probed(name: &str, probe: &Probed) -> Vec<Cell> {
    let top: Vec<String> = probe
        .top
        .iter()
        .map(|(label, p)| format!("{} {}", cut(label, 8), percent(*p)))
        .collect();
    let best = |of: &dyn Fn(&HeadMap) -> Option<f64>| {
        let scores = probe.heads.iter().filter_map(|map| Some((of(map)?, map)));
        let best = scores.max_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or("-".into(), |(score, map)| {
            format!("{}.{} {score:.2}", map.layer, map.head)
        })
    };
    vec![
        left(name),
        right(format!("{:.1}", probe.bits)),
        right(format!("{:.2}", probe.entropy)),
        left(best(&|map| map.badges.previous)),
        left(best(&|map| map.badges.induction)),
        left(cut(&top.join(" "), 44)),
        left(cut(&probe.sample.replace('\n', "⏎"), 60)),
    ]
}

const PROBED: [&str; 7] = [
    "",
    "bits",
    "entropy",
    "previous",
    "induction",
    "what could be next",
    "what it writes",
];

pub(super) fn difference(view: &Difference, page: Page) -> String {
    let [before, after] = &view.models;
    let mut out = page.head(before, &format!("and {after}: how far each tensor went"));
    out += &changes(&view.tensors, page);
    for pair in &view.probes {
        out += &format!("\n{}", page.head(&pair[0].prompt, "as each goes on"));
        out += &page.rows(&[heads(&PROBED), probed("before", &pair[0]), probed("after", &pair[1])]);
    }
    out
}

pub(super) fn history(view: &History, page: Page) -> String {
    let mut out = page.head(
        &view.run.display().to_string(),
        "how far tensors went from checkpoint to checkpoint",
    );
    let mut rows = Vec::new();
    let steps: Vec<&_> = view
        .checkpoints
        .iter()
        .filter(|side| !side.tensors.is_empty())
        .collect();
    if let Some(first) = steps.first() {
        rows.push(
            std::iter::once(left("step"))
                .chain(steps.iter().map(|side| right(grouped(side.step))))
                .collect::<Vec<_>>(),
        );
        for (i, tensor) in first.tensors.iter().enumerate() {
            let parts = steps.iter().map(|side| {
                let relative = side.tensors[i].relative;
                Cell {
                    ground: Some(magnitude(relative)),
                    ..right(percent(relative))
                }
            });
            rows.push(std::iter::once(left(tensor.name.clone())).chain(parts).collect());
        }
    }
    out += &page.rows(&rows);
    let prompts = view.checkpoints.first().map_or(0, |side| side.probes.len());
    for i in 0..prompts {
        out += &format!(
            "\n{}",
            page.head(&view.checkpoints[0].probes[i].prompt, "at each checkpoint")
        );
        let mut rows = vec![heads(&PROBED)];
        rows.extend(
            view.checkpoints
                .iter()
                .map(|side| probed(&grouped(side.step), &side.probes[i])),
        );
        out += &page.rows(&rows);
    }
    out
}

/// What a column or row is called where there is little room.
pub(super) fn short_label(piece: &Piece) -> String {
    cut(&piece.label, 12)
}
