// A beginning, and how the model goes on with it.

import { isAbort } from "../lib/api.js";
import { el, set } from "../lib/dom.js";
import { t } from "../lib/words.js";
import { Chips, legend } from "./chips.js";
import { closeChoices, openChoices } from "./choices.js";
import { copied, remember, state } from "./state.js";
import { reason, Status } from "./status.js";
import { idsOf, pick, Writer, written } from "./writer.js";

/** Milliseconds after the last key before a beginning is counted. */
const COUNT_AFTER = 250;

/** The view of a beginning and its text. */
export class Complete {
  constructor(page, notes) {
    this.page = page;
    this.notes = notes;
    this.model = page.model();
    this.writer = new Writer(this.model, () => this.plan());
    this.chips = new Chips(t("text-tokens"), (start, end, chip) => this.open(start, end, chip));
    this.status = new Status();
    this.counting = null;
    this.frame = 0;
    this.node = el("div", { class: "stack" }, this.beginning(), this.text());
    this.show();
    this.count();
  }

  beginning() {
    this.prompt = el("textarea", {
      id: "prompt", rows: 3, value: state.prompt, placeholder: t("prompt-none"), spellcheck: "false", "aria-describedby": "prompt-count",
      oninput: (event) => this.typed(event),
      // A syllable is whole now.
      oncompositionend: () => this.typed({}),
      onkeydown: (event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
        event.preventDefault();
        this.write();
      },
    });
    this.counted = el("span", { id: "prompt-count", class: "faint" });
    this.writeButton = el("button", { type: "button", class: "main", title: "Ctrl+Enter", onclick: () => this.write() }, t("write"));
    this.stopButton = el("button", { type: "button", class: "main", onclick: () => this.writer.stop() }, t("stop"));
    const example = (n) => el("button", { type: "button", class: "quiet", onclick: () => this.begin(t(`example-${n}`)) }, t(`example-${n}`));
    return el("section", { class: "panel stack" },
      el("label", { class: "field", for: "prompt" }, el("h2", null, t("beginning"))), this.prompt,
      el("div", { class: "row" }, this.writeButton, this.stopButton, this.counted),
      el("div", { class: "row examples faint" }, t("examples"), example(1), example(2), example(3)));
  }

  text() {
    this.read = el("span", { class: "read" });
    this.goOn = el("button", { type: "button", onclick: () => this.go(true) }, t("go-on"));
    this.undoButton = el("button", { type: "button", onclick: () => this.undo() }, t("undo"));
    this.copyButton = el("button", { type: "button", onclick: () => this.copy() }, t("copy"));
    this.clearButton = el("button", { type: "button", onclick: () => this.empty() }, t("clear"));
    const shade = el("input", {
      type: "checkbox", checked: state.shaded.complete,
      onchange: (event) => {
        state.shaded.complete = event.target.checked;
        this.show();
      },
    });
    this.empties = el("p", { class: "faint" }, t("text-none"));
    this.chips.node.prepend(this.read);
    this.sheet = el("div", { class: "sheet" }, this.empties, this.chips.node);
    this.legend = legend();
    return el("section", { class: "panel stack", "aria-label": t("text") },
      el("div", { class: "row between" }, el("h2", null, t("text")), el("label", { class: "row faint" }, shade, t("shade"))),
      this.sheet, this.status.node, this.legend,
      el("div", { class: "row" }, this.goOn, this.undoButton, this.copyButton, this.clearButton));
  }

  /** Puts a beginning there, and writes. */
  begin(prompt) {
    this.prompt.value = prompt;
    this.typed({});
    this.write();
  }

  typed(event) {
    if (event.isComposing) return;
    state.prompt = this.prompt.value;
    this.page.place.write({ text: state.prompt });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.count(), COUNT_AFTER);
  }

  /** Counts the tokens of the beginning. Where that fails, writing says why. */
  async count() {
    this.counting?.abort();
    this.counting = new AbortController();
    try {
      const ids = state.prompt ? await idsOf(this.model.id, { prompt: state.prompt }, this.counting.signal) : [];
      const { context } = this.model;
      this.counted.textContent = t(ids.length < context ? "count" : "count-too-long", { n: ids.length, context });
      this.counted.classList.toggle("too-long", ids.length >= context);
    } catch (error) {
      if (!isAbort(error)) this.counted.textContent = "";
    }
  }

  /** Writes anew from the beginning. */
  async write() {
    if (this.busy || this.writer.running) return;
    const prompt = (state.prompt = this.prompt.value);
    this.page.place.write({ text: prompt });
    closeChoices();
    this.notes.clear();
    this.busy = true;
    this.set();
    try {
      const ids = await idsOf(this.model.id, { prompt });
      if (this.left) return;
      if (ids.length >= this.model.context) {
        this.busy = false;
        this.notes.say(t("prompt-full", { n: ids.length, context: this.model.context }));
        return this.show();
      }
      remember(state.past, copied(state.text));
      state.text = { ids, prompt, pieces: [], finish: null };
    } catch (error) {
      this.notes.fail(error);
      this.busy = false;
      return this.show();
    }
    this.busy = false;
    await this.go(false);
  }

  /** Goes on with the text that is there. */
  async go(remembers) {
    if (remembers) remember(state.past, copied(state.text));
    const { text } = state;
    this.notes.clear();
    const going = this.writer.ended.then(() => this.writer.go(text));
    this.set(true);
    try {
      await going;
    } catch (error) {
      if (!this.left) this.notes.fail(error);
    }
    if (this.left) return;
    this.show();
    this.page.announce(t("announce", { n: text.pieces.length, reason: reason(text, this.writer.room(text)), text: written(text) }));
  }

  open(start, end, chip) {
    this.writer.stop();
    const { text } = state;
    const before = { ...text, pieces: text.pieces.slice(0, start) };
    const look = () => this.page.go({ view: "look", text: text.prompt + written(before) });
    const pickPart = (part, candidate) => this.pick(start + part, candidate);
    openChoices(this.sheet, chip, text.pieces.slice(start, end), pickPart, this.page.has("look") ? look : null);
  }

  async pick(index, candidate) {
    await this.writer.stop();
    remember(state.past, copied(state.text));
    const goesOn = pick(state.text, index, candidate);
    this.show();
    this.chips.focus(this.chips.at(index));
    if (goesOn) await this.go(false);
  }

  async undo() {
    await this.writer.stop();
    closeChoices();
    state.text = state.past.pop() ?? null;
    this.notes.clear();
    this.show();
    if (this.undoButton.disabled) this.prompt.focus();
  }

  async empty() {
    await this.writer.stop();
    closeChoices();
    if (state.text) remember(state.past, copied(state.text));
    state.text = null;
    this.notes.clear();
    this.show();
    this.prompt.focus();
  }

  async copy() {
    const whole = state.text.prompt + written(state.text);
    try {
      await navigator.clipboard.writeText(whole);
      this.page.announce(t("copied"));
    } catch {
      this.notes.say(t("copy-failed"));
    }
  }

  retune() {
    this.writer.retune();
  }

  /** Draws before the browser does next: tokens come faster than that. */
  plan() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (!this.left) this.show();
    });
  }

  show() {
    const { text } = state;
    set(this.empties, { hidden: text !== null });
    set(this.chips.node, { hidden: text === null });
    set(this.status.node, { hidden: text === null });
    set(this.legend, { hidden: text === null || !state.shaded.complete });
    this.read.textContent = text?.prompt ?? "";
    this.chips.show(text?.pieces ?? [], state.shaded.complete);
    if (text) this.status.show(text, this.writer);
    this.set();
  }

  /** Which buttons there are. The focus stays on what can be pressed. */
  set(running = this.busy || this.writer.running) {
    const { text } = state;
    set(this.sheet, { "aria-busy": running });
    const had = document.activeElement;
    set(this.writeButton, { hidden: running });
    set(this.stopButton, { hidden: !running });
    if (had === this.writeButton && running) this.stopButton.focus();
    if (had === this.stopButton && !running) this.writeButton.focus();
    const ended = text?.pieces.at(-1)?.end ?? false;
    set(this.goOn, { disabled: running || !text || ended || this.writer.room(text) <= 0 });
    set(this.undoButton, { disabled: state.past.length === 0 });
    set(this.copyButton, { disabled: !text });
    set(this.clearButton, { disabled: !text });
  }

  leave() {
    this.left = true;
    this.writer.stop();
    this.counting?.abort();
    clearTimeout(this.timer);
    closeChoices();
  }
}
