// Writes texts: asks the server, takes in what comes, and stops.

import { get, isAbort, post, stream } from "../lib/api.js";
import { state } from "./state.js";

/** The likeliest tokens that are asked for at each place. */
const TOP = 12;

/** Milliseconds of writing that say how fast it is: what comes in one piece was not written in no time. */
const MEASURED = 100;

/** The end tokens of a model; asked once. @type {Map<string, number[]>} */
const ends = new Map();

async function endsOf(model, signal) {
  if (!ends.has(model)) {
    const info = await get(`/tokenizer_info?model=${encodeURIComponent(model)}`, { signal });
    ends.set(model, info.end_token_ids);
  }
  return ends.get(model);
}

/**
 * The ids that a model reads for a text (`{ prompt }`) or for a conversation up to an answer (`{ messages }`). A text that begins
 * with nothing begins as texts do in training: behind an end.
 * @param {string} model
 * @param {{prompt: string} | {messages: {role: string, content: string}[]}} what
 * @param {AbortSignal} [signal]
 * @returns {Promise<number[]>}
 */
export async function idsOf(model, what, signal) {
  const { tokens } = await post("/tokenize", { model, ...what }, { signal });
  return tokens.length ? tokens : (await endsOf(model, signal)).slice(0, 1);
}

/** Writes one text at a time. */
export class Writer {
  /**
   * @param {{id: string, context: number}} model
   * @param {() => void} onChange after each token, and when it begins and ends
   */
  constructor(model, onChange) {
    this.model = model;
    this.onChange = onChange;
    /** @type {AbortController | null} */
    this.request = null;
    this.running = false;
    this.ended = Promise.resolve();
    this.retuned = false;
    this.begin();
  }

  begin() {
    /** Of the last writing: tokens, and when it was asked for and the first and the last of them came. */
    this.count = 0;
    this.asked = performance.now();
    this.first = 0;
    this.last = 0;
  }

  /** Tokens a second since the first of them; null where too little time went by to say. */
  speed() {
    const took = this.last - this.first;
    return took >= MEASURED ? ((this.count - 1) * 1000) / took : null;
  }

  /** Tokens for which the context has room behind a text. */
  room(text) {
    return this.model.context - text.ids.length - text.pieces.length;
  }

  /**
   * Goes on with a text, by `max_tokens` of the settings at most. Resolves when it has ended or was stopped; a failure is thrown.
   * @param {import("./state.js").Text} text whose pieces and finish change
   */
  async go(text) {
    this.running = true;
    let ended;
    this.ended = new Promise((resolve) => (ended = resolve));
    this.begin();
    text.finish = null;
    this.onChange();
    try {
      do {
        this.retuned = false;
        await this.ask(text).catch((error) => {
          if (!isAbort(error)) throw error;
        });
      } while (this.retuned);
      text.finish ??= "stopped";
    } finally {
      this.running = false;
      this.request = null;
      text.finish ??= "failed";
      ended();
      this.onChange();
    }
  }

  /** Ends the writing; what there is stays. Resolves when nothing is written any more. */
  stop() {
    this.retuned = false;
    this.request?.abort();
    return this.ended;
  }

  /** Other settings: what is being written goes on with them from the next token on. */
  retune() {
    if (!this.running) return;
    this.retuned = true;
    this.request?.abort();
  }

  async ask(text) {
    const budget = Math.min(state.settings.max_tokens - this.count, this.room(text));
    if (budget <= 0) {
      text.finish = "length";
      return;
    }
    this.request = new AbortController();
    const { signal } = this.request;
    const end = await endsOf(this.model.id, signal);
    const body = {
      ...state.settings,
      model: this.model.id,
      prompt: [...text.ids, ...text.pieces.map(({ id }) => id)],
      max_tokens: budget,
      top_logprobs: TOP,
      ...(state.seed === null ? {} : { seed: state.seed }),
    };
    await stream("/v1/completions", body, (event) => {
      // What was on its way when it was stopped is not taken in.
      if (signal.aborted) return;
      for (const { logprobs, finish_reason } of event.choices) {
        for (const token of logprobs?.content ?? []) this.take(text, token, end);
        if (finish_reason) text.finish = finish_reason;
      }
      this.onChange();
    }, { signal });
  }

  take(text, token, end) {
    this.last = performance.now();
    if (!this.count) this.first = this.last;
    this.count += 1;
    const { id, bytes, logprob, top_logprobs: top } = token;
    text.pieces.push({ id, bytes, logprob, top, picked: false, end: end.includes(id) });
  }
}

/**
 * Puts another token at a place of a text; what stood behind it goes.
 * @param {import("./state.js").Text} text
 * @param {number} index of the piece
 * @param {import("./state.js").Candidate} candidate
 * @returns {boolean} whether the text goes on from there
 */
export function pick(text, index, candidate) {
  const { top } = text.pieces[index];
  const end = (ends.get(state.model) ?? []).includes(candidate.id);
  text.pieces = [...text.pieces.slice(0, index), { ...candidate, top, picked: true, end }];
  text.finish = end ? "stop" : null;
  return !end;
}

/**
 * Whether a candidate ends a text.
 * @param {import("./state.js").Candidate} candidate
 * @returns {boolean}
 */
export function isEnd(candidate) {
  return (ends.get(state.model) ?? []).includes(candidate.id);
}

/**
 * What was written, as a text; bytes that are no whole character are �. The end says nothing.
 * @param {import("./state.js").Text} text
 * @returns {string}
 */
export function written(text) {
  const bytes = text.pieces.filter(({ end }) => !end).flatMap((piece) => piece.bytes);
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
