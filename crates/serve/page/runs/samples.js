// What runs wrote while they trained, a step at a time.

import { clear, el, set } from "../lib/dom.js";
import { number, t } from "../lib/words.js";

/** The samples of the shown runs. */
export class Samples {
  constructor() {
    this.slider = el("input", { type: "range", min: 0, max: 0, value: 0, "aria-labelledby": "samples-title", oninput: () => this.#pick() });
    this.said = el("output", { class: "number" });
    this.list = el("div", { class: "samples" });
    this.more = el("p", { class: "faint" });
    this.node = el("section", { class: "panel stack", "aria-labelledby": "samples-title" },
      el("h2", { id: "samples-title" }, t("runs-samples")),
      el("div", { class: "slider-row" }, this.slider, this.said), this.list, this.more);
    /** The step that was chosen; null follows the newest. */
    this.step = null;
    this.steps = [];
  }

  /** @param {import("./store.js").Run[]} runs */
  draw(runs) {
    this.runs = runs.filter((run) => run.samples.length);
    this.node.hidden = this.runs.length === 0;
    this.steps = [...new Set(this.runs.flatMap((run) => run.samples.map((sample) => sample.step)))].sort((a, b) => a - b);
    this.slider.max = String(Math.max(0, this.steps.length - 1));
    const at = this.step === null ? this.steps.length - 1 : Math.max(0, this.steps.findLastIndex((step) => step <= this.step));
    this.slider.value = String(at);
    this.slider.disabled = this.steps.length < 2;
    const left = this.runs.reduce((sum, run) => sum + run.samplesLeftOut, 0);
    this.more.textContent = left ? t("runs-samples-left-out", { n: number(left) }) : "";
    this.more.hidden = !left;
    this.#show();
  }

  #pick() {
    const last = Number(this.slider.value) === this.steps.length - 1;
    this.step = last ? null : this.steps[Number(this.slider.value)];
    this.#show();
  }

  #show() {
    const step = this.steps[Number(this.slider.value)];
    if (step === undefined) return;
    const said = t("runs-at-step", { n: number(step) });
    this.said.textContent = said;
    set(this.slider, { "aria-valuetext": said });
    const shown = this.runs.map((run) => [run, run.samples.findLast((sample) => sample.step <= step) ?? run.samples[0]]);
    const signature = JSON.stringify(shown.map(([run, sample]) => [run.name, sample]));
    // What somebody reads, or has marked, stays.
    if (signature === this.signature) return;
    this.signature = signature;
    clear(this.list, shown.map(([run, { step: at, prompt, text }], i) => el("figure", { class: "sample" },
      el("figcaption", { class: "faint" }, this.runs.length > 1 && el("span", { class: `key c${i % 8}` }, run.name),
        this.runs.length > 1 && " ", t("runs-at-step", { n: number(at) })),
      el("div", { class: "sample-text" }, prompt && el("b", { class: "sample-prompt" }, prompt), text))));
  }
}
