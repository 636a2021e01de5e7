// Everything that an agent or a repository can write, full of what should never come to life: names, goals, diffs, results, plans,
// terminal titles, settings. Nothing runs, nothing loads, nothing leaves its place, and the words stand there as words.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { made, write } from "../../mock/terminal.mjs";
import { config, findings } from "../../mock/views.mjs";
import { faults, start, until } from "./start.mjs";

const EVIL = [
  `<script>window.pwned=1</script>`,
  `<img src=x onerror="window.pwned=2">`,
  `"><svg/onload=window.pwned=3>`,
  `javascript:window.pwned=4//`,
  `' onmouseover='window.pwned=5' x='`,
  `</title></textarea></pre><iframe srcdoc="<script>parent.pwned=6</script>">`,
  `<link rel=stylesheet href=http://evil.example/x.css><base href=http://evil.example/>`,
  `[click](javascript:window.pwned=7) <a href="javascript:window.pwned=8">a</a>`,
  `{{constructor.constructor('window.pwned=9')()}} \${window.pwned=10}`,
  `<style>*{background:url(http://evil.example/y)}</style>`,
  `__proto__`,
  `\u202egnp.exe\u2066 \u001b]0;owned\u0007 \u0000`,
].join(" ");

let t;
before(async () => {
  t = await start({
    sessions: 12,
    long: 60,
    before: ({ world, life }) => {
      config.push({ key: EVIL, value: { a: EVIL }, origin: EVIL, kind: EVIL });
      findings.push({ level: EVIL, name: EVIL, what: EVIL, hint: EVIL });
      world.schedules.push({ repo: EVIL, id: EVIL, name: EVIL, mode: EVIL, taskInstructions: EVIL, scheduleType: EVIL, timeInterval: EVIL, timeUnit: EVIL, active: true, lastTaskId: EVIL });
      const s = [...world.sessions.values()][0];
      Object.assign(s, { goalText: EVIL, model: EVIL, repo: EVIL, stage: EVIL, evilName: EVIL.replaceAll("\u0000", ""), verdict: "CONFIRMED", savepoints: ["1.2"] });
      s.doing = { action: "1.9", work: EVIL, on: EVIL, attempt: 1, since: 0 };
      s.todo = [{ state: EVIL, text: EVIL }];
      s.tasks = [
        { id: EVIL, goal: world.put(EVIL), after: [], state: EVIL },
        { id: "b", goal: world.put(EVIL), after: [EVIL], state: "active" },
      ];
      s.jobs.push({ ...made("j1", EVIL), waits: EVIL, text: EVIL });
      world.ask(s, "call", 1, EVIL);
      Object.assign(s.asks[0], { what: EVIL, rule: EVIL, cwd: EVIL, class: EVIL });
      world.ask(s, "question");
      Object.assign(s.asks[1], { id: "q99", content: EVIL, choices: [EVIL] });
      const text = world.put(EVIL);
      life.commit(
        s,
        { finished: { outcome: { action: EVIL, attempt: 1, end: { done: { said: { text, bytes: 9, calls: [{ id: EVIL, tool: EVIL, args: world.put(JSON.stringify({ command: EVIL, [EVIL]: EVIL })), class: EVIL, why: EVIL, hash: text }], stop: "tool-use", usage: { input: 1, output: 1 } } } }, used: {} } } },
        { warned: { what: EVIL } },
        { [EVIL]: { [EVIL]: EVIL } },
        { judged: { verdict: EVIL, result: EVIL, reasons: [EVIL] } },
        { failed: { signature: EVIL, count: 1, then: EVIL } },
        { noticed: { notice: { [EVIL]: { what: EVIL } } } },
        { ended_: { why: EVIL } },
      );
    },
  });
  await t.page.addInitScript(() => {
    window.opened = [];
    window.open = (...all) => {
      window.opened.push(String(all));
      return null;
    };
  });
  await t.enter();
});
after(async () => {
  await t?.stop();
});

async function clean(where) {
  const found = await t.page.evaluate(() => ({
    pwned: window.pwned,
    opened: window.opened,
    title: document.title,
    base: document.baseURI,
    alive: [...document.querySelectorAll("#app script, #app iframe, #app img, #app style, #app link, #app base, #app object, #app embed, #app [onerror], #app [onload], #app [onmouseover], svg animate")].map((e) => e.outerHTML.slice(0, 80)),
    links: [...document.querySelectorAll("a[href]")].map((a) => a.getAttribute("href")).filter((href) => !href.startsWith("#")),
  }));
  assert.equal(found.pwned, undefined, where);
  assert.deepEqual([found.opened, found.alive.filter((html) => !/^<style( type="text\/css")?><\/style>$/.test(html)), found.links], [[], [], []], where);
  assert.match(found.title, /^(\(\d+\) )?Kapell$/);
  assert.ok(found.base.startsWith(t.mock.url));
}

const SHOWN = /<script>window\.pwned=1<\/script>/;

test("every view shows the words as words", async () => {
  const s = t.ids[0];
  for (const hash of ["#/", "#/inbox", "#/schedules", "#/settings", "#/new", "#/search?q=script", ...["timeline", "talk", "diff", "plan", "why", "verdict", "cost", "terminals"].map((tab) => `#/s/${s}/${tab}`)]) {
    await t.go(hash);
    await t.page.locator("main section").first().waitFor();
    if (!/new|why|search/.test(hash)) await until(async () => SHOWN.test(await t.page.locator("main").innerText()), `the words are shown at ${hash}`);
    await clean(hash);
  }
});

test("each event in full, and the palette", async () => {
  const s = t.mock.world.sessions.get(t.ids[0]);
  for (let seq = t.mock.world.head(s) - 6; seq <= t.mock.world.head(s); seq++) {
    await t.go(`#/s/${s.id}/plan`);
    await t.go(`#/s/${s.id}/timeline?at=${seq}`);
    await t.page.getByRole("complementary", { name: `Event ${seq}` }).waitFor();
    for (const summary of await t.page.locator(".details summary").all()) await summary.click();
    await clean(`event ${seq}`);
  }
  await t.page.keyboard.press("Control+k");
  await t.page.keyboard.type("script");
  await t.page.getByRole("option").first().waitFor();
  await clean("palette");
  await t.page.keyboard.press("Escape");
});

test("what would hide or turn around is written out", async () => {
  await t.go("#/inbox");
  const block = await t.page.locator("article.ask pre").first().innerText();
  assert.match(block, /\\u\{202e\}gnp\.exe\\u\{2066\} \\u\{1b\}\]0;owned\\u\{7\}/);
});

test("a terminal takes no titles, no links, no answers, no clipboard", async () => {
  const job = t.mock.world.sessions.get(t.ids[0]).jobs[0];
  await t.go(`#/s/${t.ids[0]}/terminals`);
  await t.page.getByRole("button", { name: "Attach to j1" }).click();
  await t.page.locator(".terminal-state", { hasText: "attached" }).waitFor();
  const before = job.typed;
  write(job, `\x1b]0;owned\x07\x1b]2;owned\x07\x1b]8;;http://evil.example/\x07link\x1b]8;;\x07\x1b]52;c;b3duZWQ=\x07\x1b[c\x1b[>c\x1b[6n\x1b[5n\x1b[?6n\x1b]10;?\x07\x1b]11;?\x07\x1b[21t\x1b[18t\x1b[?1$p\x1bP$qm\x1b\\\x1b[>q\r\nhttp://evil.example/plain here\r\n`);
  await t.page.locator(".xterm-rows", { hasText: "/plain" }).waitFor();
  await t.page.locator(".xterm-rows").getByText("link").first().click({ force: true });
  // Answers would come before what is typed after them.
  await t.page.locator(".xterm-helper-textarea").focus();
  await t.page.keyboard.type("z");
  await until(() => job.typed.endsWith("z"), "the terminal was typed at");
  assert.equal(job.typed, `${before}z`, "the page answered for the person");
  await clean("terminal");
});

test("pages of others get nothing: no frame, no read, no write, no socket", async () => {
  const other = await t.browser.newPage();
  await other.route("http://evil.example/", (route) => route.fulfill({ contentType: "text/html", body: "<h1>evil</h1>" }));
  await other.goto("http://evil.example/");
  const before = t.mock.world.sessions.size;
  const got = await other.evaluate(async (url) => {
    const attempt = (run) => run().then(() => "done", () => "refused");
    const socket = () =>
      new Promise((done, failed) => {
        const s = new WebSocket(`${url.replace("http", "ws")}/v1/sessions/x/jobs/j1/attach`, ["kapell.term.v1"]);
        s.onopen = done;
        s.onerror = failed;
      });
    const read = await attempt(async () => (await fetch(`${url}/v1/board`, { credentials: "include" })).text());
    const write = await attempt(() => fetch(`${url}/v1/sessions`, { method: "POST", mode: "no-cors", credentials: "include", body: '{"goal":"x","repo":"/x"}' }).then((r) => { if (r.type === "opaque") throw 0; }));
    return { read, write, socket: await attempt(socket) };
  }, t.mock.url);
  assert.deepEqual(got, { read: "refused", write: "refused", socket: "refused" });
  assert.equal(t.mock.world.sessions.size, before);
  await other.close();
});

test("the policy has nothing to report, nobody else was asked, nothing broke", () => {
  assert.deepEqual(t.mock.reports, []);
  assert.deepEqual(t.asked.filter((url) => new URL(url).host !== `127.0.0.1:${t.mock.port}`), []);
  assert.deepEqual(faults(t.wrong), []);
});
