// Small pieces that several views are made of.

import { css, cividis, ink, signed } from "../lib/colour.js";
import { el } from "../lib/dom.js";
import { t } from "../lib/words.js";

/**
 * A choice of few, side by side.
 * @param {string} label
 * @param {[string, string][]} options value and text
 * @param {string} current
 * @param {(value: string) => void} choose
 * @returns {HTMLElement}
 */
export function segments(label, options, current, choose) {
  const group = el("div", { class: "segments", role: "group", "aria-label": label });
  for (const [value, text] of options) {
    const press = (event) => {
      for (const button of group.children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
      choose(value);
    };
    group.append(el("button", { type: "button", "aria-pressed": value === current, onclick: press }, text));
  }
  return group;
}

/** Token, syllable or word. */
export function granularity(inside) {
  const options = ["token", "syllable", "word"].map((by) => [by, t(`look-by-${by}`)]);
  return segments(t("look-by"), options, inside.state.by ?? "token", (by) => inside.set({ by: by === "token" ? null : by }));
}

/** A label beside its control. */
export function labelled(text, control) {
  return el("label", { class: "look-labelled" }, el("span", null, text), control);
}

/**
 * A slider that tells its number while it moves.
 * @param {{label: string, min: number, max: number, step: number, value: number, show?: (value: number) => string, change: (value: number) => void}} of
 * @returns {HTMLElement}
 */
export function slider({ label, min, max, step, value, show = String, change }) {
  const out = el("output", { class: "number" }, show(value));
  const input = el("input", { type: "range", min, max, step, "aria-valuetext": show(value) });
  // After its limits: a value outside of them would be cut.
  input.value = value;
  input.addEventListener("input", () => {
    const now = Number(input.value);
    out.textContent = show(now);
    input.setAttribute("aria-valuetext", show(now));
    change(now);
  });
  return el("label", { class: "look-slider" }, el("span", null, label), out, input);
}

/**
 * A bar from 0 to 1 in a cell of a table.
 * @param {number} part
 * @param {string} [kind] a class beside
 * @returns {HTMLElement}
 */
export function bar(part, kind = "") {
  const width = `${100 * Math.max(0, Math.min(1, part))}%`;
  return el("span", { class: `look-bar ${kind}`, "aria-hidden": true }, el("span", { style: { width } }));
}

/** Colours of a cell for a magnitude from 0 to 1, as a style. */
export function shade(part) {
  const rgb = cividis(part);
  return { background: css(rgb), color: ink(rgb) };
}

/** Colours of a cell for a signed value from -1 to 1, as a style. */
export function signedShade(part) {
  const rgb = signed(part);
  return { background: css(rgb), color: ink(rgb) };
}

/** A line under a chart that says what its colours mean. */
export function legend(from, to, colour = cividis, low = 0) {
  const stops = Array.from({ length: 9 }, (_, i) => css(colour(low + ((1 - low) * i) / 8)));
  const ramp = el("span", {
    class: "look-ramp",
    "aria-hidden": true,
    style: { background: `linear-gradient(to right, ${stops.join(", ")})` },
  });
  return el("p", { class: "faint look-legend" }, el("span", null, from), ramp, el("span", null, to));
}

/**
 * A table that is the view itself, not behind a line.
 * @param {string} caption
 * @param {(string | {label: string, numeric?: boolean})[]} columns
 * @param {any[]} rows of cells: nodes of td or th, or what goes into one
 * @returns {HTMLElement}
 */
export function table(caption, columns, rows) {
  const heads = columns.map((column) => (typeof column === "string" ? { label: column } : column));
  const cell = (value, at) => {
    if (value instanceof HTMLTableCellElement) return value;
    return el("td", { class: heads[at]?.numeric ? "number" : null }, value);
  };
  const head = ({ label, numeric }) => el("th", { scope: "col", class: numeric ? "number" : null }, label);
  return el(
    "div",
    { class: "look-scroll", tabindex: 0, role: "region", "aria-label": caption },
    el(
      "table",
      { class: "look-table" },
      el("caption", { class: "sr-only" }, caption),
      el("thead", null, el("tr", null, heads.map(head))),
      el(
        "tbody",
        null,
        rows.map((row) => (row instanceof HTMLElement ? row : el("tr", null, row.map(cell)))),
      ),
    ),
  );
}

/** The name of a place of the stream: before the first layer, then attention and MLP of each. */
export function stepName(step) {
  if (step === 0) return t("look-step-embedding");
  const layer = Math.floor((step - 1) / 2);
  return t(step % 2 === 1 ? "look-step-attention" : "look-step-mlp", { layer });
}

/** The explanation over a view, with what it cannot say behind a line; open where it is easily misread. */
export function about(what, more, open = false) {
  return el(
    "div",
    { class: "look-about" },
    el("p", null, what),
    el("details", { open }, el("summary", null, t("look-more")), el("p", null, more)),
  );
}
