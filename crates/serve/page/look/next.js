// From logits to the draw: ÷ temperature, softmax, what is kept and what is cut.

import { el } from "../lib/dom.js";
import { number, percent, t } from "../lib/words.js";
import { SETTINGS } from "../play/state.js";
import { debounced, draw } from "./inside.js";
import { fixed } from "./numbers.js";
import { about, bar, slider, table } from "./parts.js";

const TOP = 24;
/** The samplers of Play that decide who is kept, and where each does nothing. Play draws by what is set here. */
const NONE = { top_k: 0, top_p: 1, min_p: 0 };
const SLIDERS = ["temperature", "top_k", "top_p", "min_p"].map((name) => SETTINGS.find((setting) => setting.name === name));
const shown = (name) => (x) => (x === NONE[name] ? t("look-off") : name === "top_k" ? String(x) : x.toFixed(2));

/** The view of the draw. */
export function nextView(inside) {
  const body = el("div", { class: "stack" });
  const later = debounced(() => ask(), 60);
  const controls = el(
    "div",
    { class: "look-sliders" },
    SLIDERS.map(({ name, unless, min, max, step }) =>
      slider({
        label: t(`look-${name}`),
        min,
        max,
        step,
        value: inside.number(name, unless),
        show: shown(name),
        change: (x) => inside.set({ [name]: x === unless ? null : x }),
      }),
    ),
  );
  const node = el("div", { class: "stack" }, about(t("look-next-about"), t("look-next-more")), controls, body);

  function row(choice, tempered) {
    const cut = choice.drawn === null;
    const go = el(
      "button",
      {
        type: "button",
        class: "quiet mono look-pick",
        title: t("look-why-this", { label: choice.label }),
        onclick: () => inside.set({ lens: "why", token: `#${choice.id}`, not: null }),
      },
      choice.label,
    );
    return el(
      "tr",
      { class: cut ? "look-cut" : null, "data-id": choice.id, "data-ends": choice.ends },
      el("td", { class: "number" }, number(choice.rank)),
      el("th", { scope: "row" }, go, choice.ends && el("span", { class: "look-tag" }, t("look-ends-short"))),
      el("td", { class: "number" }, fixed(choice.logit)),
      el("td", { class: "number" }, percent(choice.probability)),
      tempered && el("td", { class: "number" }, percent(choice.tempered)),
      el("td", { class: "number" }, cut ? t("look-cut") : percent(choice.drawn)),
      el("td", { class: "look-both" }, bar(choice.probability, "thin"), bar(choice.drawn ?? 0)),
    );
  }

  function drawn(next) {
    const tempered = Math.abs(next.temperature - 1) > 1e-6;
    const columns = [
      { label: t("look-rank"), numeric: true },
      t("look-label"),
      { label: t("look-logit"), numeric: true },
      { label: t("look-p"), numeric: true },
      ...(tempered ? [{ label: t("look-p-at", { temperature: fixed(next.temperature) }), numeric: true }] : []),
      { label: t("look-drawn"), numeric: true },
      t("look-bars"),
    ];
    const kept = next.choices.filter((choice) => choice.drawn !== null).reduce((sum, choice) => sum + choice.probability, 0);
    return [
      el(
        "p",
        { class: "look-line" },
        t("look-next-sum", {
          label: inside.label(inside.at()),
          bits: fixed(next.entropy),
          kept: number(next.kept),
          p: percent(kept),
          shown: number(next.choices.filter((choice) => choice.drawn !== null).length),
        }),
      ),
      table(
        t("look-tab-next"),
        columns,
        next.choices.map((choice) => row(choice, tempered)),
      ),
    ];
  }

  function ask() {
    const fields = { at: inside.at(), top: TOP };
    for (const { name, unless } of SLIDERS) fields[name] = inside.number(name, unless);
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
