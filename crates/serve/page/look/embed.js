// Embeddings: which tokens are near, how the text's tokens lie to each other, how alike positions are.

import { signed } from "../lib/colour.js";
import { clear, el } from "../lib/dom.js";
import { dataTable } from "../lib/table.js";
import { percent, t } from "../lib/words.js";
import { heat } from "./heat.js";
import { draw } from "./inside.js";
import { fixed, plus } from "./numbers.js";
import { about, bar, legend } from "./parts.js";

/** The view of embeddings. */
export function embedView(inside) {
  const near = el("section", { class: "stack" });
  const body = el("div", { class: "stack" });
  const node = el("div", { class: "stack" }, about(t("look-embed-about"), t("look-embed-more")), near, body);
  let view = null;

  function neighbours() {
    const id = inside.tokens.tokens[inside.at()].id;
    const own = view.neighbours.find((one) => one.id === id);
    if (!own) return clear(near);
    const item = ([neighbour, label]) =>
      el("li", null, el("span", { class: "mono" }, label), el("span", { class: "number" }, fixed(neighbour.cosine)), bar(neighbour.cosine));
    clear(
      near,
      el("h3", null, t("look-near", { label: own.label })),
      el("ol", { class: "look-tops" }, own.nearest.map(item)),
      dataTable(t("look-near-table"), [t("look-label"), t("look-nearest")], () =>
        view.neighbours.map((one) => [
          one.label,
          one.nearest.map(([neighbour, label]) => `${label} ${fixed(neighbour.cosine)}`).join(" · "),
        ]),
      ),
    );
    for (const point of body.querySelectorAll(".look-point")) point.classList.toggle("look-here", point.dataset.id === String(id));
  }

  /** The plane in which the text's tokens differ most. */
  function plane() {
    if (view.plane.length < 3) return el("p", { class: "faint" }, t("look-plane-few"));
    const [xs, ys] = [view.plane.map((point) => point.x), view.plane.map((point) => point.y)];
    const place = (x, all, from, to) => from + ((x - Math.min(...all)) / (Math.max(...all) - Math.min(...all) || 1)) * (to - from);
    // A pixel is a pixel, so that labels keep their size.
    const width = Math.max(280, body.clientWidth);
    const height = Math.round(width * 0.6);
    const taken = [];
    const points = view.plane.map((point) => {
      const [x, y] = [place(point.x, xs, 30, width - 90), place(point.y, ys, height - 20, 20)];
      // A label that would lie on another one is left to the table and to the title.
      const free = !taken.some(([a, b]) => Math.abs(a - x) < 46 && Math.abs(b - y) < 13);
      if (free) taken.push([x, y]);
      return el(
        "svg:g",
        { class: "look-point", "data-id": point.id },
        el("svg:title", null, point.label),
        el("svg:circle", { cx: x, cy: y, r: 4 }),
        free && el("svg:text", { x: x + 7, y: y + 4 }, [...point.label].slice(0, 12).join("")),
      );
    });
    return [
      el("svg:svg", { class: "look-plane", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("look-plane") }, points),
      dataTable(t("look-plane"), [t("look-label"), { label: "x", numeric: true }, { label: "y", numeric: true }], () =>
        view.plane.map((point) => [point.label, fixed(point.x, 3), fixed(point.y, 3)]),
      ),
    ];
  }

  function positions() {
    const n = view.positions.length;
    if (n === 0) return el("p", { class: "faint" }, t("look-positions-none"));
    const value = (i, j) => view.similarity[i * n + j];
    return [
      el("p", { class: "faint" }, t("look-positions-what")),
      heat({
        rows: n,
        columns: n,
        value,
        colour: signed,
        print: (x) => plus(x, 2),
        label: t("look-positions"),
        at: [0, 0],
        largest: 14,
        rowLabel: (i) => String(view.positions[i]),
        columnLabel: (j) => String(view.positions[j]),
        say: (i, j, x) => t("look-positions-said", { a: view.positions[i], b: view.positions[j], value: plus(x, 3) }),
      }).node,
      legend("−1", "+1", signed, -1),
      dataTable(t("look-positions"), ["", ...view.positions.map((position) => ({ label: String(position), numeric: true }))], () =>
        view.positions.map((position, i) => [position, ...view.positions.map((_, j) => fixed(value(i, j)))]),
      ),
    ];
  }

  function ask() {
    draw(
      body,
      () => inside.ask("view", "embed", { nearest: 8 }),
      (answer) => {
        view = answer;
        return [
          el("h3", null, t("look-plane")),
          el("p", { class: "faint" }, t("look-plane-what", { shown: percent(view.shown) })),
          plane(),
          el("h3", null, t("look-positions")),
          positions(),
        ];
      },
    ).then(() => view && neighbours());
  }

  return {
    node,
    update(changed) {
      if (changed.has("tokens")) ask();
      else if (changed.has("at") && view) neighbours();
    },
  };
}
