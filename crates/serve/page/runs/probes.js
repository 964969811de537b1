// What each checkpoint of a run does with one text: what could come next, how it goes on, what its heads look at.

import { isAbort, post } from "../lib/api.js";
import { cividis, css } from "../lib/colour.js";
import { clear, el, set } from "../lib/dom.js";
import { dataTable } from "../lib/table.js";
import { number, percent, t } from "../lib/words.js";

const KINDS = ["previous", "induction", "duplicate", "first"];
/** Milliseconds that the slider rests before a checkpoint is opened for it. */
const REST = 200;
const KEPT = 400;

/** Answers by run, step and text; they outlive a change of language. */
const answers = new Map();

/** The probes of one of the shown runs. */
export class Probes {
  /**
   * @param {{read: () => Object<string, string>, write: (changes: Object<string, any>) => void}} place
   * @param {(text: string) => void} announce
   */
  constructor(place, announce) {
    Object.assign(this, { place, announce, steps: [], reading: null, timer: 0 });
    this.which = el("select", { id: "probe-run", onchange: () => this.#choose(this.which.value) });
    this.whichRow = el("label", { class: "field" }, t("runs-probe-run"), this.which);
    this.text = el("textarea", { id: "probe-text", rows: 2, maxlength: 1000, spellcheck: "false", onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#ask();
    } });
    this.slider = el("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": t("runs-probe-slider"), oninput: () => this.#slide() });
    this.said = el("output", { class: "number" });
    this.go = el("button", { type: "submit", class: "main" }, t("runs-probe-go"));
    this.all = el("button", { type: "button", onclick: () => (this.reading ? this.#stop() : this.#readAll()) }, t("runs-probe-all"));
    this.status = el("p", { class: "faint", role: "status" });
    this.result = el("div", { class: "probe-result" });
    this.tablePlace = el("div");
    this.form = el("form", { class: "stack", onsubmit: (event) => {
      event.preventDefault();
      this.#ask();
    } }, this.whichRow, el("label", { class: "field" }, t("runs-probe-text"), this.text), el("div", { class: "row" }, this.go, this.all));
    this.body = el("div", { class: "stack" }, this.form, el("div", { class: "slider-row" }, this.slider, this.said),
      this.status, this.result, this.tablePlace);
    this.none = el("p", { class: "faint" }, t("runs-no-checkpoints"));
    this.node = el("section", { class: "panel stack", "aria-labelledby": "probes-title" },
      el("h2", { id: "probes-title" }, t("runs-probes")), el("p", { class: "faint" }, t("runs-probes-what")), this.none, this.body);
  }

  leave() {
    clearTimeout(this.timer);
    this.reading?.abort();
  }

  /** @param {import("./store.js").Run[]} runs */
  draw(runs) {
    this.runs = runs.filter((run) => run.head.checkpoints.length);
    this.none.hidden = this.runs.length > 0;
    this.body.hidden = this.runs.length === 0;
    if (!this.runs.length) return;
    const names = this.runs.map((run) => run.name);
    if (JSON.stringify(names) !== this.names) {
      this.names = JSON.stringify(names);
      clear(this.which, names.map((name) => el("option", { value: name }, name)));
    }
    this.whichRow.hidden = names.length === 1;
    this.run = this.runs.find((run) => run.name === this.place.read().probed) ?? this.runs[0];
    this.which.value = this.run.name;
    if (this.run.name !== this.drawn) {
      this.drawn = this.run.name;
      this.text.value = this.place.read().probe ?? textOf(this.run);
      this.asked = this.place.read().probe ?? null;
    }
    const before = this.steps.join();
    this.steps = this.run.head.checkpoints.map((checkpoint) => checkpoint.step);
    const wanted = Number(this.place.read().at ?? NaN);
    const at = this.steps.indexOf(wanted);
    set(this.slider, { max: this.steps.length - 1 });
    this.slider.value = String(at < 0 ? this.steps.length - 1 : at);
    this.slider.disabled = this.steps.length < 2;
    this.#say();
    if (this.steps.join() !== before) this.#show();
    if (this.asked && !this.begun) this.#ask();
  }

  #choose(name) {
    this.place.write({ probed: name, at: null });
    this.#stop();
    this.steps = [];
    this.draw(this.runs);
    if (this.asked) this.#ask();
  }

  get step() {
    return this.steps[Number(this.slider.value)];
  }

  #say() {
    const checkpoint = this.run.head.checkpoints[Number(this.slider.value)];
    const marks = [checkpoint?.best && t("runs-best"), checkpoint?.latest && t("runs-latest")].filter(Boolean).join(", ");
    const said = t("runs-at-step", { n: number(this.step) }) + (marks ? ` (${marks})` : "");
    this.said.textContent = said;
    set(this.slider, { "aria-valuetext": said });
  }

  #slide() {
    const newest = Number(this.slider.value) === this.steps.length - 1;
    this.place.write({ at: newest ? null : this.step });
    this.#say();
    if (!this.asked) return;
    if (this.#show()) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#read([this.step]), REST);
  }

  #ask() {
    const text = this.text.value;
    if (!text) return this.text.focus();
    Object.assign(this, { asked: text, begun: true });
    this.place.write({ probe: text });
    if (!this.#show()) this.#read([this.step]);
  }

  #readAll() {
    if (!this.text.value) return this.text.focus();
    Object.assign(this, { asked: this.text.value, begun: true });
    this.place.write({ probe: this.asked });
    this.#read([...this.steps].reverse(), true);
  }

  #stop() {
    this.reading?.abort();
    this.reading = null;
    this.all.textContent = t("runs-probe-all");
    this.node.removeAttribute("aria-busy");
    this.status.textContent = "";
  }

  /** Asks for checkpoints one after the other; another wish ends it. */
  async #read(steps, all = false) {
    this.reading?.abort();
    const reading = (this.reading = new AbortController());
    const [run, text] = [this.run, this.asked];
    this.all.textContent = all ? t("runs-probe-stop") : t("runs-probe-all");
    this.node.setAttribute("aria-busy", "true");
    this.result.classList.add("old");
    try {
      for (const [i, step] of steps.entries()) {
        if (answers.has(key(run, step, text))) continue;
        this.status.textContent = all ? t("runs-probe-nth", { n: i + 1, of: steps.length }) : t("runs-probe-reading", { step: number(step) });
        const { probe } = await post(`${run.path}/probe`, { text, step, max_tokens: 24 }, { signal: reading.signal });
        answers.set(key(run, step, text), probe);
        if (answers.size > KEPT) answers.delete(answers.keys().next().value);
        if (step === this.step) this.announce(spoken(step, probe));
        this.#show();
      }
      if (this.reading === reading) this.#stop();
      this.#show();
    } catch (error) {
      if (isAbort(error)) return;
      this.#stop();
      this.result.classList.remove("old");
      this.status.textContent = error.message;
    }
  }

  /** What is known of the step that is chosen. Says whether it is. */
  #show() {
    const found = this.asked && answers.get(key(this.run, this.step, this.asked));
    this.#table();
    if (!found) {
      // What stands there is of another step, until its own comes.
      this.result.classList.add("old");
      return false;
    }
    this.result.classList.remove("old");
    if (found === this.shown) return true;
    this.shown = found;
    clear(this.result, top(found), continued(found), heads(found));
    return true;
  }

  #table() {
    const known = this.steps.map((step) => [step, answers.get(key(this.run, step, this.asked))]).filter(([, probe]) => probe);
    const signature = JSON.stringify([this.run.name, this.asked, known.map(([step]) => step)]);
    if (signature === this.tableOf) return;
    this.tableOf = signature;
    const open = this.tablePlace.querySelector("details")?.open;
    if (known.length < 2) return clear(this.tablePlace);
    const numeric = (label) => ({ label: t(label), numeric: true });
    const heads = [numeric("runs-step"), numeric("runs-bits-needed"), numeric("runs-unsure"), t("runs-likeliest"), t("runs-goes-on")];
    const table = dataTable(t("runs-probes-table"), heads, () => known.map(([step, probe]) => [
      step, figure(probe.bits), figure(probe.entropy), probe.top.map(([label, p]) => `${label} ${percent(p)}`).join("  "), probe.sample,
    ].map((value, i) => (i === 1 || i === 2 ? el("span", { class: "number" }, value) : value))));
    clear(this.tablePlace, table);
    if (open) table.open = true;
  }
}

const key = (run, step, text) => JSON.stringify([run.name, step, run.head.summary.parameters, text]);
const figure = (value) => number(value, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** A text that means something to the run: what it was asked last, or how its texts begin. */
function textOf(run) {
  const asked = run.samples.findLast((sample) => sample.prompt);
  if (asked) return asked.prompt;
  // A young model of bytes writes what is no text.
  const written = run.samples.findLast((sample) => sample.text.trim() && !sample.text.includes("\uFFFD"))?.text.trim().split("\n")[0] ?? "";
  const words = written.split(" ").slice(0, 4).join(" ");
  return words.length > 60 || !words ? "One sunny morning, " : words;
}

function spoken(step, probe) {
  const [label, p] = probe.top[0] ?? ["–", 0];
  return t("runs-probe-spoken", { step: number(step), label, p: percent(p), text: probe.sample });
}

function top({ top, entropy, bits }) {
  return el("div", null, el("h3", null, t("runs-could-come")),
    el("ol", { class: "probe-top" }, top.map(([label, p]) => el("li", null,
      el("span", { class: "probe-label mono" }, label),
      el("span", { class: "probe-bar", "aria-hidden": "true" }, el("span", { style: { width: `${(100 * p).toFixed(2)}%` } })),
      el("span", { class: "number" }, percent(p))))),
    el("p", { class: "faint" }, t("runs-probe-bits", { bits: figure(bits), entropy: figure(entropy) })));
}

function continued({ prompt, sample }) {
  return el("div", null, el("h3", null, t("runs-goes-on")),
    el("p", { class: "sample-text" }, el("b", { class: "sample-prompt" }, prompt), sample));
}

/** How much each head does of what heads are known to do. */
function heads({ heads }) {
  const layers = Math.max(...heads.map((head) => head.layer)) + 1;
  const across = Math.max(...heads.map((head) => head.head)) + 1;
  const kind = (kind) => {
    const found = heads.filter((head) => head.badges[kind] !== null).sort((a, b) => b.badges[kind] - a.badges[kind]);
    const best = found.slice(0, 3).map((head) => `${head.layer}.${head.head} ${percent(head.badges[kind])}`).join("  ");
    const cells = heads.map((head) => el("span", {
      title: `${head.layer}.${head.head}  ${percent(head.badges[kind] ?? 0)}`,
      style: { background: css(cividis(head.badges[kind] ?? 0)), gridRow: head.layer + 1, gridColumn: head.head + 1 },
    }));
    return el("div", { class: "head-kind" }, el("h4", null, t(`runs-head-${kind}`)),
      el("div", { class: "head-grid", "aria-hidden": "true", style: { "--across": across, "--layers": layers } }, found.length > 0 && cells),
      el("p", { class: "faint" }, found.length ? best : t("runs-head-none")));
  };
  return el("div", { class: "probe-heads" }, el("h3", null, t("runs-heads")), el("p", { class: "faint" }, t("runs-heads-what")),
    el("div", { class: "head-kinds" }, KINDS.map(kind)));
}
