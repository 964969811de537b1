// The shell: reads the address, mounts the view that stands there, changes language, colours and model.

import { get, onKeyNeeded } from "./lib/api.js";
import { clear, el } from "./lib/dom.js";
import * as place from "./lib/place.js";
import { add, language, setLanguage, t } from "./lib/words.js";
import { askForKey } from "./key.js";
import * as words from "./words.js";

/**
 * A view is `NAME/NAME.js`, its style `NAME/NAME.css`. It exports `mount(main, page)`, which draws into the node `main` and returns
 * `{ leave() }`: requests and timers end there. A view with `model` is mounted once the chosen model is open.
 */
const VIEWS = [
  { name: "play", model: true },
  { name: "look", model: true },
  { name: "runs" },
];

const AGAIN = 1000;

/** What is served; null until the server has said. @type {{id: string, context: number | null}[] | null} */
let models = null;
/** @type {{leave: () => void} | null} */
let mounted = null;
/** Counts what was to be mounted: what is late for its turn is not drawn. */
let turn = 0;
let timer = 0;

/** What a view is told. */
const page = {
  /** The models that are served: `{ id, context }`, the context null while one is being opened. */
  models: () => models ?? [],
  /** The chosen one; null where none is served. */
  model: () => models?.find((model) => model.id === place.read().model) ?? models?.[0] ?? null,
  /** Says something to whoever listens to the page. */
  announce,
  /** The selection in the address: `read()` and `write(changes)`. */
  place,
  /** Whether there is a view of this name. */
  has: (name) => VIEWS.some((view) => view.name === name),
  /** Goes where these changes of the address lead, as `{ view: "look", text: "…" }`; Back comes here again. */
  go: (changes) => {
    place.write(changes, { push: true });
    draw();
  },
};

function announce(text) {
  const spoken = document.getElementById("spoken");
  // The same words again are news, too.
  spoken.textContent = "";
  requestAnimationFrame(() => (spoken.textContent = text));
}

function view() {
  return VIEWS.find((view) => view.name === place.read().view) ?? VIEWS[0];
}

/** The head of the page, which needs nothing of the server. */
function head() {
  const { name } = view();
  document.documentElement.lang = language();
  document.title = `${t(name)} · foretoken`;
  document.getElementById("skip").textContent = t("skip");
  clear(document.getElementById("top"), top(name));
}

/** Draws all of it anew: after a change of language, colours, model, view or address. */
async function draw() {
  const mine = ++turn;
  clearTimeout(timer);
  mounted?.leave();
  mounted = null;
  head();
  if (models === null) return;
  const { name, model: needsModel } = view();
  const main = document.getElementById("main");
  main.className = `view-${name}`;
  if (needsModel && !page.model()) return clear(main, notice(t("nothing-served"), t("nothing-served-more")));
  if (needsModel && page.model().context === null) {
    clear(main, el("p", { class: "notice", role: "status" }, t("opening", { model: page.model().id })));
    timer = setTimeout(refresh, AGAIN, mine);
    return;
  }
  const [module] = await Promise.all([import(`./${name}/${name}.js`), style(name)]);
  if (mine !== turn) return;
  clear(main);
  mounted = module.mount(main, page);
}

/** Asks again for a model that is being opened. */
async function refresh(mine) {
  if (mine !== turn) return;
  await load();
  if (mine === turn) start();
}

/** The list of models; a failure is shown. */
async function load() {
  try {
    const { data } = await get("/v1/models");
    models = data.map((model) => ({ id: model.id, context: model.max_model_len ?? null }));
    return true;
  } catch (error) {
    const again = el("button", { type: "button", onclick: () => start(true) }, t("try-again"));
    clear(document.getElementById("main"), notice(t("cannot-start"), error.message, again));
    return false;
  }
}

async function start(anew = false) {
  if (!anew || (await load())) await draw();
}

function notice(title, more, ...rest) {
  return el("section", { class: "notice", role: "alert" }, el("h1", null, title), el("p", null, more), rest);
}

/** A stylesheet of a view, loaded once and before it is drawn. */
const styles = new Map();
function style(name) {
  if (!styles.has(name)) {
    const link = el("link", { rel: "stylesheet", href: new URL(`${name}/${name}.css`, import.meta.url).href });
    styles.set(name, new Promise((done) => (link.onload = link.onerror = done)));
    document.head.append(link);
  }
  return styles.get(name);
}

function top(current) {
  const go = (name) => (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    page.go({ view: name });
  };
  const link = ({ name }) =>
    el("a", { href: `#view=${name}`, "aria-current": name === current ? "page" : null, onclick: go(name) }, t(name));
  return [
    el("span", { class: "brand" }, el("img", { src: "page/icon.svg", alt: "", width: 24, height: 24 }), el("span", null, "foretoken")),
    el("nav", { "aria-label": t("views") }, VIEWS.map(link)),
    el("div", { class: "choices" }, modelChoice(), languageChoice(), themeChoice()),
  ];
}

/** A choice in the head of the page; the focus comes back to it after all is drawn anew. */
function choice(id, label, current, options, choose) {
  const chosen = (event) => {
    choose(event.target.value);
    draw().then(() => document.getElementById(id)?.focus());
  };
  const option = ([value, text]) => el("option", { value, selected: value === current }, text);
  return el("span", { class: `choice ${id}` }, el("label", { class: "sr-only", for: id }, label),
    el("select", { id, onchange: chosen }, options.map(option)));
}

function modelChoice() {
  const none = [["", models === null ? "…" : t("no-model")]];
  const options = models?.length ? models.map(({ id }) => [id, id]) : none;
  return choice("choose-model", t("model"), page.model()?.id ?? "", options, (model) => place.write({ model }, { push: true }));
}

function languageChoice() {
  return choice("choose-language", t("language"), language(), [["en", "English"], ["ko", "한국어"]], setLanguage);
}

function themeChoice() {
  const names = ["system", "light", "dark"].map((name) => [name, t(`theme-${name}`)]);
  return choice("choose-theme", t("theme"), document.documentElement.dataset.theme ?? "system", names, (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("foretoken-theme", theme);
    } catch {
      // Then it is only for this time.
    }
  });
}

add(words);
onKeyNeeded(askForKey);
// The address was changed by hand, or by Back: the same place may need other things drawn.
addEventListener("popstate", () => draw());
// System colours that change are drawn anew where canvases hold them.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
head();
start(true);
