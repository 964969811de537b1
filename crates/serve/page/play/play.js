// Play: the model writes, and shows at each token how sure it was and what else it could have said.

import { clear, el } from "../lib/dom.js";
import { add, t } from "../lib/words.js";
import { Chat } from "./chat.js";
import { Complete } from "./complete.js";
import { samplers } from "./samplers.js";
import { recall, state } from "./state.js";
import * as words from "./words.js";

add(words);

/**
 * Draws the view.
 * @param {HTMLElement} main
 * @param {any} page
 * @returns {{leave: () => void}}
 */
export function mount(main, page) {
  recall(page.place.read(), page.model());
  const notes = new Notes();
  const desk = el("div", { class: "stack" });
  const modes = el("div", { class: "segments", role: "group", "aria-label": t("mode") });
  /** @type {Complete | Chat} */
  let current;
  const show = () => {
    current?.leave();
    notes.clear();
    current = state.mode === "chat" ? new Chat(page, notes) : new Complete(page, notes);
    clear(desk, current.node);
    clear(modes, ["complete", "chat"].map((mode) =>
      el("button", { type: "button", "aria-pressed": mode === state.mode, onclick: () => change(mode) }, t(`mode-${mode}`))));
  };
  const change = (mode) => {
    state.mode = mode;
    page.place.write({ mode: mode === "complete" ? null : mode });
    show();
    modes.querySelector('[aria-pressed="true"]').focus();
  };
  show();
  main.append(
    el("div", { class: "play" },
      el("div", { class: "stack" },
        el("div", { class: "row" }, el("h1", { class: "sr-only" }, t("play-title")), modes, el("p", { class: "faint" }, t("play-more"))),
        notes.node, desk),
      el("aside", { class: "stack", "aria-label": t("settings") }, samplers(page, page.model().context, () => current.retune()))));
  return { leave: () => current.leave() };
}

/** What went wrong, until something else is done. */
class Notes {
  constructor() {
    this.node = el("div", { role: "alert" });
  }

  fail(error) {
    // The server's own sentence says what was found and expected, and of which field.
    if (error?.name !== "Failure") console.error(error);
    this.say(error?.message ?? String(error));
  }

  say(text) {
    clear(this.node, el("p", { class: "error" }, text));
  }

  clear() {
    clear(this.node);
  }
}
