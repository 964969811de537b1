// One reading of the stream in full.

import { el } from "../lib/dom.js";
import { dataTable } from "../lib/table.js";
import { number, percent, t } from "../lib/words.js";
import { fixed } from "./numbers.js";
import { bar, stepName } from "./parts.js";

/**
 * What stands under the grid: the likeliest tokens of a cell, how far the step went, and all steps of its column as a table.
 * @param {import("./inside.js").Inside} inside
 * @param {any} view the answer of /lens/stream
 * @param {number} row the step
 * @param {number} at the column
 */
export function reading(inside, view, row, at) {
  const cell = view.cells[row][at];
  return [
    el("h3", null, t("look-stream-here", { step: stepName(row), label: inside.label(view.positions[at]), position: view.positions[at] })),
    el(
      "div",
      { class: "look-two" },
      el(
        "ol",
        { class: "look-tops" },
        cell.top.map((candidate, i) =>
          el(
            "li",
            null,
            el("span", { class: "mono" }, cell.labels[i]),
            el("span", { class: "number" }, percent(candidate.probability)),
            bar(candidate.probability),
          ),
        ),
      ),
      el(
        "dl",
        { class: "look-facts" },
        facts(cell, row > 0 ? view.cells[row - 1][at] : null, view.targets[at]).map(([name, value]) => [
          el("dt", null, name),
          el("dd", { class: "number" }, value),
        ]),
      ),
    ),
    dataTable(
      t("look-stream-table", { label: inside.label(view.positions[at]) }),
      [
        t("look-step"),
        t("look-top"),
        ...["look-probability", "look-entropy-name", "look-divergence-name", "look-rank", "look-length", "look-moved", "look-turned"].map(
          (key) => ({ label: t(key), numeric: true }),
        ),
      ],
      () => view.cells.map((cells, i) => line(cells[at], i)),
    ),
  ];
}

/** What a cell says in numbers: names and values. `before` is the step before, `target` what truly follows. */
function facts(cell, before, target) {
  const all = [
    [t("look-entropy-name"), t("look-bits-of", { n: fixed(cell.entropy) })],
    [t("look-divergence-name"), t("look-bits-of", { n: fixed(cell.divergence) })],
    [t("look-length"), fixed(cell.norm)],
  ];
  if (before) all.push([t("look-moved"), fixed(cell.moved)], [t("look-turned"), fixed(cell.turned)]);
  if (target) {
    const moved = before ? ` (${change(before.rank, cell.rank)})` : "";
    all.push([t("look-rank-of", { label: target[1] }), `${number(cell.rank)}${moved} · ${percent(cell.probability)}`]);
  }
  return all;
}

const line = (cell, i) => [
  stepName(i),
  cell.labels.slice(0, 3).join(" "),
  percent(cell.top[0].probability),
  fixed(cell.entropy),
  fixed(cell.divergence),
  cell.rank === null ? "–" : number(cell.rank),
  fixed(cell.norm),
  cell.moved === null ? "–" : fixed(cell.moved),
  cell.turned === null ? "–" : fixed(cell.turned),
];

function change(before, now) {
  if (now === before) return t("look-rank-same");
  return now < before ? t("look-rank-up", { n: number(before - now) }) : t("look-rank-down", { n: number(now - before) });
}
