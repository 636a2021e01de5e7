// The one connection that brings everything a screen needs, taken up again where it broke.
// Knows no screen. Where to start: Feed.run; the events stand in docs/api.md, section 6.

import { Problem, raw } from "./client";
import { Lines, type Message } from "./sse";

export type Connection = "connecting" | "live" | "lost" | "out";

export interface Listener {
  /** Where to begin: the board's revision and the last number of each followed session. */
  cursor(): { board: string; follow: Map<string, number> };
  message(message: Message): void;
  state(state: Connection): void;
}

const FIRST_MS = 250;
const MOST_MS = 5000;
/** Beats come every 15 s. */
const SILENT_MS = 40_000;

export class Feed {
  private abort = new AbortController();
  private wake: (() => void) | undefined;
  private stopped = false;
  private fails = 0;

  constructor(private readonly listener: Listener) {}

  start(): void {
    const now = () => this.reconnect(false);
    addEventListener("online", now);
    addEventListener("offline", () => this.abort.abort());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && now());
    void this.run();
  }

  stop(): void {
    this.stopped = true;
    this.abort.abort();
  }

  /** Begins anew, with what is followed now; without force only where there is no connection. */
  reconnect(force: boolean): void {
    if (this.wake) {
      this.fails = 0;
      this.wake();
    } else if (force) this.abort.abort("again");
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      const planned = await this.once();
      if (this.stopped) return;
      if (planned) continue;
      const wait = Math.min(FIRST_MS * 2 ** this.fails++, MOST_MS);
      await new Promise<void>((done) => {
        const timer = setTimeout(done, wait);
        this.wake = () => {
          clearTimeout(timer);
          done();
        };
      });
      this.wake = undefined;
    }
  }

  /** One connection, to its end; true when the end was asked for. */
  private async once(): Promise<boolean> {
    this.abort = new AbortController();
    const { signal } = this.abort;
    const { board, follow } = this.listener.cursor();
    const query = new URLSearchParams({ progress: "1" });
    if (board) query.set("board", board);
    if (follow.size) query.set("follow", [...follow].map(([id, seq]) => `${id}:${seq}`).join(","));
    let silent: ReturnType<typeof setTimeout> | undefined;
    const alive = () => {
      clearTimeout(silent);
      silent = setTimeout(() => this.abort.abort(), SILENT_MS);
    };
    try {
      alive();
      const response = await raw("GET", `/v1/feed?${query}`, { accept: "text/event-stream", signal });
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      const lines = new Lines();
      this.listener.state("live");
      this.fails = 0;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        alive();
        for (const message of lines.push(value)) this.listener.message(message);
      }
    } catch (error) {
      if (signal.reason === "again") return true;
      if (error instanceof Problem && error.status === 401) {
        this.listener.state("out");
        this.stopped = true;
        return false;
      }
    } finally {
      clearTimeout(silent);
    }
    this.listener.state("lost");
    return false;
  }
}
