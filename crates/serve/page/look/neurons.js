// Neurons of a layer's MLP that stand out over the text, and where each fires.

import { el } from "../lib/dom.js";
import { number, t } from "../lib/words.js";
import { draw } from "./inside.js";
import { fixed } from "./numbers.js";
import { about, shade } from "./parts.js";

/** A neuron fires where it has this part of its largest activation. */
const QUIET = 0.02;

/** The view of neurons. */
export function neuronsView(inside) {
  const layers = el("div", { class: "row", role: "group", "aria-label": t("look-layer") });
  const body = el("div", { class: "stack" });
  const node = el("div", { class: "stack" }, about(t("look-neurons-about"), t("look-neurons-more")), layers, body);
  let count = 0;

  /** A choice of layers, once it is known how many there are. */
  function choices(layer) {
    const option = (i) => el("option", { value: i, selected: i === layer }, t("look-layer-of", { layer: i }));
    const select = el(
      "select",
      { "aria-label": t("look-layer"), onchange: (event) => choose(Number(event.target.value)) },
      Array.from({ length: count }, (_, i) => option(i)),
    );
    layers.replaceChildren(
      el("button", { type: "button", disabled: layer === 0, "aria-label": t("look-layer-before"), onclick: () => choose(layer - 1) }, "←"),
      select,
      el(
        "button",
        { type: "button", disabled: layer === count - 1, "aria-label": t("look-layer-after"), onclick: () => choose(layer + 1) },
        "→",
      ),
    );
  }

  const choose = (layer) => inside.set({ layer, step: 2 * layer + 2 });

  function context(one, most) {
    return el(
      "li",
      null,
      el("span", { class: "number faint" }, fixed(one.activation)),
      el(
        "button",
        { type: "button", class: "quiet look-context", onclick: () => inside.set({ at: one.position }) },
        el("span", null, one.before),
        el("mark", { style: shade(one.activation / most) }, one.token),
        el("span", null, one.after),
      ),
    );
  }

  function neuron(one) {
    const most = Math.max(...one.contexts.map((context) => context.activation), 1e-9);
    // Where it does not fire it says nothing.
    const fires = one.contexts.filter((context) => context.activation > QUIET * most);
    return el(
      "section",
      { class: "look-neuron" },
      el(
        "h3",
        null,
        t("look-neuron", { n: number(one.neuron) }),
        " ",
        el("span", { class: "faint" }, t("look-neuron-numbers", { sharpness: fixed(one.sharpness, 1), mean: fixed(one.mean) })),
      ),
      el(
        "ol",
        { class: "look-contexts" },
        fires.map((place) => context(place, most)),
      ),
    );
  }

  async function ask() {
    await draw(
      body,
      async () => {
        const { letters } = await inside.post("size", "/size", {});
        count = letters.find(({ letter }) => letter === "L").value;
        const layer = Math.max(0, Math.min(count - 1, inside.number("layer", Math.floor(count / 2))));
        return inside.ask("view", "neurons", { layer, count: 10, contexts: 5 });
      },
      (answer) => {
        choices(answer.layer);
        return answer.neurons.map(neuron);
      },
    );
  }

  return {
    node,
    update(changed) {
      if (changed.has("tokens") || changed.has("layer")) ask();
    },
  };
}
