// With 1,000 sessions and a session of 100,000 events: cold load, and from a key or click to the next painted frame.
// Limits are those of the issue; SLOWER multiplies them where a machine is busy, and the figures are printed in any case.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start } from "./start.mjs";

const SLOWER = Number(process.env.SLOWER ?? 1);
const ROUNDS = Number(process.env.ROUNDS ?? 30);
let t;
before(async () => {
  t = await start({ sessions: 1000, long: 100_000 });
});
after(async () => {
  await t?.stop();
});

const p = (list, share) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))];

/** Does it so many times; milliseconds each took until a frame with its effect was painted, as the page measures it. */
const measure = (name, run, check) =>
  t.page.evaluate(
    async ([source, after_, rounds]) => {
      const act = new Function("n", source);
      const done = new Function("n", `return ${after_}`);
      const frame = () => new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
      const list = [];
      for (let n = 0; n < rounds; n++) {
        await frame();
        const began = performance.now();
        act(n);
        do await frame();
        while (!done(n) && performance.now() - began < 5000);
        list.push(performance.now() - began);
      }
      return list;
    },
    [run, check, ROUNDS],
  ).then((list) => {
    const [median, p95] = [p(list, 0.5), p(list, 0.95)];
    console.log(`${name}: median ${median.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms, most ${Math.max(...list).toFixed(1)} ms (${list.length})`);
    return { name, p95 };
  });

test("cold load below a second", async () => {
  await t.enter();
  const times = [];
  for (let n = 0; n < 3; n++) {
    const page = await t.browser.newPage({ viewport: { width: 1280, height: 800 } });
    const began = Date.now();
    await page.goto(`${t.mock.url}/#code=${t.mock.code()}`);
    await page.locator(".line.row").first().waitFor();
    times.push(Date.now() - began);
    await page.close();
  }
  console.log(`cold load, an empty cache, to the first sessions: ${times.join(", ")} ms`);
  assert.ok(Math.min(...times) < 1000 * SLOWER, `${times}`);
});

test("every interaction below 100 ms at p95", async () => {
  t.mock.life.tick(200);
  // The page itself is asked to act, under a policy without eval: so by a page that bypasses it.
  const context = await t.browser.newContext({ bypassCSP: true, viewport: { width: 1280, height: 800 } });
  t.page = await context.newPage();
  await t.page.goto(`${t.mock.url}/#code=${t.mock.code()}`);
  await t.page.locator(".line.row").first().waitFor();
  const list = "document.querySelector('.virtual')";
  const keydown = (key) => `${list}.dispatchEvent(new KeyboardEvent('keydown',{key:${key},bubbles:true}))`;
  const results = [];
  results.push(await measure("board: one line down", keydown("'ArrowDown'"), "true"));
  results.push(await measure("board: end and home", keydown("n%2?'Home':'End'"), `${list}.querySelector('.line.active')`));
  results.push(await measure("board: scroll", `${list}.scrollTop = n*977`, `${list}.querySelectorAll('.line').length > 5`));
  results.push(
    await measure("board: type into the filter", "const i=document.getElementById('filter'); i.value='parser'.slice(0,n%7); i.dispatchEvent(new InputEvent('input',{bubbles:true}))", "true"),
  );
  await t.page.evaluate(() => {
    const i = document.getElementById("filter");
    i.value = "";
    i.dispatchEvent(new InputEvent("input", { bubbles: true }));
  });
  results.push(await measure("palette: open and close", "dispatchEvent(new KeyboardEvent('keydown',{key:'k',ctrlKey:true}))", "n%2 ? !document.querySelector('dialog') : document.querySelector('dialog')"));
  await t.page.evaluate(() => document.querySelector("dialog")?.close());
  await t.page.evaluate((to) => {
    location.hash = to;
  }, `#/s/${t.ids[0]}/timeline`);
  await t.page.locator("[data-seq] .words").first().waitFor();
  results.push(await measure("timeline: one line up", keydown("'ArrowUp'"), "true"));
  results.push(await measure("timeline: scroll anywhere in 100,000", `${list}.scrollTop = (n*7919%100000)*30`, `${list}.querySelectorAll('[data-seq]').length > 5`));
  results.push(await measure("timeline: jump, and the events are there", `${list}.scrollTop = (n*3571%90000)*30`, `![...${list}.querySelectorAll('[data-seq]')].some((e) => e.querySelector('.words') === null)`));
  const tabs = ["plan", "why", "verdict", "diff", "cost", "talk", "terminals", "timeline"];
  results.push(await measure("session: another page of it", `location.hash='#/s/${t.ids[0]}/'+${JSON.stringify(tabs)}[n%8]`, `document.querySelector('#tab-'+${JSON.stringify(tabs)}[n%8]+'[aria-selected=true]')`));
  results.push(await measure("another view", "location.hash=['#/settings','#/','#/inbox','#/new'][n%4]", "document.querySelector(['#settings-title','#board-title','#inbox-title','#new-title'][n%4])"));
  const nodes = await t.page.evaluate(() => document.querySelectorAll("*").length);
  console.log(`elements on the page: ${nodes}`);
  const slow = results.filter(({ p95 }) => p95 >= 100 * SLOWER);
  assert.deepEqual(slow, []);
  await context.close();
});
