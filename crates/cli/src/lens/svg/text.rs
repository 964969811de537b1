//! What a text is to a model.

use super::{MARGIN, Picture, SOFT, TOP, room};
use crate::lens::color::{hex, ink, magnitude};
use foretoken::look::{Embedding, Tokens};

pub(in crate::lens) fn tokens(view: &Tokens) -> String {
    let mut picture = Picture::new();
    let most = view.groups.iter().map(|group| group.bits).fold(1e-9, f64::max);
    let (mut x, mut y) = (MARGIN, TOP);
    for surprise in &view.groups {
        let group = &surprise.group;
        let label = match group.end - group.start {
            1 => &view.tokens[group.start].label,
            _ => &group.label,
        };
        let wide = room(std::iter::once(label.as_str())).max(34.0);
        if x + wide > 900.0 {
            (x, y) = (MARGIN, y + 44.0);
        }
        let ground = magnitude(surprise.bits / most);
        picture.rect([x, y, wide, 22.0], ground);
        picture.text(x + 4.0, y + 15.0, &format!(r#"fill="{}""#, hex(ink(ground))), label);
        picture.text(
            x + 4.0,
            y + 35.0,
            &format!(r#"font-size="10" fill="{SOFT}""#),
            &format!("{:.1}", surprise.bits),
        );
        x += wide + 3.0;
    }
    picture.legend(&format!("{most:.1} bits"));
    let what = format!(
        "surprise in bits: {:.1} in all, {:.3} a byte",
        view.bits, view.bits_per_byte
    );
    picture.finish(&format!("Tokens under {}", view.model), &what)
}

pub(in crate::lens) fn embedding(view: &Embedding) -> String {
    let mut picture = Picture::new();
    let ends = |of: fn(&foretoken::look::Point) -> f64| {
        view.plane
            .iter()
            .map(of)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)))
    };
    let (x, y) = (ends(|point| point.x), ends(|point| point.y));
    let place = |value: f64, (low, high): (f64, f64), room: f64| (value - low) / (high - low).max(1e-12) * room;
    for point in &view.plane {
        let at = (
            MARGIN + place(point.x, x, 640.0),
            TOP + 12.0 + place(-point.y, (-y.1, -y.0), 420.0),
        );
        picture.rect([at.0 - 2.0, at.1 - 2.0, 4.0, 4.0], [0, 114, 178]);
        picture.text(at.0 + 5.0, at.1 + 4.0, "", &point.label);
    }
    let what = format!(
        "the two directions in which these embeddings differ most: {:.0}% of it all",
        100.0 * view.shown
    );
    picture.finish(&format!("Embeddings of {}", view.model), &what)
}
