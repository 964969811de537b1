// What needs no browser: how tokens are shown, and their colours.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cividis, ink, signed } from "../page/lib/colour.js";
import { grouped, isOpen, shown, textOf, visible } from "../page/lib/visible.js";

const bytes = (text) => [...new TextEncoder().encode(text)];

test("white space and what is not seen are signs", () => {
  assert.equal(visible("a b\n\tc"), "a␣b⏎⇥c");
  assert.equal(visible("\u0007\u200B\u202E"), "<U+0007><U+200B><U+202E>");
});

test("bytes that are no whole character are shown as bytes, as `foretoken lens` does", () => {
  assert.equal(shown([0xec]), "<EC>");
  assert.equal(shown([0xec, 0x95]), "<EC><95>");
  assert.equal(shown([0x61, 0x95, ...bytes("안")]), "a<95>안");
  // Too long, a surrogate, beyond Unicode.
  assert.equal(shown([0xc0, 0xaf]), "<C0><AF>");
  assert.equal(shown([0xed, 0xa0, 0x80]), "<ED><A0><80>");
  assert.equal(shown([0xf4, 0x90, 0x80, 0x80]), "<F4><90><80><80>");
  assert.equal(shown(bytes("😀\uFFFD")), "😀\uFFFD");
  assert.equal(textOf([0xec]), null);
  assert.equal(textOf(bytes("\uFEFFa")), "\uFEFFa");
});

test("every text is whole or open exactly as the decoder of the browser has it", () => {
  for (let first = 0x80; first < 0x100; first++) {
    for (let second = 0x70; second < 0x100; second++) {
      const one = [first, second];
      const strict = () => new TextDecoder("utf-8", { fatal: true });
      const whole = textOf(one) !== null;
      let open = false;
      try {
        // What may go on is taken by a decoder that waits for more.
        strict().decode(Uint8Array.from(one), { stream: true });
        open = !whole;
      } catch {
        open = false;
      }
      assert.equal(isOpen(one), open, one.map((byte) => byte.toString(16)).join(" "));
    }
  }
});

test("tokens that share characters are one group", () => {
  const tokens = [bytes("a"), [0xec], [0x95], [0x88], [0x20, 0xeb], [0x85, 0x95], [0xec]];
  const groups = grouped(tokens).map(({ start, end, label }) => [label, start, end]);
  assert.deepEqual(groups, [["a", 0, 1], ["안", 1, 4], ["␣녕", 4, 6], ["<EC>", 6, 7]]);
  assert.deepEqual(grouped([]), []);
});

test("scales end where they should, and ink is read on every colour", () => {
  assert.deepEqual([cividis(0), cividis(1), cividis(NaN)], [[0, 34, 78], [254, 232, 56], [0, 34, 78]]);
  assert.deepEqual([signed(-2), signed(0), signed(1)], [[33, 102, 172], [247, 247, 247], [217, 95, 2]]);
  const light = ([r, g, b]) => {
    const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  for (let i = -100; i <= 100; i++) {
    for (const rgb of [cividis(i / 100), signed(i / 100)]) {
      const [low, high] = [light(rgb), ink(rgb) === "#000000" ? 0 : 1].sort((a, b) => a - b);
      assert((high + 0.05) / (low + 0.05) >= 4.5, `${rgb}: ${ink(rgb)}`);
    }
  }
});
