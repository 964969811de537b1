// A person looks inside: opens a head, moves through the stream by keyboard, asks why, moves sliders.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { binary, environment, folder, model, open, serve, shot, VARIANTS } from "./harness.mjs";

const server = await serve([`small=${model()}`]);

const TEXT = "Mina ran. Mina";
const KOREAN = "안녕, 미나야. 안녕";
const at = (place) => `#${new URLSearchParams({ view: "look", text: TEXT, ...place })}`;
/** Until nothing is asked for any more. */
const settled = (page) => page.waitForFunction(() => document.querySelector(".look-view > *") && !document.querySelector('[aria-busy="true"]'));
/** The selection; the address itself follows a moment later. */
const place = (page) => page.evaluate(async () => (await import(new URL("page/lib/place.js", document.baseURI).href)).read());
const tokens = (page, n) => page.waitForFunction((n) => document.querySelectorAll(".look-chips [role=option]").length === n, n);
const lens = async (page, view, body) => (await page.request.post(`${server.address}/lens/${view}`, { data: body })).json();
const tab = (page, name) => page.locator(`#look-tab-${name}`);

for (const how of VARIANTS) {
  const name = `${how.width}-${how.scheme}-${how.language}`;
  const text = how.language === "ko" ? KOREAN : TEXT;

  test(`tokens, and a head that is opened and read by keyboard: ${name}`, async () => {
    const { page, done } = await open(server.address, { ...how, at: at({ text }) });
    await settled(page);
    const seen = await lens(page, "tokens", { text });
    assert.equal(await page.locator('.look-chips [role="option"]').count(), seen.tokens.length);
    if (how.language === "ko") {
      // A syllable of three tokens is drawn once, with three parts to choose from.
      const first = page.locator(".look-shared").first();
      assert.equal((await first.locator("> span").first().textContent()).trim(), "안");
      assert.equal(await first.locator('[role="option"]').count(), 3);
      await page.locator(".segments button").nth(1).click();
      await settled(page);
      assert.equal(await page.locator(".look-table tbody tr").count(), (await lens(page, "tokens", { text, by: "syllable" })).groups.length);
      await page.locator(".segments button").nth(0).click();
      await settled(page);
    }
    await shot(page, `look-${name}-tokens`);
    await page.locator(".look-chips").focus();
    for (const key of ["Home", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
    assert.equal((await place(page)).at, "2");
    const chosen = await page.locator(".look-chips").getAttribute("aria-activedescendant");
    assert.equal(await page.locator(`#${chosen}`).getAttribute("aria-selected"), "true");

    await tab(page, "tokens").focus();
    await page.keyboard.press("ArrowRight");
    await page.locator(".look-grid[data-drawn]").waitFor();
    await shot(page, `look-${name}-attention`);
    await page.locator(".look-grid .look-stage").focus();
    for (const key of ["ArrowRight", "ArrowDown", "Enter"]) await page.keyboard.press(key);
    await settled(page);
    assert.equal((await place(page)).head, "1.1");
    const { weights } = await lens(page, "attn", { text, head: [1, 1] });
    const stage = page.locator(".look-view .look-stage");
    await stage.focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowLeft"]) await page.keyboard.press(key);
    // From the selected token's own cell two queries on, one key back; the number that is printed is the server's.
    const n = seen.tokens.length;
    assert((await page.locator(".look-readout").textContent()).endsWith(weights[4 * n + 1].toFixed(3)), await page.locator(".look-readout").textContent());
    await page.keyboard.press("Enter");
    assert.equal((await place(page)).at, "4");
    assert.equal(await page.locator(".look-strips li").count() > 1, true);
    const strongest = Math.max(...weights.slice(4 * n, 5 * n));
    assert.equal(await page.locator(".look-strips section").first().locator("li .number").first().textContent(), strongest.toFixed(3));
    await page.locator('.look-view input[type="checkbox"]').check();
    const hidden = Math.max(...weights.slice(4 * n + 1, 5 * n));
    await page.locator(".look-view .segments").first().locator("button").first().click();
    await settled(page);
    assert.equal(await page.locator(".look-strips section").first().locator("li .number").first().textContent(), hidden.toFixed(3));
    for (const mode of [1, 2]) {
      await page.locator(".look-view .segments").first().locator("button").nth(mode).click();
      await settled(page);
    }
    assert.equal((await place(page)).cells, "score");
    await page.locator(".look-view .segments").nth(1).locator("button").nth(2).click();
    await settled(page);
    await shot(page, `look-${name}-head`);
    await done();
  });

  test(`the stream by keyboard: ${name}`, async () => {
    const { page, done } = await open(server.address, { ...how, at: at({ text, lens: "stream" }) });
    await settled(page);
    const here = page.locator("td.look-here");
    await here.focus();
    const last = Number(await page.locator(".look-chips [role=option]").count()) - 1;
    for (const key of ["ArrowDown", "ArrowDown", "ArrowLeft"]) await page.keyboard.press(key);
    assert.deepEqual([(await place(page)).step, (await place(page)).at], ["2", String(last - 1)]);
    // Beyond the columns that are there others come, and the focus is in them.
    await page.keyboard.press("Home");
    await settled(page);
    await page.waitForFunction(() => document.activeElement?.matches("td.look-here"));
    assert.equal((await place(page)).at, "0");
    const cell = (await lens(page, "stream", { text, at: [0], top: 8 })).cells[2][0];
    assert.equal(await page.locator(".look-detail .look-tops li").count(), 8);
    assert((await page.locator(".look-detail .look-facts").textContent()).includes(cell.norm.toFixed(2)));
    await page.locator(".look-view .segments button").nth(1).click();
    assert.equal(await here.locator(".look-cell-number").textContent(), String(cell.rank));
    await page.keyboard.press("Tab");
    await shot(page, `look-${name}-stream`);
    await done();
  });

  test(`why, and what the sampler keeps: ${name}`, async () => {
    const { page, done } = await open(server.address, { ...how, at: at({ text, lens: "why" }) });
    await settled(page);
    const exact = page.locator(".look-exact");
    const apart = () => exact.evaluate((node) => Math.abs(node.dataset.sum - node.dataset.logit));
    assert((await apart()) < 1e-3);
    await page.locator('.look-pick-one[data-name="token"]').nth(1).click();
    await page.locator('.look-pick-one[data-name="not"]').nth(0).click();
    await settled(page);
    const { token, not } = await place(page);
    const why = await lens(page, "why", { text, token, not });
    assert.equal(Number(await exact.getAttribute("data-logit")), why.logit);
    assert((await apart()) < 1e-3 && why.logit < 0, "the second is below the first");
    await page.locator('.look-view input[type="checkbox"]').check();
    await settled(page);
    const table = page.locator(".look-view .look-table").nth(1);
    assert.equal(await table.locator("thead th").count(), 4);
    await shot(page, `look-${name}-why`);

    await tab(page, "next").click();
    await settled(page);
    const slider = (which) => page.locator(".look-sliders input").nth(which);
    await slider(1).focus();
    for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() => document.querySelectorAll(".look-view tbody tr:not(.look-cut)").length === 3);
    assert.equal((await place(page)).top_k, "3");
    assert.equal(await page.locator('tr[data-ends]').count(), 1, "the end token is listed wherever it stands");
    await shot(page, `look-${name}-next`);
    await slider(0).focus();
    await page.keyboard.press("Home");
    await page.waitForFunction(() => document.querySelectorAll(".look-view tbody tr:not(.look-cut)").length === 1);
    await done();
  });

  test(`sizes that are the command's, and the other views: ${name}`, async () => {
    const { page, done } = await open(server.address, { ...how, at: at({ text, lens: "sizes" }) });
    await page.locator(".look-formula").waitFor();
    const formula = () => page.locator(".look-formula").evaluate((node) => [Number(node.dataset.sum), Number(node.dataset.count)]);
    const command = (...flags) => JSON.parse(execFileSync(binary(), ["size", "--json", ...flags], { cwd: folder, env: environment() }));
    assert.deepEqual(await formula(), Array(2).fill(command("--model", model()).parameters.count));
    await page.locator('[data-letter="L"] input').focus();
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() => !document.querySelector('[aria-busy="true"]') && document.querySelector('[data-letter="L"] output').textContent === "3");
    const shape = ["--n-layer", "3", "--n-head", "2", "--n-embd", "32", "--vocab-size"];
    const { vocab_size: v } = await (await page.request.get(`${server.address}/tokenizer_info`)).json();
    const sizes = command(...shape, String(v), "--n-positions", "1024", "--seq-len", "256", "--batch-size", "1");
    await page.waitForFunction((n) => Number(document.querySelector(".look-formula").dataset.count) === n, sizes.parameters.count);
    assert.deepEqual(await formula(), Array(2).fill(sizes.parameters.count));
    await page.waitForFunction(() => document.activeElement?.closest('[data-letter="L"]'), null, { timeout: 5000 });
    await shot(page, `look-${name}-sizes`);
    for (const view of ["embed", "neurons", "shape"]) {
      await tab(page, view).click();
      await settled(page);
      assert((await page.locator(".look-view").textContent()).length > 200, view);
      await shot(page, `look-${name}-${view}`);
    }
    await page.locator('.look-layers [data-step="2"]').click();
    await settled(page);
    assert.deepEqual([(await place(page)).lens, (await place(page)).layer], ["neurons", "0"]);
    await done();
  });
}

test("what is written is looked at, a candidate goes on from there, and the address opens the same", async () => {
  const { page, done } = await open(server.address, { at: at({}) });
  await settled(page);
  await page.locator("#look-text").fill("a b");
  await tokens(page, 3);
  await settled(page);
  const go = page.locator(".look-go:enabled").first();
  const label = (await go.locator(".look-candidate").textContent()).replace("␣", " ").trim();
  await go.click();
  await tokens(page, 4);
  assert.equal(await page.locator("#look-text").inputValue(), label === "⏎" ? "a b\n" : `a b${label || " "}`);
  const written = encodeURIComponent(await page.locator("#look-text").inputValue()).replaceAll("%20", "+");
  await page.waitForFunction((text) => location.hash.includes(`text=${text}`), written);
  await page.reload();
  await tokens(page, 4);
  // No text is markup.
  await page.locator("#look-text").fill('<img src=x onerror="document.title=1"><b>');
  await tokens(page, 41);
  assert.equal(await page.locator(".look img, .look b").count(), 0);
  await page.locator("#look-text").fill("");
  await page.waitForFunction(() => document.querySelector(".look-chips-box").hidden);
  assert.match(await page.locator(".look-view").textContent(), /Write something/);
  await done();
});

test("what cannot be looked at is said where it is", async () => {
  const { page, done } = await open(server.address, { at: at({ text: "a".repeat(300) }), allow: ["400"] });
  await page.locator(".look-trouble .error").waitFor();
  assert.match(await page.locator(".look-trouble").textContent(), /256/);
  await page.locator("#look-text").fill("ab");
  await tokens(page, 2);
  assert.equal(await page.locator(".look-trouble .error").count(), 0);
  await tab(page, "why").click();
  await settled(page);
  await page.locator(".look-view > .stack > .look-labelled input").fill("abc");
  await page.locator(".look-view .error").waitFor();
  assert.match(await page.locator(".look-view .error").textContent(), /token/);
  await page.locator(".look-view > .stack > .look-labelled input").fill("ac");
  await page.locator(".look-view .look-table").nth(2).waitFor();
  await done();
});

test("a server that has gone is noticed, and asked again", async () => {
  const other = await serve([`small=${model()}`]);
  const { page, done } = await open(other.address, { at: at({}), allow: ["ERR_CONNECTION", "Failed to load"] });
  await settled(page);
  await other.stop();
  await page.locator("#look-text").fill("gone");
  await page.locator(".look-trouble .error button").waitFor();
  await done();
});

test("the heads of a model of GPT-2's layers are drawn over 256 tokens", async (t) => {
  const run = join(folder, "runs", "heads");
  const sizes = ["--n-layer", "12", "--n-head", "12", "--n-embd", "96", "--n-positions", "256", "--seq-len", "32", "--batch-size", "1"];
  const args = ["train", "--data", "corpus:50", "--tokenizer", "byte", ...sizes, "--steps", "1", "--threads", "1", "--quiet", "--out", run];
  execFileSync(binary(), args, { cwd: folder, env: environment(), stdio: ["ignore", "ignore", "inherit"] });
  const heads = await serve([`heads=${run}`]);
  const { page, done } = await open(heads.address, { at: at({ lens: "attention", text: "a" }) });
  await settled(page);
  const took = [];
  for (let i = 0; i < 3; i++) {
    await page.evaluate(() => {
      performance.clearResourceTimings();
      window.drawn = new Promise((done) => new MutationObserver((_, observer) => {
        if (!document.querySelector(".look-grid[data-drawn]")) return;
        observer.disconnect();
        done(performance.now());
      }).observe(document.querySelector(".look-view"), { subtree: true, childList: true, attributes: true, attributeFilter: ["data-drawn"] }));
      document.querySelector(".look-grid").remove();
    });
    await page.locator("#look-text").fill(`${i}`.repeat(256));
    took.push(await page.evaluate(async () => {
      const drawn = await window.drawn;
      const asked = performance.getEntriesByType("resource").filter((entry) => entry.name.endsWith("/lens/attn"));
      return drawn - asked.at(-1).responseEnd;
    }));
  }
  // Time is told, not tested: a busy machine is no fault of the page.
  t.diagnostic(`12x12 heads at T=256 drawn ${took.map(Math.round).join(", ")} ms after their data`);
  assert(took.every((ms) => ms > 0), `${took}`);
  await done();
});
