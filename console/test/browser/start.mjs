// A mock and a browser for a test: logged in, under the real policy, with what went wrong collected. Screenshots go to artifacts/.
// Where to start: start.
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { World } from "../../mock/data.mjs";
import { serve } from "../../mock/server.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
export const ARTIFACTS = join(root, "artifacts");
export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** Waits are for conditions; a machine that is busy may take this long, milliseconds. */
export const PATIENCE = Number(process.env.PATIENCE_MS ?? 20_000);

export async function start({ sessions = 30, long = 2000, viewport = { width: 1280, height: 800 }, theme = "dark", before, ...context } = {}) {
  if (!existsSync(join(root, "dist/index.html"))) throw new Error("dist is missing: npm run build");
  mkdirSync(ARTIFACTS, { recursive: true });
  const mock = await serve({ dist: join(root, "dist"), world: new World({ sessions, long }) });
  before?.(mock);
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
  const page = await browser.newPage({ viewport, colorScheme: theme, reducedMotion: "reduce", ...context });
  page.setDefaultTimeout(PATIENCE);
  const wrong = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("dialog", (dialog) => {
    wrong.push(`a dialog of the browser: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  const enter = async (hash = "") => {
    await page.goto(`${mock.url}/#code=${mock.code()}`);
    await page.getByRole("tree").waitFor();
    if (hash) await go(hash);
  };
  const go = async (hash) => {
    await page.evaluate((to) => {
      location.hash = to;
    }, hash);
  };
  return {
    mock, browser, page, wrong, asked, enter, go,
    ids: [...mock.world.sessions.keys()],
    shot: (name) => page.screenshot({ path: join(ARTIFACTS, `${name}.png`) }),
    async stop() {
      await browser.close();
      await mock.close();
    },
  };
}

/** What the browser says is wrong, but for the lost connections that a test brought about. */
export const faults = (wrong) => wrong.filter((text) => !/ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_NETWORK|Failed to fetch|status of 4\d\d|WebSocket connection/.test(text));

export async function until(check, what, ms = PATIENCE) {
  const end = Date.now() + ms;
  for (;;) {
    if (await check()) return;
    if (Date.now() > end) throw new Error(`it did not come to pass: ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}
