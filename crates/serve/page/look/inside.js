// What is selected, who hears of it, and how the server is asked: a question that is asked anew gives up the one before.

import { isAbort, post } from "../lib/api.js";
import { clear, el } from "../lib/dom.js";
import { t } from "../lib/words.js";

/** Answers that are kept for whoever comes back to a view; a head's pattern over 1024 tokens is megabytes. */
const KEPT = 16;
/** Milliseconds until a model that is being opened is asked again. */
const AGAIN = 1000;
/** Milliseconds before a question that gives up another one. */
const BETWEEN = 90;

/**
 * What all parts of the view share. `state` has what the address says, as texts.
 */
export class Inside {
  /** @param {any} page what the shell gives a view */
  constructor(page) {
    this.page = page;
    /** @type {Object<string, string>} */
    this.state = { ...page.place.read() };
    this.state.text ??= t("look-example");
    /** The answer of /lens/tokens for the text, token by token; null until it is there. */
    this.tokens = null;
    this.parts = [];
    this.slots = new Map();
    this.kept = new Map();
  }

  /** Adds a part: `{ update(changed: Set<string>) }`. */
  add(part) {
    this.parts.push(part);
    return part;
  }

  /** Takes a part out, whose requests end. */
  remove(part) {
    this.parts = this.parts.filter((other) => other !== part);
  }

  /** Changes the selection, in the address too, and tells everybody. Null takes a name away. */
  set(changes) {
    const changed = new Set();
    for (const [name, value] of Object.entries(changes)) {
      const text = value === null || value === undefined || value === "" ? undefined : String(value);
      if (this.state[name] === text) continue;
      if (text === undefined) delete this.state[name];
      else this.state[name] = text;
      changed.add(name);
    }
    if (changed.size === 0) return;
    this.page.place.write(changes);
    this.tell(changed);
  }

  /** @param {Set<string>} changed names of the selection; `tokens` where the text's tokens have come */
  tell(changed) {
    // One part may take another out on the way.
    for (const part of [...this.parts]) if (this.parts.includes(part)) part.update?.(changed);
  }

  /** A number of the selection. */
  number(name, unless) {
    const value = Number(this.state[name]);
    return this.state[name] === undefined || !Number.isFinite(value) ? unless : value;
  }

  /** The selected position: the last token unless one is chosen that the text has. */
  at() {
    const last = this.tokens.tokens.length - 1;
    const at = this.number("at", last);
    return at >= 0 && at <= last ? Math.floor(at) : last;
  }

  /** What a token of the text says, without which part of a character it is. */
  label(position) {
    return this.tokens.tokens[position].label;
  }

  /**
   * Asks for a view of the text. A slot has one question at a time.
   * @param {string} slot
   * @param {string} view
   * @param {Object<string, any>} [fields]
   * @returns {Promise<any>}
   */
  ask(slot, view, fields = {}) {
    return this.post(slot, `/lens/${view}`, { text: this.state.text, ...fields });
  }

  /** Posts a body with the model in it; answers are kept. */
  async post(slot, path, fields) {
    const body = { model: this.page.model().id, ...fields };
    const key = path + JSON.stringify(body);
    const before = this.slots.get(slot);
    before?.controller.abort();
    const own = { controller: new AbortController(), open: true };
    this.slots.set(slot, own);
    const { signal } = own.controller;
    try {
      const found = this.kept.get(key);
      if (found) return found;
      // Whoever holds a key down means the last of the questions.
      if (before?.open) await pause(BETWEEN, signal);
      const answer = await this.patient(path, body, signal);
      this.kept.set(key, answer);
      if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
      return answer;
    } finally {
      own.open = false;
    }
  }

  /** Asks until a model that is being opened is open. */
  async patient(path, body, signal) {
    for (;;) {
      try {
        return await post(path, body, { signal });
      } catch (error) {
        if (error.status !== 503) throw error;
        await pause(AGAIN, signal);
      }
    }
  }

  /** Ends all requests. */
  leave() {
    for (const { controller } of this.slots.values()) controller.abort();
  }
}

function pause(milliseconds, signal) {
  return new Promise((done, fail) => {
    const stop = () => {
      clearTimeout(timer);
      fail(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      done();
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}

/**
 * Draws what a question's answer is, or why there is none; until then what stands in the node stays, fainter.
 * @param {HTMLElement} node
 * @param {() => Promise<any>} ask
 * @param {(answer: any) => any} draw gives the children of the node
 */
export async function draw(node, ask, draw) {
  node.setAttribute("aria-busy", "true");
  const mine = (node.turn = (node.turn ?? 0) + 1);
  try {
    const answer = await ask();
    if (node.turn !== mine) return;
    replace(node, draw(answer));
  } catch (error) {
    if (isAbort(error)) return;
    if (!(error.name === "Failure")) throw error;
    const again = () => drawAgain(node, ask, draw);
    replace(node, failure(error, again));
  } finally {
    if (node.turn === mine) node.removeAttribute("aria-busy");
  }
}

const drawAgain = draw;

/** Puts other children in; a focus that was among the old ones stays at the node, not at the top of the page. */
function replace(node, children) {
  const focused = node.contains(document.activeElement);
  clear(node, children);
  if (!focused) return;
  node.tabIndex = -1;
  node.focus({ preventScroll: true });
}

/**
 * What went wrong, and a way to try again.
 * @param {import("../lib/api.js").Failure} error
 * @param {() => void} [again]
 * @returns {HTMLElement}
 */
export function failure(error, again) {
  const busy = error.status === 429;
  return el(
    "div",
    { class: "error look-failure", role: "alert" },
    el("p", null, busy ? t("look-busy") : error.message),
    again && error.status !== 400 && el("button", { type: "button", onclick: again }, t("try-again")),
  );
}

/**
 * Calls a function when nobody has called for so long.
 * @param {() => void} act
 * @param {number} milliseconds
 * @returns {(() => void) & {cancel: () => void}}
 */
export function debounced(act, milliseconds) {
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
