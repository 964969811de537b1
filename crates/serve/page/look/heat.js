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
 * @returns {Heat}
 */
export const heat = (spec) => new Heat(spec);

/** A heat map: `node` is what is put into the page. */
class Heat {
  constructor(spec) {
    this.spec = spec;
    [this.row, this.column] = spec.at;
    this.canvas = el("canvas", { onpointermove: (event) => this.hover(event), onclick: (event) => this.click(event) });
    this.readout = el("output", { class: "look-readout mono" });
    this.stage = el(
      "div",
      {
        class: "look-stage",
        tabindex: 0,
        role: "application",
        "aria-roledescription": t("look-heat"),
        "aria-label": `${spec.label}. ${t("look-heat-keys")}`,
        onkeydown: (event) => this.key(event),
      },
      this.canvas,
    );
    this.node = el("div", { class: "look-heat" }, this.stage, this.readout);
    this.cells = painted(spec);
    /** The cells as they are drawn: where there are more than pixels, fewer. */
    this.image = this.cells;
    this.geometry = null;
    new ResizeObserver(() => this.measure()).observe(this.stage);
  }

  measure() {
    const { rows, columns, largest = LARGEST } = this.spec;
    const width = this.stage.clientWidth;
    if (width === 0) return;
    const wanted = Math.min(largest, Math.floor((width - LABEL - EDGE) / columns));
    const labelled = wanted >= LABELLED;
    const size = labelled ? wanted : Math.min(largest, (width - 2 * EDGE) / columns);
    const left = labelled ? LABEL : EDGE;
    this.geometry = { size, labelled, left, top: left, width: left + size * columns + EDGE, height: left + size * rows + EDGE };
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.ceil(this.geometry.width * ratio);
    this.canvas.height = Math.ceil(this.geometry.height * ratio);
    Object.assign(this.canvas.style, { width: `${this.geometry.width}px`, height: `${this.geometry.height}px` });
    const few = size * ratio < 1;
    this.image = few ? fewer(this.cells, Math.floor(columns * size * ratio), Math.floor(rows * size * ratio)) : this.cells;
    this.draw();
  }

  draw() {
    if (!this.geometry) return;
    const { size, labelled, left, top, width, height } = this.geometry;
    const context = this.canvas.getContext("2d");
    const ratio = this.canvas.width / width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.image, left, top, this.spec.columns * size, this.spec.rows * size);
    const colour = getComputedStyle(this.node).color;
    const at = [this.row, this.column];
    if (labelled) labels(context, this.geometry, this.spec, colour, at);
    focused(context, this.geometry, this.spec, colour, at);
    this.readout.textContent = this.spec.say(...at, this.spec.value(...at));
  }

  /** Moves the focus to a cell, or as near to it as there are cells. */
  move(row, column) {
    this.row = Math.max(0, Math.min(this.spec.rows - 1, row));
    this.column = Math.max(0, Math.min(this.spec.columns - 1, column));
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { row, column } = this;
    const to = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      Home: [row, 0],
      End: [row, this.spec.columns - 1],
      PageUp: [row - 10, column],
      PageDown: [row + 10, column],
    }[event.key];
    const picks = event.key === "Enter" || event.key === " ";
    if (!to && !picks) return;
    event.preventDefault();
    if (to) this.move(...to);
    else this.spec.pick?.(row, column);
  }

  /** The cell under the pointer. */
  under(event) {
    const { left, top, size } = this.geometry;
    const place = this.canvas.getBoundingClientRect();
    const i = Math.floor((event.clientY - place.top - top) / size);
    const j = Math.floor((event.clientX - place.left - left) / size);
    return i >= 0 && j >= 0 && i < this.spec.rows && j < this.spec.columns ? [i, j] : null;
  }

  hover(event) {
    const cell = this.under(event);
    if (cell && (cell[0] !== this.row || cell[1] !== this.column)) this.move(...cell);
  }

  click(event) {
    const cell = this.under(event);
    if (!cell) return;
    this.move(...cell);
    this.spec.pick?.(...cell);
  }
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
