// Sizes with sliders for the letters. Every number is the server's: the plans that allocate, added up.

import { el } from "../lib/dom.js";
import { dataTable } from "../lib/table.js";
import { number, percent, t } from "../lib/words.js";
import { debounced, draw } from "./inside.js";
import { big, bytes } from "./numbers.js";
import { about, bar, slider } from "./parts.js";
import { namedPart } from "./walk.js";

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

  /** Whether it is another model that is asked about: one of other letters, or of more positions. */
  const changed = () => SHAPE.some((letter) => inside.number(letter, own[letter]) !== own[letter]) || value("T") > own.n_positions;
  const value = (letter) => inside.number(letter, letter === "B" ? 1 : letter === "T" ? own.n_positions : own[letter]);
  const memory = () => inside.number("memory", 8);

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

  function sliders() {
    const focused = document.activeElement?.closest?.("[data-letter]")?.dataset.letter;
    const one = (letter, of, now, show, change) => {
      const values = of.includes(now) ? of : [...of, now].sort((a, b) => a - b);
      const node = slider({
        label: t(`look-letter-${letter}`),
        min: 0,
        max: values.length - 1,
        step: 1,
        value: values.indexOf(now),
        show: (i) => show(values[i]),
        change: (i) => change(values[i]),
      });
      node.dataset.letter = letter;
      return node;
    };
    const letters = Object.entries(LETTERS).map(([letter, { values }]) =>
      one(letter, letter === "h" ? heads(value("d")) : values, value(letter), number, (chosen) => choose(letter, chosen)),
    );
    const fits = one(
      "memory",
      MEMORY,
      memory(),
      (gib) => bytes(gib * GIB),
      (gib) => inside.set({ memory: gib === 8 ? null : gib }),
    );
    controls.replaceChildren(...letters, fits);
    if (focused) controls.querySelector(`[data-letter="${focused}"] input`)?.focus();
  }

  function bars(title, items, total, columns) {
    const most = Math.max(...items.map((item) => item.value), 1);
    const row = ({ name, value, text }) => [
      el("dt", null, name),
      el(
        "dd",
        null,
        bar(value / most),
        el("span", { class: "number" }, text),
        el("span", { class: "faint number" }, percent(value / total)),
      ),
    ];
    return el(
      "section",
      { class: "stack look-size" },
      el("h3", null, title),
      el("dl", { class: "look-bars" }, items.map(row)),
      dataTable(title, columns, () => items.map((item) => [item.name, item.what ?? "", number(item.value)])),
    );
  }

  function parameters({ parameters }) {
    const items = parameters.parts
      .filter((part) => part.count > 0)
      .map((part) => ({ name: namedPart(part.part), value: part.count, text: big(part.count) }));
    const columns = [
      t("look-tensor"),
      t("look-shape-letters"),
      { label: t("look-copies"), numeric: true },
      { label: t("look-count"), numeric: true },
    ];
    return [
      bars(t("look-sizes-parameters", { n: number(parameters.count), bytes: bytes(parameters.bytes) }), items, parameters.count, [
        t("look-part"),
        "",
        { label: t("look-count"), numeric: true },
      ]),
      dataTable(t("look-sizes-tensors"), columns, () =>
        parameters.tensors.map((one) => [one.name, one.letters, number(one.copies), number(one.count)]),
      ),
    ];
  }

  function memoryOf(title, { items }, total) {
    return bars(
      title,
      items.map((item) => ({ name: namedPart(item.name), value: item.bytes, text: bytes(item.bytes), what: item.what })),
      total,
      [t("look-part"), "", { label: t("look-bytes"), numeric: true }],
    );
  }

  function flops({ flops }) {
    const facts = [
      [t("look-flops-forward"), flops.token_forward_weights + flops.token_forward_attention],
      [t("look-flops-training"), flops.token_training],
      [t("look-flops-step"), flops.step_training],
    ];
    return el(
      "section",
      { class: "stack look-size" },
      el("h3", null, t("look-sizes-flops")),
      el(
        "dl",
        { class: "look-facts" },
        facts.map(([name, n]) => [el("dt", null, name), el("dd", { class: "number" }, big(n))]),
      ),
      el(
        "p",
        { class: "faint" },
        t("look-flops-what", {
          n: number(flops.weights),
          share: percent(flops.token_forward_attention / (flops.token_forward_weights + flops.token_forward_attention)),
        }),
      ),
    );
  }

  function fit({ fit, letters }) {
    if (!fit) return null;
    const n = (answer) => number(answer.largest);
    const line = (use, key) =>
      el(
        "li",
        { class: use.longest.largest === 0 ? "look-none" : null },
        use.longest.largest === 0 && use.widest.largest === 0
          ? t(`${key}-none`, { bytes: bytes(use.longest.bytes) })
          : t(key, { b: number(use.b), longest: n(use.longest), t: number(use.t), widest: n(use.widest) }),
      );
    const positions = letters.find(({ letter }) => letter === "n_positions").value;
    const bounded = [fit.training.longest, fit.generation.longest].some((answer) => answer.bound === "positions");
    return el(
      "section",
      { class: "look-size look-fit" },
      el("h3", null, t("look-fit", { memory: bytes(fit.memory) })),
      el("ul", null, line(fit.training, "look-fit-training"), line(fit.generation, "look-fit-generation")),
      bounded && el("p", { class: "faint" }, t("look-fit-positions", { n: number(positions) })),
    );
  }

  function formula(size) {
    const letter = Object.fromEntries(size.letters.map((one) => [one.letter, one.value]));
    if (size.model_type !== "gpt2") return el("p", { class: "faint" }, t("look-formula-other"));
    const { V, d, L, n_positions: P, f } = letter;
    const tied = V * d + P * d + L * (4 * d * d + 2 * d * f + 9 * d + f) + 2 * d;
    const lines = [
      `N = V d + P d + L (4 d² + 2 d f + 9 d + f) + 2 d = ${number(tied)}`,
      `KV = 2 L d × ${size.generation.cache_a_token / (2 * L * d)} B × T = ${bytes(size.generation.cache_a_token * letter.T)}`,
    ];
    return el(
      "p",
      { class: "mono look-formula", "data-sum": tied, "data-count": size.parameters.count },
      lines.map((line) => el("span", null, line)),
    );
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
          memoryOf(t("look-sizes-training", { bytes: bytes(size.training.bytes) }), size.training, size.training.bytes),
          memoryOf(t("look-sizes-generation", { bytes: bytes(size.generation.bytes) }), size.generation, size.generation.bytes),
          flops(size),
        ]
          .flat()
          .filter(Boolean),
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
