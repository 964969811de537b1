// What is chosen stands in the address, behind the #, which browsers send to nobody: a reload or a link opens the same.

/** Milliseconds between two changes of the address: browsers refuse what comes faster than a slider moves. */
const PAUSE = 200;

/** What the address is about to say. @type {URLSearchParams | null} */
let pending = null;
let timer = 0;

const said = () => new URLSearchParams(location.hash.slice(1));

/**
 * What the address says, as texts: `{ view: "play", text: "…" }`.
 * @returns {Object<string, string>}
 */
export function read() {
  return Object.fromEntries(pending ?? said());
}

/**
 * Changes some of it; null takes a name away. With `push` the browser's Back button undoes it.
 * @param {Object<string, any>} changes
 * @param {{push?: boolean}} [options]
 */
export function write(changes, { push = false } = {}) {
  if (push) flush();
  const place = pending ?? said();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") place.delete(name);
    else place.set(name, String(value));
  }
  pending = place;
  if (push) flush(true);
  else timer ||= setTimeout(flush, PAUSE);
}

function flush(push) {
  clearTimeout(timer);
  timer = 0;
  const text = pending?.toString();
  pending = null;
  if (text === undefined || text === said().toString()) return;
  const address = text ? `#${text}` : location.pathname + location.search;
  if (push === true) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

addEventListener("pagehide", flush);
// Whoever changes the address by hand means it: what waited is older.
addEventListener("popstate", () => (pending = null));
