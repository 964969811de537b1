// What is chosen stands in the address, behind the #, which browsers send to nobody: a reload or a link opens the same.

/**
 * What the address says, as texts: `{ view: "play", text: "…" }`.
 * @returns {Object<string, string>}
 */
export function read() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

/**
 * Changes some of it; null takes a name away. With `push` the browser's Back button undoes it.
 * @param {Object<string, any>} changes
 * @param {{push?: boolean}} [options]
 */
export function write(changes, { push = false } = {}) {
  const place = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") place.delete(name);
    else place.set(name, String(value));
  }
  const text = place.toString();
  const address = text ? `#${text}` : location.pathname + location.search;
  if (text === location.hash.slice(1)) return;
  if (push) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}
