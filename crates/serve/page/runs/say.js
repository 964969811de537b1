// Numbers and lengths of time as a person reads them.

import { language, number, t } from "../lib/words.js";

/**
 * A number with about four digits: 2.345, 12,345, 1.2e-5.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function figure(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return value.toExponential(2).replace("e+", "e");
  return number(value, { maximumFractionDigits: size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 4 });
}

/**
 * A loss, always with its four places.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function loss(value) {
  return Number.isFinite(value) ? value.toFixed(4) : "–";
}

/**
 * Large counts in short: 124M; in Korean 1.2억.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  return number(value, value >= 10_000 ? { notation: "compact", maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 });
}

/**
 * Bytes in the unit that fits.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, value)) / 10));
  return `${number(value / 1024 ** power, { maximumSignificantDigits: 3 })} ${units[power]}`;
}

/**
 * A length of time in its two largest units: 3 min 5 s.
 * @param {number | null | undefined} seconds
 * @returns {string}
 */
export function lasting(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 10) return t("runs-s", { n: number(seconds, { maximumFractionDigits: 1 }) });
  const whole = Math.round(seconds);
  const parts = [["runs-d", Math.floor(whole / 86400)], ["runs-h", Math.floor(whole / 3600) % 24],
    ["runs-min", Math.floor(whole / 60) % 60], ["runs-s", whole % 60]];
  const first = parts.findIndex(([, n]) => n > 0);
  return parts.slice(first, first + 2).filter(([, n]) => n > 0).map(([unit, n]) => t(unit, { n })).join(" ");
}

/**
 * How long ago something was: 5 minutes ago.
 * @param {number | null | undefined} seconds
 * @returns {string}
 */
export function ago(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, size] = units.find(([, size]) => seconds >= size) ?? units.at(-1);
  return new Intl.RelativeTimeFormat(language(), { numeric: "auto" }).format(-Math.floor(seconds / size), unit);
}
