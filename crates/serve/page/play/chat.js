// A conversation: turns that are written with the model's own template, each answer in tokens if asked for.

import { el, set } from "../lib/dom.js";
import { t } from "../lib/words.js";
import { Chips, legend } from "./chips.js";
import { closeChoices, openChoices } from "./choices.js";
import { copied, remember, state } from "./state.js";
import { reason, Status } from "./status.js";
import { idsOf, pick, Writer, written } from "./writer.js";

/** Turns as they are now, whatever becomes of them. */
const snapshot = () => state.turns.map((turn) => ({ ...turn, text: copied(turn.text) }));

/** The view of a conversation. */
export class Chat {
  constructor(page, notes) {
    this.page = page;
    this.notes = notes;
    this.model = page.model();
    this.writer = new Writer(this.model, () => this.plan());
    /** What is drawn of each turn. @type {{turn: any, node: HTMLElement, plain: HTMLElement, chips: Chips | null, status: Status | null}[]} */
    this.drawn = [];
    this.frame = 0;
    this.node = el("div", { class: "stack" }, this.conversation(), this.question());
    this.show();
  }

  conversation() {
    const shade = el("input", {
      type: "checkbox", id: "chat-shade", checked: state.shaded.chat,
      onchange: (event) => {
        state.shaded.chat = event.target.checked;
        closeChoices();
        this.show();
      },
    });
    const system = el("textarea", {
      rows: 2, id: "system", value: state.system, placeholder: t("system-none"),
      oninput: (event) => {
        state.system = event.target.value;
        this.page.place.write({ system: state.system });
      },
    });
    this.none = el("p", { class: "faint" }, t("chat-none"));
    this.log = el("ol", { class: "turns" });
    this.legend = legend();
    return el("section", { class: "panel stack talk", "aria-label": t("conversation") },
      el("div", { class: "row between" }, el("h2", null, t("conversation")), el("label", { class: "row faint" }, shade, t("shade-chat"))),
      el("details", { open: state.system !== "" }, el("summary", { class: "faint" }, t("system")),
        el("label", { class: "sr-only", for: "system" }, t("system")), system),
      this.none, this.log, this.legend);
  }

  question() {
    this.input = el("textarea", {
      id: "question", rows: 2, value: state.draft, placeholder: t("question-none"), "aria-describedby": "question-keys",
      oninput: (event) => (state.draft = event.target.value),
      onkeydown: (event) => {
        // Enter that ends a syllable of Korean is no Enter of ours; 229 is what older systems say then.
        if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
        event.preventDefault();
        this.send();
      },
    });
    const button = (key, act, main) => el("button", { type: "button", class: main ? "main" : null, onclick: act }, t(key));
    this.sendButton = button("send", () => this.send(), true);
    this.stopButton = button("stop", () => this.writer.stop(), true);
    this.goOnButton = button("go-on", () => this.goOn());
    this.againButton = button("again", () => this.again());
    this.undoButton = button("undo", () => this.undo());
    this.resetButton = button("reset", () => this.reset());
    return el("section", { class: "panel stack" },
      el("label", { class: "sr-only", for: "question" }, t("question")), this.input,
      el("div", { class: "row" }, this.sendButton, this.stopButton, this.goOnButton, this.againButton, this.undoButton, this.resetButton),
      el("p", { id: "question-keys", class: "faint" }, t("question-keys")));
  }

  /** What the model reads before an answer. */
  messages() {
    const system = state.system.trim() ? [{ role: "system", content: state.system }] : [];
    return [...system, ...state.turns.map(({ role, content }) => ({ role, content }))];
  }

  async send() {
    const content = this.input.value.trim();
    if (!content || this.busy || this.writer.running) return;
    const before = snapshot();
    state.turns.push({ role: "user", content, text: null });
    set(this.input, { value: "" });
    state.draft = "";
    if (await this.answer(before)) return;
    // A question that nobody read stands where it was typed.
    state.turns = before;
    state.draft = content;
    set(this.input, { value: content });
    this.show();
  }

  /** Another answer to the last question. */
  async again() {
    if (this.busy) return;
    const before = snapshot();
    state.turns.pop();
    if (await this.answer(before)) return;
    state.turns = before;
    this.show();
  }

  /** Begins an answer; false where the model did not even read the conversation. */
  async answer(before) {
    closeChoices();
    this.notes.clear();
    this.busy = true;
    this.show();
    try {
      const ids = await idsOf(this.model.id, { messages: this.messages() });
      if (this.left) return true;
      if (ids.length >= this.model.context) {
        this.notes.say(t("chat-full", { n: ids.length, context: this.model.context }));
        return false;
      }
      remember(state.pastTurns, before);
      state.turns.push({ role: "assistant", content: "", text: { ids, prompt: "", pieces: [], finish: null } });
    } catch (error) {
      this.notes.fail(error);
      return false;
    } finally {
      this.busy = false;
    }
    await this.go();
    return true;
  }

  goOn() {
    remember(state.pastTurns, snapshot());
    return this.go();
  }

  /** Goes on with the last answer. */
  async go() {
    const turn = state.turns.at(-1);
    this.notes.clear();
    const going = this.writer.ended.then(() => this.writer.go(turn.text));
    this.buttons(true);
    try {
      await going;
    } catch (error) {
      if (!this.left) this.notes.fail(error);
    }
    settle(turn);
    if (this.left) return;
    this.show();
    this.page.announce(t("announce-chat", { reason: reason(turn.text, this.writer.room(turn.text)), text: turn.content }));
  }

  open(index, start, end, chip) {
    this.writer.stop();
    const { text } = state.turns[index];
    openChoices(this.log.parentElement, chip, text.pieces.slice(start, end), (part, candidate) => this.pick(index, start + part, candidate));
  }

  /** Another token in an answer: what was said after it goes. */
  async pick(index, piece, candidate) {
    await this.writer.stop();
    remember(state.pastTurns, snapshot());
    state.turns.length = index + 1;
    const turn = state.turns[index];
    const goesOn = pick(turn.text, piece, candidate);
    settle(turn);
    this.show();
    const { chips } = this.drawn[index];
    chips.focus(chips.at(piece));
    if (goesOn) await this.go();
  }

  async undo() {
    await this.writer.stop();
    closeChoices();
    state.turns = state.pastTurns.pop() ?? [];
    this.notes.clear();
    this.show();
    if (this.undoButton.disabled) this.input.focus();
  }

  async reset() {
    await this.writer.stop();
    closeChoices();
    remember(state.pastTurns, snapshot());
    state.turns = [];
    this.notes.clear();
    this.show();
    this.input.focus();
  }

  retune() {
    this.writer.retune();
  }

  plan() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (!this.left) this.show();
    });
  }

  show() {
    const same = this.drawn.findIndex(({ turn }, i) => turn !== state.turns[i]);
    for (const { node } of this.drawn.splice(same < 0 ? this.drawn.length : same)) node.remove();
    for (const turn of state.turns.slice(this.drawn.length)) {
      const drawn = this.turn(turn, this.drawn.length);
      this.drawn.push(drawn);
      this.log.append(drawn.node);
    }
    this.drawn.forEach((drawn, i) => this.fill(drawn, i + 1 === this.drawn.length));
    set(this.none, { hidden: state.turns.length > 0 });
    set(this.legend, { hidden: !state.shaded.chat || state.turns.length === 0 });
    this.buttons();
  }

  turn(turn, index) {
    const plain = el("p", { class: "said" });
    const answers = turn.role === "assistant" && turn.text;
    const chips = answers ? new Chips(t("answer-tokens"), (start, end, chip) => this.open(index, start, end, chip)) : null;
    const status = answers ? new Status() : null;
    const node = el("li", { class: `turn ${turn.role}` }, el("h3", null, t(turn.role)), plain, chips?.node, status?.node);
    return { turn, node, plain, chips, status };
  }

  fill({ turn, plain, chips, status }, isLast) {
    const inTokens = state.shaded.chat && chips !== null;
    set(plain, { hidden: inTokens });
    plain.textContent = turn.text ? spoken(turn.text) : turn.content;
    if (!chips) return;
    set(chips.node, { hidden: !inTokens });
    if (inTokens) chips.show(turn.text.pieces, true);
    set(status.node, { hidden: !(isLast || inTokens) });
    status.show(turn.text, this.writer, isLast);
  }

  buttons(running = this.busy || this.writer.running) {
    set(this.log, { "aria-busy": running });
    const last = state.turns.at(-1);
    const had = document.activeElement;
    set(this.sendButton, { hidden: running });
    set(this.stopButton, { hidden: !running });
    if (had === this.sendButton && running) this.stopButton.focus();
    if (had === this.stopButton && !running) this.input.focus();
    const open = last?.text && !last.text.pieces.at(-1)?.end && this.writer.room(last.text) > 0;
    set(this.goOnButton, { disabled: running || !open });
    set(this.againButton, { disabled: running || last?.role !== "assistant" });
    set(this.undoButton, { disabled: state.pastTurns.length === 0 });
    set(this.resetButton, { disabled: state.turns.length === 0 });
  }

  leave() {
    this.left = true;
    this.writer.stop();
    closeChoices();
  }
}

/** What an answer says; the template has the white space before it, and writes it again. */
const spoken = (text) => written(text).trimStart();

/** The next question is asked after what the answer says now. */
function settle(turn) {
  turn.content = spoken(turn.text);
}
