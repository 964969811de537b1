// What heads look at: all of them in small on one canvas; a click opens one.

import { cividis } from "../lib/colour.js";
import { clear, el } from "../lib/dom.js";
import { dataTable } from "../lib/table.js";
import { t } from "../lib/words.js";
import { headPart } from "./head.js";
import { draw } from "./inside.js";
import { fixed } from "./numbers.js";
import { about, legend } from "./parts.js";

/** What heads are known to do, and the letter that a head carries where it does so much of it. */
const BADGES = [
  ["previous", "P"],
  ["induction", "I"],
  ["duplicate", "D"],
  ["first", "F"],
];
const MUCH = 0.4;
const EDGE = 26;
const GAP = 4;

/** The view of attention. */
export function attentionView(inside) {
  const node = el("div", { class: "stack" });
  let head = null;

  function ask() {
    const body = el("div", { class: "stack" });
    clear(node, about(t("look-attention-about"), t("look-attention-more")), body);
    return draw(
      body,
      () => inside.ask("view", "attn"),
      (answer) => [grid(inside, answer), badges(inside, answer)],
    );
  }

  return {
    node,
    update(changed) {
      if (inside.state.head) {
        if (!head) {
          const focused = node.contains(document.activeElement);
          clear(node, (head = headPart(inside)).node);
          if (focused) node.querySelector("button").focus();
        }
        head.update(changed.has("head") && !changed.has("tokens") ? new Set([...changed, "tokens"]) : changed);
      } else if (changed.has("tokens") || changed.has("head")) {
        const back = head !== null;
        head = null;
        ask().then(() => back && node.querySelector(".look-stage")?.focus());
      } else if (changed.has("layer")) {
        node.querySelector(".look-grid")?.focusHead?.(inside.number("layer", 0));
      }
    },
  };
}

/** The name of a head, as the commands take it. */
const named = ({ layer, head }) => `${layer}.${head}`;

function grid(inside, { heads }) {
  const h = 1 + Math.max(...heads.map((one) => one.head));
  const layers = heads.length / h;
  const side = heads[0].side;
  const maps = painted(heads, side, h, layers);
  const canvas = el("canvas");
  const readout = el("output", { class: "look-readout" });
  const label = t("look-grid", { layers, heads: h });
  const stage = el(
    "div",
    {
      class: "look-stage",
      tabindex: 0,
      role: "application",
      "aria-roledescription": t("look-heat"),
      "aria-label": `${label} ${t("look-grid-keys")}`,
    },
    canvas,
  );
  const node = el("div", { class: "look-grid look-heat" }, stage, readout, legend("0", "1"));
  let at = Math.min(heads.length - 1, inside.number("layer", 0) * h);
  let tile = 0;

  function measure() {
    const width = stage.clientWidth;
    if (width === 0) return;
    tile = Math.max(10, Math.min(132, Math.floor((width - EDGE) / h) - GAP));
    const [w, high] = [EDGE + h * (tile + GAP), EDGE + layers * (tile + GAP)];
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.ceil(w * ratio);
    canvas.height = Math.ceil(high * ratio);
    Object.assign(canvas.style, { width: `${w}px`, height: `${high}px` });
    paint();
  }

  const corner = (i) => [EDGE + (i % h) * (tile + GAP), EDGE + Math.floor(i / h) * (tile + GAP)];

  function paint() {
    const begun = performance.now();
    const context = canvas.getContext("2d");
    const ratio = devicePixelRatio || 1;
    const ink = getComputedStyle(node).color;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = false;
    context.fillStyle = ink;
    context.font = "11px ui-monospace, Menlo, Consolas, monospace";
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let j = 0; j < h; j++) context.fillText(String(j), corner(j)[0] + tile / 2, EDGE / 2);
    for (let l = 0; l < layers; l++) context.fillText(String(l), EDGE / 2, corner(l * h)[1] + tile / 2);
    heads.forEach((one, i) => {
      const [x, y] = corner(i);
      context.drawImage(maps, (i % h) * side, Math.floor(i / h) * side, side, side, x, y, tile, tile);
      if (tile >= 28) letters(context, one, x + tile, y, ink);
    });
    const [x, y] = corner(at);
    context.lineWidth = 2;
    context.strokeStyle = ink;
    context.strokeRect(x - 2, y - 2, tile + 4, tile + 4);
    node.dataset.drawn = (performance.now() - begun).toFixed(1);
    readout.textContent = said(heads[at]);
  }

  function move(to) {
    at = Math.max(0, Math.min(heads.length - 1, to));
    paint();
  }

  function under(event) {
    const place = canvas.getBoundingClientRect();
    const j = Math.floor((event.clientX - place.left - EDGE) / (tile + GAP));
    const l = Math.floor((event.clientY - place.top - EDGE) / (tile + GAP));
    return j >= 0 && l >= 0 && j < h && l < layers ? l * h + j : null;
  }

  const open = () => inside.set({ head: named(heads[at]), layer: heads[at].layer, step: 2 * heads[at].layer + 1 });
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [l, j] = [Math.floor(at / h), at % h];
    const to = {
      ArrowLeft: j > 0 && at - 1,
      ArrowRight: j < h - 1 && at + 1,
      ArrowUp: l > 0 && at - h,
      ArrowDown: l < layers - 1 && at + h,
      Home: l * h,
      End: l * h + h - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      if (to !== false) move(to);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open();
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    const i = under(event);
    if (i !== null && i !== at) move(i);
  });
  canvas.addEventListener("click", (event) => {
    const i = under(event);
    if (i === null) return;
    move(i);
    open();
  });
  new ResizeObserver(measure).observe(stage);
  node.focusHead = (layer) => move(layer * h + (at % h));
  return node;
}

/** All maps side by side, a pixel a cell; what is above the diagonal is left out. */
function painted(heads, side, h, layers) {
  const image = new ImageData(h * side, layers * side);
  heads.forEach(({ cells }, n) => {
    const [top, left] = [Math.floor(n / h) * side, (n % h) * side];
    for (let i = 0; i < side; i++) {
      for (let j = 0; j <= i; j++) {
        const [r, g, b] = cividis(cells[i * side + j]);
        image.data.set([r, g, b, 255], 4 * ((top + i) * h * side + left + j));
      }
    }
  });
  const canvas = new OffscreenCanvas(h * side, layers * side);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Letters stand in the corner that no query looks at. */
function letters(context, { badges }, right, top, ink) {
  const does = BADGES.filter(([name]) => badges[name] >= MUCH)
    .map(([, letter]) => letter)
    .join("");
  if (!does) return;
  context.save();
  context.textAlign = "right";
  context.textBaseline = "top";
  context.font = "600 11px ui-monospace, Menlo, Consolas, monospace";
  context.fillStyle = ink;
  context.fillText(does, right - 1, top + 1);
  context.restore();
}

const shown = (value) => (value === null ? "–" : fixed(value));

function said(one) {
  const scores = BADGES.map(([name]) => `${t(`look-badge-${name}`)} ${shown(one.badges[name])}`).join(" · ");
  return `${t("look-head-named", { head: named(one) })}: ${scores}`;
}

/** Who does most of each, to click on; and all numbers. */
function badges(inside, { heads }) {
  const lists = BADGES.map(([name, letter]) => {
    const found = heads
      .filter((one) => one.badges[name] !== null)
      .sort((a, b) => b.badges[name] - a.badges[name])
      .slice(0, 4);
    const button = (one) =>
      el(
        "button",
        { type: "button", class: "look-head", onclick: () => inside.set({ head: named(one), layer: one.layer, step: 2 * one.layer + 1 }) },
        el("span", { class: "mono" }, named(one)),
        " ",
        el("span", { class: "faint" }, fixed(one.badges[name])),
      );
    return el(
      "div",
      null,
      el("h3", null, el("span", { class: "look-letter" }, letter), ` ${t(`look-badge-${name}`)}`),
      el("p", { class: "faint" }, t(`look-badge-${name}-what`)),
      el("div", { class: "row" }, found.length ? found.map(button) : el("span", { class: "faint" }, t("look-badge-none"))),
    );
  });
  const columns = [t("look-head"), ...BADGES.map(([name]) => ({ label: t(`look-badge-${name}`), numeric: true }))];
  return [
    el("div", { class: "look-badges" }, lists),
    dataTable(t("look-heads"), columns, () => heads.map((one) => [named(one), ...BADGES.map(([name]) => shown(one.badges[name]))])),
  ];
}
