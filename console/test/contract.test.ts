// The mock against the page: answers have the fields that docs/api.md names, and the rules of its sections 1, 2 and 6 hold. The
// same assertions are meant for the daemon.
import { readFileSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Lines } from "../src/api/sse";
// @ts-expect-error the mock is plain JavaScript
import { World } from "../mock/data.mjs";
// @ts-expect-error the mock is plain JavaScript
import { serve } from "../mock/server.mjs";

const page = readFileSync(join(import.meta.dirname, "../../docs/api.md"), "utf8");
// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Any = any;
let mock: Any;
let headers: Record<string, string>;

beforeAll(async () => {
  mock = await serve({ world: new World({ sessions: 40, long: 3000 }) });
  const answer = await fetch(`${mock.url}/v1/login`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ code: mock.code() }) });
  headers = { cookie: answer.headers.get("set-cookie")!.split(";")[0]!, "kapell-proof": ((await answer.json()) as Any).proof };
});
afterAll(() => mock.close());

const get = async (path: string) => (await (await fetch(mock.url + path, { headers })).json()) as Any;
const post = (path: string, body: unknown, more: Record<string, string> = {}) =>
  fetch(mock.url + path, { method: "POST", headers: { ...headers, "content-type": "application/json", ...more }, body: JSON.stringify(body) });

/** Names in the list behind a bold word of the page; those with `?` may be absent. */
function named(word: string): { must: string[]; may: string[] } {
  const found = new RegExp(`\\*\\*${word}\\*\\*: \`([^\`]*)\``).exec(page);
  const all = found![1]!.replace(/\([^)]*\)|\[[^\]]*\]|\{[^}]*\}/g, "").split(/,\s*/).map((name) => name.trim());
  return { must: all.filter((name) => !name.endsWith("?")), may: all.filter((name) => name.endsWith("?")).map((name) => name.slice(0, -1)) };
}

test("shapes have the fields that the page names", async () => {
  const id = [...mock.world.sessions.keys()][0];
  const { must } = named("SessionRow");
  expect(must.length).toBeGreaterThan(20);
  for (const one of [(await get("/v1/sessions?limit=1")).items[0], await get(`/v1/sessions/${id}`)]) for (const name of must) expect(one, name).toHaveProperty(name);
  const row = named("BoardRow");
  const known = new Set([...row.must, ...row.may, "parent", "events"]);
  for (const one of (await get("/v1/board")).items) {
    for (const name of row.must) expect(one, name).toHaveProperty(name);
    for (const name of Object.keys(one)) expect(known, name).toContain(name);
  }
});

test("a list is paged without a gap and without a repeat", async () => {
  const seen: string[] = [];
  let cursor = "";
  do {
    const answer = await get(`/v1/sessions?limit=7${cursor}`);
    seen.push(...answer.items.map((s: Any) => s.session_id));
    cursor = answer.next ? `&cursor=${answer.next}` : "";
  } while (cursor);
  expect(new Set(seen).size).toBe(40);
  expect(seen).toHaveLength(40);
});

test("errors are problems with a hint, also those of the frame", async () => {
  for (const [path, status, method] of [
    ["/v1/sessions/01a1f791-19db-7000-8000-00000000dead", 404, "GET"],
    ["/v1/nothing", 404, "GET"],
    ["/nothing", 404, "GET"],
    ["/v1/board", 405, "POST"],
  ] as const) {
    const answer = await fetch(mock.url + path, { headers, method });
    expect([answer.status, answer.headers.get("content-type")]).toEqual([status, "application/problem+json"]);
    const problem = (await answer.json()) as Any;
    for (const name of ["type", "title", "status", "code", "kind", "exit_code", "request_id"]) expect(problem, path).toHaveProperty(name);
  }
  expect((await post("/v1/sessions", { goal: "x", repo: "relative" })).status).toBe(422);
});

test("a key makes a repeat harmless, and may not mean two things", async () => {
  const id = [...mock.world.sessions.keys()][1];
  const head = async () => (await get(`/v1/sessions/${id}/events?limit=1`)).head;
  const before = await head();
  const once = await (await post(`/v1/sessions/${id}/intents`, { wish: { message: { text: "hi" } } }, { "idempotency-key": "k1" })).json();
  const twice = await (await post(`/v1/sessions/${id}/intents`, { wish: { message: { text: "hi" } } }, { "idempotency-key": "k1" })).json();
  expect(twice).toEqual(once);
  expect(await head()).toBe(before + 2);
  const other = await post(`/v1/sessions/${id}/intents`, { wish: "pause" }, { "idempotency-key": "k1" });
  expect([other.status, ((await other.json()) as Any).code]).toEqual([409, "key-reused"]);
});

test("a yes to something else than was shown grants nothing", async () => {
  const s = [...mock.world.sessions.values()].find((one: Any) => one.asks[0]?.kind === "approval") as Any;
  const asked = s.asks[0];
  const wrong = await post(`/v1/sessions/${s.id}/approvals/${asked.id}`, { say: "yes", hash: "0".repeat(64) });
  expect([wrong.status, ((await wrong.json()) as Any).code, s.asks.length]).toEqual([409, "hash-differs", 1]);
  expect((await post(`/v1/sessions/${s.id}/approvals/${asked.id}`, { say: "yes", hash: asked.hash })).status).toBe(200);
  expect((await post(`/v1/sessions/${s.id}/approvals/${asked.id}`, { say: "yes", hash: asked.hash })).status).toBe(404);
});

/** With headers that fetch would not send. */
function bare(path: string, own: Record<string, string>): Promise<number> {
  return new Promise((done, failed) => {
    http.get({ host: "127.0.0.1", port: mock.port, path, headers: own }, (answer) => done(answer.resume().statusCode!)).on("error", failed);
  });
}

test("strangers are refused: another host, another origin, another site, half a login", async () => {
  const host = `127.0.0.1:${mock.port}`;
  const own = { host, ...headers };
  expect(await bare("/v1/board", own)).toBe(200);
  expect(await bare("/v1/board", { ...own, host: "evil.example" })).toBe(403);
  expect(await bare("/v1/board", { ...own, origin: "http://evil.example" })).toBe(403);
  expect(await bare("/v1/board", { ...own, origin: "null" })).toBe(403);
  expect(await bare("/v1/board", { ...own, "sec-fetch-site": "cross-site" })).toBe(403);
  expect(await bare("/v1/board", { ...own, "sec-fetch-site": "same-site" })).toBe(403);
  expect(await bare("/v1/board", { ...own, "kapell-proof": "" })).toBe(401);
  expect(await bare("/v1/board", { ...own, cookie: "" })).toBe(401);
  expect(await bare("/v1/board", { ...own, "kapell-proof": "0".repeat(64) })).toBe(401);
});

test("a stream resumes where it broke: none lost, none twice", async () => {
  const id = [...mock.world.sessions.keys()][2];
  const s = mock.world.sessions.get(id);
  const seen: number[] = [];
  const follow = async (until: number, own: Record<string, string>) => {
    const abort = new AbortController();
    const answer = await fetch(`${mock.url}/v1/sessions/${id}/events?after=0`, { headers: { ...headers, accept: "text/event-stream", ...own }, signal: abort.signal });
    const lines = new Lines();
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    try {
      while (seen.length < until) for (const message of lines.push((await reader.read()).value!)) if (seen.length < until) seen.push(Number(message.id));
    } finally {
      abort.abort();
    }
  };
  await follow(20, {});
  mock.life.commit(s, { warned: { what: "one" } }, { warned: { what: "two" } });
  const head = mock.world.head(s);
  await follow(head, { "last-event-id": String(seen[seen.length - 1]) });
  expect(seen).toEqual(Array.from({ length: head }, (_, n) => n + 1));
});
