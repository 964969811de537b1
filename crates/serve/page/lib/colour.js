// Colours that readers of every colour vision tell apart; the terminal's are the same.

/** Cividis (Nuñez, Anderton and Renslow, PLOS ONE 2018) at nine places, from 0 to 1. */
const CIVIDIS = [
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
const BLUE = [33, 102, 172];
const WHITE = [247, 247, 247];
const ORANGE = [217, 95, 2];

const mix = (a, b, part) => a.map((from, i) => Math.round(from + part * (b[i] - from)));
const within = (x, low, high) => (x > low ? Math.min(x, high) : low);

/**
 * A magnitude from 0 to 1; what is no number is 0.
 * @param {number} x
 * @returns {number[]} red, green and blue, 0 to 255
 */
export function cividis(x) {
  const at = within(x, 0, 1) * (CIVIDIS.length - 1);
  const below = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return mix(CIVIDIS[below], CIVIDIS[below + 1], at - below);
}

/**
 * A signed value from -1 (blue) over 0 (white) to 1 (orange).
 * @param {number} x
 * @returns {number[]}
 */
export function signed(x) {
  return mix(WHITE, x < 0 ? BLUE : ORANGE, within(Math.abs(x), 0, 1));
}

/**
 * Black or white, whichever has more contrast on a colour (relative luminance of WCAG).
 * @param {number[]} rgb
 * @returns {string} of CSS
 */
export function ink(rgb) {
  const [r, g, b] = rgb.map((value) => {
    const c = value / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  // Both have a contrast of 4.6 here, which is the least there is.
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

/**
 * A colour as CSS writes it.
 * @param {number[]} rgb
 * @returns {string}
 */
export function css([r, g, b]) {
  return `rgb(${r} ${g} ${b})`;
}
