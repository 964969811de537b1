//! A table as a picture: what has no better drawing.

use super::{MARGIN, Picture, TOP, room};
use crate::lens::color::{hex, ink};
use crate::lens::table::Cell;

/// Rows below each other, each column as wide as its widest cell.
pub(in crate::lens) fn table(title: &str, what: &str, rows: &[Vec<Cell>]) -> String {
    let mut picture = Picture::new();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<f64> = (0..columns)
        .map(|column| {
            10.0 + room(
                rows.iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.text.as_str()),
            )
        })
        .collect();
    for (i, row) in rows.iter().enumerate() {
        let y = TOP + 20.0 * i as f64;
        let mut x = MARGIN;
        for (cell, width) in row.iter().zip(&widths) {
            let mut style = String::new();
            if let Some(ground) = cell.ground {
                picture.rect([x, y, width - 1.0, 19.0], ground);
                style += &format!(r#"fill="{}" "#, hex(ink(ground)));
            }
            if cell.right {
                style += r#"text-anchor="end""#;
                picture.text(x + width - 10.0, y + 14.0, &style, &cell.text);
            } else {
                picture.text(x + 4.0, y + 14.0, &style, &cell.text);
            }
            x += width;
        }
    }
    picture.finish(title, what)
}
