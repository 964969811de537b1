// One chart: lines, bands and points over an axis, read by pointer or arrow keys. It is drawn again in place: focus, cursor and
// table stay.

import { clear, el, set } from "../lib/dom.js";
import { dataTable } from "../lib/table.js";
import { t } from "../lib/words.js";
import { upright } from "./axis.js";
import { fewer } from "./store.js";

/** Part of the chart to each side that a smoothed value is fitted to, and the fewest values. */
const WINDOW = 0.04;
const FEWEST = 6;
/** Points that are drawn of a curve. */
const DOTS = 60;
const HIGH = 230;
const LEFT = 56;
const BELOW = 26;
/** Rows of a table of one curve, and milliseconds between two drawings of one that stands open. */
const ROWS = 30;
const TABLE_AGAIN = 10_000;

/**
 * A curve.
 * @typedef {object} Series
 * @property {string} name
 * @property {number} color index of a colour
 * @property {"smooth" | "exact" | "points"} kind
 * @property {import("./store.js").Bucket[]} buckets
 */

/**
 * What a chart shows.
 * @typedef {object} Shown
 * @property {string} title
 * @property {string} unit of its values
 * @property {number} [divisor] units of the log in one of those
 * @property {Series[]} series
 * @property {{value: number, label: string, color: number | null}[]} levels lines across
 * @property {boolean} zero whether the axis begins at 0
 * @property {boolean} log whether it is logarithmic
 * @property {{along: string, axis: import("./axis.js").Axis, unit: string, divisor: number}} across
 * @property {(value: number) => string} say a value in words
 * @property {(value: number) => string} sayAcross a place along x
 */

let charts = 0;

/** A chart as a node. */
export class Chart {
  constructor() {
    this.id = `chart-${++charts}`;
    this.title = el("h3", { id: `${this.id}-title` });
    this.unit = el("span", { class: "faint" });
    this.read = el("p", { class: "chart-read" });
    this.svg = el("svg:svg", { class: "chart-lines", "aria-hidden": "true", focusable: "false" });
    this.area = el("div", {
      class: "chart-area",
      tabindex: 0,
      role: "slider",
      "aria-labelledby": `${this.id}-title`,
      "aria-orientation": "horizontal",
      onkeydown: (event) => this.#key(event),
      onpointermove: (event) => this.#point(event),
      onpointerdown: (event) => this.#point(event),
      onpointerleave: () => document.activeElement !== this.area && this.#move(null),
      onfocus: () => this.at === null && this.#move(Infinity),
      onblur: () => this.#move(null),
    }, this.svg);
    this.note = el("p", { class: "faint" });
    this.tablePlace = el("div");
    this.node = el("section", { class: "panel chart", "aria-labelledby": `${this.id}-title` },
      el("div", { class: "chart-head" }, this.title, this.unit), this.read, this.area, this.note, this.tablePlace);
    /** The step, tokens or seconds that are read; null where nothing is. */
    this.at = null;
    this.wide = 0;
    this.sizes = new ResizeObserver(() => this.#resize());
    this.sizes.observe(this.area);
    this.tabled = 0;
  }

  /** It is drawn no more. */
  leave() {
    this.sizes.disconnect();
  }

  /**
   * Draws what is there now.
   * @param {Shown} shown
   */
  draw(shown) {
    const other = this.shown && this.shown.across.along !== shown.across.along;
    this.shown = shown;
    if (other) this.at = null;
    this.title.textContent = shown.title;
    this.unit.textContent = shown.unit;
    this.#lines();
    this.#table();
  }

  #resize() {
    const wide = Math.floor(this.area.clientWidth);
    if (wide === this.wide || !this.shown) return;
    this.wide = wide;
    this.#lines();
  }

  #x(bucket) {
    return placeOf(bucket, this.shown.across);
  }

  #lines() {
    this.wide ||= Math.floor(this.area.clientWidth);
    const { series, levels, across, divisor = 1 } = this.shown;
    const inner = this.wide - LEFT - 8;
    if (inner < 40) return;
    const values = series.flatMap(({ kind, buckets }) => buckets.flatMap((one) =>
      kind === "smooth" ? [one.min, one.max] : [one.mean])).map((value) => value / divisor);
    const first = series.reduce((most, { buckets }) => Math.max(most, buckets[0]?.mean ?? 0), 0) / divisor;
    const up = upright(values, first, levels.map((level) => level.value), this.shown.log, this.shown.zero);
    this.up = up;
    this.scale = {
      x: (place) => LEFT + place * inner,
      y: (value) => HIGH - BELOW - up.place(value / divisor) * (HIGH - BELOW - 8),
    };
    set(this.svg, { viewBox: `0 0 ${this.wide} ${HIGH}`, width: this.wide, height: HIGH });
    const clip = `${this.id}-clip`;
    const lines = el("svg:g", { "clip-path": `url(#${clip})` });
    for (const one of series) if (one.kind === "smooth") lines.append(this.#band(one));
    for (const level of levels) lines.append(this.#level(level, divisor));
    for (const one of series) lines.append(...this.#line(one));
    this.cursor = el("svg:g");
    clear(this.svg,
      el("svg:defs", null, el("svg:clipPath", { id: clip },
        el("svg:rect", { x: LEFT - 1, y: 4, width: inner + 8, height: HIGH - BELOW - 3 }))),
      this.#grid(across.axis, up, inner), lines, this.cursor);
    this.#notes(series, up, divisor);
    this.#show();
  }

  #grid(axis, up, inner) {
    const grid = el("svg:g", { class: "chart-grid" });
    const bottom = HIGH - BELOW;
    const ticks = up.ticks(5);
    for (const value of ticks) {
      const y = bottom - up.place(value) * (bottom - 8);
      if (y < 4 || y > bottom + 0.5) continue;
      grid.append(el("svg:path", { d: `M${LEFT} ${y.toFixed(1)}h${inner}` }),
        el("svg:text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, plain(value, ticks)));
    }
    const below = axis.ticks(Math.max(2, Math.floor(inner / 90)));
    for (const value of below) {
      const x = this.scale.x(axis.place(value));
      grid.append(el("svg:path", { d: `M${x.toFixed(1)} 8V${bottom}` }),
        el("svg:text", { x, y: HIGH - 8, "text-anchor": x > this.wide - 30 ? "end" : "middle" }, plain(value, below)));
    }
    grid.append(el("svg:path", { class: "chart-frame", d: `M${LEFT} ${bottom}h${inner}` }));
    return grid;
  }

  #band({ buckets, color }) {
    const at = (value) => (one) => `${this.scale.x(this.#x(one)).toFixed(1)} ${this.scale.y(value(one)).toFixed(1)}`;
    const there = buckets.map(at((one) => one.max));
    const back = buckets.map(at((one) => one.min)).reverse();
    const d = buckets.length ? `M${[...there, ...back].join("L")}z` : "";
    return el("svg:path", { class: `chart-band c${color}`, d });
  }

  #line({ buckets, color, kind }) {
    const places = buckets.map((one) => this.#x(one));
    const values = kind === "smooth" ? smooth(places, buckets, this.shown.log) : buckets.map((one) => one.mean);
    const points = places.map((place, i) => [this.scale.x(place), this.scale.y(values[i])]);
    const d = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    const line = el("svg:path", { class: `chart-line ${kind} c${color}`, d: points.length === 1 ? `${d}h0` : d });
    if (kind !== "points") return [line];
    const best = buckets.reduce((best, one, i) => (one.mean < buckets[best].mean ? i : best), 0);
    // Points that would run together are thinned.
    const every = Math.ceil(points.length / DOTS);
    const dots = points.map(([x, y], i) => (i === best || i % every === 0) &&
      el("svg:circle", { class: `chart-point c${color}${i === best ? " best" : ""}`, cx: x, cy: y, r: i === best ? 5 : 2.5 }));
    return [line, ...dots.filter(Boolean)];
  }

  #level({ value, label, color }, divisor) {
    const y = this.scale.y(value * divisor);
    const under = y < 30;
    const kind = color === null ? "chart-level" : `chart-level c${color}`;
    return el("svg:g", { class: kind },
      el("svg:path", { d: `M${LEFT} ${y.toFixed(1)}H${this.wide}` }),
      el("svg:text", { x: this.wide - 10, y: under ? y + 14 : y - 5, "text-anchor": "end" }, label));
  }

  /** What is cut off at the top is said. */
  #notes(series, up, divisor) {
    const above = series.map((one) => one.buckets.filter((bucket) => bucket.max / divisor > up.hi)).flat();
    const top = above.reduce((a, b) => (a && a.max >= b.max ? a : b), null);
    this.note.textContent = top ? t("runs-above", { value: this.shown.say(top.max / divisor), step: top.step }) : "";
    this.note.hidden = !top;
  }

  /** Places that can be read, in the log's unit, sorted. */
  #stops() {
    const { series, across } = this.shown;
    const all = series.flatMap(({ buckets }) => buckets.map((one) => valueOf(one, across.along)));
    return [...new Set(all.filter(Number.isFinite))].sort((a, b) => a - b);
  }

  #key(event) {
    const stops = this.#stops();
    if (!stops.length) return;
    const now = this.at === null ? stops.length - 1 : nearest(stops, this.at);
    const by = event.shiftKey ? Math.max(2, Math.round(stops.length / 10)) : 1;
    const to = {
      ArrowLeft: now - by, ArrowDown: now - by, ArrowRight: now + by, ArrowUp: now + by,
      PageDown: now - Math.round(stops.length / 10), PageUp: now + Math.round(stops.length / 10), Home: 0, End: stops.length - 1,
    }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#move(stops[Math.max(0, Math.min(stops.length - 1, to))]);
  }

  #point(event) {
    if (!this.scale) return;
    const { axis, divisor } = this.shown.across;
    const place = (event.clientX - this.svg.getBoundingClientRect().left - LEFT) / (this.wide - LEFT - 8);
    const within = Math.max(0, Math.min(1, place));
    const value = axis.log ? axis.lo * (axis.hi / axis.lo) ** within : axis.lo + (axis.hi - axis.lo) * within;
    this.#move(value * divisor);
  }

  #move(at) {
    const stops = at === null ? [] : this.#stops();
    this.at = stops.length ? stops[nearest(stops, at)] : null;
    this.#show();
  }

  /** The cursor and what it reads. */
  #show() {
    if (!this.cursor) return;
    const { series, across, divisor = 1, say, sayAcross } = this.shown;
    const stops = this.#stops();
    const at = this.at ?? stops.at(-1);
    set(this.area, { "aria-valuemin": stops[0] ?? 0, "aria-valuemax": stops.at(-1) ?? 0, "aria-valuenow": at ?? 0 });
    if (at === undefined) {
      clear(this.read, t("runs-no-values"));
      return set(this.area, { "aria-valuetext": t("runs-no-values") });
    }
    const marks = [];
    const told = [sayAcross(at)];
    const parts = [el("span", { class: "chart-where" }, told[0])];
    for (const one of series) {
      if (!one.buckets.length) continue;
      const found = one.buckets[nearest(one.buckets.map((bucket) => valueOf(bucket, across.along)), at)];
      const apart = Math.abs(this.#x(found) - across.axis.place(at / across.divisor)) > 0.02;
      // A curve that is measured elsewhere says where.
      const where = apart ? ` (${sayAcross(valueOf(found, across.along))})` : "";
      const text = `${one.name} ${say(found.mean / divisor)}${where}`;
      told.push(text);
      parts.push(el("span", { class: `key c${one.color}` }, text));
      const x = this.scale.x(this.#x(found));
      const y = this.scale.y(found.mean);
      if (!apart) marks.push(el("svg:circle", { class: `chart-mark c${one.color}`, cx: x, cy: y, r: 4 }));
    }
    const x = this.scale.x(across.axis.place(at / across.divisor)).toFixed(1);
    const shown = this.at !== null;
    clear(this.cursor, shown && el("svg:path", { class: "chart-cursor", d: `M${x} 8V${HIGH - BELOW}` }), shown && marks);
    clear(this.read, parts);
    this.#hold();
    set(this.area, { "aria-valuetext": told.join(", ") });
  }

  /** A reading of fewer lines leaves what is below where it is: a click there would miss it. */
  #hold() {
    const held = this.held ?? { wide: 0, high: 0 };
    if (held.wide !== this.wide) this.read.style.minHeight = "";
    const high = this.read.offsetHeight;
    this.held = { wide: this.wide, high: held.wide === this.wide ? Math.max(held.high, high) : high };
    this.read.style.minHeight = `${this.held.high}px`;
  }

  #table() {
    const { title, series } = this.shown;
    const signature = JSON.stringify([title, series.map((one) => one.name)]);
    if (signature !== this.tableOf) {
      this.tableOf = signature;
      const numeric = (label) => ({ label: t(label), numeric: true });
      const heads = [t("runs-curve"), numeric("runs-up-to-step"), numeric("runs-unit-tokens"), numeric("runs-time"),
        numeric("runs-mean"), numeric("runs-lowest"), numeric("runs-highest")];
      this.table = dataTable(title, heads, () => this.#rows());
      clear(this.tablePlace, this.table);
      return;
    }
    const rows = this.table.querySelector(".table-scroll");
    if (!rows?.firstChild) return;
    if (!this.table.open) return rows.replaceChildren();
    if (performance.now() - this.tabled < TABLE_AGAIN) return;
    const { scrollTop, scrollLeft } = rows;
    rows.replaceChildren();
    this.table.dispatchEvent(new Event("toggle"));
    Object.assign(rows, { scrollTop, scrollLeft });
  }

  #rows() {
    this.tabled = performance.now();
    const { series, divisor = 1, say } = this.shown;
    return series.flatMap(({ name, buckets }) => fewer(buckets, ROWS).map((one) =>
      [name, one.step, one.tokens, one.time_s === null ? "–" : clock(one.time_s), ...[one.mean, one.min, one.max]
        .map((value) => el("span", { class: "number" }, say(value / divisor)))]));
  }
}

/** The number of steps, tokens or seconds that a bucket ends with. */
function valueOf(bucket, along) {
  return along === "time" ? (bucket.time_s ?? NaN) : bucket[along];
}

function placeOf(bucket, across) {
  return across.axis.place(valueOf(bucket, across.along) / across.divisor);
}

/** The index of the nearest number. */
function nearest(numbers, to) {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if (Math.abs(numbers[i] - to) <= Math.abs(numbers[best] - to)) best = i;
  return best;
}

/**
 * A local linear fit of the means around each place (Cleveland 1979): it does not lag, and bends at neither end.
 * @param {number[]} places rising
 * @param {import("./store.js").Bucket[]} buckets
 * @param {boolean} log whether the values lie on a logarithmic axis
 * @returns {number[]}
 */
export function smooth(places, buckets, log) {
  const values = buckets.map((one) => (log ? Math.log(Math.max(one.mean, 1e-300)) : one.mean));
  return places.map((x, i) => {
    let [from, to] = [i, i];
    while (from > 0 && (x - places[from - 1] <= WINDOW || to - from + 1 < FEWEST)) {
      from--;
      if (to + 1 < places.length && to - from + 1 < FEWEST) to++;
    }
    while (to + 1 < places.length && (places[to + 1] - x <= WINDOW || to - from + 1 < FEWEST)) to++;
    const reach = Math.max(x - places[from], places[to] - x, 1e-12) * 1.0001;
    let [w, wx, wy, wxx, wxy] = [0, 0, 0, 0, 0];
    for (let k = from; k <= to; k++) {
      const d = places[k] - x;
      const weight = buckets[k].n * (1 - (Math.abs(d) / reach) ** 3) ** 3;
      w += weight;
      wx += weight * d;
      wy += weight * values[k];
      wxx += weight * d * d;
      wxy += weight * d * values[k];
    }
    const spread = w * wxx - wx * wx;
    const fit = spread > 1e-12 * w * w ? (wxx * wy - wx * wxy) / spread : wy / w;
    // A line beyond what was measured would be made up.
    const lowest = Math.min(...values.slice(from, to + 1));
    const highest = Math.max(...values.slice(from, to + 1));
    const kept = Math.max(lowest, Math.min(highest, fit));
    return log ? Math.exp(kept) : kept;
  });
}

/** A number of an axis, with as many digits as its neighbours need. */
function plain(value, ticks) {
  const size = Math.max(...ticks.map(Math.abs));
  if (value !== 0 && (size >= 1e7 || Math.abs(value) < 1e-4)) return value.toExponential().replace("e+", "e");
  return String(Number(value.toPrecision(6)));
}

/** Seconds as 1:02:03. */
function clock(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
