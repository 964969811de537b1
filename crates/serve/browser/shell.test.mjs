// The head of the page: languages, colours, models, keys, and what it weighs.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { folder, model, open, serve, shot } from "./harness.mjs";

const server = await serve([`small=${model()}`, `other=${model()}`]);

test("language and colours are chosen, kept, and leave everything where it is", async () => {
  const { page, done } = await open(server.address, { at: "#text=Mina" });
  await page.waitForFunction(() => document.title === "Play · foretoken");
  await page.getByLabel("Language").selectOption("ko");
  await page.waitForFunction(() => document.title === "써 보기 · foretoken");
  assert.equal(await page.evaluate(() => document.documentElement.lang), "ko");
  assert(await page.getByLabel("언어").evaluate((node) => node === document.activeElement), "the focus stays on the choice");
  assert.equal(await page.locator("#prompt").inputValue(), "Mina");
  await page.getByLabel("색", { exact: true }).selectOption("dark");
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await paper();
  await page.reload();
  await page.getByLabel("언어").waitFor();
  assert.equal(await paper(), dark);
  await page.getByLabel("색", { exact: true }).selectOption("light");
  assert.notEqual(await paper(), dark);
  await done();
});

test("another model is chosen, and Back undoes it", async () => {
  const { page, done } = await open(server.address);
  await page.getByLabel("Model", { exact: true }).selectOption("other");
  await page.waitForFunction(() => location.hash.includes("model=other"));
  await page.goBack();
  await page.waitForFunction(() => document.querySelector("#choose-model").value === "small");
  await done();
});

test("the first key of a keyboard leads past the head", async () => {
  const { page, done } = await open(server.address);
  await page.locator("#prompt").waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await done();
});

test("a key is asked for once, and a wrong one is told of", async () => {
  const keys = join(folder, "keys.txt");
  writeFileSync(keys, "right\n");
  const own = await serve([`small=${model()}`, "--api-key-file", keys]);
  const { page, done } = await open(own.address, { width: 390, language: "ko", allow: ["401"] });
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  await shot(page, "key");
  await dialog.getByRole("textbox").fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("this API key is not known here").waitFor();
  await page.getByRole("button", { name: "다시 시도" }).click();
  await dialog.getByRole("textbox").fill("right");
  await page.keyboard.press("Enter");
  await page.locator("#prompt").waitFor();
  await page.reload();
  await page.locator("#prompt").waitFor();
  assert.equal(await dialog.count(), 0, "the tab remembers it");
  await done();
});

test("a model that is being opened is waited for, and a server without one says so", async () => {
  const { page, done } = await open(server.address, { language: "ko" });
  await page.locator("#prompt").waitFor();
  let asked = 0;
  await page.route("**/v1/models", async (route) => {
    asked += 1;
    const { data } = await (await route.fetch()).json();
    if (asked < 3) data[0].max_model_len = null;
    await route.fulfill({ json: { object: "list", data: asked < 4 ? data : [] } });
  });
  await page.reload();
  await page.getByText("small 모델을 여는 중이에요").waitFor();
  await shot(page, "opening");
  await page.locator("#prompt").waitFor();
  assert.equal(asked, 3);
  await page.reload();
  await page.getByRole("heading", { name: "올라온 모델이 없어요" }).waitFor();
  await done();
});

test("what the page weighs and when it is there (told, not held to)", async (t) => {
  const { page, done } = await open(server.address);
  await page.locator("#prompt").waitFor();
  const [paint, bytes, files] = await page.evaluate(() => {
    const resources = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    const own = resources.filter(({ name }) => name.endsWith("/") || name.includes("/page/"));
    const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
    return [paint, own.reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0), own.length];
  });
  t.diagnostic(`first paint after ${Math.round(paint)} ms; ${bytes} bytes in ${files} files`);
  assert(bytes > 10_000 && bytes <= 400_000, `${bytes} bytes`);
  await done();
});
