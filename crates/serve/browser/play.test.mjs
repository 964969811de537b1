// A person plays: writes, looks at tokens, chooses others, goes back, chats.

import assert from "node:assert/strict";
import { test } from "node:test";
import { model, open, serve, shot, VARIANTS } from "./harness.mjs";

const server = await serve([`small=${model()}`]);

/** Without chance: a text that ends at once would have nothing to look at. */
const GREEDY = "#temperature=0";

const chips = (page) => page.locator(".chips:visible .chip");
const said = (page) => chips(page).allTextContents();
/** Until nothing is being written. */
const ended = (page) => page.locator('[aria-busy="false"]').waitFor({ state: "attached" });
const button = (page, en, ko) => page.getByRole("button", { name: new RegExp(`^(${en}|${ko})$`) });

for (const how of VARIANTS) {
  const name = `${how.width}-${how.scheme}-${how.language}`;
  test(`writing, choosing another token and going back: ${name}`, async () => {
    const { page, done } = await open(server.address, { ...how, at: GREEDY });
    await page.locator("#prompt").fill(how.language === "ko" ? "어느 맑은 날 미나는" : "One sunny morning,");
    await shot(page, `play-${name}-begin`);
    await button(page, "Write", "쓰기").click();
    await ended(page);
    const first = await said(page);
    assert(first.length > 20, `only ${first.length} chips`);
    await shot(page, `play-${name}-text`);

    // By keyboard alone: into the text, two tokens on, open, look, leave, open again, choose.
    await chips(page).first().focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    const box = page.getByRole("dialog");
    await box.waitFor();
    const current = box.locator('[aria-current="true"]');
    assert(await current.evaluate((node) => node === document.activeElement), "the token that stands there has the focus");
    await shot(page, `play-${name}-choices`);
    await page.keyboard.press("Escape");
    assert.equal(await box.count(), 0);
    assert(await chips(page).nth(2).evaluate((node) => node === document.activeElement), "Escape goes back to the token");
    await page.keyboard.press("Enter");
    const candidates = box.locator(".candidate");
    const at = (await candidates.evaluateAll((all) => all.findIndex((node) => node.ariaCurrent === "true"))) === 0 ? 1 : 0;
    await candidates.nth(at).focus();
    await page.keyboard.press("Enter");
    await page.locator(".chip.picked").waitFor();
    await ended(page);
    const second = await said(page);
    assert.deepEqual(second.slice(0, 2), first.slice(0, 2), "what stood before the choice stays");
    assert.notDeepEqual(second, first);

    await button(page, "Undo", "되돌리기").click();
    await page.waitForFunction((n) => document.querySelectorAll(".chips:not([hidden]) .chip").length === n, first.length);
    assert.deepEqual(await said(page), first, "Undo gives the first text back");
    await done();
  });

  test(`chatting, with tokens on demand: ${name}`, async () => {
    const { page, done } = await open(server.address, { ...how, at: `${GREEDY}&mode=chat&max_tokens=24` });
    const asked = [];
    page.on("request", (request) => request.url().endsWith("/tokenize") && asked.push(request.postDataJSON()));
    await page.locator("#question").fill(how.language === "ko" ? "안녕?" : "Hello?");
    await page.keyboard.press("Enter");
    await ended(page);
    assert.equal(await page.locator(".turn").count(), 2);
    assert.equal(await page.locator("#question").inputValue(), "");
    assert.equal(await page.locator(".chip:visible").count(), 0, "tokens are shown when asked for");
    await page.locator("#chat-shade").check();
    assert((await chips(page).count()) > 5);
    await page.locator("#question").fill("2");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelectorAll(".turn").length === 4);
    await ended(page);
    const roles = asked.at(-1).messages.map(({ role }) => role);
    assert.deepEqual(roles, ["user", "assistant", "user"], "the second question comes with what was said before");
    await shot(page, `chat-${name}`);
    // Another token in the first answer: what was said after it goes.
    await page.locator(".turn").nth(1).locator(".chip").nth(1).click();
    await page.getByRole("dialog").locator(".candidate:not([aria-current])").first().click();
    await page.waitForFunction(() => document.querySelectorAll(".turn").length === 2);
    await ended(page);
    await button(page, "Undo", "되돌리기").click();
    await page.waitForFunction(() => document.querySelectorAll(".turn").length === 4);
    await button(page, "New conversation", "새 대화").click();
    await page.waitForFunction(() => document.querySelectorAll(".turn").length === 0);
    await done();
  });
}

test("greedy text is the same again, and the address keeps what was set", async () => {
  const { page, done } = await open(server.address);
  await page.locator("#prompt").fill("Mina");
  await page.getByLabel("Temperature", { exact: true }).last().fill("0");
  await page.getByLabel("Tokens at most", { exact: true }).last().fill("30");
  const texts = [];
  for (let i = 0; i < 2; i++) {
    await button(page, "Write", "쓰기").click();
    await ended(page);
    texts.push(await said(page));
  }
  assert.deepEqual(texts[0], texts[1]);
  await page.waitForFunction(() => location.hash.includes("temperature=0") && location.hash.includes("text=Mina"));
  await page.reload();
  assert.equal(await page.locator("#prompt").inputValue(), "Mina");
  assert.equal(await page.getByLabel("Temperature", { exact: true }).last().inputValue(), "0");
  await done();
});

test("a setting that is changed while the model writes acts from the next token on", async () => {
  const { page, done } = await open(server.address, { at: `${GREEDY}&text=Mina&max_tokens=200` });
  const asked = [];
  page.on("request", (request) => request.url().endsWith("/v1/completions") && asked.push(request.postDataJSON()));
  await slowly(page);
  await button(page, "Write", "쓰기").click();
  await page.waitForFunction(() => document.querySelectorAll(".chip").length > 3);
  await page.getByLabel("Temperature", { exact: true }).last().fill("0.1");
  await ended(page);
  assert.equal(asked.length, 2);
  assert.equal(asked.at(-1).temperature, 0.1);
  const [first, last] = [asked[0], asked.at(-1)];
  assert(last.prompt.length > first.prompt.length, "it goes on behind what was written");
  assert.equal(last.prompt.length + last.max_tokens, first.prompt.length + first.max_tokens, "and to the same end");
  await done();
});

test("Stop keeps what is there, and Go on goes on behind it", async () => {
  const { page, done } = await open(server.address, { at: `${GREEDY}&text=Mina&max_tokens=200` });
  await slowly(page);
  await button(page, "Write", "쓰기").click();
  await page.waitForFunction(() => document.querySelectorAll(".chip").length > 3);
  await button(page, "Stop", "멈추기").click();
  await ended(page);
  const before = await said(page);
  assert(before.length < 150, `${before.length} chips were written before it stopped`);
  assert.match(await page.locator(".status").textContent(), /stopped by you/);
  await button(page, "Go on", "더 쓰기").click();
  await page.waitForFunction((n) => document.querySelectorAll(".chip").length > n, before.length);
  await button(page, "Stop", "멈추기").click();
  await ended(page);
  assert.deepEqual((await said(page)).slice(0, before.length - 1), before.slice(0, -1));
  await done();
});

/** Lets texts come as slowly as a large model writes them, a part in 30 ms. */
const slowly = (page) =>
  page.evaluate(() => {
    const { fetch } = window;
    window.fetch = async (url, init) => {
      const response = await fetch(url, init);
      if (!String(url).endsWith("/v1/completions")) return response;
      const transform = async (part, out) => {
        // The machine's own parts may hold many events.
        for (const event of new TextDecoder().decode(part).split(/(?<=\n\n)/)) {
          await new Promise((next) => setTimeout(next, 30));
          out.enqueue(new TextEncoder().encode(event));
        }
      };
      return new Response(response.body.pipeThrough(new TransformStream({ transform })), response);
    };
  });

/** A stream that a model could have sent: a syllable in three tokens, and the end. */
function stream() {
  const token = (id, bytes, p, others) => {
    const entry = (id, bytes, p) => ({ id, bytes, token: "", logprob: Math.log(p) });
    return { ...entry(id, bytes, p), top_logprobs: [[id, bytes, p], ...others].map((other) => entry(...other)) };
  };
  const content = [
    token(1, [0xec], 0.5, [[7, [0x3c, 0x62, 0x3e], 0.25]]),
    token(2, [0x95], 0.5, [[8, [0x96], 0.25]]),
    token(3, [0x88], 1, []),
    token(4, [0x0a], 0.9, []),
    token(256, [...new TextEncoder().encode("<|endoftext|>")], 0.75, [[9, [0x21], 0.125]]),
  ];
  const part = (content, finish_reason = null) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, text: "", logprobs: { content }, finish_reason }] })}\n\n`;
  return part(content.slice(0, 1)) + part(content.slice(1)) + part([], "stop") + "data: [DONE]\n\n";
}

test("a syllable of several tokens is one chip, and the end token is one, too", async () => {
  const { page, done } = await open(server.address, { language: "ko" });
  const asked = [];
  await page.route("**/v1/completions", (route) => {
    asked.push(route.request().postDataJSON());
    return route.fulfill({ contentType: "text/event-stream", body: stream() });
  });
  await page.locator("#prompt").fill("안녕");
  await button(page, "Write", "쓰기").click();
  await ended(page);
  assert.deepEqual(await said(page), ["안", "⏎\n", "■ 끝"]);
  assert.match(await chips(page).first().getAttribute("aria-label"), /^안, 25\.0%/);
  await chips(page).first().click();
  const box = page.getByRole("dialog");
  assert.equal(await box.locator(".segments button").count(), 3);
  assert.deepEqual(await box.locator(".candidate .label").allTextContents(), ["<EC>", "<b>"], "no markup");
  await box.locator(".segments button").nth(1).click();
  assert.deepEqual(await box.locator(".candidate .label").allTextContents(), ["<95>", "<96>"]);
  await box.locator(".segments button").nth(2).click();
  assert.deepEqual(await box.locator(".candidate .label").allTextContents(), ["안 ← <88>"]);
  await page.keyboard.press("Escape");
  // Instead of the end something else: it goes on behind what stood before.
  await chips(page).last().click();
  assert.deepEqual(await box.locator(".candidate .label").allTextContents(), ["글의 끝", "!"]);
  await box.locator(".candidate").last().click();
  await ended(page);
  assert.deepEqual(asked.at(-1).prompt.slice(-5), [1, 2, 3, 4, 9]);
  await done();
});

test("half a syllable is never sent", async () => {
  const { page, done } = await open(server.address, { language: "ko", at: "#mode=chat&max_tokens=4" });
  const input = page.locator("#question");
  await input.focus();
  const client = await page.context().newCDPSession(page);
  await client.send("Input.imeSetComposition", { text: "안녀", selectionStart: 2, selectionEnd: 2 });
  const composing = { key: "Enter", isComposing: true, bubbles: true, cancelable: true };
  await input.dispatchEvent("keydown", composing);
  await input.dispatchEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true, cancelable: true });
  assert.equal(await page.locator(".turn").count(), 0);
  await client.send("Input.insertText", { text: "안녕" });
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("?");
  await page.keyboard.press("Enter");
  await ended(page);
  assert.equal(await page.locator(".turn.user .said").textContent(), "안녕\n?");
  await done();
});

test("what is too long for the model is said, and nothing is lost", async () => {
  const { page, done } = await open(server.address, { width: 390, at: GREEDY });
  const long = "가나다라마바사아자차카타파하".repeat(30);
  await page.locator("#prompt").fill(long);
  await page.locator("#prompt-count.too-long").waitFor();
  await button(page, "Write", "쓰기").click();
  await page.getByRole("alert").getByText("The beginning has 1260 tokens and the model reads at most 256").waitFor();
  // Until the context is full, and no further.
  await page.locator("#prompt").fill("가".repeat(80));
  await button(page, "Write", "쓰기").click();
  await page.locator(".status", { hasText: "context is full" }).waitFor();
  assert.match(await page.locator(".status").textContent(), /256 of 256/);
  assert(await page.getByRole("button", { name: "Go on" }).isDisabled());
  await page.locator("#prompt").fill(long);
  await page.locator("#prompt-count.too-long").waitFor();
  await button(page, "Write", "쓰기").click();
  await page.getByRole("alert").getByText("1260 tokens").waitFor();
  assert.match(await page.locator(".status").textContent(), /256 of 256/, "the text that was there stays");
  assert.equal(await page.locator("#prompt").inputValue(), long);
  await shot(page, "play-too-long");
  await done();
});

test("a server that goes away is told of, and the text stays", async () => {
  const own = await serve([`small=${model()}`]);
  const { page, done } = await open(own.address, { at: `${GREEDY}&max_tokens=20`, allow: ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET"] });
  await page.locator("#prompt").fill("Mina");
  await button(page, "Write", "쓰기").click();
  await ended(page);
  const before = await said(page);
  await own.stop();
  await button(page, "Go on", "더 쓰기").click();
  await page.getByRole("alert").getByText("does not answer").waitFor();
  assert.deepEqual(await said(page), before);
  await done();
});
