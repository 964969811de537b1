// The table under every chart: the same numbers for whoever does not see it, or wants to copy them.

import { clear, el } from "./dom.js";
import { t } from "./words.js";

/** Rows that are drawn; more make a browser slow. */
const MOST = 2000;

/**
 * A table behind a line that opens it. Its rows are made when it is opened first.
 * @param {string} caption
 * @param {(string | {label: string, numeric?: boolean})[]} columns
 * @param {any[][] | (() => any[][])} rows of texts, numbers or nodes
 * @returns {HTMLDetailsElement}
 */
export function dataTable(caption, columns, rows) {
  const place = el("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": caption });
  const details = el("details", { class: "data-table" }, el("summary", null, t("as-table", { caption })), place);
  details.addEventListener("toggle", () => {
    if (details.open && !place.firstChild) clear(place, table(caption, columns, typeof rows === "function" ? rows() : rows));
  });
  return details;
}

function table(caption, columns, rows) {
  const heads = columns.map((column) => (typeof column === "string" ? { label: column } : column));
  const cell = (value, column) =>
    el("td", { class: heads[column]?.numeric || typeof value === "number" ? "number" : null }, value);
  const body = rows.slice(0, MOST).map((row) => el("tr", null, row.map(cell)));
  const more = rows.length - MOST;
  return [
    el(
      "table",
      null,
      el("caption", { class: "sr-only" }, caption),
      el("thead", null, el("tr", null, heads.map((head) =>
        el("th", { scope: "col", class: head.numeric ? "number" : null }, head.label)))),
      el("tbody", null, body),
    ),
    more > 0 && el("p", { class: "faint" }, t("rows-more", { n: more })),
  ];
}
