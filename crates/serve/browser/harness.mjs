// A model of its own, a server over it, and a browser that forgives nothing: what the page does wrong fails the test that caused it.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { after } from "node:test";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const ROOT = resolve(import.meta.dirname, "../../..");

/** Wide and narrow, light and dark, both languages: each value meets each other one. */
export const VARIANTS = [
  { width: 1280, scheme: "light", language: "en" },
  { width: 390, scheme: "dark", language: "ko" },
  { width: 1280, scheme: "dark", language: "ko" },
  { width: 390, scheme: "light", language: "en" },
];

/** The binary: $FORETOKEN, or the newer of what cargo made here. */
export function binary() {
  if (process.env.FORETOKEN) return resolve(process.env.FORETOKEN);
  const made = ["debug", "release"].map((profile) => join(ROOT, "target", profile, "foretoken")).filter((path) => existsSync(path));
  assert(made.length, `no binary below ${ROOT}/target: cargo build -p foretoken-cli, or set FORETOKEN`);
  return made.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

function browserPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const found = places.find((path) => existsSync(path));
  assert(found, "no Chromium: apt-get install chromium, or set CHROMIUM");
  return found;
}

/** A folder for these tests, gone after them. */
export const folder = mkdtempSync(join(tmpdir(), "foretoken-page-"));
/** What must end with the tests, the last first. */
const ends = [() => rmSync(folder, { recursive: true, force: true })];
after(async () => {
  for (const end of ends.reverse()) await end();
});

/**
 * A small model, made once for a name: bytes are its tokens, so that a syllable of Korean is three of them.
 * @param {string} [name]
 * @param {string[]} [flags] others of `foretoken train`
 * @returns {string} the run
 */
export function model(name = "small", flags = []) {
  const run = join(folder, "runs", name);
  if (!existsSync(run)) {
    const sizes = ["--n-layer", "2", "--n-head", "2", "--n-embd", "32", "--n-positions", "256", "--seq-len", "64", "--batch-size", "8"];
    const args = ["train", "--data", "corpus:200", "--tokenizer", "byte", ...sizes, "--steps", "60", "--threads", "1", "--quiet", "--out", run];
    execFileSync(binary(), [...args, ...flags], { cwd: folder, env: environment(), stdio: ["ignore", "ignore", "inherit"] });
  }
  return run;
}

/** Caches stay in the folder of the tests. */
export const environment = () => ({ ...process.env, XDG_CACHE_HOME: join(folder, "cache"), HF_HOME: join(folder, "hf"), NO_COLOR: "1" });

/**
 * Serves models until the tests end.
 * @param {string[]} args of `foretoken serve`
 * @returns {Promise<{address: string, stop: () => Promise<void>}>} the address with its scheme
 */
export async function serve(args) {
  const child = spawn(binary(), ["serve", ...args, "--port", "0", "--threads", "1", "--quiet"], {
    cwd: folder, env: environment(), stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((done) => child.once("exit", done));
  const lines = createInterface({ input: child.stderr });
  const log = [];
  const address = await new Promise((done, failed) => {
    ended.then(() => failed(new Error(`the server ended: ${log.join("\n")}`)));
    lines.on("line", (line) => {
      log.push(line);
      const listening = /listening on (http:\/\/[^\s,]+)/.exec(line);
      if (listening) done(listening[1]);
    });
  });
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  ends.push(stop);
  return { address, stop };
}

/** @type {Promise<import("playwright-core").Browser> | null} */
let launched = null;

function browser() {
  if (!launched) {
    // What runs as root, as containers do, cannot have a sandbox of its own.
    launched = chromium.launch({ executablePath: browserPath(), chromiumSandbox: process.getuid?.() !== 0 });
    ends.push(async () => (await launched).close());
  }
  return launched;
}

/**
 * Opens the page. `allow` are parts of messages that the console may have: a refused key, a server that has gone.
 * @param {string} address of the server
 * @param {{width?: number, scheme?: "light" | "dark", language?: string, at?: string, allow?: string[]}} [how]
 * @returns {Promise<{page: import("playwright-core").Page, done: () => Promise<void>}>} `done` closes it, and fails where anything
 *   went wrong on the way: an error of a script, a message in the console, a request that failed, or one that left for elsewhere
 */
export async function open(address, { width = 1280, scheme = "light", language = "en", at = "", allow = [] } = {}) {
  const context = await (await browser()).newContext({
    viewport: { width, height: width < 600 ? 844 : 900 },
    colorScheme: scheme,
    locale: language === "ko" ? "ko-KR" : "en-GB",
    reducedMotion: "reduce",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const problems = [];
  const wrong = (problem) => allow.some((part) => problem.includes(part)) || problems.push(problem);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong(`console: ${message.text()}`));
  page.on("pageerror", (error) => wrong(`script: ${error.stack ?? error}`));
  page.on("requestfailed", (request) => {
    // What the page gave up by itself is its own affair.
    const why = request.failure()?.errorText ?? "";
    if (why !== "net::ERR_ABORTED") wrong(`request: ${request.url()} ${why}`);
  });
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(address).origin && !request.url().startsWith("blob:")) wrong(`elsewhere: ${request.url()}`);
  });
  if (process.env.PAGE) await fromDisk(context, address, resolve(process.env.PAGE));
  await page.goto(`${address}/${at}`);
  const done = async () => {
    // Nothing is wider than the screen: a page that moves sideways hides what it says.
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    await context.close();
    assert.deepEqual(problems, []);
    assert(wide <= 0, `the page is ${wide} pixels wider than the screen of ${width}`);
  };
  return { page, done };
}

const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };

/** With PAGE=../page its files are those of the folder, under the server's own policy: no compile lies between a change and its test. */
async function fromDisk(context, address, folder) {
  const policy = (await fetch(address)).headers.get("content-security-policy");
  await context.route((url) => url.origin === new URL(address).origin && /^\/($|page\/)/.test(url.pathname), (route) => {
    const path = new URL(route.request().url()).pathname.replace(/^\/(page\/)?/, "") || "index.html";
    const headers = { "Content-Security-Policy": policy, "Content-Type": `${TYPES[extname(path)]}; charset=utf-8` };
    return existsSync(join(folder, path)) ? route.fulfill({ path: join(folder, path), headers }) : route.continue();
  });
}

/**
 * A picture for whoever looks at it, where $SHOTS names a folder.
 * @param {import("playwright-core").Page} page
 * @param {string} name
 */
export async function shot(page, name) {
  if (!process.env.SHOTS) return;
  mkdirSync(process.env.SHOTS, { recursive: true });
  await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`), fullPage: true });
}
