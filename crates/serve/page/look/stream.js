// The stream, read after every step as if it were the last: a row a step, a column a token.

import { clear, el } from "../lib/dom.js";
import { number, percent, t } from "../lib/words.js";
import { draw } from "./inside.js";
import { fixed } from "./numbers.js";
import { about, segments, shade, stepName } from "./parts.js";
import { reading } from "./reading.js";

/** Columns that are read together, the selected one among them: as many as find room. */
const MOST_COLUMNS = 10;
const LEAST_COLUMNS = 3;
/** Pixels of a column, and of the names of the steps. */
const COLUMN = 62;
const NAMES = 84;
const TOP = 8;
/** What a cell can say: how it is shaded, and which number it prints. */
const MEASURES = {
  probability: { part: (cell) => cell.top[0].probability, print: (cell) => percent(cell.top[0].probability) },
  rank: { part: (cell) => (cell.rank ? 1 / cell.rank ** 0.5 : 0), print: (cell) => (cell.rank ? number(cell.rank) : "–") },
  entropy: { part: (cell, most) => cell.entropy / most.entropy, print: (cell) => fixed(cell.entropy) },
  divergence: { part: (cell, most) => cell.divergence / most.divergence, print: (cell) => fixed(cell.divergence) },
};

/** The view of the stream. */
export function streamView(inside) {
  const options = Object.keys(MEASURES).map((name) => [name, t(`look-measure-${name}`)]);
  const measure = () => (Object.hasOwn(MEASURES, inside.state.measure ?? "") ? inside.state.measure : "probability");
  const choice = segments(t("look-measure"), options, measure(), (name) => inside.set({ measure: name === "probability" ? null : name }));
  const body = el("div", { class: "stack" });
  const detail = el("section", { class: "stack look-detail", "aria-live": "off" });
  const what = el("p", { class: "faint" });
  const node = el(
    "div",
    { class: "stack" },
    about(t("look-stream-about"), t("look-stream-more"), true),
    el("div", { class: "row" }, choice),
    what,
    body,
    detail,
  );
  let view = null;
  let wanted = null;

  const steps = () => view.steps.length;
  const step = () => Math.max(0, Math.min(steps() - 1, inside.number("step", steps() - 1)));
  const column = () => Math.max(0, view.positions.indexOf(inside.at()));

  /** The columns around a position; those that are there stay while it is among them. */
  function positions() {
    const [at, n] = [inside.at(), inside.tokens.tokens.length];
    if (wanted?.includes(at)) return wanted;
    const room = Math.floor((body.clientWidth - NAMES) / COLUMN);
    const columns = Math.max(LEAST_COLUMNS, Math.min(MOST_COLUMNS, room));
    const last = Math.min(n - 1, Math.max(at + 1, columns - 1));
    const first = Math.max(0, last - columns + 1);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  }

  function cellNode(cell, row, at, most) {
    const { part, print } = MEASURES[measure()];
    const right = view.targets[at] !== null && cell.top[0].id === view.targets[at][0];
    const label = cell.labels[0];
    return el(
      "td",
      {
        tabindex: -1,
        "data-row": row,
        "data-column": at,
        style: shade(part(cell, most)),
        title: label,
        "aria-label": t("look-stream-cell", { step: stepName(row), token: inside.label(view.positions[at]), label, value: print(cell) }),
      },
      el("span", { class: "look-cell-label mono" }, label, right && "✓"),
      el("span", { class: "look-cell-number" }, print(cell)),
    );
  }

  function grid() {
    const all = view.cells.flat();
    const most = {
      entropy: Math.max(...all.map((cell) => cell.entropy), 1e-9),
      divergence: Math.max(...all.map((cell) => cell.divergence), 1e-9),
    };
    const heads = view.positions.map((position, i) =>
      el("th", { scope: "col", class: "mono", "data-head": i }, el("span", { class: "faint" }, position), el("br"), inside.label(position)),
    );
    // The last step on top, as the stream rises.
    const rows = view.cells
      .map((cells, row) =>
        el(
          "tr",
          null,
          el("th", { scope: "row" }, stepName(row)),
          cells.map((cell, at) => cellNode(cell, row, at, most)),
        ),
      )
      .reverse();
    const grid = el(
      "table",
      { class: "look-stream", role: "grid", "aria-label": t("look-tab-stream") },
      el("thead", null, el("tr", null, el("td"), heads)),
      el("tbody", null, rows),
    );
    grid.addEventListener("click", (event) => {
      const cell = event.target.closest("td[data-row]");
      if (cell) choose(Number(cell.dataset.row), view.positions[Number(cell.dataset.column)], true);
    });
    grid.addEventListener("keydown", keys);
    return el("div", { class: "look-scroll look-stream-scroll" }, grid);
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = inside.at();
    const to = {
      ArrowUp: [step() + 1, at],
      ArrowDown: [step() - 1, at],
      ArrowLeft: [step(), at - 1],
      ArrowRight: [step(), at + 1],
      Home: [step(), 0],
      End: [step(), inside.tokens.tokens.length - 1],
      PageUp: [steps() - 1, at],
      PageDown: [0, at],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    choose(...to, true);
  }

  let focus = false;
  function choose(row, at, withFocus) {
    focus = withFocus;
    const bounded = Math.max(0, Math.min(steps() - 1, row));
    inside.set({
      step: bounded,
      layer: Math.max(0, Math.floor((bounded - 1) / 2)),
      at: Math.max(0, Math.min(inside.tokens.tokens.length - 1, at)),
    });
  }

  function mark() {
    for (const old of body.querySelectorAll(".look-here")) {
      old.classList.remove("look-here");
      old.tabIndex = -1;
    }
    body.querySelector(`th[data-head="${column()}"]`)?.classList.add("look-here");
    const cell = body.querySelector(`td[data-row="${step()}"][data-column="${column()}"]`);
    if (!cell) return;
    cell.classList.add("look-here");
    cell.tabIndex = 0;
    if (focus) cell.focus();
    focus = false;
    clear(detail, reading(inside, view, step(), column()));
  }

  function ask() {
    wanted = positions();
    draw(
      body,
      () => inside.ask("view", "stream", { at: wanted, top: TOP }),
      (answer) => {
        view = answer;
        return grid();
      },
    ).then(() => view && mark());
  }

  return {
    node,
    update(changed) {
      what.textContent = t(`look-measure-${measure()}-what`);
      if (changed.has("tokens")) wanted = null;
      if (changed.has("tokens") || (changed.has("at") && positions() !== wanted)) ask();
      else if (!view) return;
      else if (changed.has("measure")) {
        clear(body, grid());
        mark();
      } else if (changed.has("at") || changed.has("step")) mark();
    },
  };
}
