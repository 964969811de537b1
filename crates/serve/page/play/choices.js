// What else could stand at a place: opened beside a chip, closed by a choice, by Escape, or by a click elsewhere.

import { clear, el } from "../lib/dom.js";
import { isOpen, shown } from "../lib/visible.js";
import { percent, t } from "../lib/words.js";
import { isEnd } from "./writer.js";

/** @type {(() => void) | null} */
let closeOpen = null;

/** Closes what is open. */
export function closeChoices() {
  closeOpen?.();
}

/**
 * Opens the candidates of the pieces of a chip.
 * @param {HTMLElement} into the node that it is put into, which is positioned
 * @param {HTMLElement} chip
 * @param {import("./state.js").Piece[]} pieces those of the chip
 * @param {(part: number, candidate: import("./state.js").Candidate) => void} onPick
 * @param {(() => void) | null} [onLook] looks at the model before this place
 */
export function openChoices(into, chip, pieces, onPick, onLook = null) {
  closeChoices();
  const list = el("div", { class: "candidates" });
  const parts = el("div", { class: "segments", role: "group", "aria-label": t("parts") });
  const show = (part) => {
    clear(parts, pieces.map((piece, i) =>
      el("button", { type: "button", "aria-pressed": i === part, onclick: () => show(i) }, `${shown(piece.bytes)} ${i + 1}/${pieces.length}`)));
    if (pieces.length > 1 && parts.contains(document.activeElement) === false && box.isConnected) parts.children[part].focus();
    clear(list, candidates(pieces, part, (candidate) => {
      close(false);
      onPick(part, candidate);
    }));
  };
  const box = el(
    "div",
    { class: "choices-box panel", role: "dialog", "aria-label": t("choices-title") },
    el("div", { class: "row" }, el("h2", null, t("choices-title")),
      el("button", { type: "button", class: "quiet close", "aria-label": t("close"), onclick: () => close(true) }, "✕")),
    pieces.length > 1 && el("p", { class: "faint" }, t("parts-more")),
    pieces.length > 1 && parts,
    list,
    el("p", { class: "faint" }, t("choices-more")),
    onLook && el("button", { type: "button", class: "quiet", onclick: onLook }, t("look-here")),
  );
  const close = (back) => {
    closeOpen = null;
    document.removeEventListener("pointerdown", outside, true);
    chip.removeAttribute("aria-expanded");
    box.remove();
    if (back) chip.focus();
  };
  const outside = (event) => {
    if (!box.contains(event.target)) close(false);
  };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close(true);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") step(list, event.key === "ArrowDown" ? 1 : -1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  show(0);
  chip.setAttribute("aria-expanded", "true");
  into.append(box);
  position(box, chip, into);
  document.addEventListener("pointerdown", outside, true);
  closeOpen = () => close(false);
  const current = list.querySelector('[aria-current="true"]');
  current.focus({ preventScroll: true });
  current.scrollIntoView({ block: "nearest" });
  box.scrollIntoView({ block: "nearest" });
}

function step(list, by) {
  const buttons = [...list.querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  buttons[Math.min(Math.max(at + by, 0), buttons.length - 1)]?.focus();
}

/** The candidates of one place, the likeliest first, with the one that stands there also where it is rarer than these. */
function candidates(pieces, part, onPick) {
  const { id, bytes, logprob, top } = pieces[part];
  const own = { id, bytes, logprob };
  const all = top.some((candidate) => candidate.id === id) ? top : [...top, own];
  const before = pieces.slice(0, part).flatMap((piece) => piece.bytes);
  const most = Math.exp(top[0]?.logprob ?? logprob);
  const row = (candidate) => {
    const p = Math.exp(candidate.logprob);
    const here = candidate.id === id;
    return el(
      "button",
      {
        type: "button",
        class: "candidate",
        "aria-current": here ? "true" : null,
        "aria-label": t(here ? "candidate-here" : "candidate", { label: says(candidate, before), p: percent(p) }),
        onclick: () => onPick(candidate),
      },
      el("span", { class: "mark", "aria-hidden": "true" }, here ? "●" : ""),
      el("span", { class: isEnd(candidate) ? "label end" : "label" }, says(candidate, before)),
      el("span", { class: "bar", "aria-hidden": "true" }, el("span", { style: { width: `${(100 * p) / most}%` } })),
      el("span", { class: "number" }, percent(p)),
    );
  };
  const rest = 1 - all.reduce((sum, candidate) => sum + Math.exp(candidate.logprob), 0);
  return [all.map(row), el("p", { class: "rest faint" }, el("span", null, t("others")), el("span", { class: "number" }, percent(Math.max(rest, 0))))];
}

/** What a candidate says: with the bytes before it a whole character, where it makes one. */
function says(candidate, before) {
  if (isEnd(candidate)) return t("end-token");
  const whole = [...before, ...candidate.bytes];
  return before.length && !isOpen(whole) ? `${shown(whole)} ← ${shown(candidate.bytes)}` : shown(candidate.bytes);
}

/** Below the chip, within the page. On narrow screens the style puts it at the bottom. */
function position(box, chip, into) {
  const around = into.getBoundingClientRect();
  const rects = chip.getClientRects();
  const at = rects[0] ?? chip.getBoundingClientRect();
  const left = Math.min(at.left - around.left, around.width - box.offsetWidth);
  box.style.left = `${Math.max(left, 0)}px`;
  box.style.top = `${(rects[rects.length - 1] ?? at).bottom - around.top + 6}px`;
}
