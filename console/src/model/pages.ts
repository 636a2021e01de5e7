// Records of one session by number, in pages that come when somebody looks and go when too many are there: 100,000 events are
// shown while a few thousand are held. Knows no screen and no network. Where to start: Pages.want.

import type { Page, Stored, Texts } from "../api/types";

export const PAGE = 200;
const HELD = 30;

interface Held {
  items: (Stored | undefined)[];
  texts: Texts;
  asked: boolean;
  used: number;
}

export type Load = (after: number, limit: number) => Promise<Page<Stored>>;

export class Pages {
  head = 0;
  private readonly held = new Map<number, Held>();
  private clock = 0;

  constructor(
    private readonly load: Load,
    private readonly changed: () => void,
    private readonly failed: (error: unknown) => void = () => {},
  ) {}

  private page(at: number): Held {
    let page = this.held.get(at);
    if (!page) {
      page = { items: [], texts: {}, asked: false, used: 0 };
      this.held.set(at, page);
    }
    page.used = ++this.clock;
    return page;
  }

  /** The record of this number, and texts known of its page; undefined while it is on its way. */
  get(seq: number): { record: Stored; texts: Texts } | undefined {
    const page = this.held.get(Math.floor((seq - 1) / PAGE));
    const record = page?.items[(seq - 1) % PAGE];
    return record && { record, texts: page!.texts };
  }

  /** A record that came by itself. */
  put(record: Stored): void {
    this.head = Math.max(this.head, record.seq);
    const page = this.held.get(Math.floor((record.seq - 1) / PAGE));
    // A page nobody looks at is not begun for it.
    if (page) page.items[(record.seq - 1) % PAGE] = record;
    else if ((record.seq - 1) % PAGE === 0) this.page(Math.floor((record.seq - 1) / PAGE)).items[0] = record;
  }

  /** Makes these numbers be there. */
  want(first: number, last: number): void {
    const to = Math.min(last, this.head);
    if (to < 1) return;
    for (let at = Math.floor((Math.max(1, first) - 1) / PAGE); at <= Math.floor((to - 1) / PAGE); at++) {
      const page = this.page(at);
      const until = Math.min((at + 1) * PAGE, this.head) - at * PAGE;
      let whole = true;
      for (let i = 0; i < until; i++) if (!page.items[i]) whole = false;
      if (!whole && !page.asked) void this.fetch(at, page);
    }
    this.drop();
  }

  private async fetch(at: number, page: Held): Promise<void> {
    page.asked = true;
    try {
      const answer = await this.load(at * PAGE, PAGE);
      for (const record of answer.items) {
        const place = record.seq - 1 - at * PAGE;
        if (place >= 0 && place < PAGE) page.items[place] = record;
      }
      Object.assign(page.texts, answer.texts ?? {});
      if (answer.head !== undefined) this.head = Math.max(this.head, answer.head);
      page.asked = false;
      this.changed();
    } catch (error) {
      this.failed(error);
      setTimeout(() => {
        page.asked = false;
        this.changed();
      }, 1000);
    }
  }

  private drop(): void {
    if (this.held.size <= HELD) return;
    const oldest = [...this.held].filter(([, page]) => !page.asked).sort(([, a], [, b]) => a.used - b.used);
    for (const [at] of oldest.slice(0, this.held.size - HELD)) this.held.delete(at);
  }

  get pagesHeld(): number {
    return this.held.size;
  }
}
