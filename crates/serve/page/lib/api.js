// The server's interface. Paths are those of /openapi.json; they are taken from where the page lies.

import { t } from "./words.js";

const KEY = "foretoken-key";

/** What went wrong with a request: the server's own words where it spoke. */
export class Failure extends Error {
  /**
   * @param {number} status of the answer; 0 where none came
   * @param {string} message
   * @param {string | null} [param] the field that is wrong
   * @param {string | null} [code]
   */
  constructor(status, message, param = null, code = null) {
    super(message);
    this.name = "Failure";
    this.status = status;
    this.param = param;
    this.code = code;
  }
}

/** @type {(() => Promise<string | null>) | null} */
let ask = null;
/** @type {Promise<string | null> | null} */
let asking = null;

/**
 * Says who asks the reader for a key when the server wants one; null is no key.
 * @param {() => Promise<string | null>} whom
 */
export function onKeyNeeded(whom) {
  ask = whom;
}

/**
 * Whether a request was given up by the page itself, which is no failure.
 * @param {any} error
 * @returns {boolean}
 */
export function isAbort(error) {
  return error?.name === "AbortError";
}

/**
 * The JSON at a path.
 * @param {string} path as "/v1/models"
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function get(path, { signal } = {}) {
  return parsed(await answered(path, { signal }));
}

/**
 * The JSON that answers a body.
 * @param {string} path
 * @param {any} body
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function post(path, body, { signal } = {}) {
  return parsed(await answered(path, { signal, ...posted(body) }));
}

/**
 * Posts a body with `stream: true` and hands on each event of the answer, parsed, until the end.
 * @param {string} path
 * @param {any} body
 * @param {(event: any) => void} onEvent
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<void>}
 */
export async function stream(path, body, onEvent, { signal } = {}) {
  const response = await answered(path, { signal, ...posted({ ...body, stream: true }) });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw isAbort(error) ? error : new Failure(0, t("cut-off"));
    });
    if (done) throw new Failure(0, t("cut-off"));
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw failure(500, event);
      onEvent(event);
    }
  }
}

function posted(body) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

async function answered(path, init) {
  const first = await fetched(path, init, key());
  if (first.status !== 401 || !ask) return checked(first);
  // Several requests that fail together ask once.
  asking ??= ask().finally(() => (asking = null));
  const given = await asking;
  if (given === null) return checked(first);
  keep(given);
  const second = await fetched(path, init, given);
  if (second.status === 401) keep(null);
  return checked(second);
}

async function fetched(path, init, withKey) {
  const headers = { ...init.headers };
  if (withKey) headers.Authorization = `Bearer ${withKey}`;
  try {
    return await fetch(new URL(path.replace(/^\//, ""), document.baseURI), { ...init, headers, cache: "no-store" });
  } catch (error) {
    throw isAbort(error) ? error : new Failure(0, t("no-answer"));
  }
}

async function checked(response) {
  if (response.ok) return response;
  throw failure(response.status, await response.json().catch(() => null));
}

async function parsed(response) {
  try {
    return await response.json();
  } catch (error) {
    throw isAbort(error) ? error : new Failure(0, t("cut-off"));
  }
}

function failure(status, body) {
  const error = body?.error ?? {};
  return new Failure(status, error.message ?? `HTTP ${status}`, error.param ?? null, error.code ?? null);
}

function key() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function keep(given) {
  try {
    if (given === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, given);
  } catch {
    // A browser that keeps nothing asks again.
  }
}
