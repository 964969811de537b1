// Numbers as a reader of these views wants them.

import { number } from "../lib/words.js";

/**
 * With so many decimals, always.
 * @param {number} x
 * @param {number} [digits]
 * @returns {string}
 */
export function fixed(x, digits = 2) {
  // What rounds to 0 has no sign.
  const value = Math.abs(x) < 0.5 * 10 ** -digits ? 0 : x;
  return value.toFixed(digits).replace("-", "−");
}

/**
 * With its sign, whichever it is.
 * @param {number} x
 * @param {number} [digits]
 * @returns {string}
 */
export function plus(x, digits = 3) {
  const text = fixed(x, digits);
  return x < 0 || Number(text) === 0 ? text : `+${text}`;
}

/**
 * Four digits and a letter: 124.4M, 3.307T.
 * @param {number} n
 * @returns {string}
 */
export function big(n) {
  let value = n;
  const letter = ["", "k", "M", "B", "T", "P", "E"].find((_, i, all) => {
    if (Math.abs(value) < 1000 || i === all.length - 1) return true;
    value /= 1000;
    return false;
  });
  return letter === "" ? number(n) : `${Number(value.toPrecision(4))}${letter}`;
}

/**
 * Bytes in powers of 1024.
 * @param {number} n
 * @returns {string}
 */
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let [value, at] = [n, 0];
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 ? value : value.toFixed(value < 100 ? 1 : 0)} ${units[at]}`;
}
