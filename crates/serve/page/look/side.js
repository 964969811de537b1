// What could follow the selected token, on the right: click a candidate to go on from there, or ask why.

import { post } from "../lib/api.js";
import { clear, el } from "../lib/dom.js";
import { percent, t } from "../lib/words.js";
import { draw } from "./inside.js";
import { fixed } from "./numbers.js";
import { bar } from "./parts.js";

const SHOWN = 12;

/** The part with the next token. */
export function side(inside) {
  const title = el("h2", null, t("look-next"));
  const list = el("div", { class: "look-candidates" });
  const node = el("aside", { class: "panel look-side", "aria-label": t("look-next") }, title, list);

  async function goOn(choice) {
    const ids = inside.tokens.tokens.slice(0, inside.at() + 1).map((token) => token.id);
    try {
      const { prompt } = await post("/detokenize", { model: inside.page.model().id, tokens: [...ids, choice.id] });
      // Part of a character is no text: it cannot stand in the box.
      if (prompt.includes("\uFFFD")) return inside.page.announce(t("look-half"));
      inside.page.announce(t("look-went-on", { label: choice.label }));
      inside.set({ text: prompt, at: null });
    } catch (error) {
      inside.page.announce(error.message);
    }
  }

  function row(choice, at) {
    const half = /<[0-9A-F]{2}>/.test(choice.label);
    const follows = inside.tokens.tokens[at + 1]?.id === choice.id;
    const go = el(
      "button",
      {
        type: "button",
        class: "look-go",
        disabled: half || choice.ends,
        onclick: () => goOn(choice),
        title: half ? t("look-half") : choice.ends ? t("look-ends") : t("look-go-on", { label: choice.label }),
      },
      el(
        "span",
        { class: "mono look-candidate" },
        choice.label,
        follows && el("span", { class: "look-true" }, ` ✓`, el("span", { class: "sr-only" }, t("look-follows"))),
      ),
      el("span", { class: "number" }, percent(choice.probability)),
      bar(choice.probability),
    );
    const why = el(
      "button",
      {
        type: "button",
        class: "quiet look-why-button",
        "aria-label": t("look-why-this", { label: choice.label }),
        onclick: () => inside.set({ lens: "why", token: `#${choice.id}`, not: null }),
      },
      t("look-why-short"),
    );
    return el("li", { class: choice.ends ? "look-end" : null }, go, why);
  }

  function ask() {
    const at = inside.at();
    clear(title, t("look-next-behind"), " ", el("span", { class: "mono look-token" }, inside.label(at)));
    draw(
      list,
      () => inside.ask("side", "next", { at, top: SHOWN }),
      (next) => {
        const follows = inside.tokens.tokens[at + 1];
        const bits = inside.tokens.groups[at + 1]?.bits;
        return [
          el("p", { class: "faint" }, t("look-entropy", { bits: fixed(next.entropy) })),
          el(
            "ol",
            { class: "look-list" },
            next.choices.map((choice) => row(choice, at)),
          ),
          follows && el("p", { class: "faint" }, t("look-truly", { label: follows.label, bits: fixed(bits, 1), p: percent(2 ** -bits) })),
        ];
      },
    );
  }

  return inside.add({
    node,
    update(changed) {
      if (inside.tokens && (changed.has("tokens") || changed.has("at"))) ask();
    },
  });
}
