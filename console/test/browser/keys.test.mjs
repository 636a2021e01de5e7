// The same without a mouse: nothing here clicks, and nothing is focused but by keys.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { faults, start, until } from "./start.mjs";

let t;
before(async () => {
  t = await start({ sessions: 24, long: 500 });
  await t.enter();
});
after(async () => {
  await t?.stop();
});

const press = async (...keys) => {
  for (const key of keys) await t.page.keyboard.press(key);
};
const type = (text) => t.page.keyboard.type(text);
const focused = () =>
  t.page.evaluate(() => {
    const e = document.activeElement;
    return `${e?.getAttribute("aria-label") ?? ""}|${e?.textContent ?? ""}|${e?.id ?? ""}`;
  });
/** Tab until what has the focus is called so. */
async function tabTo(wanted, back = false) {
  for (let n = 0; n < 80; n++) {
    if (wanted.test(await focused())) return;
    await press(back ? "Shift+Tab" : "Tab");
  }
  throw new Error(`no way by Tab to ${wanted}; at ${await focused()}`);
}
const palette = async (words) => {
  await press("Control+k");
  await t.page.getByRole("combobox", { name: "What to do" }).waitFor();
  await type(words);
  await press("Enter");
};
const last = () => [...t.mock.world.sessions.values()].at(-1);

async function begin(goal) {
  await palette("Start a new session");
  await t.page.getByRole("heading", { name: "New session" }).waitFor();
  await tabTo(/\|goal$/);
  await type(goal);
  await tabTo(/\|repo$/);
  await type("/home/ada/project");
  await press("Enter");
  await t.page.getByRole("heading", { name: goal }).waitFor();
  return last();
}

test("start and watch", async () => {
  const s = await begin("keys only");
  await until(() => s.end, "it ends");
  await tabTo(/^Events\|/);
  await press("Home", "ArrowDown", "End");
  assert.equal(await t.page.locator(".virtual").getAttribute("aria-activedescendant"), `e-${t.mock.world.head(s) - 1}`);
  await t.page.getByRole("complementary").waitFor();
});

test("approve, and deny", async () => {
  for (const [goal, name, code] of [["ask by keys", /^Approve once/, 0], ["ask and deny by keys", /^Deny:/, 6]]) {
    const s = await begin(goal);
    await t.page.locator("article.ask").waitFor();
    await tabTo(name);
    await press("Enter");
    await until(() => s.end?.code === code, `${goal} ends with ${code}`);
  }
});

test("cancel; the dialog gives the focus back", async () => {
  const s = await begin("a long one by keys");
  await palette("Cancel");
  await t.page.getByRole("dialog", { name: "Cancel this session?" }).waitFor();
  await press("Escape");
  await t.page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(s.end, undefined);
  await palette("Cancel");
  await t.page.getByRole("dialog", { name: "Cancel this session?" }).waitFor();
  await tabTo(/Cancel the session/);
  await press("Enter");
  await until(() => s.end?.code === 130, "it is cancelled");
});

test("rewind and fork", async () => {
  const s = await begin("a long rewind by keys");
  await until(() => s.savepoints.length, "there is a savepoint");
  const offered = (title) => t.page.getByRole("dialog", { name: title }).getByRole("option").first().waitFor({ state: "attached" });
  await palette("Rewind");
  await offered("Rewind the workspace");
  await tabTo(/^\|Rewind\|/);
  await press("Enter");
  await until(() => s.extra.some((r) => r.event.finished?.outcome.end.done?.rewound), "it is rewound");
  await t.page.getByRole("dialog").waitFor({ state: "detached" });
  await palette("Fork");
  await offered("Fork this session");
  await tabTo(/^\|Fork\|/);
  await press("Enter");
  await until(() => last() !== s, "it is forked");
  for (const one of [s, last()]) t.mock.life.wish(one, "cancel", `end ${one.id}`);
});

test("every page of a session by the arrows, and a terminal that lets the keyboard go", async () => {
  const s = t.mock.world.sessions.get(t.ids[0]);
  await palette("service green");
  await t.page.getByRole("heading", { name: /service green/ }).waitFor();
  await tabTo(/tab-timeline$/);
  for (const name of ["talk", "diff", "plan", "why", "verdict", "cost", "terminals"]) {
    await press("ArrowRight");
    await t.page.locator(`#tab-${name}[aria-selected="true"]`).waitFor();
  }
  await tabTo(/New terminal/);
  await press("Enter");
  await t.page.locator(".terminal-state", { hasText: "attached" }).waitFor();
  await until(() => t.page.evaluate(() => !!document.activeElement?.closest(".xterm")), "the terminal has the keyboard");
  await type("echo keys");
  await press("Tab", "Enter");
  await until(() => s.jobs[0].text.includes("keys\r\n"), "it was typed at");
  await press("Control+]");
  assert.match(await focused(), /Detach/);
  await press("Enter");
});

test("places by two keys, the filter by one, the list by arrows, and help", async () => {
  await t.go("#/settings");
  await t.page.getByRole("heading", { name: "Settings" }).waitFor();
  await press("g", "i");
  await t.page.getByRole("heading", { name: "Waits for me" }).waitFor();
  await press("g", "b");
  await t.page.getByRole("tree").waitFor();
  await press("/");
  await until(async () => /\|filter$/.test(await focused()), "the filter has the focus");
  await type("keys only");
  await tabTo(/^Sessions\|/);
  await press("ArrowDown", "Home", "Enter");
  await t.page.getByRole("heading", { name: "keys only" }).waitFor();
  await t.page.evaluate(() => document.querySelector("main").focus());
  await press("?");
  await t.page.getByRole("dialog", { name: "Keys" }).waitFor();
  await press("Escape");
});

test("the network goes and comes, a reload, and nothing broke", async () => {
  t.mock.deaf(800);
  await t.page.locator(".connection.lost").waitFor();
  await t.page.locator(".connection.live").waitFor({ state: "attached" });
  await press("F5");
  await t.page.reload();
  await t.page.getByRole("heading", { name: "keys only" }).waitFor();
  assert.deepEqual(faults(t.wrong), []);
  assert.deepEqual(t.mock.reports, []);
});
