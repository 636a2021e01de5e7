// The same console over the real binary: a daemon of its own, scripted models, no network. Type in console:
//   KAPELL=../target/debug/kapell node --test test/real/*.test.mjs
// Skipped, with a word, where there is no Chromium or no binary. Where to start: the tests.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const KAPELL = resolve(process.env.KAPELL ?? join(root, "../target/debug/kapell"));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARTIFACTS = join(root, "artifacts");
const PATIENCE = Number(process.env.PATIENCE_MS ?? 30_000);
const missing = !existsSync(CHROMIUM) ? `there is no ${CHROMIUM}` : !existsSync(KAPELL) ? `there is no ${KAPELL}` : false;

const PRICE = "[model]\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 0.0\n";
const call = (tool, args) => `[[turn]]\n[[turn.call]]\ntool = "${tool}"\nargs = { ${args} }\n`;
const shell = (command) => call("shell", `command = '${command}'`);
const write = (path, text) => call("write", `path = "${path}", content = "${text}"`);
const DONE = call("finish", 'status = "done", summary = "All done."');

const t = { wrong: [], asked: [] };
const page = () => t.page;
const shot = (name) => page().screenshot({ path: join(ARTIFACTS, `real-${name}.png`) });

/** A request over the daemon's socket, as the command line makes it. */
function ask(method, path, body) {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = text === undefined ? {} : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) };
  return new Promise((done, fail) => {
    const request = http.request({ socketPath: t.found.socket, method, path, headers }, (response) => {
      let all = "";
      response.on("data", (piece) => {
        all += piece;
      });
      response.on("end", () => (response.statusCode < 300 ? done(all ? JSON.parse(all) : undefined) : fail(new Error(`${method} ${path}: ${response.statusCode} ${all}`))));
    });
    request.on("error", fail);
    request.end(text);
  });
}

async function until(check, what) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`it did not come to pass: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function serve(port = 0) {
  const env = { PATH: "/usr/bin:/bin", HOME: join(t.dir, "home"), KAPELL_HOME: join(t.dir, "kapell"), GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" };
  t.daemon = spawn(KAPELL, ["serve", "--tcp", String(port), "--json"], { env, cwd: t.repo, stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((done, fail) => {
    t.daemon.stdout.once("data", done);
    t.daemon.once("exit", () => fail(new Error("the daemon ended")));
  });
  t.found = JSON.parse(readFileSync(join(t.dir, "kapell/state/run/daemon.json")));
  t.port = Number(new URL(t.found.url).port);
}

/** What models of new sessions say from now on. */
function script(turns) {
  const path = join(t.dir, `script-${t.scripts++}.toml`);
  writeFileSync(path, PRICE + turns);
  writeFileSync(join(t.dir, "kapell/config/config.toml"), `model = "builtin/script:${path}"\n[sandbox]\nprofile = "full"\n`);
}

before(async () => {
  if (missing) return;
  const { chromium } = await import("playwright-core");
  mkdirSync(ARTIFACTS, { recursive: true });
  t.dir = mkdtempSync(join(tmpdir(), "kapell-real-"));
  t.repo = join(t.dir, "repo");
  t.scripts = 0;
  for (const dir of [t.repo, join(t.dir, "home"), join(t.dir, "kapell/config")]) mkdirSync(dir, { recursive: true });
  const git = (...args) => execFileSync("/usr/bin/git", ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", ...args], { cwd: t.repo });
  git("init", "-q");
  writeFileSync(join(t.repo, "README.md"), "hello\n");
  git("add", ".");
  git("commit", "-qm", "begin");
  script(DONE);
  await serve();
  t.browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
  t.page = await t.browser.newPage({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });
  t.page.setDefaultTimeout(PATIENCE);
  t.cdp = await t.page.context().newCDPSession(t.page);
  await t.cdp.send("Network.enable");
  await t.page.addInitScript(() => {
    globalThis.sockets = [];
    globalThis.WebSocket = class extends WebSocket {
      constructor(...all) {
        super(...all);
        globalThis.sockets.push(this);
      }
    };
  });
  t.page.on("pageerror", (error) => t.wrong.push(String(error)));
  t.page.on("console", (message) => /Content.Security.Policy|Trusted/.test(message.text()) && t.wrong.push(message.text()));
  t.page.on("request", (request) => t.asked.push(request.url()));
});

after(async () => {
  await t.browser?.close();
  if (t.daemon?.exitCode === null && t.daemon.signalCode === null) {
    const gone = new Promise((done) => t.daemon.once("exit", done));
    t.daemon.kill();
    await gone;
  }
  if (t.dir) rmSync(t.dir, { recursive: true, force: true });
});

const it = (name, run) => test(name, { skip: missing }, run);
const go = (hash) => page().evaluate((to) => { location.hash = to; }, hash);
const state = (text) => page().locator(".facts .badge").filter({ hasText: text }).first().waitFor();

const attached = () => page().locator(".terminal-state", { hasText: "attached" }).waitFor();
const rows = (text) => page().locator(".xterm-rows", { hasText: text }).waitFor();

async function type(line) {
  await page().locator(".xterm-helper-textarea").focus();
  await page().keyboard.type(line);
  await page().keyboard.press("Enter");
}

/** Starts a session by the form; its id. */
async function begin(goal, asks) {
  await go("#/new");
  await page().getByLabel("Goal").fill(goal);
  await page().getByLabel("Project").fill(t.repo);
  await page().getByLabel("Ask before").selectOption(asks ?? "");
  await page().getByRole("button", { name: "Start", exact: true }).click();
  await page().getByRole("heading", { name: goal }).waitFor();
  return /#\/s\/([0-9a-f-]+)/.exec(page().url())[1];
}

it("a code logs this browser in, once", async () => {
  const { code, url } = await ask("POST", "/v1/login-codes", {});
  await page().goto(url);
  // There is no session yet, and the page says so.
  await page().locator(".connection.live").waitFor({ state: "attached" });
  assert.equal(new URL(page().url()).hash, "#/");
  const again = await page().evaluate(async (code) => (await fetch("/v1/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code }) })).status, code);
  assert.equal(again, 401);
  await shot("01-board");
});

it("a session is started and watched to its end, every event once", async () => {
  script(shell("echo one") + write("two.txt", "two") + DONE);
  const id = await begin("start and watch", "never");
  const { head } = await until(async () => {
    const events = await ask("GET", `/v1/sessions/${id}/events?limit=1000`);
    return events.items.some((record) => record.event.ended) && events;
  }, "it ends");
  await page().locator(`[data-seq="${head}"]`).waitFor();
  const seqs = await page().locator("[data-seq]").evaluateAll((all) => all.map((one) => Number(one.dataset.seq)));
  assert.deepEqual([...new Set(seqs)].sort((a, b) => a - b), seqs);
  await shot("02-watched");
});

it("an approval shows the exact content, and a yes lets it run", async () => {
  script(shell("echo may-i > asked.txt") + DONE);
  const id = await begin("ask and be allowed", "writes");
  const card = page().locator("article.ask").first();
  await card.waitFor();
  assert.match(await card.innerText(), /command: echo may-i > asked\.txt/);
  await shot("03-approval");
  await card.getByRole("button", { name: /^Approve once/ }).click();
  await until(async () => (await ask("GET", `/v1/sessions/${id}/events?limit=1000`)).items.some((record) => record.event["approval-answered"]?.answer === "granted"), "it is granted");
  await shot("04-approved");
});

it("an approval is denied from the inbox", async () => {
  script(shell("echo never > never.txt") + DONE);
  const id = await begin("ask and be denied", "writes");
  await page().locator("article.ask").first().waitFor();
  await go("#/inbox");
  await page().locator("article.ask", { hasText: "ask and be denied" }).getByRole("button", { name: /^Deny/ }).click();
  await until(async () => (await ask("GET", `/v1/sessions/${id}/events?limit=1000`)).items.some((record) => record.event["approval-answered"]?.answer === "denied"), "it is denied");
  await shot("05-denied");
});

it("a session is cancelled, after a question", async () => {
  script(shell("sleep 60") + DONE);
  await begin("a long walk", "never");
  await page().getByRole("button", { name: "Cancel…" }).click();
  await page().getByRole("button", { name: "Cancel the session" }).click();
  await state("cancelled");
  await shot("06-cancelled");
});

it("the workspace is rewound", async () => {
  script(write("one.txt", "one") + write("two.txt", "two") + shell("sleep 60") + DONE);
  const id = await begin("a way back", "never");
  await until(async () => (await ask("GET", `/v1/sessions/${id}`)).savepoints.length > 1, "there are savepoints");
  await ask("POST", `/v1/sessions/${id}/intents`, { wish: "pause" });
  await page().getByRole("button", { name: "Rewind…" }).click();
  await page().getByRole("dialog").getByRole("button", { name: "Rewind", exact: true }).click();
  await until(async () => (await ask("GET", `/v1/sessions/${id}/events?limit=1000`)).items.some((record) => record.event.submitted?.intent.wish.rewind), "a rewind is on record");
  await shot("07-rewound");
  await ask("POST", `/v1/sessions/${id}/intents`, { wish: "cancel" });
});

it("a terminal is opened after a yes, typed at, and what a program writes does nothing to the page", async () => {
  const { items } = await ask("GET", "/v1/sessions?limit=1");
  t.sat = items[0].session_id;
  await go(`#/s/${t.sat}/terminals`);
  await page().getByRole("button", { name: "New terminal" }).click();
  // Nothing confines commands here, so the rules ask.
  const yes = page().getByRole("alertdialog");
  await yes.waitFor();
  assert.match(await yes.innerText(), /needs your yes/);
  await shot("10-terminal-yes");
  await yes.getByRole("button", { name: "Open it" }).click();
  await attached();
  await type("echo ciao$((40 + 2))");
  await rows("ciao42");
  const title = await page().title();
  await page().evaluate(() => navigator.clipboard?.writeText("mine").catch(() => {}));
  // A title, a link, the clipboard, and questions that a terminal would answer by typing.
  await type("printf '\\033]0;owned\\007\\033]8;;http://evil.example/\\007link\\033]8;;\\007\\033]52;c;b3duZWQ=\\007\\033[c\\033[6n\\033[21t\\n'; IFS= read -rst 1 -n 1 got; echo \"got:$got:$((6 * 7))\"");
  await rows("got::42");
  await page().locator(".xterm-rows").getByText("link").first().click({ force: true });
  assert.equal(await page().title(), title);
  assert.equal(t.browser.contexts()[0].pages().length, 1, "a link opened something");
  await shot("11-terminal");
  assert.equal((await ask("GET", `/v1/sessions/${t.sat}/jobs`)).jobs.find((job) => job.job === "t1").running, true);
});

it("the network is lost and comes back: the terminal goes on where it was, nothing twice", async () => {
  await type("for i in 1 2 3 4 5 6; do echo tick$i; sleep 0.5; done; echo all$((1 + 1))ticks");
  await rows("tick1");
  // Browsers hold on to WebSockets that stand for long after the network is gone; this is what it comes to in the end.
  await page().evaluate(() => {
    for (const socket of globalThis.sockets) socket.close();
  });
  await t.cdp.send("Network.emulateNetworkConditions", { offline: true, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  await page().locator(".terminal-state", { hasText: "connection lost" }).waitFor();
  await shot("12-terminal-lost");
  await t.cdp.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  await attached();
  await rows("all2ticks");
  const shown = await page().locator(".xterm-rows").innerText();
  for (let i = 1; i <= 6; i++) assert.equal(shown.match(new RegExp(`tick${i}(?!\\d|;)`, "g"))?.length, 1, `tick${i}: ${shown}`);
  await shot("13-terminal-back");
  await page().getByRole("button", { name: "Detach" }).click();
  await page().getByRole("button", { name: "Transcript of t1" }).click();
  await page().locator(".transcript", { hasText: "all2ticks" }).waitFor();
  await shot("14-transcript");
});

it("a reload in the middle, and a daemon that was killed: said on the screen, nothing lost, nothing twice", async () => {
  script(shell("sleep 60") + DONE);
  const id = await begin("a long reload", "never");
  await page().reload();
  await page().getByRole("heading", { name: "a long reload" }).waitFor();
  t.daemon.kill("SIGKILL");
  await page().locator(".connection.lost").waitFor();
  await shot("08-lost");
  await serve(t.port);
  // A login ends with its daemon: who listened here meanwhile may know it.
  await page().getByText("kapell console").first().waitFor();
  await shot("08-login");
  const { url } = await ask("POST", "/v1/login-codes", {});
  await page().goto("about:blank");
  await page().goto(url);
  await page().locator(".connection.live").waitFor({ state: "attached" });
  await go(`#/s/${id}`);
  await ask("POST", `/v1/sessions/${id}/intents`, { wish: "cancel" });
  await state("cancelled");
  const { head } = await ask("GET", `/v1/sessions/${id}/events?limit=1`);
  await page().locator(`[data-seq="${head}"]`).waitFor();
  const seqs = await page().locator("[data-seq]").evaluateAll((all) => all.map((one) => Number(one.dataset.seq)));
  assert.equal(new Set(seqs).size, seqs.length);
  await shot("09-back");
  // The terminal was not the daemon's: it is as it was.
  await go(`#/s/${t.sat}/terminals`);
  await page().getByRole("button", { name: "Attach to t1" }).click();
  await attached();
  await rows("all2ticks");
  await type("echo survived$((3 * 3)); exit");
  await page().locator(".terminal-state", { hasText: "ended: exit status 0" }).waitFor();
  await rows("survived9");
  await shot("15-survived");
});

it("the policy had nothing to keep out, nothing broke, and nobody else was asked", () => {
  assert.deepEqual(t.wrong, []);
  assert.deepEqual(t.asked.filter((url) => new URL(url).host !== `127.0.0.1:${t.port}`), []);
});
