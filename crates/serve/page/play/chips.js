// A text in tokens: each a chip, its shade how likely it was. A character of several tokens is one chip.

import { cividis, css } from "../lib/colour.js";
import { el, set } from "../lib/dom.js";
import { grouped, isOpen, visible } from "../lib/visible.js";
import { percent, t } from "../lib/words.js";

/** As it stands in a text: white space is white space, and a line's end is seen, too. */
const within = (label, text) =>
  text === null ? label : text.replace(/[^ \n\t]+/g, visible).replaceAll("\n", "⏎\n");

/** A row of chips. One of them is in the order of the Tab key; arrow keys go to the others. */
export class Chips {
  /**
   * @param {string} label of the row, for whoever hears it
   * @param {(first: number, end: number, chip: HTMLElement) => void} onOpen with the pieces of the chip that is opened
   */
  constructor(label, onOpen) {
    this.onOpen = onOpen;
    this.node = el("div", {
      class: "chips",
      role: "group",
      "aria-label": label,
      onclick: (event) => this.open(event.target.closest(".chip")),
      onkeydown: (event) => this.key(event),
    });
    /** @type {{start: number, end: number, pieces: any[], chip: HTMLElement, open: boolean}[]} */
    this.drawn = [];
    this.shaded = null;
  }

  /**
   * Draws the pieces; chips that stay the same are not touched, so that focus stays where it is.
   * @param {import("./state.js").Piece[]} pieces
   * @param {boolean} shaded whether the shade says how likely they were
   */
  show(pieces, shaded) {
    if (shaded !== this.shaded) {
      this.shaded = shaded;
      this.node.classList.toggle("plain", !shaded);
    }
    // A character that is not whole takes in what comes behind it.
    const isSame = ({ start, end, pieces: own, open }) =>
      end <= pieces.length && !(open && end < pieces.length) && own.every((piece, k) => pieces[start + k] === piece);
    const other = this.drawn.findIndex((group) => !isSame(group));
    const kept = other < 0 ? this.drawn.length : other;
    for (const { chip } of this.drawn.splice(kept)) chip.remove();
    const from = this.drawn.at(-1)?.end ?? 0;
    for (const { start, end, label, text } of grouped(pieces.slice(from).map(({ bytes }) => bytes))) {
      const own = pieces.slice(from + start, from + end);
      const chip = this.chip(own, label, text);
      this.node.append(chip);
      const open = text === null && isOpen(own.flatMap(({ bytes }) => bytes));
      this.drawn.push({ start: from + start, end: from + end, pieces: own, chip, open });
    }
    if (!this.node.querySelector('[tabindex="0"]')) this.drawn[0]?.chip.setAttribute("tabindex", "0");
  }

  chip(pieces, label, text) {
    const p = Math.exp(pieces.reduce((sum, { logprob }) => sum + logprob, 0));
    const end = pieces[0].end;
    const picked = pieces.some((piece) => piece.picked);
    const says = t(picked ? "chip-picked" : "chip", { label: end ? t("end-token") : label, p: percent(p) });
    return el("span", {
      class: `chip${end ? " end" : ""}${picked ? " picked" : ""}`,
      role: "button",
      tabindex: -1,
      "aria-haspopup": "dialog",
      "aria-label": says,
      title: says,
      style: { "--ground": css(cividis(p)) },
    }, end ? t("end-chip") : within(label, text));
  }

  open(chip) {
    const group = this.drawn.find((group) => group.chip === chip);
    if (!group) return;
    this.focus(group);
    this.onOpen(group.start, group.end, chip);
  }

  key(event) {
    const at = this.drawn.findIndex(({ chip }) => chip === event.target);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: this.drawn.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") this.open(event.target);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") this.line(at, event.key === "ArrowUp");
    else if (to !== undefined) this.focus(this.drawn[to]);
    else return;
    event.preventDefault();
  }

  /** The chip nearest in the line above or below. */
  line(at, up) {
    const box = this.drawn[at].chip.getBoundingClientRect();
    const beyond = this.drawn.filter(({ chip }) => {
      const other = chip.getBoundingClientRect();
      return up ? other.bottom <= box.top + 2 : other.top >= box.bottom - 2;
    });
    const line = up ? beyond.at(-1) : beyond[0];
    if (!line) return;
    const top = line.chip.getBoundingClientRect().top;
    const far = ({ chip }) => Math.abs(chip.getBoundingClientRect().left - box.left);
    const row = beyond.filter(({ chip }) => Math.abs(chip.getBoundingClientRect().top - top) < 4);
    this.focus(row.reduce((best, group) => (far(group) < far(best) ? group : best)));
  }

  /** The chip that holds a piece, or the last. */
  at(index) {
    return this.drawn.find(({ start, end }) => start <= index && index < end) ?? this.drawn.at(-1);
  }

  /** Gives the focus to a chip. */
  focus(group) {
    if (!group) return;
    for (const chip of this.node.querySelectorAll('[tabindex="0"]')) set(chip, { tabindex: -1 });
    set(group.chip, { tabindex: 0 });
    group.chip.focus();
  }
}

/**
 * What the shades mean.
 * @returns {HTMLElement}
 */
export function legend() {
  return el("p", { class: "legend faint" }, t("legend-unlikely"), el("span", { class: "scale", "aria-hidden": "true" }), t("legend-likely"));
}
