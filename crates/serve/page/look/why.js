// Who raised a logit: a waterfall whose bars sum to it, the heads that matter, and what is measured without them.

import { signed } from "../lib/colour.js";
import { el } from "../lib/dom.js";
import { t } from "../lib/words.js";
import { debounced, draw } from "./inside.js";
import { fixed, plus } from "./numbers.js";
import { about, labelled, legend, signedShade, stepName, table } from "./parts.js";

const HEADS = 8;

/** The view of an account. */
export function whyView(inside) {
  const field = (name, label, hint) => {
    const change = debounced(() => inside.set({ [name]: input.value }), 500);
    const input = el("input", {
      type: "text",
      class: "mono",
      value: inside.state[name] ?? "",
      placeholder: hint,
      spellcheck: false,
      autocomplete: "off",
      oninput: change,
    });
    return { input, node: labelled(label, input), leave: change.cancel };
  };
  const token = field("token", t("look-why-token"), t("look-why-token-hint"));
  const against = field("not", t("look-why-not"), t("look-why-not-hint"));
  const patch = field("patch", t("look-why-patch"), t("look-why-patch-hint"));
  const fields = { token, not: against, patch };
  const ablate = el("input", {
    type: "checkbox",
    checked: inside.state.ablate === "1",
    onchange: (event) => inside.set({ ablate: event.target.checked ? 1 : null }),
  });
  const candidates = el("div", { class: "look-picks stack" });
  const body = el("div", { class: "stack" });
  const node = el(
    "div",
    { class: "stack" },
    about(t("look-why-about"), t("look-why-more"), true),
    el("div", { class: "look-form" }, token.node, against.node),
    candidates,
    el("label", { class: "look-check" }, ablate, el("span", null, t("look-why-ablate"))),
    patch.node,
    body,
  );

  function named() {
    const { token, not, patch } = inside.state;
    return { at: inside.at(), token, not, patch, heads: HEADS, ablate: inside.state.ablate === "1" };
  }

  function ask() {
    draw(
      body,
      () => inside.ask("view", "why", named()),
      (why) =>
        [
          el("h2", null, title(why)),
          waterfall(why),
          sum(why),
          legend(t("look-why-took"), t("look-why-added"), signed, -1),
          el("h3", null, t("look-why-heads")),
          el("p", { class: "faint" }, t("look-why-heads-what")),
          heads(inside, why),
          why.patched.length > 0 && [
            el("h3", null, t("look-why-patched")),
            el("p", { class: "faint" }, t("look-why-patched-what")),
            patched(inside, why),
          ],
        ]
          .flat()
          .filter(Boolean),
    );
  }

  /** Candidates to click on: whose logit, and above whose. */
  function picks() {
    draw(
      candidates,
      () => inside.ask("candidates", "next", { at: inside.at(), top: 8 }),
      (next) => {
        const row = (name, label) =>
          el(
            "div",
            { class: "row", role: "group", "aria-label": label },
            el("span", { class: "faint" }, label),
            next.choices.slice(0, 9).map((choice) => {
              const id = `#${choice.id}`;
              const press = () => inside.set({ [name]: inside.state[name] === id ? null : id });
              return el(
                "button",
                { type: "button", class: "mono look-pick-one", "data-name": name, "data-id": id, "aria-pressed": false, onclick: press },
                choice.label,
              );
            }),
          );
        return [row("token", t("look-why-token")), row("not", t("look-why-not"))];
      },
    ).then(mark);
  }

  function mark() {
    for (const button of candidates.querySelectorAll("button[data-id]")) {
      button.setAttribute("aria-pressed", String(inside.state[button.dataset.name] === button.dataset.id));
    }
  }

  return {
    node,
    update(changed) {
      for (const [name, { input }] of Object.entries(fields)) {
        const value = inside.state[name] ?? "";
        if (changed.has(name) && input.value !== value) input.value = value;
      }
      if (changed.has("tokens") || changed.has("at")) picks();
      else mark();
      if (["tokens", "at", "token", "not", "ablate", "patch"].some((name) => changed.has(name))) ask();
    },
    leave: () => Object.values(fields).forEach((field) => field.leave()),
  };
}

function title(why) {
  const values = { token: why.token[1], position: why.position, label: why.tokens[why.position].label, logit: fixed(why.logit, 3) };
  return why.against ? t("look-why-title-not", { ...values, against: why.against[1] }) : t("look-why-title", values);
}

/** The name of a part of the stream. */
function partName({ kind, layer }) {
  if (kind === "attention") return stepName(2 * layer + 1);
  if (kind === "mlp") return stepName(2 * layer + 2);
  return t(`look-part-${kind}`);
}

/** Each bar begins where the one before ended. */
function waterfall(why) {
  const ends = [0];
  for (const bar of why.bars) ends.push(ends[ends.length - 1] + bar.added);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const span = high - low || 1;
  const most = Math.max(...why.bars.map((bar) => Math.abs(bar.added)), 1e-9);
  const percent = (x) => `${(100 * (x - low)) / span}%`;
  const drawn = (from, to, background) =>
    el(
      "td",
      { class: "look-fall", "aria-hidden": true },
      el("span", { class: "look-zero", style: { left: percent(0) } }),
      el("span", {
        class: "look-fall-bar",
        style: { left: percent(Math.min(from, to)), width: `${(100 * Math.abs(to - from)) / span}%`, ...background },
      }),
    );
  const rows = why.bars.map((bar, i) =>
    el(
      "tr",
      null,
      el("th", { scope: "row" }, partName(bar)),
      el("td", { class: "number" }, plus(bar.added)),
      drawn(ends[i], ends[i + 1], { background: signedShade(bar.added / most).background }),
    ),
  );
  const total = ends[ends.length - 1];
  rows.push(
    el(
      "tr",
      { class: "look-total" },
      el("th", { scope: "row" }, t("look-why-sum")),
      el("td", { class: "number" }, plus(total)),
      drawn(0, total, {}),
    ),
  );
  return table(t("look-tab-why"), [t("look-why-part"), { label: t("look-why-added"), numeric: true }, ""], rows);
}

/** The sum beside what the model says, and how far they are apart. */
function sum(why) {
  const total = why.bars.reduce((sum, bar) => sum + bar.added, 0);
  const apart = Math.abs(total - why.logit);
  return el(
    "p",
    { class: "look-exact", "data-sum": total, "data-logit": why.logit },
    t("look-why-exact", { sum: fixed(total, 5), logit: fixed(why.logit, 5), apart: apart < 1e-12 ? "0" : apart.toExponential(0) }),
  );
}

function heads(inside, why) {
  const removed = new Map(why.ablated.map((one) => [`${one.layer}.${one.head}`, one]));
  const most = Math.max(...why.heads.map((one) => Math.abs(one.added)), 1e-9);
  const source = ({ position, weight, added }) =>
    el(
      "button",
      {
        type: "button",
        class: "quiet look-source",
        title: t("look-why-source", { weight: fixed(weight), added: plus(added) }),
        onclick: () => inside.set({ at: position }),
      },
      el("span", { class: "mono" }, why.tokens[position].label),
      el("span", { class: "faint" }, ` ${plus(added)}`),
    );
  const row = (one) => {
    const name = `${one.layer}.${one.head}`;
    const without = removed.get(name);
    const open = el("button", { type: "button", class: "quiet mono", onclick: () => inside.set({ lens: "attention", head: name }) }, name);
    return [
      el("th", { scope: "row" }, open),
      el("td", { class: "number", style: signedShade(one.added / most) }, plus(one.added)),
      el("td", null, one.sources.map(source)),
      ...(without ? [el("td", { class: "number" }, plus(without.change))] : []),
    ];
  };
  const columns = [t("look-head"), { label: t("look-why-added"), numeric: true }, t("look-why-from")];
  if (removed.size) columns.push({ label: t("look-why-without"), numeric: true });
  return table(t("look-why-heads"), columns, why.heads.map(row));
}

/** A row a step, a column a token that differs: how far the logit moves. */
function patched(inside, why) {
  const places = [...new Set(why.patched.map((one) => one.position))].sort((a, b) => a - b);
  const most = Math.max(...why.patched.map((one) => Math.abs(one.logit - why.logit)), 1e-9);
  const rows = [];
  for (let i = 0; i < why.patched.length; i += places.length) {
    const step = why.patched.slice(i, i + places.length);
    rows.push([
      el("th", { scope: "row" }, stepName(step[0].step)),
      ...places.map((place) => {
        const one = step.find((found) => found.position === place);
        return el(
          "td",
          { class: "number", style: signedShade((one.logit - why.logit) / most), title: fixed(one.logit, 3) },
          plus(one.logit - why.logit, 2),
        );
      }),
    ]);
  }
  return table(
    t("look-why-patched"),
    ["", ...places.map((place) => ({ label: `${place} ${inside.label(place)}`, numeric: true }))],
    rows.reverse(),
  );
}
