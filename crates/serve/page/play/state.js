// What Play remembers while other views are open, and when language or colours change. Choices stand in the address, too.

/**
 * A token of a text.
 * @typedef {{id: number, bytes: number[], logprob: number, top: Candidate[], picked: boolean, end: boolean}} Piece
 * A token that could stand at a place.
 * @typedef {{id: number, bytes: number[], logprob: number}} Candidate
 * A text as it grows: the ids that the model reads first, what they say, and what was written after them.
 * @typedef {{ids: number[], prompt: string, pieces: Piece[], finish: string | null}} Text
 * @typedef {{role: "user" | "assistant", content: string, text: Text | null}} Turn
 */

/** What a reader may set. `more` is what stands outside of the usual, behind a line that opens it. */
export const SETTINGS = [
  { name: "temperature", min: 0, max: 2, step: 0.05, unless: 0.8 },
  { name: "top_k", min: 0, max: 200, step: 1, unless: 0 },
  { name: "top_p", min: 0, max: 1, step: 0.01, unless: 1 },
  { name: "min_p", min: 0, max: 1, step: 0.01, unless: 0 },
  { name: "repetition_penalty", min: 0.5, max: 2, step: 0.05, unless: 1 },
  { name: "max_tokens", min: 1, max: 512, step: 1, unless: 120 },
];

export const state = {
  /** @type {string | null} the model that the texts are of */
  model: null,
  mode: "complete",
  /** @type {Object<string, number>} */
  settings: Object.fromEntries(SETTINGS.map(({ name, unless }) => [name, unless])),
  /** @type {number | null} */
  seed: null,
  prompt: "",
  /** @type {Text | null} */
  text: null,
  /** @type {(Text | null)[]} what Undo goes back to */
  past: [],
  system: "",
  draft: "",
  /** @type {Turn[]} */
  turns: [],
  /** @type {Turn[][]} */
  pastTurns: [],
  shaded: { complete: true, chat: false },
};

/** States that Undo remembers. */
const MOST = 100;

/**
 * Remembers what there is now, for Undo.
 * @template T
 * @param {T[]} past
 * @param {T} now
 */
export function remember(past, now) {
  past.push(now);
  if (past.length > MOST) past.shift();
}

/**
 * A text as it is now, whatever becomes of it.
 * @param {Text | null} text
 * @returns {Text | null}
 */
export const copied = (text) => text && { ...text, pieces: [...text.pieces] };

/**
 * Takes from the address what it says.
 * @param {Object<string, string>} place
 * @param {{id: string, context: number}} model
 */
export function recall(place, model) {
  if (state.model !== model.id) {
    // Ids mean something else to another model; what was said stays.
    state.model = model.id;
    state.text = null;
    state.past = [];
    state.pastTurns = [];
    state.turns = state.turns.map((turn) => ({ ...turn, text: null }));
  }
  state.mode = place.mode === "chat" ? "chat" : "complete";
  state.prompt = place.text ?? "";
  state.system = place.system ?? "";
  for (const { name, min, max, unless } of SETTINGS) {
    const value = Number.parseFloat(place[name]);
    state.settings[name] = Number.isFinite(value) ? Math.min(Math.max(value, min), max) : unless;
  }
  state.settings.top_k = Math.round(state.settings.top_k);
  state.settings.max_tokens = Math.round(state.settings.max_tokens);
  const seed = Number.parseInt(place.seed, 10);
  state.seed = Number.isSafeInteger(seed) ? seed : null;
}
