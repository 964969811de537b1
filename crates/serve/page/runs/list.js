// The runs there are: how far each is, and which are shown.

import { clear, el, set } from "../lib/dom.js";
import { t } from "../lib/words.js";
import { ago, loss, short } from "./say.js";

/** The list as a node. */
export class List {
  /** @param {(name: string, more: boolean) => void} choose shows a run, alone or beside others */
  constructor(choose) {
    this.choose = choose;
    this.rows = new Map();
    this.list = el("ul", { class: "runs-list" });
    this.more = el("p", { class: "faint", hidden: true });
    this.node = el("nav", { class: "panel runs-nav", "aria-labelledby": "runs-list-title" },
      el("h2", { id: "runs-list-title" }, t("runs-title")),
      el("p", { class: "faint" }, t("runs-compare-hint")), this.list, this.more);
  }

  /**
   * Draws the runs, each where it was: what has the focus keeps it.
   * @param {any[]} runs as /runs has them
   * @param {number} leftOut
   * @param {string[]} chosen
   * @param {Map<string, number>} colors of those that are shown
   */
  draw(runs, leftOut, chosen, colors) {
    const names = runs.map((run) => run.name);
    for (const [name, row] of this.rows) {
      if (names.includes(name)) continue;
      row.node.remove();
      this.rows.delete(name);
    }
    runs.forEach((run, i) => {
      const row = this.rows.get(run.name) ?? this.#make(run.name);
      if (this.list.children[i] !== row.node) this.list.insertBefore(row.node, this.list.children[i] ?? null);
      this.#fill(row, run, chosen, colors.get(run.name));
    });
    this.more.hidden = leftOut === 0;
    this.more.textContent = leftOut ? t("runs-left-out", { n: leftOut }) : "";
  }

  #make(name) {
    const state = el("span", { class: "run-state" });
    const facts = el("span", { class: "faint run-facts" });
    const bar = el("progress", { class: "run-bar", max: 1, "aria-hidden": "true" });
    const open = el("a", { class: "run-open", href: `#view=runs&runs=${encodeURIComponent(encodeURIComponent(name))}`, onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.choose(name, false);
    } }, el("span", { class: "run-name" }, name), state, bar, facts);
    const box = el("input", { type: "checkbox", "aria-label": t("runs-show", { name }), onchange: () => this.choose(name, true) });
    const node = el("li", { class: "run-row" }, el("label", { class: "run-box" }, box), open);
    const row = { node, open, box, state, facts, bar };
    this.rows.set(name, row);
    return row;
  }

  #fill(row, run, chosen, color) {
    const shown = chosen.includes(run.name);
    row.box.checked = shown;
    row.box.disabled = shown && chosen.length === 1;
    set(row.open, { "aria-current": shown ? "true" : null });
    row.node.className = `run-row${shown ? ` shown c${color ?? 0}` : ""}`;
    const { summary } = run;
    row.bar.hidden = !summary?.running;
    if (!summary) {
      row.state.textContent = t("runs-unreadable");
      row.state.className = "run-state bad";
      row.facts.textContent = run.error;
      return;
    }
    row.bar.value = summary.steps ? summary.step / summary.steps : 0;
    row.state.textContent = t(stateOf(summary));
    row.state.className = `run-state ${stateOf(summary)}`;
    const best = summary.best ? t("runs-row-val", { loss: loss(summary.best.loss) })
      : summary.train_loss === null ? null : t("runs-row-train", { loss: loss(summary.train_loss) });
    const steps = t("runs-row-steps", { step: short(summary.step), steps: short(summary.steps) });
    const served = run.model === null ? null : t("runs-row-served", { model: run.model });
    clear(row.facts, [steps, best, summary.running ? null : ago(run.age_s), served].filter(Boolean).join(" · "));
  }
}

/**
 * The word for how a run stands.
 * @param {any} summary
 * @returns {string}
 */
export function stateOf(summary) {
  if (summary.running) return "runs-going";
  return summary.step >= summary.steps ? "runs-done" : "runs-stopped";
}
