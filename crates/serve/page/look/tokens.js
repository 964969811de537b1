// Tokens, syllables or words, and how much each surprised the model.

import { el } from "../lib/dom.js";
import { number, t } from "../lib/words.js";
import { draw } from "./inside.js";
import { fixed } from "./numbers.js";
import { about, bar, granularity, table } from "./parts.js";

/** The view of tokens. */
export function tokensView(inside) {
  const sum = el("p", { class: "look-line" });
  const body = el("div");
  const node = el(
    "div",
    { class: "stack" },
    about(t("look-tokens-about"), t("look-tokens-more")),
    el("div", { class: "row" }, granularity(inside)),
    sum,
    body,
  );
  let groups = [];

  const hex = (bytes) => bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");

  function row(group, i, most) {
    const own = inside.tokens.tokens.slice(group.start, group.end);
    const label = own.length === 1 ? own[0].label : group.label;
    const pick = el("button", { type: "button", class: "quiet mono look-pick", onclick: () => inside.set({ at: group.start }) }, label);
    return el(
      "tr",
      { "data-group": i },
      el("td", { class: "number" }, group.start),
      el("th", { scope: "row" }, pick),
      el("td", { class: "number" }, fixed(group.bits)),
      el("td", null, bar(group.bits / most)),
      el("td", { class: "mono faint look-ids" }, own.map((piece) => piece.id).join(" ")),
      el("td", { class: "mono faint look-ids" }, hex(own.flatMap((piece) => piece.bytes))),
    );
  }

  function mark() {
    const at = inside.at();
    body.querySelector("tr.look-chosen")?.classList.remove("look-chosen");
    const i = groups.findIndex((group) => group.start <= at && at < group.end);
    body.querySelector(`tr[data-group="${i}"]`)?.classList.add("look-chosen");
  }

  function ask() {
    draw(
      body,
      () => inside.ask("view", "tokens", { by: inside.state.by ?? "token" }),
      (answer) => {
        groups = answer.groups;
        sum.textContent = t("look-tokens-sum", {
          n: number(groups.length),
          tokens: number(answer.tokens.length),
          bits: fixed(answer.bits, 1),
          perByte: fixed(answer.bits_per_byte, 3),
          perToken: fixed(answer.characters_per_token),
        });
        const most = Math.max(...groups.map((group) => group.bits), 1e-9);
        const columns = [
          { label: t("look-position"), numeric: true },
          t("look-label"),
          { label: t("look-bits"), numeric: true },
          "",
          t("look-id"),
          t("look-bytes"),
        ];
        return table(
          t("look-tab-tokens"),
          columns,
          groups.map((group, i) => row(group, i, most)),
        );
      },
    ).then(mark);
  }

  return {
    node,
    update(changed) {
      if (changed.has("tokens") || changed.has("by")) ask();
      else if (changed.has("at")) mark();
    },
  };
}
