// Look inside: a text on top, the model on the left, one view in the middle, what could follow on the right.

import { clear, el } from "../lib/dom.js";
import { isAbort } from "../lib/api.js";
import { add, t } from "../lib/words.js";
import { attentionView } from "./attention.js";
import { card } from "./card.js";
import { chips } from "./chips.js";
import { embedView } from "./embed.js";
import { Inside, debounced, failure } from "./inside.js";
import { neuronsView } from "./neurons.js";
import { nextView } from "./next.js";
import { shapeView } from "./shape.js";
import { side } from "./side.js";
import { sizesView } from "./sizes.js";
import { streamView } from "./stream.js";
import { tokensView } from "./tokens.js";
import { whyView } from "./why.js";
import * as words from "./words.js";

add(words);

/** The views of the middle. Each gives `{ node, update(changed) }`; all but the sizes need a text. */
const VIEWS = {
  tokens: tokensView,
  attention: attentionView,
  stream: streamView,
  why: whyView,
  next: nextView,
  embed: embedView,
  neurons: neuronsView,
  shape: shapeView,
  sizes: sizesView,
};
/** Milliseconds after the last key until a text is looked at. */
const TYPING = 350;

/**
 * @param {HTMLElement} main
 * @param {any} page what the shell gives a view
 * @returns {{leave: () => void}}
 */
export function mount(main, page) {
  const inside = new Inside(page);
  const trouble = el("div", { class: "look-trouble" });
  const reading = debounced(() => inside.set({ text: input.value, at: null }), TYPING);
  const input = el("textarea", { id: "look-text", rows: 2, value: inside.state.text, spellcheck: false, oninput: reading });
  const row = chips(inside);
  const middle = centre(inside);
  const next = side(inside);
  const model = card(inside);

  async function read() {
    clear(trouble);
    row.node.setAttribute("aria-busy", "true");
    if (inside.state.text === undefined) {
      // An empty box: there is nothing to look at.
      inside.tokens = null;
      row.node.hidden = next.node.hidden = true;
      middle.empty();
      return;
    }
    try {
      inside.tokens = await inside.ask("tokens", "tokens", { by: "token" });
    } catch (error) {
      if (isAbort(error)) return;
      clear(trouble, failure(error, read));
      row.node.removeAttribute("aria-busy");
      return;
    }
    row.node.hidden = next.node.hidden = false;
    row.node.removeAttribute("aria-busy");
    inside.tell(new Set(["tokens"]));
  }

  inside.add({
    update(changed) {
      if (!changed.has("text")) return;
      // Somebody else changed it, as a click on a candidate does.
      if (input.value !== (inside.state.text ?? "")) input.value = inside.state.text ?? "";
      read();
    },
  });
  const example = (key) => el("button", { type: "button", onclick: () => inside.set({ text: t(key), at: null }) }, t(`${key}-name`));
  clear(
    main,
    el("h1", { class: "sr-only" }, t("look")),
    el(
      "section",
      { class: "panel stack look-top", "aria-label": t("look-text") },
      el(
        "div",
        { class: "row look-text-head" },
        el("label", { for: "look-text" }, t("look-text")),
        el("span", { class: "row look-examples" }, ["look-example", "look-example-twice", "look-example-other"].map(example)),
      ),
      input,
      trouble,
      row.node,
    ),
    el("div", { class: "look-columns" }, middle.node, next.node, model.node),
  );
  read();
  return {
    leave() {
      reading.cancel();
      inside.leave();
      middle.leave();
    },
  };
}

/** The tabs, and the view of the chosen one. */
function centre(inside) {
  const names = Object.keys(VIEWS);
  const panel = el("div", { class: "look-view stack", role: "tabpanel", id: "look-view", "aria-labelledby": "look-tab-tokens" });
  const tabs = el("div", { class: "look-tabs", role: "tablist", "aria-label": t("look-views") });
  const node = el("section", { class: "panel look-centre", "aria-label": t("look-views") }, tabs, panel);
  let view = null;

  const current = () => (names.includes(inside.state.lens) ? inside.state.lens : "tokens");
  const open = (name) => inside.set({ lens: name === "tokens" ? null : name });
  for (const name of names) {
    tabs.append(
      el(
        "button",
        { type: "button", role: "tab", id: `look-tab-${name}`, "aria-controls": "look-view", onclick: () => open(name) },
        t(`look-tab-${name}`),
      ),
    );
  }
  tabs.addEventListener("keydown", (event) => {
    const at = names.indexOf(current());
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    open(names.at(to % names.length));
    tabs.querySelector('[aria-selected="true"]').focus();
  });

  function leaveView() {
    view?.leave?.();
    if (view) inside.remove(view);
    view = null;
  }

  function show() {
    const name = current();
    for (const tab of tabs.children) {
      const chosen = tab.id === `look-tab-${name}`;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `look-tab-${name}`);
    leaveView();
    clear(panel);
    if (name !== "sizes" && !inside.tokens) {
      clear(panel, el("p", { class: "faint" }, t(inside.state.text === undefined ? "look-no-text" : "look-reading")));
      return;
    }
    view = inside.add(VIEWS[name](inside));
    panel.append(view.node);
    view.update(new Set(["tokens"]));
  }

  inside.add({
    update(changed) {
      // What is open hears of new tokens by itself.
      if (changed.has("lens") || (changed.has("tokens") && !view)) show();
    },
  });
  show();
  return {
    node,
    leave: leaveView,
    empty() {
      if (current() !== "sizes") show();
    },
  };
}
