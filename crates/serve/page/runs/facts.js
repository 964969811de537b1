// How runs stand, in numbers and in a few sentences.

import { clear, el, set } from "../lib/dom.js";
import { number, t } from "../lib/words.js";
import { stateOf } from "./list.js";
import { ago, bytes, lasting, loss, short } from "./say.js";

/** A figure's words, and its value of a run; null where it has none. */
const FIGURES = [
  ["runs-figure-state", (run) => t(stateOf(run.head.summary))],
  ["runs-figure-steps", (run) => t("runs-row-steps", { step: number(run.head.summary.step), steps: number(run.head.summary.steps) })],
  ["runs-figure-left", (run) => (run.secondsLeft() === null ? null : lasting(run.secondsLeft()))],
  ["runs-figure-best", (run) => best(run.head.summary)],
  ["runs-figure-bits", (run) => (run.head.summary.best?.bits_per_byte ?? null) && loss(run.head.summary.best.bits_per_byte)],
  ["runs-figure-floor", (run) => (run.head.summary.floor === null ? null : loss(run.head.summary.floor))],
  ["runs-figure-val", (run) => (run.head.summary.val_loss === null ? null : loss(run.head.summary.val_loss))],
  ["runs-figure-train", (run) => (run.head.summary.train_loss === null ? null : loss(run.head.summary.train_loss))],
  ["runs-figure-time", (run) => (run.head.summary.time_s === null ? null : lasting(run.head.summary.time_s))],
  ["runs-figure-tokens", (run) => short(run.head.summary.tokens)],
  ["runs-figure-speed", (run) => (run.head.summary.tokens_per_s === null ? null : short(run.head.summary.tokens_per_s))],
  ["runs-figure-share", (run) => share(run.head.summary.share_of_limit)],
  ["runs-figure-memory", (run) => (run.head.summary.memory === null ? null : bytes(run.head.summary.memory))],
  ["runs-figure-parameters", (run) => (run.head.summary.parameters === null ? null : short(run.head.summary.parameters))],
  ["runs-figure-skipped", (run) => (run.head.summary.skipped ? number(run.head.summary.skipped) : null)],
];

function best({ best }) {
  return best ? t("runs-best-at", { loss: loss(best.loss), step: number(best.step) }) : null;
}

function share(part) {
  return part === null ? null : `${number(100 * part, { maximumFractionDigits: 0 })}%`;
}

/** The head of what is shown. */
export class Facts {
  constructor() {
    this.title = el("h1");
    this.bar = el("progress", { class: "facts-bar", max: 1 });
    this.words = el("p", { class: "facts-words" });
    this.grid = el("dl", { class: "facts" });
    this.compared = el("div", { class: "table-scroll facts-compared", tabindex: 0, role: "region", "aria-label": t("runs-figures") });
    this.node = el("section", { class: "panel stack" }, this.title, this.bar, this.words, this.grid, this.compared);
  }

  /** @param {import("./store.js").Run[]} runs those that were read; at least one */
  draw(runs) {
    const alone = runs.length === 1 ? runs[0] : null;
    this.title.textContent = alone ? alone.name : t("runs-several", { n: runs.length });
    this.words.textContent = alone ? sentences(alone).join(" ") : ranking(runs);
    const rows = FIGURES.map(([key, of]) => [t(key), runs.map(of)]).filter(([, values]) => values.some((value) => value !== null));
    this.grid.hidden = !alone;
    this.compared.hidden = Boolean(alone);
    this.bar.hidden = !alone?.head.summary.running;
    if (alone) {
      const { step, steps } = alone.head.summary;
      set(this.bar, { value: steps ? step / steps : 0, "aria-label": t("runs-progress") });
      clear(this.grid, rows.map(([name, [value]]) => el("div", null, el("dt", null, name), el("dd", null, value))));
      return;
    }
    const { scrollLeft } = this.compared;
    clear(this.compared, el("table", null,
      el("caption", { class: "sr-only" }, t("runs-figures")),
      el("thead", null, el("tr", null, el("td"), runs.map((run, i) => el("th", { scope: "col" }, el("span", { class: `key c${i % 8}` }, run.name))))),
      el("tbody", null, rows.map(([name, values]) =>
        el("tr", null, el("th", { scope: "row" }, name), values.map((value) => el("td", { class: "number" }, value ?? "–")))))));
    this.compared.scrollLeft = scrollLeft;
  }
}

/** How one run went. */
function sentences(run) {
  const { summary, torn, age_s } = run.head;
  if (summary.step === 0) return [t(summary.running ? "runs-begins" : "runs-nothing-logged")];
  const said = [];
  if (!summary.running) said.push(t("runs-written", { ago: ago(age_s) }));
  if (summary.best && summary.floor !== null) {
    const gap = summary.best.loss - summary.floor;
    said.push(t(gap < 0 ? "runs-below-floor" : "runs-above-floor", { gap: Math.abs(gap).toFixed(3) }));
  }
  if (summary.trend !== "unknown") said.push(t(`runs-trend-${summary.trend}`));
  if (summary.skipped > 0) said.push(t("runs-skipped", { n: number(summary.skipped) }));
  if (torn && !summary.running) said.push(t("runs-torn"));
  return said;
}

/** Which of several is best; losses by the token compare only where tokens are the same. */
function ranking(runs) {
  const field = (run, name) => run.config.find((row) => row.field === name)?.value ?? "";
  const one = (run) => JSON.stringify([field(run, "tokenizer"), field(run, "init"), run.head.summary.vocab_size]);
  const bits = runs.some((run) => one(run) !== one(runs[0]));
  const measure = ({ head: { summary } }) => (bits ? summary.best?.bits_per_byte : summary.best?.loss) ?? null;
  const ranked = runs.filter((run) => measure(run) !== null).sort((a, b) => measure(a) - measure(b));
  const unit = t(bits ? "runs-unit-bits" : "runs-unit-nats");
  const said = bits ? [t("runs-other-tokens")] : [];
  if (ranked.length > 1) {
    const [first, second] = ranked;
    const by = loss(measure(second) - measure(first));
    said.push(t("runs-ranked", { first: first.name, second: second.name, best: loss(measure(first)), by, unit }));
  } else {
    said.push(t("runs-not-ranked"));
  }
  return said.join(" ");
}
