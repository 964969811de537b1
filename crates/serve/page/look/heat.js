// A heat map on a canvas: many cells, one of them focused, whose number is printed. Arrow keys move the focus.

import { el } from "../lib/dom.js";
import { t } from "../lib/words.js";

/** Pixels of a cell at most; and at least, where rows and columns have labels. */
const LARGEST = 34;
const LABELLED = 11;
/** Rows that may be more than pixels. */
const MANY = 300;
/** Pixels of labels at most. */
const LABEL = 92;
/** Pixels around the cells, for the frame of a focused one. */
const EDGE = 3;
const FONT = "11px ui-monospace, Menlo, Consolas, monospace";

/**
 * @typedef {Object} Spec
 * @property {number} rows
 * @property {number} columns
 * @property {(i: number, j: number) => number | null} value null is no cell
 * @property {(value: number) => number[]} colour
 * @property {(value: number) => string} print a cell's number
 * @property {string} label of the whole
 * @property {(i: number) => string} rowLabel
 * @property {(j: number) => string} columnLabel
 * @property {(i: number, j: number, value: number | null) => string} say the cell in words
 * @property {(i: number, j: number) => void} [pick] by Enter or a click
 * @property {number} [largest] pixels of a cell at most
 * @property {[number, number]} at the focused cell
 */

/**
 * @param {Spec} spec
 * @returns {HTMLElement & {focusCell: (i: number, j: number) => void, row: () => number}}
 */
export function heat(spec) {
  const { rows, columns } = spec;
  const canvas = el("canvas");
  const readout = el("output", { class: "look-readout mono" });
  const stage = el(
    "div",
    {
      class: "look-stage",
      tabindex: 0,
      role: "application",
      "aria-roledescription": t("look-heat"),
      "aria-label": `${spec.label}. ${t("look-heat-keys")}`,
    },
    canvas,
  );
  const node = el("div", { class: "look-heat" }, stage, readout);
  const cells = painted(spec);
  let [row, column] = spec.at;
  let geometry = null;
  /** The cells as they are drawn: where there are more than pixels, fewer. */
  let image = cells;

  function measure() {
    const width = stage.clientWidth;
    if (width === 0) return;
    const wanted = Math.min(spec.largest ?? LARGEST, Math.floor((width - LABEL - EDGE) / columns));
    const labelled = wanted >= LABELLED;
    const size = labelled ? wanted : Math.min(LARGEST, (width - 2 * EDGE) / columns);
    const left = labelled ? LABEL : EDGE;
    geometry = { size, labelled, left, top: left, width: left + size * columns + EDGE, height: left + size * rows + EDGE };
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.ceil(geometry.width * ratio);
    canvas.height = Math.ceil(geometry.height * ratio);
    Object.assign(canvas.style, { width: `${geometry.width}px`, height: `${geometry.height}px` });
    image = size * ratio >= 1 ? cells : fewer(cells, Math.floor(columns * size * ratio), Math.floor(rows * size * ratio));
    draw();
  }

  function draw() {
    if (!geometry) return;
    const { size, labelled, left, top } = geometry;
    const context = canvas.getContext("2d");
    const ratio = canvas.width / geometry.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, geometry.width, geometry.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, left, top, columns * size, rows * size);
    const colour = getComputedStyle(node).color;
    if (labelled) labels(context, geometry, spec, colour, [row, column]);
    focused(context, geometry, spec, colour, [row, column]);
    tell();
  }

  function tell() {
    const value = spec.value(row, column);
    readout.textContent = spec.say(row, column, value);
  }

  function move(i, j) {
    row = Math.max(0, Math.min(rows - 1, i));
    column = Math.max(0, Math.min(columns - 1, j));
    draw();
  }

  function under(event) {
    const place = canvas.getBoundingClientRect();
    const i = Math.floor((event.clientY - place.top - geometry.top) / geometry.size);
    const j = Math.floor((event.clientX - place.left - geometry.left) / geometry.size);
    return i >= 0 && j >= 0 && i < rows && j < columns ? [i, j] : null;
  }

  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const to = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      Home: [row, 0],
      End: [row, columns - 1],
      PageUp: [row - 10, column],
      PageDown: [row + 10, column],
    }[event.key];
    if (to) {
      event.preventDefault();
      move(...to);
    } else if ((event.key === "Enter" || event.key === " ") && spec.pick) {
      event.preventDefault();
      spec.pick(row, column);
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    const cell = under(event);
    if (cell && (cell[0] !== row || cell[1] !== column)) move(...cell);
  });
  canvas.addEventListener("click", (event) => {
    const cell = under(event);
    if (!cell) return;
    move(...cell);
    spec.pick?.(row, column);
  });
  new ResizeObserver(measure).observe(stage);
  node.focusCell = move;
  node.row = () => row;
  return node;
}

/** A pixel a cell. */
function painted({ rows, columns, value, colour }) {
  const image = new ImageData(columns, rows);
  for (let i = 0, at = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++, at += 4) {
      const found = value(i, j);
      if (found === null) continue;
      const [r, g, b] = colour(found);
      image.data[at] = r;
      image.data[at + 1] = g;
      image.data[at + 2] = b;
      image.data[at + 3] = 255;
    }
  }
  const canvas = new OffscreenCanvas(columns, rows);
  canvas.getContext("2d", { willReadFrequently: rows > MANY }).putImageData(image, 0, 0);
  return canvas;
}

/** Where cells are smaller than pixels the brightest of each pixel stays: a sharp look would vanish in a mean. */
function fewer(cells, columns, rows) {
  const from = cells.getContext("2d").getImageData(0, 0, cells.width, cells.height);
  const to = new ImageData(Math.max(1, columns), Math.max(1, rows));
  const light = (data, at) => (data[at + 3] === 0 ? -1 : data[at] + data[at + 1]);
  for (let i = 0; i < cells.height; i++) {
    const row = Math.floor((i * to.height) / cells.height);
    for (let j = 0; j < cells.width; j++) {
      const at = 4 * (i * cells.width + j);
      const into = 4 * (row * to.width + Math.floor((j * to.width) / cells.width));
      if (light(from.data, at) > light(to.data, into)) to.data.set(from.data.subarray(at, at + 4), into);
    }
  }
  const canvas = new OffscreenCanvas(to.width, to.height);
  canvas.getContext("2d").putImageData(to, 0, 0);
  return canvas;
}

function labels(context, { size, left, top }, spec, colour, [row, column]) {
  context.font = FONT;
  context.textBaseline = "middle";
  for (let i = 0; i < spec.rows; i++) {
    context.fillStyle = colour;
    context.globalAlpha = i === row ? 1 : 0.72;
    context.textAlign = "right";
    context.fillText(cut(context, spec.rowLabel(i), left - 8), left - 5, top + (i + 0.5) * size);
  }
  context.textAlign = "left";
  for (let j = 0; j < spec.columns; j++) {
    context.globalAlpha = j === column ? 1 : 0.72;
    context.save();
    context.translate(left + (j + 0.5) * size, top - 5);
    context.rotate(-Math.PI / 2);
    context.fillText(cut(context, spec.columnLabel(j), top - 8), 0, 0);
    context.restore();
  }
  context.globalAlpha = 1;
}

/** The focused cell: a frame, and its number beside it. */
function focused(context, { size, left, top, width }, spec, colour, [row, column]) {
  const value = spec.value(row, column);
  const [x, y] = [left + column * size, top + row * size];
  const side = Math.max(size, 5);
  context.lineWidth = 2;
  context.strokeStyle = colour;
  context.strokeRect(x - 1 - (side - size) / 2, y - 1 - (side - size) / 2, side + 2, side + 2);
  if (value === null) return;
  const text = spec.print(value);
  context.font = `600 ${FONT}`;
  const room = context.measureText(text).width + 10;
  const at = x + side + 6 + room < width ? x + side + 6 : x - room - 6;
  const middle = Math.max(10, y + size / 2);
  context.fillStyle = "#fff7cc";
  context.strokeStyle = "#1b1e26";
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(at, middle - 9, room, 18, 4);
  context.fill();
  context.stroke();
  context.fillStyle = "#1b1e26";
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(text, at + 5, middle);
}

function cut(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let short = [...text];
  while (short.length > 1 && context.measureText(`${short.join("")}…`).width > room) short = short.slice(0, -1);
  return `${short.join("")}…`;
}
