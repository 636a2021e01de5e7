import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe as group, expect, test } from "vitest";
import { Lines } from "../src/api/sse";
import type { BoardRow, Stored } from "../src/api/types";
import { path, thin, ticks } from "../src/model/chart";
import { line, text } from "../src/model/clean";
import { describe, KINDS, split } from "../src/model/describe";
import { parse as parseDiff } from "../src/model/diff";
import { count, span, usd } from "../src/model/format";
import { decode, resized, typed } from "../src/model/frames";
import { layout } from "../src/model/layout";
import { PAGE, Pages } from "../src/model/pages";
import { parse as parseRoute } from "../src/model/route";
import { Board, openOnes } from "../src/model/rows";

const GOLDEN = join(import.meta.dirname, "../../crates/contract/tests/golden/v1");

group("events", () => {
  const names = readdirSync(GOLDEN).filter((name) => !/^(ledger|quota|project|board)-/.test(name));

  test("every stored shape of an event has a line of its own", () => {
    expect(names.length).toBeGreaterThan(140);
    const met = new Set<string>();
    for (const name of names) {
      const record = JSON.parse(readFileSync(join(GOLDEN, name), "utf8")) as Stored;
      const told = describe(record);
      const [kind] = split(record.event);
      met.add(kind);
      expect(KINDS, `${name}: no line for ${kind}`).toContain(kind);
      expect(told.words, name).not.toMatch(/undefined|null|\[object|NaN/);
      expect(told.words.length, name).toBeGreaterThan(3);
      for (const [, digest] of told.texts) expect(digest, name).toMatch(/^[0-9a-f]{64}$/);
    }
    expect([...met].sort()).toEqual([...KINDS].sort());
  });

  test("a kind that is newer than the page is shown by its name", () => {
    const told = describe({ v: 9, seq: 1, at: "", event: { "of-tomorrow": { a: 1 } } });
    expect(told).toMatchObject({ kind: "of-tomorrow", words: '{"a":1}' });
  });

  test("texts stand where they are known", () => {
    const digest = "a".repeat(64);
    const record = { v: 1, seq: 1, at: "", event: { opened: { spec: { goal: digest } } } };
    expect(describe(record, { [digest]: "mend\nit" }).words).toBe("goal: mend it");
  });
});

group("streams", () => {
  const whole = "id: 4\r\nevent: record\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n: beat\n\nevent: row\rdata: x\r\rdata\n\nid: 5\ndata: y\n\n";

  test("however it is cut, the same messages come", () => {
    const all = new Lines().push(`${whole}:`);
    expect(all.map((m) => [m.event, m.data, m.id])).toEqual([
      ["record", '{"a":\n1}', "4"],
      ["row", "x", "4"],
      ["message", "", "4"],
      ["message", "y", "5"],
    ]);
    for (let at = 0; at < whole.length; at++) {
      const lines = new Lines();
      expect([...lines.push(whole.slice(0, at)), ...lines.push(whole.slice(at)), ...lines.push(":")]).toEqual(all);
    }
  });

  test("what is not whole is not given", () => {
    const lines = new Lines();
    expect(lines.push("data: a\n")).toEqual([]);
    expect(lines.push("\n")).toHaveLength(1);
  });
});

const row = (n: number, more: Partial<BoardRow> = {}): BoardRow => ({
  id: `id-${String(n).padStart(4, "0")}`,
  short: String(n),
  goal: "",
  goal_text: `goal ${n}`,
  status: "completed",
  stage: "",
  round: 0,
  quiet_ms: 0,
  used: {},
  used_with_children: {},
  ...more,
});
const doing = { action: "1.1", work: "model", on: "", attempt: 1, for_ms: 0 };
const ALL = { filter: "", states: "all" } as const;
const NONE = new Set<string>();

group("the board", () => {
  test("newest tree first, children below their parent in the order they were opened", () => {
    const board = new Board();
    board.replace([row(1, { children: [row(4), row(2, { children: [row(3)] })] }), row(5)], 0);
    const shown = () => board.lines(ALL, NONE, NONE).map((l) => `${l.depth}${l.row.short}`);
    expect(shown()).toEqual(["05", "01", "12", "23", "14"]);
    expect(board.lines(ALL, new Set(["id-0002"]), NONE).map((l) => l.row.short)).toEqual(["5", "1", "2", "4"]);
    board.apply(row(2, { parent: "id-0001", status: "failed" }), 1);
    expect(shown()).toEqual(["05", "01", "12", "23", "14"]);
    expect(board.lines(ALL, NONE, NONE)[2]!.row.status).toBe("failed");
    board.apply(row(6), 1);
    board.remove("id-0005");
    expect(shown()[0]).toBe("06");
  });

  test("a filter keeps what stands above a hit, and sees the newest state", () => {
    const board = new Board();
    board.replace([row(1, { children: [row(2)] }), row(3)], 0);
    board.apply(row(2, { parent: "id-0001", goal_text: "needle" }), 1);
    expect(board.lines({ filter: "NEED", states: "all" }, NONE, NONE).map((l) => l.row.short)).toEqual(["1", "2"]);
  });

  test("at most three stand open by themselves, who does stays, a person may open more", () => {
    const rows = [1, 2, 3, 4, 5].map((n) => row(n, { doing }));
    const first = openOnes(rows, NONE, new Map());
    expect([...first].sort()).toEqual(["id-0003", "id-0004", "id-0005"]);
    const more = openOnes([...rows, row(6, { doing })], first, new Map());
    expect([...more].sort()).toEqual([...first].sort());
    const fewer = openOnes(rows.slice(0, 4), first, new Map());
    expect(fewer.size).toBe(3);
    expect(fewer.has("id-0005")).toBe(false);
    const byHand = new Map([1, 2, 3, 4].map((n) => [`id-000${n}`, true] as const));
    expect(openOnes(rows, NONE, byHand).size).toBe(4);
    expect(openOnes(rows, first, new Map([["id-0005", false]])).has("id-0005")).toBe(false);
  });

  test("a thousand sessions are laid out quickly", () => {
    const board = new Board();
    board.replace(Array.from({ length: 1000 }, (_, n) => row(n)), 0);
    const began = performance.now();
    for (let n = 0; n < 50; n++) {
      board.apply(row(n, { status: "failed" }), n);
      board.lines(ALL, NONE, NONE);
    }
    expect((performance.now() - began) / 50).toBeLessThan(20);
  });
});

group("pages", () => {
  const stored = (seq: number): Stored => ({ v: 1, seq, at: "", event: { warned: { what: String(seq) } } });
  const tick = () => new Promise((done) => setTimeout(done));

  test("100,000 events are looked through while a few thousand are held", async () => {
    const asked: number[] = [];
    const load = async (after: number, limit: number) => {
      asked.push(after);
      return { items: Array.from({ length: limit }, (_, n) => stored(after + n + 1)), head: 100_000 };
    };
    const pages = new Pages(load, () => {});
    pages.head = 100_000;
    for (let at = 1; at < 100_000; at += 1_000) {
      pages.want(at, at + 40);
      await tick();
      expect(pages.get(at)?.record.seq).toBe(at);
    }
    expect(pages.pagesHeld).toBeLessThanOrEqual(31);
    expect(new Set(asked).size).toBe(asked.length);
  });

  test("records that come by themselves need no request, also across the end of a page", async () => {
    let loads = 0;
    const pages = new Pages(
      async (after) => {
        loads++;
        return { items: Array.from({ length: PAGE }, (_, n) => stored(after + n + 1)), head: PAGE };
      },
      () => {},
    );
    pages.head = PAGE;
    pages.want(PAGE - 10, PAGE);
    await tick();
    for (let n = 1; n <= 3; n++) pages.put(stored(PAGE + n));
    pages.want(PAGE, PAGE + 3);
    await tick();
    expect([pages.head, loads, pages.get(PAGE + 3)?.record.seq]).toEqual([PAGE + 3, 1, PAGE + 3]);
  });
});

group("small things", () => {
  test("a diff has numbers, files, and lines that look like heads stay lines", () => {
    const diff = parseDiff(
      "diff --git a/x y.rs b/x y.rs\nindex 1..2\n--- a/x y.rs\n+++ b/x y.rs\n@@ -1,3 +1,3 @@\n a\n--- b\n+++ c\n d\ndiff --git a/z b/z\nBinary files differ\n",
    );
    expect(diff.files).toEqual([
      { path: "x y.rs", at: 0, added: 1, removed: 1 },
      { path: "z", at: 9, added: 0, removed: 0 },
    ]);
    expect(diff.lines.slice(5, 9).map((l) => [l.kind, l.old, l.new, l.text])).toEqual([
      ["same", 1, 1, "a"],
      ["del", 2, undefined, "-- b"],
      ["add", undefined, 2, "++ c"],
      ["same", 3, 3, "d"],
    ]);
  });

  test("a plan is laid out by what waits for what, a circle ends", () => {
    const task = (id: string, after: string[] = []) => ({ id, after, goal: "", goal_text: "", state: "pending" });
    const graph = layout([task("a"), task("b", ["a"]), task("c", ["a", "gone"]), task("d", ["b", "c"])]);
    expect(graph.nodes.map((n) => [n.task.id, n.column, n.line])).toEqual([["a", 0, 0], ["b", 1, 0], ["c", 1, 1], ["d", 2, 0]]);
    expect(graph.edges).toHaveLength(4);
    expect(layout([task("a", ["b"]), task("b", ["a"])]).nodes).toHaveLength(2);
  });

  test("what would be hidden is written out", () => {
    expect(text("a\u202eb\u001b[31mc\u200bd\te\nf")).toBe("a\\u{202e}b\\u{1b}[31mc\\u{200b}d\te\nf");
    expect(line("a\n\n b")).toBe("a b");
    expect(line("x".repeat(900), 10)).toHaveLength(10);
  });

  test("numbers read as on the command line", () => {
    expect([0, 1_230_000_000, 1_500, "unlimited" as const].map(usd)).toEqual(["$0.00", "$1.23", "$0.000002", "no limit"]);
    expect([count(9_999), count(10_000), count(2_500_000)]).toEqual(["9999", "10.0k", "2.5M"]);
    expect([span(5), span(61_000), span(90_000_000)]).toEqual(["5 ms", "1 min 1 s", "1 d 1 h"]);
  });

  test("frames are one byte and a body", () => {
    expect(decode(new Uint8Array([0x73, 80, 0, 24, 0, 65]))).toMatchObject({ kind: "screen", columns: 80, rows: 24 });
    expect(decode(new Uint8Array([0x73, 80]))).toBeUndefined();
    expect(decode(new Uint8Array([0x7a]))).toBeUndefined();
    expect([...typed("a")]).toEqual([0x69, 0x61]);
    expect([...resized(300, 24)]).toEqual([0x72, 44, 1, 24, 0]);
  });

  test("an address that is none leads to the board", () => {
    const id = "01a1f78a-5300-7000-8000-000000000000";
    expect(parseRoute(`#/s/${id}/why?at=4`)).toMatchObject({ view: "session", id, tab: "why" });
    for (const bad of ["", "#/s/../../v1", "#/s/%2e%2e", "#/nowhere", "#javascript:alert(1)", `#/s/${id}x`])
      expect(parseRoute(bad).view).toBe("board");
    expect(parseRoute(`#/s/${id}/evil`).tab).toBe("timeline");
  });

  test("a chart keeps peaks and gaps", () => {
    expect(ticks(0, 97)).toEqual([0, 50]);
    const thinned = thin(Array.from({ length: 10_000 }, (_, n) => (n === 5_001 ? 99 : 1)), 100);
    expect(thinned.length).toBeLessThan(220);
    expect(Math.max(...thinned.map((p) => p.value ?? 0))).toBe(99);
    expect(path([[0, 1], [1, null], [2, 3]])).toBe("M0.0 1.0M2.0 3.0");
  });
});
