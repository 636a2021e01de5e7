// What a person does with the console, from the first look to the last, each step with a screenshot in artifacts/.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { made } from "../../mock/terminal.mjs";
import { faults, start, until } from "./start.mjs";

let t;
before(async () => {
  t = await start({ sessions: 30, long: 2000 });
  await t.enter();
});
after(async () => {
  await t?.stop();
});

const page = () => t.page;
const byGoal = (goal) => [...t.mock.world.sessions.values()].find((s) => s.goalText === goal);
const status = (text) => page().locator(".facts .badge").filter({ hasText: text }).first().waitFor();

/** Starts a session by the form; its state in the mock. */
async function begin(goal) {
  await t.go("#/new");
  await page().getByLabel("Goal").fill(goal);
  await page().getByLabel("Project").fill("/home/ada/project");
  await page().getByRole("button", { name: "Start", exact: true }).click();
  await page().getByRole("heading", { name: goal }).waitFor();
  return byGoal(goal);
}

test("the code leaves the address, and the login stays", async () => {
  assert.equal(new URL(page().url()).hash, "#/");
  await t.shot("01-board");
});

test("a session is started and watched to its end", async () => {
  const s = await begin("mend the parser");
  await page().getByRole("listbox", { name: "Events" }).getByText("CONFIRMED: test").waitFor();
  await status("completed");
  assert.equal(s.end.code, 0);
  const seqs = await page().locator("[data-seq]").evaluateAll((all) => all.map((one) => Number(one.dataset.seq)));
  assert.deepEqual([...seqs].sort((a, b) => a - b), seqs);
  await t.shot("02-watched");
});

test("an approval shows the exact content and is granted once, bound to its hash", async () => {
  const s = await begin("ask before publishing");
  const card = page().locator("article.ask");
  await card.waitFor();
  assert.match(await card.innerText(), /command: git push origin main/);
  assert.match(await card.innerText(), /risk: external/);
  const hash = s.asks[0].hash;
  await t.shot("03-approval");
  await card.getByRole("button", { name: /^Approve once/ }).click();
  await card.waitFor({ state: "detached" });
  assert.deepEqual(t.mock.log.at(-1), { approval: t.mock.log.at(-1).approval, say: "yes", hash });
  await status("completed");
  await t.shot("04-approved");
});

test("an approval is denied from the inbox", async () => {
  const s = await begin("ask and be denied");
  await page().locator("article.ask").waitFor();
  await t.go("#/inbox");
  const card = page().locator("article.ask", { hasText: "ask and be denied" });
  await card.getByRole("button", { name: /^Deny/ }).click();
  await card.waitFor({ state: "detached" });
  await until(() => s.end?.code === 6, "the session ends as denied");
  await t.shot("05-denied");
});

test("a session is cancelled, after a question", async () => {
  const s = await begin("a long walk");
  await page().getByRole("button", { name: "Cancel…" }).click();
  await page().getByRole("button", { name: "Cancel the session" }).click();
  await status("cancelled");
  assert.equal(s.end.code, 130);
  await t.shot("06-cancelled");
});

test("the workspace is rewound, and a session forked from a savepoint", async () => {
  const s = await begin("a long way back");
  await until(() => s.savepoints.length > 0, "there is a savepoint");
  await page().getByRole("button", { name: "Rewind…" }).click();
  const to = await page().getByRole("dialog").getByRole("combobox").inputValue();
  await page().getByRole("dialog").getByRole("button", { name: "Rewind", exact: true }).click();
  await until(() => s.extra.some((r) => r.event.finished?.outcome.end.done?.rewound?.to === to), "it is rewound");
  await t.shot("07-rewound");
  const before = t.mock.world.sessions.size;
  await page().getByRole("button", { name: "Fork…" }).click();
  await page().getByRole("dialog").getByRole("button", { name: "Fork", exact: true }).click();
  await until(() => t.mock.world.sessions.size === before + 1, "there is another session");
  await until(() => page().url().includes([...t.mock.world.sessions.keys()].at(-1)), "it is looked at");
  await t.shot("08-forked");
  for (const one of t.mock.world.sessions.values()) if (one.goalText === "a long way back" && !one.end) t.mock.life.wish(one, "cancel", `end ${one.id}`);
});

test("a terminal is opened and typed at; its transcript is text", async () => {
  const s = byGoal("keep the service green for a month");
  await t.go(`#/s/${s.id}/terminals`);
  await page().getByRole("button", { name: "New terminal" }).click();
  await page().locator(".terminal-state", { hasText: "attached" }).waitFor();
  await page().locator(".xterm-helper-textarea").focus();
  await page().keyboard.type("echo ciao");
  await page().keyboard.press("Enter");
  await until(() => s.jobs[0].text.includes("ciao\r\n"), "the terminal was typed at");
  await page().locator(".xterm-rows", { hasText: "ciao" }).waitFor();
  await t.shot("09-terminal");
  await page().keyboard.press("Control+]");
  assert.equal(await page().evaluate(() => document.activeElement?.textContent), "Detach");
  await page().getByRole("button", { name: "Transcript of t1" }).click();
  await page().locator(".transcript", { hasText: "echo ciao" }).waitFor();
  await t.shot("10-transcript");
});

test("the network goes and comes back: said on the screen, nothing lost, nothing twice", async () => {
  const s = byGoal("keep the service green for a month");
  await t.go(`#/s/${s.id}/timeline`);
  await page().locator(`[data-seq="${t.mock.world.head(s)}"]`).waitFor();
  t.mock.deaf(1500);
  await page().locator(".connection.lost").waitFor();
  await t.shot("11-lost");
  for (let n = 0; n < 5; n++) t.mock.life.commit(s, { warned: { what: `while you were away ${n}` } });
  await page().locator(".connection.live").waitFor({ state: "attached" });
  await page().getByText("while you were away 4").waitFor();
  const words = await page().locator("[data-seq] .words").allInnerTexts();
  for (let n = 0; n < 5; n++) assert.equal(words.filter((one) => one === `while you were away ${n}`).length, 1);
  await t.shot("12-back");
});

test("another boot of the daemon: the board is shown as it is now, not as it was", async () => {
  await t.go("#/");
  const s = byGoal("keep the service green for a month");
  await page().getByLabel("Filter sessions").fill("service green");
  await page().locator(`[data-id="${s.id}"]`).first().waitFor();
  const asks = [...t.mock.world.sessions.values()].find((one) => one.asks.length);
  s.stage = "integrate";
  asks.asks = [];
  t.mock.boot = t.mock.boot.replace("ff", "fe");
  t.mock.world.rev = 1;
  t.mock.deaf(300);
  await page().locator(`[data-id="${s.id}"] .stage`, { hasText: "integrate" }).waitFor();
  await t.go("#/inbox");
  await page().locator("article.ask").first().waitFor();
  assert.equal(await page().locator(`[data-ask^="${asks.id}/"]`).count(), 0);
  await t.go("#/");
  await page().getByLabel("Filter sessions").fill("");
});

test("a reload in the middle shows the same page and goes on", async () => {
  const s = await begin("a long reload");
  await page().reload();
  await page().getByRole("heading", { name: "a long reload" }).waitFor();
  const head = t.mock.world.head(s);
  await until(() => t.mock.world.head(s) > head + 4, "it goes on");
  await page().locator(`[data-seq="${head + 3}"]`).waitFor();
  await t.shot("13-reloaded");
  t.mock.life.wish(s, "cancel", "end");
  await status("cancelled");
});

test("a change is on the screen within a second, and each running action has one sign of it", async () => {
  await t.go("#/");
  const s = byGoal("keep the service green for a month");
  await page().getByLabel("Filter sessions").fill("service green");
  await page().locator(`[data-id="${s.id}"]`).first().waitFor();
  s.stage = "quality";
  const began = Date.now();
  t.mock.life.changed(s);
  await page().locator(`[data-id="${s.id}"] .stage`, { hasText: "quality" }).waitFor();
  const took = Date.now() - began;
  console.log(`a change was on the screen after ${took} ms`);
  assert.ok(took < 1000, `${took} ms`);
  await page().getByLabel("Filter sessions").fill("");
  await page().getByLabel("Which sessions").selectOption("running");
  const marks = await page().locator(".spinner").evaluateAll((all) => all.map((one) => one.dataset.action));
  assert.ok(marks.length > 3);
  assert.equal(new Set(marks).size, marks.length);
  assert.ok((await page().locator(".line.live").count()) <= 3);
  await t.shot("14-running");
  await page().getByLabel("Which sessions").selectOption("all");
});

test("a terminal of another page is refused, and so is one without the proof", async () => {
  const s = byGoal("keep the service green for a month");
  s.jobs.push(made("j9"));
  const code = await page().evaluate(
    (path) =>
      new Promise((done) => {
        const socket = new WebSocket(path, ["kapell.term.v1"]);
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
      }),
    `ws://127.0.0.1:${t.mock.port}/v1/sessions/${s.id}/jobs/j9/attach`,
  );
  assert.equal(code, "refused");
});

test("the policy has nothing to report, the page asks nobody else, and nothing broke", async () => {
  assert.deepEqual(t.mock.reports, []);
  assert.deepEqual(faults(t.wrong), []);
  assert.deepEqual(t.asked.filter((url) => new URL(url).host !== `127.0.0.1:${t.mock.port}`), []);
});
