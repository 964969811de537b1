// One head in full: who looks at whom, and for the selected token whom it looks at and who looks at it.

import { cividis, css, ink, signed } from "../lib/colour.js";
import { clear, el } from "../lib/dom.js";
import { dataTable } from "../lib/table.js";
import { t } from "../lib/words.js";
import { heat } from "./heat.js";
import { draw } from "./inside.js";
import { fixed, plus } from "./numbers.js";
import { bar, granularity, legend, segments } from "./parts.js";
import { Pattern } from "./pattern.js";

const LISTED = 8;
/** Groups up to which a strip has a chip for each. */
const STRIP = 400;

/** A colour for each of 1024 steps: a pattern has a million cells. */
function scale(colour, low, high) {
  const steps = Array.from({ length: 1024 }, (_, i) => colour(low + ((high - low) * i) / 1023));
  return (x) => steps[Math.max(0, Math.min(1023, Math.round(((x - low) / (high - low)) * 1023)))];
}
const magnitude = scale(cividis, 0, 1);
const both = scale(signed, -1, 1);

/** The part for the head of the selection. */
export function headPart(inside) {
  const body = el("div", { class: "stack" });
  const strips = el("div", { class: "look-strips stack" });
  const title = el("h2");
  const steps = el(
    "span",
    { class: "row" },
    [
      [-1, "←"],
      [1, "→"],
    ].map(([way, arrow]) =>
      el(
        "button",
        { type: "button", "aria-label": t(way < 0 ? "look-head-before" : "look-head-after"), onclick: () => beside(way) },
        arrow,
      ),
    ),
  );
  const back = el("button", { type: "button", onclick: () => inside.set({ head: null }) }, `↩ ${t("look-all-heads")}`);
  const modes = ["weight", "value", "score"].map((mode) => [mode, t(`look-cells-${mode}`)]);
  const mode = segments(t("look-cells"), modes, cells(), (chosen) => inside.set({ cells: chosen === "weight" ? null : chosen }));
  const hide = el("input", {
    type: "checkbox",
    checked: inside.state.hide === "0",
    onchange: (event) => inside.set({ hide: event.target.checked ? 0 : null }),
  });
  const what = el("p", { class: "faint" });
  const node = el(
    "div",
    { class: "stack" },
    el("div", { class: "row" }, back, title, steps),
    el(
      "div",
      { class: "row look-controls" },
      mode,
      granularity(inside),
      el("label", { class: "look-check" }, hide, el("span", null, t("look-hide-first"))),
    ),
    what,
    body,
    strips,
  );
  /** @type {Pattern | null} */
  let pattern = null;
  let map = null;
  let most = 1;

  /** The head before or after, over the edges of layers. */
  async function beside(way) {
    const { letters } = await inside.post("size", "/size", {});
    const of = (name) => letters.find(({ letter }) => letter === name).value;
    const [layer, head] = inside.state.head.split(".").map(Number);
    const at = Math.max(0, Math.min(of("L") * of("h") - 1, layer * of("h") + head + way));
    const to = Math.floor(at / of("h"));
    inside.set({ head: `${to}.${at % of("h")}`, layer: to, step: 2 * to + 1 });
  }

  function cells() {
    return ["value", "score"].includes(inside.state.cells) ? inside.state.cells : "weight";
  }

  function drawn() {
    const n = pattern.size;
    most = pattern.largest();
    const score = cells() === "score";
    const print = score ? (x) => plus(x, 2) : (x) => fixed(x, 3);
    const at = pattern.group(inside.at());
    const label = (group) => pattern.label(group);
    map = heat({
      rows: n,
      columns: n,
      value: (i, j) => pattern.value(i, j),
      print,
      label: title.textContent,
      rowLabel: label,
      columnLabel: label,
      at: [at, at],
      colour: score ? (x) => both(x / most) : (x) => magnitude(x / most),
      say: (i, j, x) =>
        x === null
          ? t(j > i ? "look-no-cell" : "look-hidden-cell", { row: label(i), column: label(j) })
          : t("look-cell-said", { from: label(i), to: label(j), value: print(x), i, j }),
      pick: (i) => inside.set({ at: pattern.start(i) }),
    });
    const looked = (i) => pattern.around(i, true, LISTED).map(([j, x]) => `${label(j)} ${print(x)}`);
    const rows = () => Array.from({ length: n }, (_, i) => [i, label(i), looked(i).join(" · ")]);
    clear(strips);
    looks();
    return [
      map.node,
      score ? legend(plus(-most, 2), plus(most, 2), signed, -1) : legend("0", `${pattern.isLong() ? "≥ " : ""}${fixed(most, 3)}`),
      dataTable(t("look-looks-table"), [{ label: t("look-position"), numeric: true }, t("look-label"), t("look-looks-at")], rows),
    ];
  }

  function looks() {
    const group = pattern.group(inside.at());
    const print = cells() === "score" ? (x) => plus(x, 2) : (x) => fixed(x, 3);
    const side = (key, looking) => {
      const found = pattern.around(group, looking, LISTED);
      const item = ([other, x]) =>
        el(
          "li",
          null,
          el(
            "button",
            { type: "button", class: "quiet mono look-pick", onclick: () => inside.set({ at: pattern.start(other) }) },
            pattern.label(other),
          ),
          bar(Math.abs(x) / most),
          el("span", { class: "number" }, print(x)),
        );
      return el(
        "section",
        null,
        el("h3", null, t(key, { label: pattern.label(group) })),
        pattern.size <= STRIP && strip(group, looking),
        found.length ? el("ol", { class: "look-looked" }, found.map(item)) : el("p", { class: "faint" }, t("look-looks-none")),
      );
    };
    clear(strips, side("look-looks", true), side("look-looked-by", false));
  }

  /** All groups in a row, each as bright as what is between it and `group`. */
  function strip(group, looking) {
    const chip = (_, other) => {
      const x = looking ? pattern.value(group, other) : pattern.value(other, group);
      const rgb = x === null ? null : cells() === "score" ? both(x / most) : magnitude(x / most);
      return el(
        "span",
        { class: other === group ? "look-strip-own" : null, style: rgb && { background: css(rgb), color: ink(rgb) } },
        pattern.label(other),
      );
    };
    return el("div", { class: "look-strip mono", "aria-hidden": true }, Array.from({ length: pattern.size }, chip));
  }

  function ask() {
    const [layer, head] = (inside.state.head ?? "").split(".").map(Number);
    title.textContent = t("look-head-named", { head: inside.state.head });
    what.textContent = t(`look-cells-${cells()}-what`);
    draw(
      body,
      () => inside.ask("view", "attn", { head: [layer, head], cells: cells(), by: inside.state.by ?? "token" }),
      (answer) => {
        pattern = new Pattern(answer, inside.state.hide === "0");
        return drawn();
      },
    );
  }

  return {
    node,
    update(changed) {
      if (["tokens", "head", "cells", "by"].some((name) => changed.has(name))) ask();
      else if (!pattern) return;
      else if (changed.has("hide")) {
        pattern.hide = inside.state.hide === "0";
        clear(body, drawn());
      } else if (changed.has("at")) {
        const group = pattern.group(inside.at());
        looks();
        if (map.row !== group) map.move(group, group);
      }
    },
  };
}
