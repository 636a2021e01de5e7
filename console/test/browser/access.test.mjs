// axe-core on every view, in both themes, wide and at 320 pixels; and that nothing is wider than the page there.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { made } from "../../mock/terminal.mjs";
import { faults, start } from "./start.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let t;

before(async () => {
  // The policy would refuse axe itself; it is tested by the other files.
  t = await start({ sessions: 40, long: 3000, bypassCSP: true });
  await t.enter();
});
after(async () => {
  await t?.stop();
});

const id = (n) => t.ids[n];
const VIEWS = () => [
  ["board", "#/", ".line.row"],
  ["inbox", "#/inbox", "article.ask"],
  ["schedules", "#/schedules", "article.card"],
  ["metrics", "#/metrics", ".chart"],
  ["settings", "#/settings", "table"],
  ["new", "#/new", "form"],
  ["search", "#/search?q=parser", ".hits li"],
  ["timeline", `#/s/${id(0)}/timeline?at=4`, ".details"],
  ["talk", `#/s/${id(0)}/talk`, ".entry"],
  ["diff", `#/s/${id(0)}/diff`, ".line.add"],
  ["plan", `#/s/${id(0)}/plan`, "svg.plan"],
  ["why", `#/s/${id(0)}/why`, ".column"],
  ["verdict", `#/s/${id(39)}/verdict`, ".verdict"],
  ["cost", `#/s/${id(0)}/cost`, ".chart"],
  ["terminals", `#/s/${id(1)}/terminals`, ".jobs li"],
  ["asked", `#/s/${id(8)}/timeline`, "article.ask"],
];

const all = [];

async function look(name) {
  await t.page.evaluate(axe);
  const found = await t.page.evaluate(async () => {
    const result = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} (${n.failureSummary?.split("\n").slice(1, 2).join("").trim()})`).join("; ")}`);
  });
  all.push(...found.map((one) => `${name}: ${one}`));
}

for (const theme of ["dark", "light"])
  for (const [width, height] of [[1280, 800], [320, 640]])
    test(`no violation: ${theme}, ${width} pixels`, async () => {
      const s = t.mock.world.sessions.get(id(1));
      if (!s.jobs.length) s.jobs.push(made("j1"));
      await t.page.setViewportSize({ width, height });
      await t.page.evaluate((name) => localStorage.setItem("kapell.theme", name), theme);
      await t.page.reload();
      await t.page.locator("main").waitFor();
      for (const [name, hash, there] of VIEWS()) {
        await t.go(hash);
        await t.page.locator(there).first().waitFor();
        assert.equal(await t.page.evaluate(() => document.documentElement.dataset.theme), theme);
        await look(`${name}, ${theme}, ${width}`);
        const wide = await t.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${name} is ${wide} pixels wider than the page`);
        if (width === 320 || theme === "light") await t.shot(`view-${name}-${theme}-${width}`);
      }
      await t.page.keyboard.press("Control+k");
      await t.page.getByRole("dialog").waitFor();
      await look(`palette, ${theme}, ${width}`);
      await t.page.keyboard.press("Escape");
      await t.go(`#/s/${id(1)}/terminals`);
      await t.page.getByRole("button", { name: "Attach to j1" }).click();
      await t.page.locator(".terminal-state", { hasText: "attached" }).waitFor();
      await look(`terminal, ${theme}, ${width}`);
      assert.deepEqual(all.splice(0), []);
    });

test("nothing broke", () => assert.deepEqual(faults(t.wrong), []));
