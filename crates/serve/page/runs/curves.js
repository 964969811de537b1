// The charts of runs: which curves they have, along which axis, with which lines across.

import { el, set } from "../lib/dom.js";
import { number, t } from "../lib/words.js";
import { across } from "./axis.js";
import { Chart } from "./chart.js";
import { bytes, figure, lasting, loss, short } from "./say.js";

const COLORS = 8;
/** Steps from which on a logarithmic x axis says more: loss falls about as a power of the steps. */
const LOG_FROM = 5000;
const ALONG = ["step", "tokens", "time"];
const SPREAD = ["linear", "logx", "loglog"];

/** The charts and what chooses their axes. */
export class Curves {
  /** @param {{read: () => Object<string, string>, write: (changes: Object<string, any>) => void}} place */
  constructor(place) {
    this.place = place;
    /** @type {Map<string, Chart>} */
    this.charts = new Map();
    this.along = this.#choice("runs-along", ALONG, "x");
    this.spread = this.#choice("runs-axes", SPREAD, "axes");
    this.grid = el("div", { class: "charts" });
    this.none = el("p", { class: "panel", hidden: true }, t("runs-no-curves"));
    this.node = el("section", { class: "stack", "aria-label": t("runs-curves") },
      el("div", { class: "row curves-choice" }, this.along.node, this.spread.node),
      this.none, this.grid, el("p", { class: "faint" }, t("runs-smooth-note")));
  }

  leave() {
    for (const chart of this.charts.values()) chart.leave();
  }

  #choice(label, options, name) {
    const buttons = options.map((option) => el("button", { type: "button", onclick: () => {
      this.place.write({ [name]: option });
      this.draw(this.runs);
    } }, t(`runs-${name}-${option}`)));
    const node = el("div", { class: "row" }, el("span", { class: "faint", id: `choice-${name}` }, t(label)),
      el("div", { class: "segments", role: "group", "aria-labelledby": `choice-${name}` }, buttons));
    const show = (chosen) => options.forEach((option, i) => set(buttons[i], { "aria-pressed": option === chosen }));
    return { node, show };
  }

  /** @param {import("./store.js").Run[]} runs */
  draw(runs) {
    this.runs = runs;
    const { x, axes } = this.place.read();
    const along = ALONG.includes(x) ? x : "step";
    const long = runs.some((run) => run.step >= LOG_FROM);
    const spread = SPREAD.includes(axes) ? axes : long ? "logx" : "linear";
    this.along.show(along);
    this.spread.show(spread);
    const of = (bucket) => (along === "time" ? bucket.time_s : bucket[along]);
    const values = runs.flatMap((run) => run.curves.lr ?? []).map(of).filter((value) => value > 0);
    const over = { along, ...across(along, values, spread !== "linear") };
    const sayAcross = (at) => (along === "time" ? lasting(at) : t(`runs-at-${along}`, { n: along === "tokens" ? short(at) : number(at) }));
    const unit = t(over.unit);
    const panels = all(runs).filter((panel) => panel.series.length);
    this.none.hidden = panels.length > 0;
    for (const [id, chart] of this.charts) {
      if (panels.some((panel) => panel.id === id)) continue;
      chart.leave();
      chart.node.remove();
      this.charts.delete(id);
    }
    panels.forEach((panel, i) => {
      if (!this.charts.has(panel.id)) this.charts.set(panel.id, new Chart());
      const chart = this.charts.get(panel.id);
      if (this.grid.children[i] !== chart.node) this.grid.insertBefore(chart.node, this.grid.children[i] ?? null);
      chart.draw({
        ...panel,
        log: panel.log && spread === "loglog",
        unit: [panel.unit, t("runs-over", { unit })].filter(Boolean).join(", "),
        across: over,
        sayAcross,
      });
    });
  }
}

/** All charts; those without a curve are left out by whoever draws. */
function all(runs) {
  const several = runs.length > 1;
  const series = (curve, kind, name = () => t(`runs-series-${curve}`), color = (i) => i) =>
    runs.map((run, i) => ({
      name: several ? (name(run) ? `${run.name}, ${name(run)}` : run.name) : name(run) || t("runs-value"),
      color: color(i) % COLORS,
      kind,
      buckets: run.curves[curve] ?? [],
    })).filter((one) => one.buckets.length);
  const plain = (curve, kind) => series(curve, kind, () => "");
  const highest = (curve) => Math.max(0, ...runs.flatMap((run) => (run.curves[curve] ?? []).map((one) => one.max)));
  const many = highest("memory") >= 2 * 2 ** 30;
  const bits = runs.some((run) => run.head.summary.vocab_size !== runs[0].head.summary.vocab_size);
  const clip = (run) => {
    const top = Math.max(0, ...(run.curves.grad_norm ?? []).map((one) => one.max));
    // A line far above all norms would press them flat.
    return run.levels.grad_clip < 3 * top ? run.levels.grad_clip : null;
  };
  return [
    {
      id: "loss", title: t("runs-loss"), unit: t("runs-unit-nats"), zero: false, log: true, say: loss,
      series: [...series("train_loss", "smooth"), ...series("val_loss", "points", undefined, (i) => (several ? i : 1))],
      levels: levels(runs, (run) => run.levels.floor, (value) => t("runs-floor-line", { value: value.toFixed(3) })),
    },
    {
      id: "bits", title: t("runs-bits"), unit: t("runs-unit-bits"), zero: false, log: true, say: loss,
      series: bits ? plain("val_bits_per_byte", "points") : [],
      levels: levels(runs, (run) => run.levels.floor_bits_per_byte, (value) => t("runs-floor-line", { value: value.toFixed(3) })),
    },
    {
      id: "norm", title: t("runs-norm"), unit: t("runs-unit-norm"), zero: true, log: true, say: figure,
      series: plain("grad_norm", "smooth"),
      levels: levels(runs, clip, (value) => t("runs-clip-line", { value: figure(value) })),
    },
    { id: "lr", title: t("runs-lr"), unit: "", zero: true, log: true, say: figure, series: plain("lr", "exact"), levels: [] },
    {
      id: "speed", title: t("runs-speed"), unit: t("runs-unit-speed"), zero: true, log: false, say: figure,
      series: plain("tokens_per_s", "smooth"), levels: [],
    },
    {
      id: "share", title: t("runs-share"), unit: t("runs-unit-share"), divisor: 0.01, zero: true, log: false,
      say: (value) => `${number(value, { maximumFractionDigits: 1 })}%`, series: plain("share_of_limit", "smooth"), levels: [],
    },
    {
      id: "memory", title: t("runs-memory"), unit: many ? "GiB" : "MiB", divisor: 2 ** (many ? 30 : 20), zero: true, log: false,
      say: (value) => bytes(value * 2 ** (many ? 30 : 20)), series: plain("memory", "smooth"), levels: [],
    },
  ];
}

/** A line for each value that some runs have; one that only one run of several has is in its colour. */
function levels(runs, of, label) {
  const found = new Map();
  runs.forEach((run, i) => {
    const value = of(run);
    if (Number.isFinite(value)) found.set(value, [...(found.get(value) ?? []), i]);
  });
  return [...found].map(([value, indices]) => ({
    value,
    label: label(value),
    color: found.size > 1 && indices.length === 1 ? indices[0] % COLORS : null,
  }));
}
