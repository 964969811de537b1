// What a model of some sizes costs, drawn: parameters, memory, work, and what fits.

import { el } from "../lib/dom.js";
import { dataTable } from "../lib/table.js";
import { number, percent, t } from "../lib/words.js";
import { big, bytes } from "./numbers.js";
import { bar } from "./parts.js";
import { namedPart } from "./walk.js";

/** Parts of a whole as bars, with the table of their numbers. */
function bars(title, items, total, columns) {
  const most = Math.max(...items.map((item) => item.value), 1);
  const row = ({ name, value, text }) => [
    el("dt", null, name),
    el("dd", null, bar(value / most), el("span", { class: "number" }, text), el("span", { class: "faint number" }, percent(value / total))),
  ];
  return el(
    "section",
    { class: "stack look-size" },
    el("h3", null, title),
    el("dl", { class: "look-bars" }, items.map(row)),
    dataTable(title, columns, () => items.map((item) => [item.name, item.what ?? "", number(item.value)])),
  );
}

/** What the parameters add up from. */
export function parameters({ parameters }) {
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

/** What memory is taken for: `use` is training, or generating. */
export function memoryOf(title, { items, bytes: total }) {
  return bars(
    title,
    items.map((item) => ({ name: namedPart(item.name), value: item.bytes, text: bytes(item.bytes), what: item.what })),
    total,
    [t("look-part"), "", { label: t("look-bytes"), numeric: true }],
  );
}

/** How much is multiplied. */
export function flops({ flops }) {
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

/** What fits into a memory. */
export function fit({ fit, letters }) {
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

/** The formulas of GPT-2, where they are those of this model. */
export function formula(size) {
  const letter = Object.fromEntries(size.letters.map((one) => [one.letter, one.value]));
  const { V, d, L, n_positions: P, f } = letter;
  const tied = V * d + P * d + L * (4 * d * d + 2 * d * f + 9 * d + f) + 2 * d;
  if (size.model_type !== "gpt2" || tied !== size.parameters.count) return el("p", { class: "faint" }, t("look-formula-other"));
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
