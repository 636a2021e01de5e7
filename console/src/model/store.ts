// What the page knows: the board, what is asked, the connection, the session that is looked at. Changes come by the feed, are
// gathered, and are shown once a frame. Where to start: begin.

import { computed, effect, signal } from "@preact/signals";
import { get, onUnauthorised, session } from "../api/client";
import { type Connection, Feed } from "../api/feed";
import type { Message } from "../api/sse";
import type { About, Asked, BoardRow, Page, Stored } from "../api/types";
import { line } from "./clean";
import { Pages } from "./pages";
import { parse, type Route } from "./route";
import { Board, openOnes, type View } from "./rows";

export const route = signal<Route>(parse(location.hash));
export const connection = signal<Connection>("connecting");
export const about = signal<About | undefined>(undefined);
export const now = signal(Date.now());
/** What a screen reader is told, and what stands in the corner for a moment. */
export const said = signal<{ text: string; bad: boolean; at: number } | undefined>(undefined);

export const board = new Board();
/** Bumped when the board has changed. */
export const boardAt = signal(0);
export const boardKnown = signal(false);
export const view = signal<View>({ filter: "", states: "all" });
export const folded = signal<ReadonlySet<string>>(new Set());
export const byHand = signal<ReadonlyMap<string, boolean>>(new Map());
export const open = signal<ReadonlySet<string>>(new Set());
/** The newest words of sessions that are followed. */
export const live = signal<ReadonlyMap<string, string>>(new Map());
export const asks = signal<ReadonlyMap<string, Asked[]>>(new Map());
/** Bumped when jobs or schedules may have changed. */
export const jobsAt = signal(0);
export const schedulesAt = signal(0);

export const lines = computed(() => {
  boardAt.value;
  return board.lines(view.value, folded.value, open.value);
});
export const counts = computed(() => {
  boardAt.value;
  return board.counts();
});
export const allAsks = computed(() => [...asks.value.values()].flat().sort((a, b) => (a.asked_at ?? "").localeCompare(b.asked_at ?? "")));
export const can = (capability: string): boolean => about.value?.capabilities.includes(capability) ?? false;

/** The session that is looked at: its records, and how often anything of it has changed. */
export class Watched {
  readonly at = signal(0);
  readonly head = signal(0);
  /** Bumped with events after which its page, plan, diff or cost differ. */
  readonly moved = signal(0);
  readonly problem = signal<unknown>(undefined);
  readonly pages: Pages;
  live = "";

  constructor(readonly id: string) {
    this.pages = new Pages(
      (after, limit) => get<Page<Stored>>(session(id, `/events?after=${after}&limit=${limit}&texts=300`)),
      () => this.show(),
      (error) => {
        this.problem.value = error;
      },
    );
  }

  show(): void {
    this.at.value++;
    this.head.value = this.pages.head;
  }
}

export const watched = signal<Watched | undefined>(undefined);

export function say(text: string, bad = false): void {
  said.value = { text: line(text, 300), bad, at: Date.now() };
}

// What came since the last frame.
let rows = new Map<string, BoardRow | undefined>();
let pieces = new Map<string, string>();
let due = false;

function soon(): void {
  if (due) return;
  due = true;
  // A hidden page has no frames, and still must not gather without end.
  if (document.visibilityState === "hidden") setTimeout(flush, 250);
  else requestAnimationFrame(flush);
}

function flush(): void {
  due = false;
  const at = Date.now();
  if (rows.size) {
    for (const [id, row] of rows) row ? board.apply(row, at) : board.remove(id);
    rows = new Map();
    boardAt.value++;
    chooseOpen();
  }
  if (pieces.size) {
    const words = new Map(live.peek());
    for (const [id, piece] of pieces) words.set(id, piece.slice(-400));
    for (const id of words.keys()) if (!follows().has(id)) words.delete(id);
    pieces = new Map();
    live.value = words;
  }
  const page = watched.peek();
  if (page && page.pages.head !== page.head.peek()) page.show();
}

function chooseOpen(): void {
  const next = openOnes(board.rows.values(), open.peek(), byHand.peek());
  const before = open.peek();
  if (next.size === before.size && [...next].every((id) => before.has(id))) return;
  open.value = next;
}

/** Last numbers of the sessions whose every event is wanted. */
const last = new Map<string, number>();

/** The page's own session, and the running ones that stand open on the board: what the feed follows, at most four. */
function follows(): Set<string> {
  const page = watched.peek();
  const all = new Set<string>(page ? [page.id] : []);
  for (const id of open.peek()) if (all.size < 4) all.add(id);
  return all;
}

const feed = new Feed({
  cursor() {
    const follow = new Map<string, number>();
    for (const id of follows()) {
      const page = watched.peek();
      follow.set(id, page?.id === id ? page.pages.head : (last.get(id) ?? board.rows.get(id)?.events ?? 0));
    }
    return { board: board.rev && `${boot}.${board.rev}`, follow };
  },
  state(state) {
    connection.value = state;
  },
  message,
});

function message({ event, data }: Message): void {
  const body = JSON.parse(data) as Record<string, unknown>;
  if (typeof body.rev === "number" && event !== "hello") board.rev = String(body.rev);
  switch (event) {
    case "hello":
      greeted = Date.now();
      // Revisions count within a boot: those of another one say nothing.
      if (boot !== body.boot) board.rev = "";
      boot = String(body.boot);
      break;
    case "board":
      rows.clear();
      board.replace(body.items as BoardRow[], Date.now());
      // What is asked follows, whole.
      asks.value = new Map();
      boardKnown.value = true;
      boardAt.value++;
      chooseOpen();
      break;
    case "row": {
      const row = body.row as BoardRow;
      rows.set(row.id, row);
      soon();
      break;
    }
    case "gone":
      rows.set(body.id as string, undefined);
      soon();
      break;
    case "asked":
      asked(body.session_id as string, body.items as Asked[]);
      break;
    case "record":
      record(body.session_id as string, body.record as Stored);
      break;
    case "progress":
      progress(body);
      break;
    case "jobs":
      jobsAt.value++;
      break;
    case "schedules":
      schedulesAt.value++;
      break;
  }
}

/** What was asked before this page came is not news: no words about it for so long after a greeting, milliseconds. */
const QUIET_MS = 1500;
let greeted = Date.now();
let boot = "";

function asked(id: string, items: Asked[]): void {
  const all = new Map(asks.peek());
  const before = all.get(id) ?? [];
  if (items.length) all.set(id, items);
  else all.delete(id);
  asks.value = all;
  const fresh = items.find((item) => !before.some((old) => old.id === item.id && old.kind === item.kind));
  if (fresh && Date.now() - greeted > QUIET_MS) say(`${fresh.short ?? ""} waits for you: ${fresh.what}`);
}

/** Events after which more than the timeline differs. */
const MOVES =
  /^(finished|staged|judged|approval-|asked|answered|planned|task-moved|paused|resumed|ended|child-opened|recovered|waits)/;

function record(id: string, stored: Stored): void {
  last.set(id, stored.seq);
  const page = watched.peek();
  if (page?.id === id && stored.seq > page.pages.head) {
    page.pages.put(stored);
    if (MOVES.test(Object.keys(stored.event)[0] ?? "")) page.moved.value++;
    soon();
  }
}

function progress(body: Record<string, unknown>): void {
  const id = String(body.session_id);
  // biome-ignore lint/suspicious/noExplicitAny: lines of stream-json are looked at field by field
  const event = body.event as any;
  let words = pieces.get(id) ?? live.peek().get(id) ?? "";
  if (event?.type === "message_start") words = "";
  else if (event?.delta?.type === "text_delta") words += String(event.delta.text);
  // biome-ignore lint/suspicious/noExplicitAny: as above
  else if (body.finding) words += `\n${(body.finding as any).message}`;
  else return;
  pieces.set(id, words);
  soon();
}

/** Looks at this session from now on; its records begin to come. */
export async function watch(id: string): Promise<void> {
  if (watched.peek()?.id === id) return;
  const page = new Watched(id);
  watched.value = page;
  try {
    const answer = await get<Page<Stored>>(session(id, "/events?after=0&limit=1"));
    page.pages.head = Math.max(page.pages.head, answer.head ?? 0);
    page.show();
  } catch (error) {
    page.problem.value = error;
  }
  if (watched.peek() === page) feed.reconnect(true);
}

export function leave(): void {
  if (watched.peek()) watched.value = undefined;
}

/** Opens or closes what a running session does now, by hand. */
export function toggleOpen(id: string): void {
  const map = new Map(byHand.peek());
  map.set(id, !open.peek().has(id));
  byHand.value = map;
  chooseOpen();
}

export function toggleFold(id: string): void {
  const set = new Set(folded.peek());
  if (!set.delete(id)) set.add(id);
  folded.value = set;
}

export function begin(): void {
  addEventListener("hashchange", () => {
    route.value = parse(location.hash);
  });
  onUnauthorised(() => {
    connection.value = "out";
  });
  setInterval(() => {
    now.value = Date.now();
  }, 1000);
  let settle: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    // What stands open is followed, so that its words come; not at every step of a change.
    open.value;
    clearTimeout(settle);
    settle = setTimeout(() => connection.peek() === "live" && feed.reconnect(true), 500);
  });
  void get<About>("/v1").then(
    (found) => {
      about.value = found;
    },
    () => {},
  );
  feed.start();
}
