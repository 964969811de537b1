//! Colours that readers of every colour vision tell apart.

/// Cividis (Nuñez, Anderton and Renslow, PLOS ONE 2018) at nine places, from 0 to 1: for magnitudes.
const CIVIDIS: [[u8; 3]; 9] = [
    [0, 34, 78],
    [26, 56, 111],
    [67, 78, 108],
    [97, 101, 111],
    [125, 124, 120],
    [155, 148, 118],
    [188, 174, 108],
    [222, 201, 88],
    [254, 232, 56],
];
const BLUE: [u8; 3] = [33, 102, 172];
const WHITE: [u8; 3] = [247, 247, 247];
const ORANGE: [u8; 3] = [217, 95, 2];

/// A colour.
pub(super) type Rgb = [u8; 3];

fn mix(a: Rgb, b: Rgb, part: f64) -> Rgb {
    std::array::from_fn(|i| (f64::from(a[i]) + part * (f64::from(b[i]) - f64::from(a[i]))).round() as u8)
}

/// A magnitude from 0 to 1.
pub(super) fn magnitude(value: f64) -> Rgb {
    let at = value.clamp(0.0, 1.0) * (CIVIDIS.len() - 1) as f64;
    let below = (at as usize).min(CIVIDIS.len() - 2);
    mix(CIVIDIS[below], CIVIDIS[below + 1], at - below as f64)
}

/// A signed value from -1 (blue) over 0 (white) to 1 (orange).
pub(super) fn signed(value: f64) -> Rgb {
    mix(WHITE, if value < 0.0 { BLUE } else { ORANGE }, value.abs().min(1.0))
}

/// Black or white, whichever is read more easily on a colour.
pub(super) fn ink([r, g, b]: Rgb) -> Rgb {
    let light = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    if light > 128.0 { [0; 3] } else { [255; 3] }
}

/// `#rrggbb`.
pub(super) fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_where_they_should_and_grow_lighter() {
        assert_eq!((magnitude(0.0), magnitude(1.0)), (CIVIDIS[0], CIVIDIS[8]));
        assert_eq!((signed(-1.0), signed(0.0), signed(2.0)), (BLUE, WHITE, ORANGE));
        let light = |value: f64| magnitude(value).iter().map(|&c| u32::from(c)).sum::<u32>();
        assert!((0..20).all(|i| light(f64::from(i) / 20.0) <= light(f64::from(i + 1) / 20.0)));
    }
}
