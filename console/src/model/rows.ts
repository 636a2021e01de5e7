// The board: sessions as a tree, flattened to the lines that are shown; which running ones stand open.
// Pure. Where to start: Board.apply and Board.lines.

import type { BoardRow } from "../api/types";

/** At most so many running sessions stand open by themselves. */
export const OPEN = 3;

export interface Line {
  kind: "row" | "live";
  row: BoardRow;
  depth: number;
  /** Place among its siblings, from 1. */
  place: number;
  siblings: number;
  below: number;
  folded: boolean;
}

export interface View {
  filter: string;
  states: "all" | "open" | "needs-you" | "running" | "ended";
}

const ENDED = new Set(["completed", "failed", "cancelled"]);
export const ended = (row: BoardRow): boolean => ENDED.has(row.status);
export const needsYou = (row: BoardRow): boolean =>
  !!row.waits && (row.waits.for === "approval" || row.waits.for === "answer" || row.waits.for === "resume");

/** An action is in flight, or the next one is about to be chosen. */
export const atWork = (row: BoardRow): boolean => !!row.doing || row.status === "running" || row.status === "active";

export class Board {
  readonly rows = new Map<string, BoardRow>();
  /** When each row was last heard of, by the page's clock. */
  readonly heard = new Map<string, number>();
  rev = "";
  /** Bumped with every change of who is above whom, or who exists. */
  private shape = 0;
  private order: { shape: number; tops: BoardRow[]; below: Map<string, BoardRow[]> } | undefined;

  /** All there is, as trees. */
  replace(items: BoardRow[], now: number): void {
    this.rows.clear();
    this.heard.clear();
    const add = (row: BoardRow, parent?: string) => {
      const { children, ...own } = row;
      this.rows.set(row.id, parent ? { ...own, parent } : own);
      this.heard.set(row.id, now);
      for (const child of children ?? []) add(child, row.id);
    };
    for (const row of items) add(row);
    this.shape++;
  }

  apply(row: BoardRow, now: number): void {
    const before = this.rows.get(row.id);
    const { children: _, ...own } = row;
    const parent = own.parent ?? before?.parent;
    this.rows.set(row.id, parent ? { ...own, parent } : own);
    this.heard.set(row.id, now);
    if (!before || before.parent !== parent) this.shape++;
  }

  remove(id: string): void {
    if (this.rows.delete(id)) this.shape++;
    this.heard.delete(id);
  }

  private tree() {
    if (this.order?.shape === this.shape) return this.order;
    const below = new Map<string, BoardRow[]>();
    const tops: BoardRow[] = [];
    for (const row of this.rows.values()) {
      const parent = row.parent;
      if (parent && parent !== row.id && this.rows.has(parent)) {
        const list = below.get(parent);
        if (list) list.push(row);
        else below.set(parent, [row]);
      } else tops.push(row);
    }
    const byId = (a: BoardRow, b: BoardRow) => (a.id < b.id ? -1 : 1);
    tops.sort((a, b) => -byId(a, b));
    for (const list of below.values()) list.sort(byId);
    this.order = { shape: this.shape, tops, below };
    return this.order;
  }

  /** The lines to show. `folded`: trees a person closed; `open`: running sessions that show what they do. */
  lines(view: View, folded: ReadonlySet<string>, open: ReadonlySet<string>): Line[] {
    const { tops, below } = this.tree();
    const words = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row: BoardRow): boolean => {
      if (view.states === "open" && ended(row)) return false;
      if (view.states === "ended" && !ended(row)) return false;
      if (view.states === "running" && !row.doing) return false;
      if (view.states === "needs-you" && !needsYou(row)) return false;
      if (!words.length) return true;
      const text = `${row.goal_text ?? ""} ${row.short} ${row.status} ${row.stage}`.toLowerCase();
      return words.every((word) => text.includes(word));
    };
    const plain = view.states === "all" && !words.length;
    const kept = new Map<string, boolean>();
    const keep = (row: BoardRow): boolean => {
      // The order holds rows as they were when it was made.
      let found = fits(this.rows.get(row.id) ?? row);
      for (const child of below.get(row.id) ?? []) if (keep(child)) found = true;
      kept.set(row.id, found);
      return found;
    };
    if (!plain) for (const top of tops) keep(top);
    const lines: Line[] = [];
    const walk = (all: BoardRow[], depth: number) => {
      const list = plain ? all : all.filter((row) => kept.get(row.id));
      list.forEach((old, at) => {
        const row = this.rows.get(old.id) ?? old;
        const children = below.get(row.id)?.length ?? 0;
        const isFolded = folded.has(row.id) && plain;
        const line = { row, depth, place: at + 1, siblings: list.length, below: children, folded: isFolded };
        lines.push({ kind: "row", ...line });
        if (atWork(row) && open.has(row.id)) lines.push({ kind: "live", ...line });
        if (!isFolded && children) walk(below.get(row.id)!, depth + 1);
      });
    };
    walk(tops, 0);
    return lines;
  }

  counts(): { running: number; needsYou: number; open: number; all: number } {
    const counts = { running: 0, needsYou: 0, open: 0, all: this.rows.size };
    for (const row of this.rows.values()) {
      if (row.doing) counts.running++;
      if (needsYou(row)) counts.needsYou++;
      if (!ended(row)) counts.open++;
    }
    return counts;
  }
}

/**
 * Which running sessions stand open: those a person opened, and by themselves at most three. Who stands open stays so while it
 * runs, so that the screen does not jump; a free place goes to the newest that runs.
 */
export function openOnes(
  rows: Iterable<BoardRow>,
  before: ReadonlySet<string>,
  byHand: ReadonlyMap<string, boolean>,
  most = OPEN,
): Set<string> {
  const running = [...rows].filter(atWork).map((row) => row.id);
  const set = new Set(running);
  const open = new Set<string>();
  for (const [id, wish] of byHand) if (wish && set.has(id)) open.add(id);
  const free = (id: string) => open.size < most && !open.has(id) && byHand.get(id) !== false;
  for (const id of before) if (set.has(id) && free(id)) open.add(id);
  for (const id of running.sort().reverse()) if (free(id)) open.add(id);
  return open;
}
