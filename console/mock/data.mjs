// Made-up sessions, the same with every start: their states, records by number (computed, not held), texts by digest.
// Knows no network. Where to start: World.
import { blake3 } from "@noble/hashes/blake3.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";

export const BEGAN = Date.parse("2026-11-20T06:00:00.000Z");
export const iso = (ms) => new Date(ms).toISOString();
export const uuid = (n, ms = BEGAN) => {
  const time = ms.toString(16).padStart(12, "0");
  const rest = n.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${rest}`;
};
export const short = (id) => id.slice(-8);

/** Numbers that look random and are not. */
export function dice(seed) {
  let a = seed >>> 0;
  return (sides) => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % sides;
  };
}

const GOALS = ["fix the failing test", "make clippy pass", "add a retry to the upload", "split the parser", "write the release notes", "port the build to the new toolchain", "find why the cache misses", "review the open branch"];
const TOOLS = ["read", "search", "edit", "shell"];
const STAGES = ["implement", "validate", "quality", "integrate"];
const ENDS = ["completed", "completed", "completed", "failed", "cancelled"];
export const REPO = "/home/ada/project";
const zero = () => ({ nanos: 0, tokens: 0, steps: 0, time_ms: 0 });

const workflow = {
  name: "default",
  stages: STAGES.map((name, at) => ({
    name,
    kind: ["agent", "check", "inspect", "integrate"][at],
    ok: at < 3 ? { to: STAGES[at + 1] } : "end",
    fail: at ? { to: "implement" } : "end",
  })),
};

export class World {
  constructor({ sessions = 1000, long = 100_000 } = {}) {
    this.blobs = new Map();
    this.sessions = new Map();
    this.digests = new Map();
    this.rev = 1;
    this.requests = new Map();
    this.schedules = [
      { repo: REPO, id: "nightly", name: "Nightly check", mode: "code", taskInstructions: "run every check and mend what is red", scheduleType: "interval", timeInterval: "1", timeUnit: "day", active: true, nextExecutionTime: iso(BEGAN + 86_400_000) },
      { repo: REPO, id: "deps", name: "Dependencies", mode: "code", taskInstructions: "update what is old", scheduleType: "interval", timeInterval: "7", timeUnit: "day", active: false },
    ];
    for (let n = 0; n < sessions; n++) this.made(n, n === 0 ? long : 0);
  }

  put(text) {
    const known = this.digests.get(text);
    if (known) return known;
    const digest = bytesToHex(blake3(utf8ToBytes(text)));
    this.digests.set(text, digest);
    this.blobs.set(digest, text);
    return digest;
  }

  made(n, long) {
    const roll = dice(n + 7);
    const kind = n === 0 ? "running" : n < 8 ? "running" : n < 20 ? "waiting" : n < 24 ? "paused" : ENDS[roll(ENDS.length)];
    const parent = n % 5 === 3 && n > 25 ? uuid(n - 1, BEGAN + (n - 1) * 1000) : undefined;
    const s = this.open(uuid(n, BEGAN + n * 1000), `${GOALS[roll(GOALS.length)]} (${n})`, { parent, length: long || 40 + roll(80), status: kind });
    s.used = { nanos: roll(900) * 1_000_000, tokens: roll(400_000), steps: roll(90), time_ms: roll(600_000) };
    if (n === 0) s.goalText = "keep the service green for a month";
    if (kind === "waiting") this.ask(s, n % 3 === 1 ? "question" : "call", n);
    if (kind === "paused") s.pause = { why: "budget", what: "the tree's cap is used up", hint: `kapell resume ${short(s.id)} --add-usd 1`, code: 7 };
    if (n === 1 || n === 0) s.tasks = this.plan();
    return s;
  }

  plan() {
    const names = [["survey", []], ["parser", ["survey"]], ["printer", ["survey"]], ["tests", ["parser", "printer"]], ["docs", ["printer"]], ["release", ["tests", "docs"]]];
    const states = ["done", "done", "active", "pending", "failed", "skipped"];
    return names.map(([id, after], at) => ({ id, goal: this.put(`write the ${id}`), after, state: states[at] }));
  }

  open(id, goal, { parent, length = 0, status = "running", repo = REPO, model = "builtin/fixer" } = {}) {
    const s = {
      id, parent, repo, model, status, goalText: goal, length, extra: [], asks: [], pause: undefined, turn: 1, step: 2,
      stage: "implement", round: 0, used: zero(), savepoints: ["1.2", "1.4", "1.6"], tasks: [], todo: [], jobs: [],
      opened: Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16), at: Date.now() - 60_000, doing: undefined, queue: [],
      roll: dice(Number.parseInt(id.slice(-6), 16) + 1), script: 0, end: undefined, verdict: undefined,
    };
    if (status === "running") s.doing = { action: "1.9", work: "model", on: model, attempt: 1, since: Date.now() };
    if (["completed", "failed", "cancelled"].includes(status)) {
      s.end = { code: status === "completed" ? 0 : status === "failed" ? 3 : 130, why: status === "completed" ? "confirmed and landed" : status };
      s.verdict = status === "completed" ? "CONFIRMED" : "REFUTED";
    }
    this.sessions.set(id, s);
    return s;
  }

  ask(s, kind, n = 0, command = "git push origin main") {
    const name = `${kind === "question" ? "q" : "a"}${s.length + s.extra.length + 1}`;
    const base = { session_id: s.id, id: name, short: short(s.id), goal: s.goalText, asked_at: iso(BEGAN + n), used_with_children: s.used };
    const asked = kind === "question"
      ? { ...base, kind: "question", what: "the agent asks", content: "Which branch should this land on?", choices: ["main", "release"], commands: [], hash: null }
      : { ...base, kind: "approval", what: "may this shell call run? It is external (it publishes)", content: `command: ${command}\n`, commands: [], hash: this.put(`${s.id}${command}`), expires: iso(Date.now() + 3_600_000), tool: "shell", class: "external", rule: "`git push`: it publishes (built-in)", cwd: s.repo, reserved: { nanos: 12_000_000, tokens: 4000 } };
    s.asks.push(asked);
    return asked;
  }

  head(s) {
    return s.length + s.extra.length;
  }

  /** The record of this number. The first `length` are computed each time, so that 100,000 take no memory. */
  record(s, seq) {
    if (seq > s.length) return s.extra[seq - s.length - 1];
    const at = iso(s.opened + seq * 250);
    return { v: 1, seq, at, event: this.event(s, seq) };
  }

  event(s, seq) {
    if (seq === 1) return this.opened(s);
    const group = Math.floor((seq - 2) / 6);
    const action = `${1 + Math.floor(group / 20)}.${group + 1}`;
    const roll = dice(group * 31 + s.length);
    const model = group % 2 === 0;
    const file = `src/part${roll(40)}.rs`;
    switch ((seq - 2) % 6) {
      case 0:
        return { selected: { action, source: roll(9) ? "main-loop" : "recovery", wish: "continue", why: roll(5) ? "the only one" : "higher class", ...(roll(5) ? {} : { others: [{ source: "schedule", wish: "continue", why: "lower class" }] }) } };
      case 1:
        return { started: { action, attempt: 1, work: model ? { model: { model: s.model, ordinal: group } } : { tools: { calls: [this.call(group, TOOLS[roll(4)], file)] } }, class: model ? "billed" : "pure", why: "by its kind", deadline: iso(s.opened + seq * 250 + 600_000), fence: 1, reserved: { nanos: 3_000_000, tokens: 1200 } } };
      case 2: {
        const used = { nanos: 1_000_000 + roll(2_000_000), tokens: 700 + roll(400), steps: 1, time_ms: 100 + roll(900) };
        const done = model
          ? { said: { text: this.put(`Looking at ${file}: the loop ends one too early.`), bytes: 44, calls: [this.call(group, TOOLS[roll(4)], file)], stop: "tool-use", usage: { input: 600 + roll(300), output: 40, cache_read: roll(500) } } }
          : { ran: { results: [{ call: `c${group}`, ok: roll(12) > 0, text: this.put(`${file}:${roll(200)}: ok`), bytes: 20, changed: false }], savepoint: "e".repeat(40) } };
        return { finished: { outcome: { action, attempt: 1, end: { done }, used } } };
      }
      case 3:
        return roll(6) ? { submitted: { intent: { id: uuid(seq), session: s.id, source: "schedule", wish: "continue", key: `k${seq}`, at: iso(s.opened + seq * 250) } } } : { waits: { why: "rate", what: "50 requests a minute", until: iso(s.opened + seq * 250 + 2000) } };
      case 4:
        return roll(6) ? { disposed: { intent: uuid(seq - 1), how: "superseded" } } : { failed: { signature: "shell/exit-101", count: 1, then: "tell" } };
      default:
        return group % 50 === 49 ? { judged: { verdict: "REFUTED", result: "b".repeat(40), reasons: ["test: failed on base, fails on result"] } } : roll(4) ? { staged: { to: STAGES[roll(3)], round: roll(3), why: "checks are done" } } : { compacted: { why: "full", before: 140_000, after: 78_000, cap: 135_904 } };
    }
  }

  opened(s) {
    return { opened: { spec: { goal: this.put(s.goalText), goal_bytes: s.goalText.length, repo: s.repo, model: { id: s.model, card: { context_tokens: 200_000, output_tokens: 8192 } }, mode: "code", workflow, rights: { ask: "external", land: true, delegate: true }, budget: { nanos: 5_000_000_000, tokens: "unlimited", steps: 1000, time_ms: "unlimited" } } } };
  }

  call(group, tool, file) {
    const args = tool === "shell" ? { command: `cargo test ${file}` } : { path: file };
    return { id: `c${group}`, tool, args: this.put(JSON.stringify(args)), class: tool === "shell" ? "staged" : "pure", why: "by its kind", hash: this.put(file) };
  }

  row(s, children = true) {
    const own = [...this.sessions.values()];
    const below = children ? own.filter((other) => other.parent === s.id) : [];
    const now = Date.now();
    const asked = s.asks[0];
    const waits = asked
      ? { for: asked.kind === "question" ? "answer" : "approval", what: asked.what, type_next: `kapell approve ${short(s.id)}` }
      : s.pause && !s.end ? { for: "resume", what: s.pause.what, type_next: s.pause.hint } : undefined;
    const row = {
      id: s.id, short: short(s.id), goal: this.put(s.goalText), goal_text: s.goalText, status: s.end ? s.status : s.pause ? "paused" : asked ? "waiting" : s.status,
      stage: s.stage, round: s.round, quiet_ms: Math.max(0, now - s.at), used: s.used, used_with_children: s.used, events: this.head(s),
    };
    if (s.doing && !waits && !s.end) row.doing = { action: s.doing.action, work: s.doing.work, on: s.doing.on, attempt: s.doing.attempt, for_ms: now - s.doing.since };
    if (waits && !s.end) row.waits = waits;
    if (s.end) Object.assign(row, { code: s.end.code, ended: s.end.why });
    if (s.parent) row.parent = s.parent;
    if (below.length) row.children = below.map((child) => this.row(child));
    return row;
  }

  board() {
    const below = new Map();
    for (const s of this.sessions.values()) if (s.parent) below.set(s.parent, [...(below.get(s.parent) ?? []), s]);
    const tree = (s) => {
      const row = this.row(s, false);
      const children = below.get(s.id);
      if (children) row.children = children.map(tree);
      return row;
    };
    return [...this.sessions.values()].filter((s) => !s.parent || !this.sessions.has(s.parent)).reverse().map(tree);
  }

  page(s) {
    const row = this.row(s, false);
    return {
      session_id: s.id, short: short(s.id), state: row.status, exit_code: s.end?.code ?? s.pause?.code ?? null, why: s.end?.why ?? s.pause?.what ?? null,
      waits: row.waits ?? null, stage: s.stage, round: s.round, goal: s.goalText, repo: s.repo, model: s.model, opened: iso(s.opened), updated: iso(s.at),
      events: this.head(s), steps: s.used.steps, tokens: s.used.tokens, cost_nanos: s.used.nanos, verdict: s.verdict ?? null, landed: s.status === "completed" ? "b".repeat(40) : null,
      parent: s.parent ?? null, children: 0, holder: s.end ? null : "mock", broken: null,
    };
  }

  show(s) {
    return { ...this.page(s), waiting: s.asks, savepoints: s.savepoints, todo: s.todo, reasons: s.verdict ? ["test: failed on base, passes on result"] : [] };
  }
}
