// What happens in the made-up world: sessions go through a small workflow, answer wishes, and tell who follows them.
// Where to start: Life.start and Life.wish.
import { EventEmitter } from "node:events";
import { iso, short, uuid } from "./data.mjs";

/** Between two steps of a session that is played, milliseconds. */
const STEP_MS = 120;

export class Life extends EventEmitter {
  constructor(world) {
    super();
    this.setMaxListeners(0);
    this.world = world;
    this.changedAt = new Map();
    this.made = 0;
    this.timers = new Set();
  }

  close() {
    for (const timer of this.timers) clearTimeout(timer);
    this.closed = true;
  }

  later(ms, run) {
    if (this.closed) return;
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      run();
    }, ms);
    timer.unref();
    this.timers.add(timer);
  }

  /** Puts events on record and tells everybody. */
  commit(s, ...events) {
    s.at = Date.now();
    for (const event of events) {
      const record = { v: 1, seq: this.world.head(s) + 1, at: iso(s.at), event };
      s.extra.push(record);
      this.emit("record", s, record);
    }
    this.changed(s);
  }

  changed(s) {
    const rev = ++this.world.rev;
    this.changedAt.set(s.id, rev);
    this.emit("row", s, rev);
  }

  asked(s) {
    this.emit("asked", s, ++this.world.rev);
    this.changed(s);
  }

  next(s) {
    return `${s.turn}.${++s.step}`;
  }

  begin(s, work, on, value, kind) {
    const action = this.next(s);
    s.doing = { action, work, on, attempt: 1, since: Date.now() };
    this.commit(
      s,
      { selected: { action, source: "main-loop", wish: "continue", why: "the only one" } },
      { started: { action, attempt: 1, work: value, class: kind, why: "by its kind", deadline: iso(Date.now() + 600_000), fence: 1, reserved: { nanos: 2_000_000, tokens: 900 } } },
    );
    return action;
  }

  finish(s, action, done, more = []) {
    s.doing = undefined;
    s.used = { nanos: s.used.nanos + 1_200_000, tokens: s.used.tokens + 640, steps: s.used.steps + 1, time_ms: s.used.time_ms + STEP_MS };
    this.commit(s, { finished: { outcome: { action, attempt: 1, end: { done }, used: { nanos: 1_200_000, tokens: 640, steps: 1, time_ms: STEP_MS } } } }, ...more);
  }

  end(s, state, code, why) {
    s.doing = undefined;
    s.status = state;
    s.end = { code, why };
    this.commit(s, { ended: { state, code, why } });
    if (s.asks.length) {
      s.asks = [];
      this.asked(s);
    }
  }

  /** Opens a session and lets it live. */
  start(fields) {
    const id = uuid(900_000 + ++this.made, Date.now());
    const from = fields.from && this.world.sessions.get(fields.from.session_id);
    const s = this.world.open(id, fields.goal ?? from?.goalText ?? "", { repo: fields.repo ?? from?.repo, model: fields.model || from?.model || "builtin/fixer" });
    s.doing = undefined;
    s.savepoints = [];
    s.steps = 0;
    this.commit(s, this.world.opened(s));
    this.later(STEP_MS, () => this.step(s));
    return s;
  }

  /** One step of the small workflow; a goal with "ask" needs a yes, one with "long" goes on until it is stopped. */
  step(s) {
    if (s.end || s.pause || s.asks.length || this.closed) return;
    const at = s.script++;
    const again = () => this.later(STEP_MS, () => this.step(s));
    if (at === 0) {
      const action = this.begin(s, "prepare", "", "prepare", "keyed");
      this.later(STEP_MS, () => {
        this.finish(s, action, { prepared: { base: "a".repeat(40), target: "main", checks: [], goal_checks: ["test"] } }, [{ staged: { to: "implement", round: 0, why: "the workspace stands" } }]);
        again();
      });
    } else if (at % 2 === 1) this.speak(s, again);
    else if (at === 2 && s.goalText.includes("ask")) {
      const asked = this.world.ask(s, "call");
      s.onAnswer = (yes) => {
        if (yes) this.tools(s, again);
        else this.end(s, "failed", 6, "the approval was denied");
      };
      this.commit(s, { "approval-asked": { approval: asked.id, subject: { call: { call: `c${s.step}` } }, hash: asked.hash, expires: asked.expires } });
      this.asked(s);
    } else if (at < 5 || s.goalText.includes("long")) this.tools(s, again);
    else this.check(s);
  }

  speak(s, again) {
    const action = this.begin(s, "model", s.model, { model: { model: s.model, ordinal: s.step } }, "billed");
    const words = "I look at the test and see that the loop ends one too early.";
    const line = (event) => this.emit("progress", s, { type: "stream_event", session_id: s.id, action, attempt: 1, event, parent_tool_use_id: null });
    line({ type: "message_start", message: { id: action, type: "message", role: "assistant", model: s.model, content: [] } });
    words.split(" ").forEach((word, at) => {
      this.later(at * 15, () => line({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: `${word} ` } }));
    });
    this.later(STEP_MS * 2, () => {
      if (s.end) return;
      this.finish(s, action, { said: { text: this.world.put(words), bytes: words.length, calls: [this.world.call(s.step, "edit", "src/lib.rs")], stop: "tool-use", usage: { input: 600, output: 40 } } });
      again();
    });
  }

  tools(s, again) {
    const call = this.world.call(s.step, "edit", "src/lib.rs");
    const action = this.begin(s, "tools", "edit", { tools: { calls: [call] } }, "staged");
    s.savepoints.push(action);
    this.later(STEP_MS, () => {
      if (s.end) return;
      this.finish(s, action, { ran: { results: [{ call: call.id, ok: true, text: this.world.put("1 file changed"), bytes: 14, changed: true }], savepoint: "e".repeat(40) } });
      again();
    });
  }

  check(s) {
    s.stage = "validate";
    const action = this.begin(s, "check", "", { check: { base_known: false } }, "staged");
    this.later(STEP_MS, () => {
      const run = (side, status) => ({ check: "test", side, status, exit: status === "passed" ? 0 : 101, log: this.world.put(`log on ${side}: ${status}`), ms: 1200, tests: { passed: 12, failed: status === "passed" ? 0 : 1, ignored: 0 } });
      s.verdict = "CONFIRMED";
      this.finish(s, action, { checked: { base: "a".repeat(40), result: "b".repeat(40), same_tree: false, runs: [run("base", "failed"), run("result", "passed")] } }, [
        { judged: { verdict: "CONFIRMED", result: "b".repeat(40), reasons: ["test: failed on base, passes on result"] } },
        { staged: { to: "integrate", round: 0, why: "confirmed" } },
      ]);
      s.stage = "integrate";
      this.end(s, "completed", 0, "confirmed and landed");
    });
  }

  /** What becomes of a wish: as `kapell::cmd::tell` prints it. */
  wish(s, wish, key) {
    const [kind, body] = typeof wish === "string" ? [wish, {}] : [Object.keys(wish)[0], Object.values(wish)[0] ?? {}];
    const id = uuid(700_000 + ++this.made, Date.now());
    const told = (taken, why = "") => ({ session_id: s.id, wish: kind, taken, why, holder: "mock", next: "", intent: id, key });
    const refused = (why) => told("refused", why);
    if (s.end) return refused("the session is over");
    const stored = body.text === undefined ? wish : { [kind]: { ...body, text: this.world.put(body.text), bytes: body.text.length } };
    this.commit(s, { submitted: { intent: { id, session: s.id, source: "user", wish: stored, key, at: iso(Date.now()) } } });
    const applied = () => this.commit(s, { disposed: { intent: id, how: "applied" } });
    switch (kind) {
      case "cancel":
        this.commit(s, { "cancel-asked": { by: id } });
        this.later(30, () => this.end(s, "cancelled", 130, "cancelled by you"));
        return told("applied");
      case "pause":
        s.pause = { why: "user", what: "you paused it", hint: `kapell resume ${short(s.id)}`, code: 8 };
        s.doing = undefined;
        this.commit(s, { paused: { why: "user", what: "you paused it", code: 8 } });
        return told("applied");
      case "resume":
      case "continue":
        s.pause = undefined;
        this.commit(s, { resumed: {} });
        this.later(STEP_MS, () => this.step(s));
        return told("applied");
      case "message":
        applied();
        return told("queued");
      case "answer":
        if (!s.asks.some((asked) => asked.id === body.question)) return refused("there is no such question");
        s.asks = s.asks.filter((asked) => asked.id !== body.question);
        this.commit(s, { answered: { question: body.question, text: this.world.put(body.text), bytes: body.text.length, by: id } });
        this.asked(s);
        return told("applied");
      case "rewind": {
        if (!s.savepoints.includes(body.to)) return refused(`there is no savepoint of action ${body.to}`);
        const action = this.next(s);
        this.commit(
          s,
          { selected: { action, intent: id, source: "user", wish: "rewind", why: "a person goes first", others: [{ source: "main-loop", wish: "continue", why: "lower class" }] } },
          { started: { action, attempt: 1, work: { rewind: { to: body.to } }, class: "staged", why: "can itself be rewound", deadline: iso(Date.now() + 60_000), fence: 1 } },
          { finished: { outcome: { action, attempt: 1, end: { done: { rewound: { to: body.to, undo: "f".repeat(40) } } }, used: { steps: 1 } } } },
        );
        s.savepoints.push(action);
        return told("queued");
      }
      default:
        return refused(`nobody may wish ${kind} here`);
    }
  }

  /** A yes or a no to exactly this. */
  answer(s, name, say) {
    const asked = s.asks.find((one) => one.id === name);
    if (!asked) return undefined;
    s.asks = s.asks.filter((one) => one !== asked);
    this.commit(s, { "approval-answered": { approval: name, answer: say === "yes" ? "granted" : "denied" } });
    this.asked(s);
    const after = s.onAnswer;
    s.onAnswer = undefined;
    if (after) after(say === "yes");
    return { session_id: s.id, wish: say === "yes" ? "approve" : "deny", taken: "applied", why: "", holder: "mock", next: "" };
  }

  /** Every session that is not over changes about once a second. */
  tick(perSecond) {
    const all = [...this.world.sessions.values()].filter((s) => !s.end);
    let at = 0;
    const each = Math.max(1, Math.round(perSecond / 20));
    const go = () => {
      for (let n = 0; n < each && all.length; n++) {
        const s = all[at++ % all.length];
        s.used = { ...s.used, tokens: s.used.tokens + 10, nanos: s.used.nanos + 10_000 };
        this.commit(s, { warned: { what: `tick ${at}` } });
      }
      this.later(50, go);
    };
    go();
  }
}
