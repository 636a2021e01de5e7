// The routes of docs/api.md, each a line of method, path and what answers. Where to start: routes.
import { randomBytes } from "node:crypto";
import { iso, REPO } from "./data.mjs";
import { Problem } from "./server.mjs";
import { made, stop } from "./terminal.mjs";
import { calls, checks, config, cost, diff, findings, series, transcript, why } from "./views.mjs";

const SESSION = "/v1/sessions/([0-9a-f-]{36})";
const path = (text) => new RegExp(`^${text}$`);

function session({ mock, match }) {
  const s = mock.world.sessions.get(match[0]);
  if (!s) throw new Problem(404, "no-session", `there is no session ${match[0]}`, "kapell sessions lists them");
  return s;
}

const limit = (query, usual = 100) => Math.min(1000, Math.max(1, Number(query.get("limit") ?? usual) || usual));

/** A page of a list that is held whole. */
function page(items, query) {
  const from = Number(query.get("cursor") ?? 0);
  if (!Number.isInteger(from) || from < 0) throw new Problem(400, "bad-cursor", "this cursor is not ours");
  const to = from + limit(query);
  return { value: { items: items.slice(from, to), ...(to < items.length ? { next: String(to) } : {}) } };
}

/** Digests that stand anywhere in a value. */
function digests(value, into = new Set()) {
  if (typeof value === "string" && /^[0-9a-f]{64}$/.test(value)) into.add(value);
  else if (value && typeof value === "object") for (const one of Object.values(value)) digests(one, into);
  return into;
}

function events(ask) {
  const { mock, query, request } = ask;
  const s = session(ask);
  const after = Number(request.headers["last-event-id"] ?? query.get("after") ?? 0);
  const head = mock.world.head(s);
  if (after > head) throw new Problem(409, "bad-cursor", `event ${after} is behind the last one, ${head}`);
  if ((request.headers.accept ?? "").includes("text/event-stream")) return follow(ask, s, after);
  const kinds = query.get("kind")?.split(",");
  const [most, items, texts, cut] = [limit(query, 500), [], {}, Number(query.get("texts") ?? 0)];
  let seq = after;
  while (seq < head && items.length < most) {
    const record = mock.world.record(s, ++seq);
    if (!kinds || kinds.includes(Object.keys(record.event)[0])) items.push(record);
  }
  if (cut) for (const digest of digests(items)) if (mock.world.blobs.has(digest)) texts[digest] = mock.world.blobs.get(digest).slice(0, cut);
  return { value: { items, head, ...(seq < head ? { next: String(seq) } : {}), ...(cut ? { texts } : {}) } };
}

function stream(response) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no" });
  response.flushHeaders();
  const beat = setInterval(() => response.write(": beat\n\n"), 15_000);
  response.on("close", () => clearInterval(beat));
  return (event, data, id) => response.write(`${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

function follow({ mock, response }, s, after) {
  const say = stream(response);
  let seq = after;
  const more = () => {
    while (seq < mock.world.head(s)) {
      const record = mock.world.record(s, ++seq);
      say("record", record, seq);
      if (record.event.ended) {
        say("end", {});
        response.end();
      }
    }
  };
  const heard = (of) => of === s && more();
  mock.life.on("record", heard);
  response.on("close", () => mock.life.off("record", heard));
  more();
}

/** Milliseconds between two rows of one session at least. */
const ROW_MS = 250;

function feed({ mock, query, request, response }) {
  const { world, life } = mock;
  const resumed = new Map((request.headers["last-event-id"] ?? "").split(";").filter(Boolean).map((one) => (one.startsWith("board:") ? ["board", one.slice(6)] : one.split(":"))));
  const follow = new Map((query.get("follow") ?? "").split(",").filter(Boolean).map((one) => one.split(":")).map(([id, seq]) => [id, Number(resumed.get(id) ?? seq)]));
  if (follow.size > 4) throw new Problem(422, "bad-field", "at most 4 sessions are followed");
  const say_ = stream(response);
  const id = () => `board:${mock.boot}.${world.rev}${[...follow].map(([one, seq]) => `;${one}:${seq}`).join("")}`;
  const say = (event, data) => say_(event, data, id());
  const [boot, rev] = (resumed.get("board") ?? query.get("board") ?? "").split(".");
  const board = boot === mock.boot ? Number(rev) : 0;
  say("hello", { boot: mock.boot, version: "mock", rev: world.rev, now: iso(Date.now()) });
  if (!board) say("board", { rev: world.rev, items: world.board() });
  else for (const [one, rev] of life.changedAt) if (rev > board) say("row", { rev, row: world.row(world.sessions.get(one), false) });
  for (const s of world.sessions.values()) if (s.asks.length || (board && s.asked)) say("asked", { rev: world.rev, session_id: s.id, items: s.asks });
  const more = (s) => {
    let seq = follow.get(s.id);
    if (seq === undefined) return;
    while (seq < world.head(s)) {
      const record = world.record(s, ++seq);
      follow.set(s.id, seq);
      say("record", { type: "event", session_id: s.id, record });
    }
  };
  const sent = new Map();
  const late = new Set();
  const on = {
    record: more,
    row(s) {
      const wait = (sent.get(s.id) ?? 0) + ROW_MS - Date.now();
      if (late.has(s.id)) return;
      const tell = () => {
        late.delete(s.id);
        sent.set(s.id, Date.now());
        if (!response.closed) say("row", { rev: world.rev, row: world.row(s, false) });
      };
      if (wait <= 0) return tell();
      late.add(s.id);
      setTimeout(tell, wait).unref();
      return undefined;
    },
    asked(s) {
      s.asked = true;
      say("asked", { rev: world.rev, session_id: s.id, items: s.asks });
    },
    progress: (s, line) => follow.has(s.id) && say("progress", line),
    jobs: (s) => say("jobs", { rev: world.rev, session_id: s.id }),
    schedules: () => say("schedules", { rev: world.rev }),
  };
  for (const [event, run] of Object.entries(on)) life.on(event, run);
  mock.streams.add(response);
  response.on("close", () => {
    mock.streams.delete(response);
    for (const [event, run] of Object.entries(on)) life.off(event, run);
  });
  for (const one of follow.keys()) {
    const s = world.sessions.get(one);
    if (s) more(s);
  }
}

function login({ mock, body }) {
  if (!mock.codes.delete(body?.code)) throw new Problem(401, "unauthorised", "this code is not known, was used, or is too old", "kapell console makes another");
  const [secret, proof] = [randomBytes(32).toString("hex"), randomBytes(32).toString("hex")];
  mock.logins.set(secret, proof);
  return {
    status: 201,
    headers: { "Set-Cookie": `kapell-${mock.port}=${secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000` },
    value: { proof, boot: mock.boot, expires: iso(Date.now() + 2_592_000_000) },
  };
}

function intents(ask) {
  const s = session(ask);
  if (ask.body?.wish === undefined) throw new Problem(422, "bad-field", "`wish` is missing");
  const told = ask.mock.life.wish(s, ask.body.wish, ask.key ?? randomBytes(8).toString("hex"));
  if (told.taken === "refused") throw new Problem(409, "refused", `${told.wish} was refused: ${told.why}`);
  return { status: told.taken === "applied" ? 200 : 202, value: told };
}

function answer(ask) {
  const s = session(ask);
  const asked = s.asks.find((one) => one.id === ask.match[1]);
  if (!asked) throw new Problem(404, "no-approval", "nothing of this name waits here");
  if (ask.body?.say === "yes" && ask.body.hash !== asked.hash) throw new Problem(409, "hash-differs", "what is asked is not what was shown");
  ask.mock.log.push({ approval: asked.id, ...ask.body });
  return { value: ask.mock.life.answer(s, asked.id, ask.body?.say) };
}

function open({ mock, body }) {
  if (body?.from) {
    const from = mock.world.sessions.get(body.from.session_id);
    if (!from?.savepoints.includes(body.from.action)) throw new Problem(409, "no-savepoint", "there is no such savepoint");
  } else {
    if (!body?.goal) throw new Problem(422, "bad-field", "`goal` is missing");
    if (!body.repo?.startsWith("/")) throw new Problem(422, "bad-field", "`repo` is an absolute path");
  }
  const s = mock.life.start(body);
  return { status: 201, headers: { Location: `/v1/sessions/${s.id}` }, value: mock.world.page(s) };
}

function blob(ask) {
  const s = session(ask);
  const text = ask.mock.world.blobs.get(ask.match[1]);
  if (text === undefined || !s) throw new Problem(404, "no-blob", "this session names no such blob");
  ask.response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'", ETag: `"${ask.match[1]}"` });
  ask.response.end(text);
}

const shown = ({ clients, text, line, typed, ...job }) => job;

function job(ask) {
  const found = session(ask).jobs.find((one) => one.job === ask.match[1]);
  if (!found) throw new Problem(404, "no-job", "there is no such job");
  return found;
}

function output(ask) {
  const { text } = job(ask);
  const after = Number(ask.query.get("after") ?? 0);
  const bytes = Buffer.from(text).subarray(after, after + 65_536);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return { value: { from: after, bytes: bytes.length, text: bytes.toString().replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, ""), end: false } };
}

function newJob(ask) {
  const s = session(ask);
  const one = made(`t${s.jobs.filter((job) => job.job.startsWith("t")).length + 1}`);
  s.jobs.push(one);
  ask.mock.life.emit("jobs", s);
  return { status: 201, value: shown(one) };
}

const schedule = ({ mock, match }) => {
  const found = mock.world.schedules.find((one) => one.id === match[0]);
  if (!found) throw new Problem(404, "no-schedule", "there is no such schedule");
  return found;
};

function search({ mock, query }) {
  const words = (query.get("q") ?? "").toLowerCase();
  const hits = [...mock.world.sessions.values()].filter((s) => s.goalText.toLowerCase().includes(words));
  return page(hits.map((s) => ({ session_id: s.id, seq: 1, at: iso(s.opened), kind: "goal", text: s.goalText.slice(0, 200) })), query);
}

const list = (ask) => page([...ask.mock.world.sessions.values()].reverse().map((s) => ask.mock.world.page(s)), ask.query);
const asks = (ask) => page([...ask.mock.world.sessions.values()].flatMap((s) => s.asks), ask.query);
const view = (make) => (ask) => ({ value: make(ask.mock.world, session(ask), ask.query) });

export const routes = [
  ["GET", path("/v1"), ({ mock }) => ({ value: { version: "mock", boot: mock.boot, schema_version: 1, now: iso(Date.now()), capabilities: ["fork", "terminals", "schedules", "search"] } })],
  ["GET", path("/v1/health"), () => ({ value: { status: "ok" } })],
  ["GET", path("/v1/ready"), () => ({ value: { status: "ready" } })],
  ["GET", path("/v1/doctor"), () => ({ value: { findings } })],
  ["GET", path("/v1/models"), () => ({ value: { models: [{ id: "builtin/fixer", context_tokens: 200_000, output_tokens: 8192, price: null, price_from: null }, { id: "anthropic/claude-sonnet-5", context_tokens: 1_000_000, output_tokens: 64_000, price: null, price_from: null }], providers: [] } })],
  ["GET", path("/v1/config"), ({ query }) => page(config, query)],
  ["GET", path("/v1/repos"), () => ({ value: { items: [REPO] } })],
  ["GET", path("/v1/search"), search],
  ["GET", path("/v1/metrics/series"), ({ query }) => ({ value: series(query.get("since"), Math.max(1000, Number(query.get("step_ms") ?? 10_000))) })],
  ["POST", path("/v1/csp-reports"), ({ mock, body }) => {
    mock.reports.push(body);
    return { status: 204 };
  }],
  ["POST", path("/v1/login"), login],
  ["DELETE", path("/v1/login"), ({ mock, request }) => {
    mock.logins.delete(/kapell-\d+=([0-9a-f]+)/.exec(request.headers.cookie ?? "")?.[1]);
    return { status: 204 };
  }],
  ["GET", path("/v1/board"), ({ mock }) => ({ value: { rev: mock.world.rev, items: mock.world.board() } })],
  ["GET", path("/v1/feed"), feed],
  ["GET", path("/v1/approvals"), asks],
  ["GET", path("/v1/sessions"), list],
  ["POST", path("/v1/sessions"), open],
  ["GET", path(SESSION), view((world, s) => world.show(s))],
  ["GET", path(`${SESSION}/events`), events],
  ["POST", path(`${SESSION}/intents`), intents],
  ["POST", path(`${SESSION}/approvals/([aq]\\d+)`), answer],
  ["GET", path(`${SESSION}/transcript`), view((world, s, query) => transcript(world, s, limit(query), Number(query.get("before") ?? 0)))],
  ["GET", path(`${SESSION}/why`), view((world, s, query) => why(world, s, limit(query), query.get("before")))],
  ["GET", path(`${SESSION}/plan`), view((world, s) => ({ tasks: s.tasks.map((task) => ({ ...task, goal_text: world.blobs.get(task.goal) })), todo: s.todo }))],
  ["GET", path(`${SESSION}/checks`), view((world, s) => checks(world, s))],
  ["GET", path(`${SESSION}/diff`), view((_, s) => diff(s))],
  ["GET", path(`${SESSION}/cost`), view((_, s) => cost(s))],
  ["GET", path(`${SESSION}/cost/calls`), view((_, s) => calls(s))],
  ["GET", path(`${SESSION}/blobs/([0-9a-f]{64})`), blob],
  ["GET", path(`${SESSION}/jobs`), view((_, s) => ({ session_id: s.id, jobs: s.jobs.map(shown) }))],
  ["POST", path(`${SESSION}/jobs`), newJob],
  ["GET", path(`${SESSION}/jobs/([jt]\\d+)/output`), output],
  ["DELETE", path(`${SESSION}/jobs/([jt]\\d+)`), (ask) => {
    stop(job(ask));
    return { value: shown(job(ask)) };
  }],
  ["GET", path("/v1/schedules"), ({ mock, query }) => page(mock.world.schedules, query)],
  ["POST", path("/v1/schedules"), ({ mock, body }) => {
    const one = { id: `s${mock.world.schedules.length + 1}`, ...body };
    mock.world.schedules.push(one);
    mock.life.emit("schedules");
    return { status: 201, value: one };
  }],
  ["PATCH", path("/v1/schedules/([^/]+)"), (ask) => ({ value: Object.assign(schedule(ask), ask.body) })],
  ["DELETE", path("/v1/schedules/([^/]+)"), (ask) => {
    const one = schedule(ask);
    ask.mock.world.schedules = ask.mock.world.schedules.filter((other) => other !== one);
    return { status: 204 };
  }],
  ["POST", path("/v1/schedules/([^/]+)/run"), (ask) => ({ status: 202, value: ask.mock.world.page(ask.mock.life.start({ goal: schedule(ask).taskInstructions, repo: REPO })) })],
];
