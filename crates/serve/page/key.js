// Asks the reader for the server's key.

import { el } from "./lib/dom.js";
import { t } from "./lib/words.js";

/**
 * Opens a dialog; resolves to what was typed, or to null where the reader would rather not.
 * @returns {Promise<string | null>}
 */
export function askForKey() {
  return new Promise((answer) => {
    const input = el("input", { type: "password", name: "key", autocomplete: "off", required: true, id: "key-input" });
    const cancel = el("button", { type: "button", onclick: () => dialog.close() }, t("key-cancel"));
    const send = el("button", { type: "submit", class: "main" }, t("key-send"));
    const form = el(
      "form",
      { method: "dialog" },
      el("h1", { id: "key-title" }, t("key-title")),
      el("p", null, t("key-more")),
      el("label", { class: "field", for: "key-input" }, el("span", null, t("key")), input),
      el("div", { class: "row end" }, cancel, send),
    );
    let given = null;
    form.addEventListener("submit", () => (given = input.value.trim() || null));
    const dialog = el("dialog", { "aria-labelledby": "key-title" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(given);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
