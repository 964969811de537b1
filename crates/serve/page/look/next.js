// From logits to the draw: ÷ temperature, softmax, what is kept and what is cut.

import { el } from "../lib/dom.js";
import { number, percent, t } from "../lib/words.js";
import { debounced, draw } from "./inside.js";
import { fixed } from "./numbers.js";
import { about, bar, slider, table } from "./parts.js";

const TOP = 24;
/** The samplers that have a slider, and where each does nothing. */
const SLIDERS = [
  { name: "temperature", min: 0, max: 2, step: 0.05, none: 1, show: (x) => x.toFixed(2) },
  { name: "top_k", min: 0, max: 100, step: 1, none: 0, show: (x) => (x === 0 ? t("look-off") : String(x)) },
  { name: "top_p", min: 0.05, max: 1, step: 0.01, none: 1, show: (x) => (x === 1 ? t("look-off") : x.toFixed(2)) },
  { name: "min_p", min: 0, max: 0.5, step: 0.01, none: 0, show: (x) => (x === 0 ? t("look-off") : x.toFixed(2)) },
];

/** The view of the draw. */
export function nextView(inside) {
  const body = el("div", { class: "stack" });
  const later = debounced(() => ask(), 60);
  const controls = el("div", { class: "look-sliders" }, SLIDERS.map(({ name, none, ...rest }) => slider({
    label: t(`look-${name}`), value: inside.number(name, none), ...rest, change: (x) => inside.set({ [name]: x === none ? null : x }),
  })));
  const node = el("div", { class: "stack" }, about(t("look-next-about"), t("look-next-more")), controls, body);

  function row(choice, tempered) {
    const cut = choice.drawn === null;
    const go = el("button", { type: "button", class: "quiet mono look-pick", title: t("look-why-this", { label: choice.label }), onclick: () => inside.set({ lens: "why", token: `#${choice.id}`, not: null }) }, choice.label);
    return el("tr", { class: cut ? "look-cut" : null, "data-id": choice.id, "data-ends": choice.ends },
      el("td", { class: "number" }, number(choice.rank)),
      el("th", { scope: "row" }, go, choice.ends && el("span", { class: "look-tag" }, t("look-ends-short"))),
      el("td", { class: "number" }, fixed(choice.logit)),
      el("td", { class: "number" }, percent(choice.probability)),
      tempered && el("td", { class: "number" }, percent(choice.tempered)),
      el("td", { class: "number" }, cut ? t("look-cut") : percent(choice.drawn)),
      el("td", { class: "look-both" }, bar(choice.probability, "thin"), bar(choice.drawn ?? 0)));
  }

  function drawn(next) {
    const tempered = next.temperature !== 1;
    const columns = [{ label: t("look-rank"), numeric: true }, t("look-label"), { label: t("look-logit"), numeric: true }, { label: t("look-p"), numeric: true },
      ...(tempered ? [{ label: t("look-p-at", { temperature: fixed(next.temperature) }), numeric: true }] : []),
      { label: t("look-drawn"), numeric: true }, t("look-bars")];
    const kept = next.choices.filter((choice) => choice.drawn !== null).reduce((sum, choice) => sum + choice.probability, 0);
    return [
      el("p", { class: "look-line" }, t("look-next-sum", { label: inside.label(inside.at()), bits: fixed(next.entropy), kept: number(next.kept), p: percent(kept), shown: number(next.choices.filter((choice) => choice.drawn !== null).length) })),
      table(t("look-tab-next"), columns, next.choices.map((choice) => row(choice, tempered))),
    ];
  }

  function ask() {
    const fields = { at: inside.at(), top: TOP };
    for (const { name, none } of SLIDERS) fields[name] = inside.number(name, none);
    draw(body, () => inside.ask("view", "next", fields), drawn);
  }

  return {
    node,
    update(changed) {
      if (changed.has("tokens") || changed.has("at")) ask();
      else if (SLIDERS.some(({ name }) => changed.has(name))) later();
    },
    leave: later.cancel,
  };
}
