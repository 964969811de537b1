// The model on the left: its sizes, and its layers to choose from, the output on top.

import { clear, el } from "../lib/dom.js";
import { number, t } from "../lib/words.js";
import { draw } from "./inside.js";
import { big, bytes } from "./numbers.js";

/** The part with the model. */
export function card(inside) {
  const sizes = el("div", { class: "look-sizes" });
  const layers = el("div", { class: "look-layers" });
  const node = el("aside", { class: "panel look-card", "aria-label": t("look-card") }, sizes, layers);
  let count = 0;

  /** A step of the stream is selected; what shows it best is opened, unless what is open shows steps. */
  function choose(step, view) {
    const shows = inside.state.lens === "stream" || (inside.state.lens === view && view !== null);
    const layer = step === 0 ? {} : { layer: Math.min(count - 1, Math.floor((step - 1) / 2)) };
    inside.set({ step, ...layer, ...(shows ? {} : { lens: view, head: null }) });
  }

  function button(step, text, view) {
    return el("button", { type: "button", "data-step": step, "aria-pressed": false, onclick: () => choose(step, view) }, text);
  }

  function list(n) {
    count = n;
    const rows = Array.from({ length: n }, (_, i) => n - 1 - i).map((layer) =>
      el(
        "li",
        null,
        el("span", { class: "faint number" }, layer),
        button(2 * layer + 2, t("look-mlp"), "neurons"),
        button(2 * layer + 1, t("look-attention-short"), "attention"),
      ),
    );
    clear(
      layers,
      el("h2", null, t("look-layers")),
      el(
        "ol",
        { class: "look-layer-list" },
        el(
          "li",
          null,
          el("button", { type: "button", class: "look-wide", onclick: () => inside.set({ lens: "next", step: 2 * n }) }, t("look-output")),
        ),
        rows,
        el(
          "li",
          null,
          el(
            "button",
            { type: "button", class: "look-wide", "data-step": 0, "aria-pressed": false, onclick: () => choose(0, "embed") },
            t("look-step-embedding"),
          ),
        ),
      ),
    );
    mark();
  }

  function mark() {
    for (const button of layers.querySelectorAll("[data-step]")) {
      button.setAttribute("aria-pressed", String(button.dataset.step === inside.state.step));
    }
  }

  draw(
    sizes,
    () => inside.post("card", "/size", {}),
    (size) => {
      const letter = Object.fromEntries(size.letters.map(({ letter, value }) => [letter, value]));
      list(letter.L);
      const facts = [
        [t("look-parameters"), big(size.parameters.count)],
        ...["L", "h", "d", "V"].map((name) => [t(`look-letter-${name}`), number(letter[name])]),
        [t("look-context"), number(letter.n_positions)],
        [t("look-cache-a-token"), bytes(size.generation.cache_a_token)],
      ];
      return [
        el("h2", null, inside.page.model().id),
        el("p", { class: "faint" }, t("look-kind", { kind: size.model_type })),
        el(
          "dl",
          { class: "look-facts" },
          facts.map(([name, value]) => [el("dt", null, name), el("dd", { class: "number" }, value)]),
        ),
      ];
    },
  );

  return inside.add({
    node,
    update(changed) {
      if (changed.has("step")) mark();
    },
  });
}
