// Axes: where a value lies, which numbers stand beside it, and how far it goes.

/** Values are cut to this size, whatever a log holds. */
const LARGEST = 1e12;

/** An axis from `lo` to `hi`, linear or logarithmic. */
export class Axis {
  /**
   * @param {number} lo
   * @param {number} hi above it; of a logarithmic axis both are above 0
   * @param {boolean} log
   */
  constructor(lo, hi, log) {
    Object.assign(this, { lo, hi, log });
  }

  /**
   * The place of a value, 0 to 1 within the axis.
   * @param {number} value
   * @returns {number}
   */
  place(value) {
    if (!this.log) return (value - this.lo) / (this.hi - this.lo);
    return Math.log(Math.max(value, this.lo / 1e3) / this.lo) / Math.log(this.hi / this.lo);
  }

  /**
   * About so many round values.
   * @param {number} count
   * @returns {number[]}
   */
  ticks(count) {
    const ticks = this.log ? this.#powers(count) : [];
    return ticks.length > 1 ? ticks : this.#even(count);
  }

  #powers(count) {
    const [from, to] = [Math.floor(Math.log10(this.lo)), Math.ceil(Math.log10(this.hi))];
    for (const steps of [[1, 2, 5], [1, 3], [1]]) {
      const ticks = [];
      for (let power = from; power <= to; power++) ticks.push(...steps.map((step) => Number(`${step}e${power}`)));
      const within = ticks.filter((tick) => tick >= this.lo && tick <= this.hi);
      if (within.length <= 1.5 * count) return within;
      if (steps.length === 1) {
        const every = Math.ceil(within.length / count);
        return within.filter((_, i) => i % every === 0);
      }
    }
    return [];
  }

  #even(count) {
    const rough = (this.hi - this.lo) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((times) => times * power).find((step) => step >= rough * 0.999);
    const ticks = [];
    for (let i = Math.ceil(this.lo / step - 1e-9); i * step <= this.hi * (1 + 1e-12) && ticks.length < 50; i++) {
      ticks.push(Number((i * step).toPrecision(12)));
    }
    return ticks;
  }
}

/**
 * The axis that all charts share, and what one of its units is: of the steps, tokens or seconds of all runs.
 * @param {"step" | "tokens" | "time"} along
 * @param {number[]} values all above 0
 * @param {boolean} log
 * @returns {{axis: Axis, unit: string, divisor: number}}
 */
export function across(along, values, log) {
  const hi = Math.min(values.reduce((a, b) => Math.max(a, b), 0), LARGEST) || 1;
  const [unit, divisor] = unitOf(along, hi);
  const lo = log ? Math.max(Math.min(values.reduce((a, b) => Math.min(a, b), hi), hi / 10), hi / 1e7) : 0;
  return { axis: new Axis(lo / divisor, hi / divisor, log), unit, divisor };
}

function unitOf(along, hi) {
  if (along === "step") return ["runs-unit-steps", 1];
  if (along === "tokens") {
    if (hi < 2e4) return ["runs-unit-tokens", 1];
    if (hi < 2e6) return ["runs-unit-thousands", 1e3];
    return hi < 2e9 ? ["runs-unit-millions", 1e6] : ["runs-unit-billions", 1e9];
  }
  if (hi < 180) return ["runs-unit-seconds", 1];
  if (hi < 3 * 3600) return ["runs-unit-minutes", 60];
  return hi < 3 * 86400 ? ["runs-unit-hours", 3600] : ["runs-unit-days", 86400];
}

/**
 * An axis upwards with room for values and levels. What only a few are far above gets no room: the first values do, and three times
 * what 99 of a hundred stay below.
 * @param {number[]} values
 * @param {number} first
 * @param {number[]} levels
 * @param {boolean} log
 * @param {boolean} zero whether it begins at 0
 * @returns {Axis}
 */
export function upright(values, first, levels, log, zero) {
  const clamped = [...values].map((value) => Math.max(-LARGEST, Math.min(LARGEST, value)));
  const kept = (log ? clamped.filter((value) => value > 0) : clamped).sort((a, b) => a - b);
  const all = [...kept, ...levels];
  let low = all.reduce((a, b) => Math.min(a, b), Infinity);
  let high = all.reduce((a, b) => Math.max(a, b), -Infinity);
  if (low > high) return new Axis(0.1, 1, log);
  if (log) {
    low = Math.max(low, high / 1e9);
    const room = high > low ? (high / low) ** 0.05 : 1.5;
    return new Axis(low / room, high * room, true);
  }
  if (kept.length) {
    const common = kept[Math.floor(((kept.length - 1) * 99) / 100)];
    const needed = Math.max(1.5 * Math.abs(first), 3 * Math.abs(common), ...levels);
    if (high > needed && needed > low) high = needed;
  }
  const span = high > low ? high - low : Math.max(Math.abs(high), 1e-9) * 0.5;
  const lo = low >= 0 && (zero || low < 0.2 * span) ? 0 : low - 0.07 * span;
  return new Axis(lo, high + 0.05 * Math.max(high - lo, span), false);
}
