// How the next token is chosen: sliders that act at once, also on what is being written.

import { clear, el, set } from "../lib/dom.js";
import { t } from "../lib/words.js";
import { SETTINGS, state } from "./state.js";

/**
 * The panel. `onChange` is called when a setting has another value.
 * @param {{place: {write: (changes: object) => void}}} page
 * @param {number} context the most tokens that a text of this model has
 * @param {() => void} onChange
 * @returns {HTMLElement}
 */
export function samplers(page, context, onChange) {
  const fields = el("div", { class: "settings" });
  const draw = () => {
    const reset = el("button", { type: "button", class: "quiet", onclick: back }, t("settings-reset"));
    clear(fields, SETTINGS.map((setting) => slider(page, limited(setting, context), onChange)), seed(page, onChange), reset);
  };
  const back = () => {
    for (const { name, unless } of SETTINGS) state.settings[name] = unless;
    state.seed = null;
    page.place.write(Object.fromEntries([...SETTINGS.map(({ name }) => [name, null]), ["seed", null]]));
    draw();
    fields.querySelector("input").focus();
    onChange();
  };
  draw();
  const wide = matchMedia("(min-width: 64rem)").matches;
  return el("details", { class: "panel samplers", open: wide }, el("summary", null, el("h2", null, t("settings"))),
    el("p", { class: "faint" }, t("settings-more")), fields);
}

const limited = (setting, context) => (setting.name === "max_tokens" ? { ...setting, max: context } : setting);

function slider(page, { name, min, max, step, unless }, onChange) {
  const id = `setting-${name}`;
  const change = (event) => {
    const typed = Number.parseFloat(event.target.value);
    if (!Number.isFinite(typed)) return;
    const whole = Number.isInteger(step) ? Math.round(typed) : typed;
    const value = Math.min(Math.max(whole, min), max);
    for (const input of [range, number]) if (input !== event.target) set(input, { value });
    if (value === state.settings[name]) return;
    state.settings[name] = value;
    page.place.write({ [name]: value === unless ? null : value });
    onChange();
  };
  // What cannot be is put right when the reader is done with it.
  const settle = () => set(number, { value: state.settings[name] });
  const limits = { min, max, step, value: Math.min(state.settings[name], max), oninput: change };
  const range = el("input", { type: "range", id, "aria-describedby": `${id}-more`, ...limits });
  const number = el("input", { type: "number", "aria-label": t(name), onblur: settle, ...limits });
  return el("div", { class: "setting" }, el("label", { for: id }, t(name)), number, range,
    el("p", { id: `${id}-more`, class: "faint" }, t(`${name}-more`)));
}

function seed(page, onChange) {
  const change = (event) => {
    const typed = Number.parseInt(event.target.value, 10);
    state.seed = Number.isSafeInteger(typed) && typed >= 0 ? typed : null;
    page.place.write({ seed: state.seed });
    onChange();
  };
  return el("div", { class: "setting" }, el("label", { for: "setting-seed" }, t("seed")),
    el("input", {
      type: "number", id: "setting-seed", class: "wide", min: 0, step: 1, value: state.seed ?? "", placeholder: t("seed-none"),
      "aria-describedby": "setting-seed-more", oninput: change,
    }),
    el("p", { id: "setting-seed-more", class: "faint" }, t("seed-more")));
}
