// How tokens are shown: white space as signs, bytes that are no whole character as <EC>, a character of several tokens once.
// `foretoken lens` shows them alike (look/pieces.rs).

const SIGNS = new Map([[" ", "␣"], ["\n", "⏎"], ["\t", "⇥"]]);
/** Controls, and characters that draw nothing or turn the direction of a line. */
const UNSEEN = /[\u0000-\u001F\u007F-\u009F\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/;
const strict = () => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A text with its white space as signs.
 * @param {string} text
 * @returns {string}
 */
export function visible(text) {
  let out = "";
  for (const c of text) {
    const sign = SIGNS.get(c);
    if (sign) out += sign;
    else if (UNSEEN.test(c)) out += `<U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`;
    else out += c;
  }
  return out;
}

/**
 * What a token says wherever it stands: characters as they are, other bytes as `<EC>`.
 * @param {number[] | Uint8Array} bytes
 * @returns {string}
 */
export function shown(bytes) {
  let out = "";
  for (let at = 0; at < bytes.length; ) {
    const length = characterAt(bytes, at);
    out += length > 0
      ? visible(strict().decode(Uint8Array.from(bytes.slice(at, at + length))))
      : `<${bytes[at].toString(16).toUpperCase().padStart(2, "0")}>`;
    at += Math.max(length, 1);
  }
  return out;
}

/**
 * The text of bytes, none where they are no whole characters.
 * @param {number[] | Uint8Array} bytes
 * @returns {string | null}
 */
export function textOf(bytes) {
  try {
    return strict().decode(Uint8Array.from(bytes));
  } catch {
    return null;
  }
}

/**
 * Tokens that share characters, as one: ranges of them, none left out. What is open at the end stands there as bytes.
 * @param {(number[] | Uint8Array)[]} tokens the bytes of each
 * @returns {{start: number, end: number, label: string, text: string | null}[]} `end` is the one after the last
 */
export function grouped(tokens) {
  const groups = [];
  let start = 0;
  let bytes = [];
  tokens.forEach((own, i) => {
    bytes.push(...own);
    if (isOpen(bytes) && i + 1 < tokens.length) return;
    groups.push({ start, end: i + 1, label: shown(bytes), text: textOf(bytes) });
    start = i + 1;
    bytes = [];
  });
  return groups;
}

/**
 * Whether bytes end within a character that more bytes could make whole, and are well until there.
 * @param {number[] | Uint8Array} bytes
 * @returns {boolean}
 */
export function isOpen(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const length = characterAt(bytes, at);
    if (length === 0) return false;
    if (length < 0) return true;
    at += length;
  }
  return false;
}

/** Bytes of the character that begins here; 0 where none does, -1 where it is not whole yet. */
function characterAt(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return 1;
  const length = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  // The second byte keeps out what is too long, surrogates, and what is beyond Unicode.
  const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  for (let i = 1; i < length; i++) {
    if (at + i >= bytes.length) return -1;
    const byte = bytes[at + i];
    if (byte < (i === 1 ? least : 0x80) || byte > (i === 1 ? most : 0xbf)) return 0;
  }
  return length;
}
