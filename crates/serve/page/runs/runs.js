// Runs: watched while they train, compared, and asked what their checkpoints do with a text.

import { get, isAbort } from "../lib/api.js";
import { clear, el } from "../lib/dom.js";
import { add, number, t } from "../lib/words.js";
import { Config } from "./config.js";
import { Curves } from "./curves.js";
import { Facts } from "./facts.js";
import { List } from "./list.js";
import { loss } from "./say.js";
import { Probes } from "./probes.js";
import { Samples } from "./samples.js";
import { Run } from "./store.js";
import * as words from "./words.js";

add(words);

/** Milliseconds between two looks: where something trains, where nothing does, and where the server is gone. */
const SOON = 2000;
const LATER = 6000;
const GONE = 5000;
/** Milliseconds between two announcements. */
const QUIET = 10_000;
/** Runs that are shown at once. */
const MOST = 8;

/** What was read of runs outlives a change of language or colours. */
const known = new Map();

/**
 * Draws the view into `main`.
 * @param {HTMLElement} main
 * @param {any} page
 * @returns {{leave: () => void}}
 */
export function mount(main, page) {
  return new View(main, page);
}

class View {
  constructor(main, page) {
    this.page = page;
    this.leaving = new AbortController();
    this.list = new List((name, more) => this.#choose(name, more));
    this.facts = new Facts();
    this.curves = new Curves(page.place);
    this.samples = new Samples();
    this.probes = new Probes(page.place, page.announce);
    this.config = new Config();
    this.trouble = el("p", { class: "error", role: "alert", hidden: true });
    this.empty = el("section", { class: "notice", hidden: true }, el("h1", null, t("runs-none")), el("p", null, t("runs-none-more")),
      el("pre", { class: "mono" }, "foretoken train\nforetoken serve"));
    this.loading = el("p", { class: "panel", role: "status" }, t("runs-reading"));
    this.shown = el("div", { class: "stack runs-shown", hidden: true },
      this.facts.node, this.curves.node, this.samples.node, this.probes.node, this.config.node);
    this.body = el("div", { class: "runs-body", hidden: true }, this.list.node, el("div", { class: "stack" }, this.loading, this.shown));
    clear(main, this.trouble, this.empty, this.body);
    /** Validations that were told, by run. */
    this.told = new Map();
    this.toldAt = 0;
    this.visible = () => document.visibilityState === "visible" && this.#look();
    document.addEventListener("visibilitychange", this.visible);
    this.#look();
  }

  leave() {
    this.leaving.abort();
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.visible);
    this.curves.leave();
    this.probes.leave();
  }

  /** The names that the address has; those that are no more are left out. */
  #chosen(runs) {
    const names = (this.page.place.read().runs ?? "").split(",").filter(Boolean).map(decode);
    const there = names.filter((name) => runs.some((run) => run.name === name)).slice(0, MOST);
    return there.length ? there : runs.filter((run) => run.summary).slice(0, 1).map((run) => run.name);
  }

  #choose(name, more) {
    const now = this.#chosen(this.runs);
    let next = [name];
    if (more) next = now.includes(name) ? now.filter((one) => one !== name) : [...now, name].slice(-MOST);
    this.page.place.write({ runs: next.map(encodeURIComponent).join(",") });
    this.#look();
  }

  /** Looks once, and again after a while. */
  async #look() {
    clearTimeout(this.timer);
    // A look that is under way may be about what was chosen before.
    const turn = (this.turn = Symbol());
    let wait = LATER;
    try {
      const { runs, left_out } = await get("/runs", { signal: this.leaving.signal });
      if (turn !== this.turn) return;
      this.runs = runs;
      const chosen = this.#chosen(runs);
      this.#frame(runs, left_out, chosen);
      await this.#read(chosen, turn);
      if (turn !== this.turn) return;
      if (runs.some((run) => run.summary?.running)) wait = SOON;
    } catch (error) {
      if (isAbort(error) || turn !== this.turn) return;
      this.#say(error.message);
      wait = GONE;
    }
    if (this.leaving.signal.aborted) return;
    // Nobody looks: what is new is read when somebody does.
    if (document.visibilityState === "visible") this.timer = setTimeout(() => this.#look(), wait);
  }

  #say(trouble) {
    if (this.trouble.textContent !== trouble) this.trouble.textContent = trouble;
    this.trouble.hidden = !trouble;
  }

  #frame(runs, leftOut, chosen) {
    this.empty.hidden = runs.length > 0;
    this.body.hidden = runs.length === 0;
    const colors = new Map(chosen.map((name, i) => [name, i % MOST]));
    this.list.draw(runs, leftOut, chosen, colors);
  }

  async #read(chosen, turn) {
    const runs = chosen.map((name) => known.get(name) ?? new Run(name));
    const stamp = (run) => JSON.stringify(this.runs.find((row) => row.name === run.name)?.summary ?? null);
    const troubles = [];
    let changed = JSON.stringify(chosen) !== this.drawn;
    for (const run of runs) {
      const now = stamp(run);
      if (run.head && now === run.stamp && !run.error) continue;
      try {
        await run.refresh(this.leaving.signal);
        Object.assign(run, { stamp: now, error: null });
        known.set(run.name, run);
      } catch (error) {
        if (isAbort(error)) throw error;
        run.error = error;
        troubles.push(`${run.name}: ${error.message}`);
      }
      changed = true;
    }
    if (turn !== this.turn) return;
    this.#say(troubles.join(" · "));
    const readable = runs.filter((run) => run.head);
    this.loading.hidden = true;
    this.shown.hidden = readable.length === 0;
    if (!readable.length || !changed) return;
    this.drawn = JSON.stringify(chosen);
    for (const part of [this.facts, this.curves, this.samples, this.probes, this.config]) part.draw(readable);
    this.#announce(readable);
  }

  /** Says new validations to whoever listens, not more than every ten seconds. */
  #announce(runs) {
    const news = [];
    for (const run of runs) {
      const last = run.curves.val_loss?.at(-1);
      const before = this.told.get(run.name);
      if (before === undefined || !last) this.told.set(run.name, last?.step ?? 0);
      else if (last.step > before) news.push([run, last]);
    }
    if (!news.length || performance.now() - this.toldAt < QUIET) return;
    this.toldAt = performance.now();
    for (const [run, last] of news) this.told.set(run.name, last.step);
    this.page.announce(news.map(([run, last]) =>
      t("runs-new-val", { name: run.name, step: number(last.step), loss: loss(last.mean) })).join(" "));
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
