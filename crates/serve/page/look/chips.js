// The text as tokens: shaded by surprise, one of them selected. A character of several tokens is drawn once, over them.

import { css, cividis, ink } from "../lib/colour.js";
import { clear, el } from "../lib/dom.js";
import { number, t } from "../lib/words.js";
import { fixed } from "./numbers.js";
import { legend } from "./parts.js";

/** Bits of surprise at which the scale ends. */
const MOST_BITS = 12;

/**
 * Tokens that share a character: ranges of them, and what they say together.
 * @param {{label: string, part: number[]}[]} pieces
 * @returns {{start: number, end: number, label: string}[]}
 */
export function shared(pieces) {
  const groups = [];
  pieces.forEach((piece, i) => {
    const [part, of] = piece.part;
    if (part > 1) groups[groups.length - 1].end = i + 1;
    else groups.push({ start: i, end: i + 1, label: of > 1 ? piece.label.slice(0, -` 1/${of}`.length) : piece.label });
  });
  return groups;
}

/** The part with the chips. */
export function chips(inside) {
  const list = el("div", {
    class: "chips look-chips",
    role: "listbox",
    tabindex: 0,
    "aria-label": t("look-chips"),
    "aria-describedby": "look-chips-keys",
  });
  const summary = el("p", { class: "faint look-summary" });
  const keys = el("p", { class: "sr-only", id: "look-chips-keys" }, t("look-chips-keys"));
  const node = el("div", { class: "look-chips-box" }, list, keys, summary);
  let options = [];

  function option(i, label, text) {
    const bits = inside.tokens.groups[i].bits;
    const rgb = cividis(bits / MOST_BITS);
    const of = inside.tokens.tokens[i];
    const said = t("look-chip-said", { label: of.label, bits: fixed(bits, 1) });
    const chip = el(
      "span",
      {
        class: label ? "chip" : "chip look-part",
        role: "option",
        id: `look-chip-${i}`,
        "aria-label": said,
        "aria-selected": false,
        title: `${i} · ${said} · #${of.id}`,
        style: { "--ground": css(rgb), "--chip-ink": ink(rgb) },
      },
      text,
    );
    options[i] = chip;
    return chip;
  }

  function drawn() {
    options = [];
    const { tokens } = inside.tokens;
    const children = shared(tokens).map(({ start, end, label }) => {
      const chip =
        end - start === 1
          ? option(start, true, label)
          : el(
              "span",
              { class: "look-shared", role: "group", "aria-label": label },
              el("span", { "aria-hidden": true }, label),
              el(
                "span",
                { class: "look-shared-parts" },
                Array.from({ length: end - start }, (_, k) => option(start + k, false, k + 1)),
              ),
            );
      return label.endsWith("⏎") ? [chip, el("br")] : chip;
    });
    clear(list, children);
    const { bits_per_byte: perByte, characters_per_token: perToken } = inside.tokens;
    clear(
      summary,
      el("span", null, t("look-summary", { n: number(tokens.length), perByte: fixed(perByte), perToken: fixed(perToken) })),
      legend(t("look-surprise-low"), t("look-surprise-high", { bits: MOST_BITS })),
    );
    select();
  }

  function select() {
    const at = inside.at();
    for (const chip of list.querySelectorAll('[aria-selected="true"]')) chip.setAttribute("aria-selected", "false");
    const chip = options[at];
    chip.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", chip.id);
    // Within the list only: the page stays where it is.
    const [top, bottom] = [chip.offsetTop - list.offsetTop, chip.offsetTop - list.offsetTop + chip.offsetHeight];
    if (top < list.scrollTop) list.scrollTop = top - 8;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight + 8;
  }

  /** The token of the line above or below that is nearest. */
  function line(from, way) {
    const place = (chip) => chip.getBoundingClientRect();
    const own = place(options[from]);
    let [best, found] = [Infinity, from];
    let row = null;
    for (let i = from + way; i >= 0 && i < options.length; i += way) {
      const other = place(options[i]);
      if ((other.top - own.top) * way < own.height * 0.6) continue;
      row ??= other.top;
      if (Math.abs(other.top - row) > own.height * 0.6) break;
      const far = Math.abs(other.left - own.left);
      if (far < best) [best, found] = [far, i];
    }
    return found;
  }

  list.addEventListener("keydown", (event) => {
    if (!inside.tokens || event.ctrlKey || event.metaKey || event.altKey) return;
    const [at, last] = [inside.at(), options.length - 1];
    const to = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      Home: 0,
      End: last,
      ArrowUp: line(at, -1),
      ArrowDown: line(at, 1),
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    inside.set({ at: Math.max(0, Math.min(last, to)) });
  });
  list.addEventListener("click", (event) => {
    const chip = event.target.closest?.('[role="option"]');
    if (chip) inside.set({ at: Number(chip.id.slice("look-chip-".length)) });
  });

  return inside.add({
    node,
    update(changed) {
      if (changed.has("tokens")) drawn();
      else if (changed.has("at") && inside.tokens) select();
    },
  });
}
