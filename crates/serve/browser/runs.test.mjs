// A person watches runs: one that goes on, two over each other, the samples, and one text at every checkpoint.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, test } from "node:test";
import { binary, environment, folder, model, open, serve, shot, VARIANTS } from "./harness.mjs";

const CHECKPOINTS = ["--checkpoint-every", "20", "--eval-every", "20", "--sample-every", "30"];
model("first", CHECKPOINTS);
model("second", [...CHECKPOINTS, "--lr", "0.003"]);
// Without a model: what is watched are the runs of the folder.
const server = await serve([]);

const at = (place) => `#${new URLSearchParams({ view: "runs", ...place })}`;
const log = async (page, name) => (await page.request.get(`${server.address}/runs/${name}`)).json();

for (const how of VARIANTS) {
  const name = `${how.width}-${how.scheme}-${how.language}`;

  test(`curves are read by keyboard, and say what the log says: ${name}`, async () => {
    const { page, done } = await open(server.address, { ...how, at: at({ runs: "first" }) });
    const chart = page.locator(".chart-area").first();
    await chart.waitFor();
    const { curves } = await log(page, "first");
    await chart.focus();
    await page.keyboard.press("End");
    const last = curves.train_loss.at(-1);
    assert.equal(await chart.getAttribute("aria-valuenow"), String(last.step));
    const said = await chart.getAttribute("aria-valuetext");
    assert(said.includes(last.mean.toPrecision(4)), `${said}: expected ${last.mean}`);
    await page.keyboard.press("Home");
    assert.equal(await chart.getAttribute("aria-valuenow"), String(curves.train_loss[0].step));
    await page.locator(".chart details summary").first().click();
    await page.locator(".chart table tbody tr").first().waitFor();
    await shot(page, `runs-${name}-curves`);
    await done();
  });

  test(`a text at every checkpoint, by the slider: ${name}`, async () => {
    const { page, done } = await open(server.address, { ...how, at: at({ runs: "first" }) });
    const text = how.language === "ko" ? "어느 맑은 날" : "One sunny";
    await page.locator("#probe-text").fill(text);
    await page.locator("#probe-text").press("Enter");
    const probes = page.locator("section[aria-labelledby=probes-title]");
    const slider = probes.getByRole("slider");
    const read = (step) =>
      page.waitForFunction(([step]) => document.querySelector("section[aria-labelledby=probes-title] input[type=range]").getAttribute("aria-valuetext")?.includes(step) &&
        document.querySelector(".probe-result > *") && !document.querySelector(".probe-result.old"), [String(step)]);
    await read(60);
    const newest = await page.locator(".probe-result").textContent();
    await slider.focus();
    await page.keyboard.press("Home");
    await read(20);
    assert.notEqual(await page.locator(".probe-result").textContent(), newest, "40 steps of training change nothing");
    // The address says what is looked at: whoever opens it sees the same.
    await page.waitForFunction(() => location.hash.includes("at=20"));
    await shot(page, `runs-${name}-probe`);
    await done();
  });
}

test("two runs are laid over each other, and their settings compared", async () => {
  const { page, done } = await open(server.address, { at: at({ runs: "first" }) });
  await page.getByRole("checkbox", { name: "Show second beside the others" }).check();
  await page.waitForFunction(() => document.querySelectorAll(".chart-lines .chart-line.smooth").length >= 2);
  await page.waitForFunction(() => /runs=(first%2Csecond|second%2Cfirst)/.test(location.hash));
  await page.getByText("1 field differs").or(page.getByText("fields differ")).first().waitFor({ state: "attached" });
  await shot(page, "runs-two");
  await done();
});

test("a run that goes on moves by itself, and does not take the focus", async () => {
  const sizes = ["--n-layer", "1", "--n-head", "1", "--n-embd", "16", "--n-positions", "64", "--batch-size", "2"];
  // As many steps as nobody waits for: it is stopped below.
  const args = ["train", "--data", "corpus:200", "--tokenizer", "byte", ...sizes, "--steps", "1000000", "--eval-every", "100000",
    "--checkpoint-every", "100000", "--sample-every", "0", "--threads", "1", "--quiet", "--out", "runs/going"];
  const going = spawn(binary(), args, { cwd: folder, env: environment(), stdio: "ignore" });
  const ended = new Promise((done) => going.once("exit", done));
  after(() => going.kill("SIGKILL"));
  const { page, done } = await open(server.address);
  await page.getByRole("link", { name: "Runs" }).click();
  const row = page.locator(".run-row", { hasText: "going" });
  await row.locator(".run-state.runs-going").waitFor();
  await row.locator(".run-open").click();
  const chart = page.locator(".chart-area").first();
  await chart.waitFor();
  await chart.focus();
  await page.keyboard.press("Home");
  const far = () => chart.getAttribute("aria-valuemax").then(Number);
  const before = await far();
  await page.waitForFunction((before) => Number(document.querySelector(".chart-area").getAttribute("aria-valuemax")) > before, before);
  assert(await chart.evaluate((node) => node === document.activeElement), "the chart keeps the focus");
  // Its first value may have become the mean of a few steps.
  assert(Number(await chart.getAttribute("aria-valuenow")) < before, "and reads what it read");
  await shot(page, "runs-going");
  going.kill("SIGTERM");
  await ended;
  await row.locator(".run-state.runs-stopped").waitFor();
  await done();
});
