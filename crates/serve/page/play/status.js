// What is said below a text: how long it is, how fast it came, and why it ended.

import { el, set } from "../lib/dom.js";
import { number, t } from "../lib/words.js";

/**
 * Why a text ended, in words; nothing while it is being written.
 * @param {import("./state.js").Text} text
 * @param {number} room tokens that the context still has room for
 * @returns {string | null}
 */
export function reason(text, room) {
  if (text.finish === null) return null;
  if (text.finish === "length" && room <= 0) return t("finish-context");
  return t(`finish-${text.finish}`);
}

/** A line of numbers, and a bar of the context. */
export class Status {
  constructor() {
    this.words = el("p", { class: "status faint" });
    this.bar = el("span");
    this.node = el("div", { class: "status-box" }, el("div", { class: "context-bar", "aria-hidden": "true" }, this.bar), this.words);
  }

  /**
   * @param {import("./state.js").Text} text
   * @param {import("./writer.js").Writer} writer
   * @param {boolean} isLast whether the writer wrote this text last
   */
  show(text, writer, isLast = true) {
    const { context } = writer.model;
    const used = context - writer.room(text);
    set(this.bar, { style: { width: `${(100 * Math.min(used, context)) / context}%` } });
    const speed = isLast ? writer.speed() : null;
    const parts = [
      t("written", { n: text.pieces.length }),
      t("context", { used: number(used), context: number(context) }),
      speed !== null && t("speed", { n: number(speed, { maximumSignificantDigits: 3 }) }),
      reason(text, context - used),
    ];
    this.words.textContent = parts.filter(Boolean).join(" · ");
  }
}
