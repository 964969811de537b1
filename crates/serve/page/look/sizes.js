// Sizes with sliders for the letters. Every number is the server's: the plans that allocate, added up.

import { el } from "../lib/dom.js";
import { number, t } from "../lib/words.js";
import { fit, flops, formula, memoryOf, parameters } from "./costs.js";
import { debounced, draw } from "./inside.js";
import { bytes } from "./numbers.js";
import { about, slider } from "./parts.js";

/** The letters of a shape: what the server calls each, and the values that a slider goes through. */
const powers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));
const range = (from, to, by) => Array.from({ length: Math.floor((to - from) / by) + 1 }, (_, i) => from + i * by);
const LETTERS = {
  B: { field: "batch_size", values: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512] },
  T: { field: "seq_len", values: [...powers(5, 9), 768, 1024, 1536, 2048, 3072, 4096, 8192, 16384, 32768] },
  d: { field: "n_embd", values: [...range(64, 512, 64), ...range(640, 2048, 128), ...range(2560, 8192, 512), 10240, 12288, 16384] },
  h: { field: "n_head", values: [] },
  L: { field: "n_layer", values: [...range(1, 16, 1), 18, 20, 24, 28, 32, 36, 40, 48, 64, 80, 96] },
  V: { field: "vocab_size", values: [256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 50257, 65536, 100277, 151936, 200064, 256000] },
};
const SHAPE = ["d", "h", "L", "V"];
const MEMORY = [0.5, 1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 128, 256, 512, 1024];
const GIB = 2 ** 30;
/** GiB that are there, unless said. */
const UNLESS = 8;

/** The view of sizes. */
export function sizesView(inside) {
  const controls = el("div", { class: "look-sliders" });
  const body = el("div", { class: "stack" });
  const reset = el(
    "button",
    { type: "button", onclick: () => inside.set(Object.fromEntries([...Object.keys(LETTERS), "memory"].map((letter) => [letter, null]))) },
    t("look-sizes-own"),
  );
  const node = el(
    "div",
    { class: "stack" },
    about(t("look-sizes-about"), t("look-sizes-more")),
    controls,
    el("div", { class: "row" }, reset),
    body,
  );
  const later = debounced(ask, 60);
  /** The letters of the model that is served. */
  let own = null;
  /** The values that each slider goes through. */
  const keys = new Map();

  /** Whether it is another model that is asked about: one of other letters, or of more positions. */
  const changed = () => SHAPE.some((letter) => inside.number(letter, own[letter]) !== own[letter]) || value("T") > own.n_positions;
  const value = (letter) => inside.number(letter, letter === "B" ? 1 : letter === "T" ? own.n_positions : own[letter]);
  const memory = () => inside.number("memory", UNLESS);

  function question() {
    const fields = { batch_size: value("B"), seq_len: value("T"), memory: Math.round(memory() * GIB) };
    if (!changed()) return fields;
    for (const letter of SHAPE) fields[LETTERS[letter].field] = value(letter);
    return fields;
  }

  /** Heads that divide d evenly, into parts a head can have. */
  function heads(d) {
    return range(1, Math.min(128, d), 1).filter((h) => d % h === 0 && (d / h >= 8 || h === 1));
  }

  function choose(letter, chosen) {
    const changes = { [letter]: chosen };
    if (letter === "d") {
      // As wide a head as before, or the nearest that there is.
      const wanted = (chosen * value("h")) / value("d");
      changes.h = heads(chosen).reduce((best, h) => (Math.abs(h - wanted) < Math.abs(best - wanted) ? h : best));
    }
    inside.set(changes);
  }

  /** The values that a letter's slider goes through: what is usual, what the model has, and what is chosen. */
  function values(letter, now) {
    const usual = letter === "memory" ? MEMORY : letter === "h" ? heads(value("d")) : LETTERS[letter].values;
    const had = { B: 1, T: own.n_positions, memory: UNLESS }[letter] ?? (letter === "h" ? now : own[letter]);
    return [...new Set([...usual, had, now])].sort((a, b) => a - b);
  }

  function made(letter, now, all) {
    const show = letter === "memory" ? (gib) => bytes(gib * GIB) : number;
    const node = slider({
      label: t(`look-letter-${letter}`),
      min: 0,
      max: all.length - 1,
      step: 1,
      value: all.indexOf(now),
      show: (i) => show(all[i]),
      change: (i) => choose(letter, all[i]),
    });
    node.dataset.letter = letter;
    return node;
  }

  /** Makes the sliders whose values are others now; one that is being moved has not changed by that, and stays. */
  function sliders() {
    for (const letter of [...Object.keys(LETTERS), "memory"]) {
      const now = letter === "memory" ? memory() : value(letter);
      const all = values(letter, now);
      const old = controls.querySelector(`[data-letter="${letter}"]`);
      if (old && keys.get(letter) === `${all}` && all[old.querySelector("input").value] === now) continue;
      keys.set(letter, `${all}`);
      const node = made(letter, now, all);
      if (old) old.replaceWith(node);
      else controls.append(node);
    }
  }

  function ask() {
    draw(
      body,
      async () => {
        const size = await inside.post("own", "/size", {});
        own = Object.fromEntries(size.letters.map(({ letter, value }) => [letter, value]));
        sliders();
        return inside.post("view", "/size", question());
      },
      (size) =>
        [
          el("h2", null, changed() ? t("look-sizes-changed") : t("look-sizes-model", { model: inside.page.model().id })),
          fit(size),
          formula(size),
          parameters(size),
          memoryOf(t("look-sizes-training", { bytes: bytes(size.training.bytes) }), size.training),
          memoryOf(t("look-sizes-generation", { bytes: bytes(size.generation.bytes) }), size.generation),
          flops(size),
        ].flat(),
    );
  }

  return {
    node,
    update(names) {
      if (names.has("tokens") ? !own : [...Object.keys(LETTERS), "memory"].some((name) => names.has(name))) later();
    },
    leave: later.cancel,
  };
}
