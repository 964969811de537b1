// What is known of runs: read once, then grown by what is new.

import { get } from "../lib/api.js";

/**
 * Steps together, as the server sends curves: the last step of a bucket, what lies up to there, and what its values are like.
 * @typedef {{step: number, tokens: number, time_s: number | null, n: number, mean: number, min: number, max: number}} Bucket
 */

/** The curves of a run and the fields of a step that they are of. */
const CURVES = ["train_loss", "val_loss", "val_bits_per_byte", "grad_norm", "lr", "tokens_per_s", "share_of_limit", "memory"];
/** Steps that are appended to the server's buckets before the curves are read anew. */
const GROWN = 1000;

/** A run as the page knows it. */
export class Run {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
    /** What every answer says: summary, checkpoints, age. Null until the first. */
    this.head = null;
    /** @type {Object<string, Bucket[]>} */
    this.curves = {};
    this.levels = {};
    this.config = [];
    this.data = null;
    /** @type {{step: number, prompt: string, text: string}[]} */
    this.samples = [];
    this.samplesLeftOut = 0;
    /** @type {Error | null} */
    this.error = null;
    this.last = null;
    this.grown = 0;
    this.samplesOf = "";
  }

  /**
   * Reads what is new. Says whether there was anything.
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>}
   */
  async refresh(signal) {
    const changed = this.head ? await this.#grow(signal) : await this.#read(signal);
    const stamp = `${this.head.samples} ${this.head.summary.step}`;
    if (this.head.samples > 0 && stamp !== this.samplesOf) {
      const { samples, left_out } = await get(`${this.path}/samples`, { signal });
      [this.samples, this.samplesLeftOut, this.samplesOf] = [samples, left_out, stamp];
    } else if (this.head.samples === 0) {
      this.samples = [];
    }
    return changed;
  }

  get path() {
    return `/runs/${encodeURIComponent(this.name)}`;
  }

  /** Its last logged step. */
  get step() {
    return this.head?.summary.step ?? 0;
  }

  async #read(signal) {
    const answer = await get(this.path, { signal });
    const { curves, levels, config, data, ...head } = answer;
    Object.assign(this, { curves, levels, config, data, head, grown: 0 });
    // Every step has a learning rate: the last bucket ends with the last step.
    this.last = curves.lr.at(-1) ?? null;
    return true;
  }

  async #grow(signal) {
    const { rows, left_out, ...head } = await get(`${this.path}/steps?from=${this.last?.step ?? 0}`, { signal });
    // A log that was cut back and written anew has another time there, as a rule.
    const [known, fresh] = this.last ? [rows[0], rows.slice(1)] : [null, rows];
    const same = !this.last || (known?.step === this.last.step && known?.time_s === this.last.time_s);
    const steps = head.summary.steps !== this.head.summary.steps;
    if (!same || steps || left_out > 0 || this.grown + fresh.length > GROWN) return this.#read(signal);
    const before = this.head;
    this.head = head;
    for (const row of fresh) this.#append(row);
    const shown = (head) => JSON.stringify([head.summary, head.checkpoints, head.torn]);
    return fresh.length > 0 || shown(before) !== shown(head);
  }

  #append(row) {
    const { step, tokens, time_s } = row;
    for (const name of CURVES) {
      const value = row[name];
      if (Number.isFinite(value)) this.curves[name].push({ step, tokens, time_s, n: 1, mean: value, min: value, max: value });
    }
    this.last = { step, tokens, time_s };
    this.grown += 1;
  }

  /**
   * Seconds until all steps are done, as fast as the last ones were; null where that is not known.
   * @returns {number | null}
   */
  secondsLeft() {
    const summary = this.head?.summary;
    const rows = this.curves.lr ?? [];
    if (!summary?.running || rows.length < 2 || summary.step >= summary.steps) return null;
    const end = rows.at(-1);
    // A tenth of what is done, for speed may change; evaluations are in it.
    const from = rows.findLast((row) => row.step <= Math.min(0.9 * end.step, end.step - 1)) ?? rows[0];
    const a_step = (end.time_s - from.time_s) / (end.step - from.step);
    return Number.isFinite(a_step) && a_step > 0 ? a_step * (summary.steps - summary.step) : null;
  }
}

/**
 * Fewer buckets that hide as little: each keeps its lowest and its highest value.
 * @param {Bucket[]} buckets
 * @param {number} most
 * @returns {Bucket[]}
 */
export function fewer(buckets, most) {
  const count = Math.min(most, buckets.length);
  return Array.from({ length: count }, (_, i) => {
    const part = buckets.slice(Math.floor((i * buckets.length) / count), Math.floor(((i + 1) * buckets.length) / count));
    const n = part.reduce((sum, one) => sum + one.n, 0);
    return {
      ...part.at(-1),
      n,
      mean: part.reduce((sum, one) => sum + (one.mean * one.n) / n, 0),
      min: Math.min(...part.map((one) => one.min)),
      max: Math.max(...part.map((one) => one.max)),
    };
  });
}
