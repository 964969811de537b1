//! Pictures as PNG, with the fonts of the machine.

use anyhow::{Context, bail};
use resvg::{tiny_skia, usvg};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use usvg::fontdb::Style;

/// Pixels a unit of the picture: sharp on the screens of today, and in print.
const SCALE: f32 = 2.0;
/// Pixels of a picture at most: 128 MB as it is drawn.
const MOST: f32 = 32e6;

/// The file of an SVG of ours, and the characters that no font of the machine has: where they should stand is nothing.
pub(super) fn render(svg: &str) -> anyhow::Result<(Vec<u8>, BTreeSet<char>)> {
    let missing = Arc::new(Mutex::new(BTreeSet::new()));
    let mut options = usvg::Options {
        font_resolver: fonts(Arc::clone(&missing)),
        ..usvg::Options::default()
    };
    options.fontdb_mut().load_system_fonts();
    if options.fontdb.is_empty() {
        bail!("this machine has no font to write a PNG's labels with; --svg leaves them to whoever shows the picture");
    }
    let tree = usvg::Tree::from_str(svg, &options).context("the picture as SVG")?;
    let (width, height) = (tree.size().width(), tree.size().height());
    let scale = SCALE.min((MOST / (width * height)).sqrt());
    let size = |side: f32| (side * scale).ceil() as u32;
    let mut pixels = tiny_skia::Pixmap::new(size(width), size(height)).context("a picture of no size")?;
    resvg::render(
        &tree,
        tiny_skia::Transform::from_scale(scale, scale),
        &mut pixels.as_mut(),
    );
    drop(options);
    let missing = missing.lock().expect("no one panics with it").clone();
    Ok((pixels.encode_png()?, missing))
}

/// The families that a picture asks for, or else any upright font; characters that none has are noted.
fn fonts(missing: Arc<Mutex<BTreeSet<char>>>) -> usvg::FontResolver<'static> {
    let select = usvg::FontResolver::default_font_selector();
    let fall_back = usvg::FontResolver::default_fallback_selector();
    usvg::FontResolver {
        select_font: Box::new(move |font, known| {
            select(font, known).or_else(|| {
                let upright = known.faces().find(|face| face.style == Style::Normal);
                upright.map(|face| face.id)
            })
        }),
        select_fallback: Box::new(move |character, used, known| {
            let found = fall_back(character, used, known);
            if found.is_none() && !character.is_control() {
                missing.lock().expect("no one panics with it").insert(character);
            }
            found
        }),
    }
}
