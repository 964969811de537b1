// The walk of the tensors for this text: what each step makes, its shape, bytes, work, and how long the vectors are.

import { el } from "../lib/dom.js";
import { t } from "../lib/words.js";
import { draw } from "./inside.js";
import { big, bytes, fixed } from "./numbers.js";
import { about, table } from "./parts.js";
import { explained } from "./walk.js";

/** The view of shapes. */
export function shapeView(inside) {
  const body = el("div");
  const node = el("div", { class: "stack" }, about(t("look-shape-about"), t("look-shape-more")), body);

  function shape(step) {
    return el(
      "span",
      { class: "mono" },
      step.shape.map(([letter]) => letter).join(" × "),
      el("br"),
      el("span", { class: "faint" }, step.shape.map(([, value]) => value).join(" × ")),
    );
  }

  function row(step) {
    const params = step.params.map((param) => el("div", { class: "mono faint look-param" }, `${param.name} (${param.letters})`));
    return el(
      "tr",
      { class: step.layers ? "look-in-block" : null },
      el(
        "th",
        { scope: "row" },
        el("span", { class: "mono" }, step.name),
        step.shortcut && el("span", { class: "look-tag" }, t(`look-shortcut-${step.shortcut}`)),
        params,
      ),
      el("td", { class: "look-what" }, explained(step), el("div", { class: "faint" }, t(`look-stored-${step.stored}`))),
      el("td", null, shape(step)),
      el("td", { class: "number" }, bytes(step.bytes)),
      el("td", { class: "number" }, step.forward_flops ? big(step.forward_flops) : "–"),
      el("td", { class: "number" }, step.norms.length ? step.norms.map((norm) => fixed(norm, 1)).join(" → ") : "–"),
    );
  }

  return {
    node,
    update(changed) {
      if (!changed.has("tokens")) return;
      draw(
        body,
        () => inside.ask("view", "shape"),
        ({ steps }) => {
          const columns = [
            t("look-step"),
            t("look-what"),
            t("look-tensor"),
            { label: t("look-size"), numeric: true },
            { label: t("look-flops"), numeric: true },
            { label: t("look-lengths"), numeric: true },
          ];
          const layers = steps.find((step) => step.layers)?.layers;
          const first = steps.findIndex((step) => step.layers);
          const rows = steps.map(row);
          const band = el(
            "tr",
            { class: "look-band" },
            el("th", { scope: "rowgroup", colspan: columns.length }, t("look-each-layer", { layers })),
          );
          rows.splice(first, 0, band);
          return table(t("look-tab-shape"), columns, rows);
        },
      );
    },
  };
}
