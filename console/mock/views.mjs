// Answers of the mock that are more than a lookup: explanations, costs, diffs, figures. Pure over the made-up world.
import { BEGAN, dice, iso, uuid } from "./data.mjs";

const actionsOf = (world, s) => Math.max(1, Math.floor((world.head(s) - 1) / 6));

export function why(world, s, limit, before) {
  const all = [];
  const total = s.length ? actionsOf(world, s) : 0;
  const end = before ? Number(before.split(".")[1]) - 1 : total;
  for (let n = Math.max(0, end - limit); n < end; n++) {
    const roll = dice(n * 31 + s.length);
    const action = `${1 + Math.floor(n / 20)}.${n + 1}`;
    const at = iso(s.opened + n * 1500);
    const source = ["main-loop", "main-loop", "user", "subtask", "recovery"][roll(5)];
    const others = [["schedule", "continue"], ["main-loop", "continue"], ["planner", "next-task"]].slice(0, roll(4)).map(([from, wish]) => ({ source: from, wish, why: "lower class" }));
    all.push({
      action, at, source, wish: source === "user" ? "message" : "continue", why: source === "user" ? "a person goes first" : "the only one", others,
      work: n % 2 ? "tools" : "model",
      attempts: [{ attempt: 1, at, class: n % 2 ? "staged" : "billed", class_why: "by its kind", deadline: at, fence: 1, reserved: { nanos: 3_000_000, tokens: 900, steps: 0, time_ms: 0 }, end: roll(9) ? "done" : "failed (transient, reset): the connection was reset", ended: iso(s.opened + n * 1500 + 700), used: { nanos: 1_000_000, tokens: 640 } }],
      ...(roll(4) ? {} : { then: ["on to validate: checks are due"] }),
    });
  }
  const intents = [{ intent: uuid(5), source: "schedule", wish: "continue", submitted: iso(BEGAN), fate: { disposed: { at: iso(BEGAN + 9), how: "superseded" } } }];
  return { actions: all, intents, total, ...(world.row(s, false).waits ? { waits: world.row(s, false).waits } : {}), ...(s.end ? { ended: `${s.status}, exit code ${s.end.code}: ${s.end.why}` } : {}) };
}

const part = (name, calls, settled) => ({ name, calls, reserved: settled, held: { nanos: 0, tokens: 0 }, settled, over: {} });

export function cost(s) {
  const cap = { nanos: 5_000_000_000, tokens: "unlimited", steps: 1000, time_ms: "unlimited" };
  return {
    cap, total: part("total", s.used.steps, s.used), frozen: false,
    sessions: [{ session: s.id, cap, own: part(s.id, s.used.steps, s.used), settled_with_children: s.used }],
    models: [part(s.model, s.used.steps, s.used)],
    kinds: [part("model", 3, { nanos: s.used.nanos, tokens: s.used.tokens }), part("tools", 4, { steps: 4 })],
  };
}

export function calls(s) {
  const roll = dice(s.length + 3);
  const list = Array.from({ length: Math.min(400, 10 + Math.floor(s.length / 12)) }, (_, n) => ({
    session: s.id, action: `1.${n * 2 + 1}`, attempt: 1, model: s.model, mode: "code", at: iso(s.opened + n * 3000), ms: 400 + roll(2000), end: "done",
    nanos: 800_000 + roll(3_000_000), tokens: 640, usage: { input: 600 + roll(400), output: 40, cache_read: roll(500) }, estimated: false, saved: 100,
  }));
  const breaks = list.filter((_, n) => n % 40 === 17).map((call, n) => ({ before: `1.${n * 80 + 33}`, action: call.action, message: 12 + n, from: 9, speaker: "tool", why: n % 2 ? "the tools changed" : "the conversation was cut to make room" }));
  return { session_id: s.id, saved: list.length * 100_000, breaks, calls: list };
}

export function diff(s) {
  const files = s.bigDiff ?? 3;
  let [text, added, removed] = ["", 0, 0];
  for (let n = 0; n < files; n++) {
    const name = s.evilName && n === 0 ? s.evilName : `src/part${n}.rs`;
    text += `diff --git a/${name} b/${name}\nindex 1111111..2222222 100644\n--- a/${name}\n+++ b/${name}\n`;
    for (let h = 0; h < 3; h++) {
      const at = 1 + h * 40;
      text += `@@ -${at},6 +${at},7 @@ fn part${h}()\n let a = ${n};\n let b = ${h};\n-    for i in 0..n {\n+    for i in 0..=n {\n+        seen += 1;\n     use_it(a, b);\n }\n \n`;
      added += 2;
      removed += 1;
    }
  }
  return { session_id: s.id, of: "as it stands", files, added, removed, diff: text };
}

export function checks(world, s) {
  if (!s.verdict) return { verdict: null, result: null, reasons: [], flags: [], report: null };
  const good = s.verdict === "CONFIRMED";
  const run = (check, side, status) => ({ check, side, status, exit: status === "passed" ? 0 : 101, log: world.put(`running 12 tests\n${check} on ${side}\ntest result: ${status}\n`), ms: 1234, tests: { passed: 12, failed: status === "passed" ? 0 : 1, ignored: 2 } });
  return {
    verdict: s.verdict, result: "b".repeat(40), reasons: [good ? "test: failed on base, passes on result" : "test: fails on result"],
    flags: good ? [] : [{ code: "test-weakened", path: "tests/it.rs", what: "an assertion was taken out" }],
    report: { base: "a".repeat(40), result: "b".repeat(40), same_tree: false, runs: [run("test", "base", "failed"), run("test", "result", good ? "passed" : "failed"), run("clippy", "base", "passed"), run("clippy", "result", "passed")] },
  };
}

/** The newest entries of the conversation before this number. */
export function transcript(world, s, limit, before) {
  const items = [];
  const texts = {};
  const give = (digest) => {
    if (digest) texts[digest] = world.blobs.get(digest) ?? "";
    return digest;
  };
  for (let seq = Math.min(before || Number.MAX_SAFE_INTEGER, world.head(s) + 1) - 1; seq > 0 && items.length < limit; seq--) {
    const { at, event } = world.record(s, seq);
    const said = event.finished?.outcome.end.done?.said;
    if (said) items.push({ seq, at, role: "assistant", action: event.finished.outcome.action, text: give(said.text), calls: said.calls.map((call) => ({ call: call.id, tool: call.tool, args: give(call.args), class: call.class, outcome: { at, ok: true, text: give(world.put("ok")) } })) });
    else if (event.opened) items.push({ seq, at, role: "user", text: give(event.opened.spec.goal) });
  }
  items.reverse();
  return { items, texts };
}

export function series(since, step) {
  const from = Date.parse(since) || Date.now() - 3_600_000;
  const length = Math.min(400, Math.max(2, Math.floor((Date.now() - from) / step)));
  const wave = (seed, base, swing) => Array.from({ length }, (_, n) => (n % 97 === 50 ? null : Math.round(base + swing * Math.sin((n + seed) / 15) + (n % 7))));
  const one = (name, unit, base, swing, labels = {}) => ({ name, unit, labels, points: wave(base, base, swing) });
  return {
    step_ms: step, from: iso(from),
    series: [
      one("kapell_sessions", "count", 12, 5, { state: "running" }), one("kapell_sessions", "count", 6, 3, { state: "waiting" }),
      one("kapell_actions", "count", 40, 20, { kind: "model" }), one("kapell_actions", "count", 60, 25, { kind: "tools" }),
      one("kapell_tokens", "count", 40_000, 12_000), one("kapell_money_nanos", "nanos", 90_000_000, 30_000_000),
      one("kapell_decide_us", "us", 60, 20), one("kapell_commit_us", "us", 1800, 600), one("kapell_provider_ms", "ms", 900, 300),
      one("kapell_queue_depth", "count", 4, 3), one("kapell_breaker", "count", 0, 0), one("kapell_rss_bytes", "bytes", 90_000_000, 4_000_000),
    ],
  };
}

const setting = (key, value, origin = "default", kind = "default") => ({ key, value, origin, kind });
export const config = [
  setting("model", "builtin/fixer"), setting("ask", "external"), setting("land", true), setting("budget.usd", 5, "/home/ada/.config/kapell/config.toml:7", "file"),
  setting("sandbox.profile", "workspace-write"), setting("sandbox.network", "off"), setting("providers.work.key_env", "***", "/home/ada/.config/kapell/config.toml:21", "file"),
  setting("quiet_hours", "22:00-07:00", "/home/ada/project/.kapell/config.toml:2", "file"), setting("mode", "code", "KAPELL_MODE", "env"),
];

export const findings = [
  { level: "ok", name: "store", what: "the store opens and its newest events fold", hint: "" },
  { level: "note", name: "cgroup", what: "cgroup v2 is not handed on: memory of commands has no limit", hint: "systemd-run --user --scope kapell serve" },
];
