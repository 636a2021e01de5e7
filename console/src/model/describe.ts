// What an event says, in one line: kind, words, tone, and the texts it names. Every stored kind has a line; one that is newer
// than this page is shown by its name and as JSON. Knows no screen. Where to start: describe.

import type { Stored, Texts } from "../api/types";
import { line } from "./clean";
import { clock, count, short, span, usd } from "./format";

export type Tone = "plain" | "good" | "bad" | "warn" | "ask" | "quiet";

export interface Told {
  kind: string;
  words: string;
  tone: Tone;
  /** Digests that stand in it, by what they are. */
  texts: [name: string, digest: string][];
}

// Stored shapes are open: fields are looked at one by one.
// biome-ignore lint/suspicious/noExplicitAny: records come from a journal that may be newer than this page
type Any = any;

/** The kind of an event, and its body. */
export function split(event: Record<string, unknown> | string): [string, Any] {
  if (typeof event === "string") return [event, {}];
  const kind = Object.keys(event)[0] ?? "nothing";
  return [kind, event[kind] ?? {}];
}

const part = (value: Any): [string, Any] => (value === undefined || value === null ? ["", {}] : split(value));

type Say = (body: Any, at: (digest?: string | null) => string) => [words: string, tone?: Tone, texts?: [string, string][]];

const amount = (of: Any): string =>
  [of?.nanos && usd(of.nanos), of?.tokens && `${count(of.tokens)} tokens`].filter(Boolean).join(", ");

const named = (name: string, digest: Any): [string, string][] => (typeof digest === "string" ? [[name, digest]] : []);

function calls(list: Any, at: (digest?: string) => string): [string, [string, string][]] {
  const all: Any[] = Array.isArray(list) ? list : [];
  const words = all.map((call) => `${call.tool} ${args(at(call.args))}`.trim()).join("; ");
  return [words, all.flatMap((call) => named(`arguments of ${call.tool}`, call.args))];
}

/** The one argument that says most. */
function args(text: string): string {
  if (!text) return "";
  try {
    const map = JSON.parse(text) as Record<string, unknown>;
    for (const name of ["command", "path", "file", "pattern", "query", "url", "goal", "question"])
      if (typeof map[name] === "string") return line(map[name] as string, 200);
  } catch {
    // A text that was cut is no JSON.
    const found = /"(?:command|path|file|pattern|query|url|goal)"\s*:\s*"((?:[^"\\]|\\.)*)/.exec(text);
    if (found) return line(found[1]!, 200);
  }
  return line(text, 200);
}

function work(value: Any, at: (digest?: string) => string): [string, [string, string][]] {
  const [kind, body] = part(value);
  if (kind === "tools") return calls(body.calls, at);
  if (kind === "model" || kind === "summarise") return [`${kind} ${body.model ?? ""}`, []];
  if (kind === "adopt") return [`take over the work of ${short(String(body.child ?? ""))}`, []];
  if (kind === "rewind") return [`back to before ${body.to}`, []];
  if (kind === "integrate" || kind === "inspect") return [`${kind} ${String(body.result ?? "").slice(0, 12)}`, []];
  if (kind === "hooks") return [`hooks ${body.asked?.event ?? ""} ${body.asked?.about ?? ""}`.trim(), []];
  return [kind, []];
}

function end(value: Any, at: (digest?: string) => string): [string, Tone, [string, string][]] {
  const [kind, body] = part(value);
  if (kind === "failed") return [`failed: ${body.what ?? ""}`, "bad", named("detail", body.detail)];
  if (kind === "cancelled") return ["stopped on request", "warn", []];
  if (kind === "timed-out") return ["ran past its deadline", "bad", []];
  if (kind === "unknown") return ["nobody saw its end", "bad", []];
  const [what, done] = part(body);
  switch (what) {
    case "said": {
      const [words, texts] = calls(done.calls, at);
      const said = at(done.text);
      const both = [said && `“${said}”`, words && `asks for ${words}`].filter(Boolean).join(" ");
      return [both || "said nothing", "plain", [...named("what it said", done.text), ...texts]];
    }
    case "ran": {
      const results: Any[] = done.results ?? [];
      const bad = results.filter((result) => !result.ok).length;
      const words = results.map((result) => at(result.text)).filter(Boolean).join(" | ");
      const texts = results.flatMap((result) => [
        ...named(`result of ${result.call}`, result.text),
        ...named(`whole output of ${result.call}`, result.full),
      ]);
      return [`${bad ? `${bad} of ${results.length} failed: ` : ""}${words || "ran"}`, bad ? "bad" : "plain", texts];
    }
    case "prepared":
      return [`workspace stands at ${String(done.base ?? "").slice(0, 12)}, ${done.checks?.length ?? 0} checks`, "plain", []];
    case "checked": {
      const runs: Any[] = done.runs ?? [];
      const words = runs.map((run) => `${run.check} on ${run.side}: ${run.status}`).join("; ");
      const bad = runs.some((run) => run.side === "result" && run.status !== "passed");
      return [words || "no checks", bad ? "bad" : "good", runs.flatMap((run) => named(`log of ${run.check} on ${run.side}`, run.log))];
    }
    case "inspected":
      return [`${done.files ?? 0} files changed, ${done.flags?.length ?? 0} things to look at`, done.flags?.length ? "warn" : "plain", []];
    case "integrated":
      return done.landed
        ? [`landed as ${String(done.landed).slice(0, 12)} on ${done.branch ?? ""}`, "good", []]
        : [`not landed: ${done.why ?? ""}${done.branch ? `; the work is on ${done.branch}` : ""}`, "warn", named("detail", done.detail)];
    case "adopted":
      return [done.clean ? "the child's work is taken over" : "the child's work conflicts", done.clean ? "plain" : "bad", named("told", done.text)];
    case "rewound":
      return [`the workspace is as before ${done.to}`, "warn", []];
    case "summarised":
      return ["worded what left the context", "quiet", named("words", done.text)];
    case "hooked":
      return [`${done.answers?.length ?? 0} hooks answered`, "quiet", named("told", done.told)];
    default:
      return [what || "done", "plain", []];
  }
}

function wish(value: Any, at: (digest?: string) => string): [string, [string, string][]] {
  const [kind, body] = part(value);
  const text = at(body.text);
  return [`${kind}${text ? ` “${text}”` : ""}${body.to ? ` to ${body.to}` : ""}`, named("text", body.text)];
}

const SAY: Record<string, Say> = {
  opened: ({ spec }, at) => [`goal: ${at(spec?.goal)}`, "plain", named("goal", spec?.goal)],
  submitted: ({ intent }, at) => {
    const [words, texts] = wish(intent?.wish, at);
    return [`${intent?.source ?? ""} wishes: ${words}`, "plain", texts];
  },
  disposed: ({ how }) => {
    const [kind, body] = part(how);
    return [`a wish was ${kind}${typeof body === "string" ? `: ${body}` : ""}`, kind === "refused" ? "warn" : "quiet"];
  },
  selected: (b) => [
    `${b.action} ${b.wish}, wanted by ${b.source}: ${b.why}${b.others?.length ? `; ${b.others.length} others waited` : ""}`,
    "quiet",
  ],
  started: (b, at) => {
    const [words, texts] = work(b.work, at);
    const held = amount(b.reserved);
    return [`${b.action} ${words}${b.attempt > 1 ? ` (attempt ${b.attempt})` : ""} · ${b.class}${held ? ` · reserved ${held}` : ""}`, "plain", texts];
  },
  finished: ({ outcome }, at) => {
    const [words, tone, texts] = end(outcome?.end, at);
    const used = amount(outcome?.used);
    const time = outcome?.used?.time_ms ? span(outcome.used.time_ms) : "";
    return [`${outcome?.action} ${words}${used || time ? ` · ${[used, time].filter(Boolean).join(", ")}` : ""}`, tone, texts];
  },
  stale: ({ outcome }) => [`a late outcome of ${outcome?.action} was not applied`, "warn"],
  staged: (b) => [`on to ${b.to}${b.round ? ` (round ${b.round})` : ""}: ${b.why}`],
  judged: (b) => [
    `${b.verdict}: ${(b.reasons ?? []).join("; ")}`,
    b.verdict === "CONFIRMED" ? "good" : b.verdict === "REFUTED" ? "bad" : "warn",
  ],
  noticed: ({ notice }, at) => {
    const [kind, body] = part(notice);
    const logs: [string, string][] = (body.logs ?? []).map(([name, log]: [string, string]) => [`log of ${name}`, log]);
    const words = (body.reasons ?? []).join("; ") || body.what || body.why || body.signature || body.task || at(body.text);
    return [`the agent is told: ${kind}${words ? `: ${words}` : ""}`, "plain", [...logs, ...named("text", body.text), ...named("goal", body.goal)]];
  },
  "approval-asked": (b) => [`${b.approval}: a yes is needed (${part(b.subject)[0]}), until ${clock(String(b.expires))}`, "ask"],
  "approval-answered": (b) => [`${b.approval} was ${b.answer}`, b.answer === "granted" ? "good" : "warn"],
  asked: (b, at) => [`${b.question}: ${b.why || at(b.text) || "a question"}`, "ask", named("question", b.text)],
  answered: (b, at) => [`${b.question} was answered: ${at(b.text)}`, "plain", named("answer", b.text)],
  "call-answered": (b) => [`${b.call}: ${b.what}`, b.ok ? "plain" : "warn"],
  garbled: (b) => [`something in the inbox was refused: ${b.why}`, "warn"],
  "child-opened": (b) => [`opened the child session ${short(String(b.child))}`],
  planned: (b) => [`planned ${b.tasks?.length ?? 0} tasks`, "plain", (b.tasks ?? []).map((task: Any) => [`goal of ${task.id}`, task.goal])],
  "task-moved": (b) => [`task ${b.task} is ${b.to}`, b.to === "failed" ? "bad" : b.to === "done" ? "good" : "plain"],
  cut: (b) => [`the ${b.items} oldest entries left the context`, "quiet"],
  compacted: (b) => [`the conversation was cut (${b.why}): ${count(b.before)} tokens before, ${count(b.after)} after`, "warn", named("summary", b.summary?.text)],
  uncompacted: (b) => [`${b.items?.length ?? 0} entries are shown to the model again`],
  repaired: (b) => [`the conversation was mended: ${b.what}`, "warn"],
  paused: (b) => [`paused (${b.why})${b.what ? `: ${b.what}` : ""}`, "ask"],
  resumed: (b) => [`resumed${b.model?.id ? ` with ${b.model.id}` : ""}`],
  waits: (b) => [`waits until ${clock(String(b.until))} (${b.why}): ${b.what}`, "warn"],
  "fell-back": (b) => [`${b.to?.id} has the word from now on: ${b.why}`, "warn"],
  warned: (b) => [b.what, "warn"],
  failed: (b) => [`${b.signature} failed, ${b.count} in a row; then: ${b.then}`, "bad"],
  recovered: (b) => [b.found ? `a new process found ${b.found} in flight: ${b.did}` : "a new process took over", "warn"],
  "cancel-asked": () => ["cancel was asked for", "warn"],
  ending: (b) => [`is about to end: ${b.state}`, "quiet"],
  ended: (b) => [
    `ended ${b.state} (${b.code}): ${b.why}`,
    b.state === "completed" ? "good" : b.state === "failed" ? "bad" : "warn",
    named("last words", b.summary),
  ],
};

export const KINDS = Object.keys(SAY);

export function describe(record: Stored, texts?: Texts): Told {
  const [kind, body] = split(record.event);
  const at = (digest?: string | null) => (digest && texts?.[digest] !== undefined ? line(texts[digest]!, 300) : "");
  const say = SAY[kind];
  if (!say) return { kind: line(kind, 40), words: line(JSON.stringify(body) ?? "", 300), tone: "plain", texts: [] };
  const [words, tone = "plain", named_ = []] = say(body, at);
  return { kind, words: line(String(words ?? ""), 500), tone, texts: named_ };
}
