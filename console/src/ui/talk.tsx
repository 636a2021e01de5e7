// The conversation: who said what, each call with its result, newest page first. Where to start: TalkTab.

import { useState } from "preact/hooks";
import { get, session as path } from "../api/client";
import type { Entry, Page, Texts } from "../api/types";
import { line, text } from "../model/clean";
import { clock } from "../model/format";
import { Badge, Loaded, useLoad } from "./bits";
import { Blob } from "./timeline";

const LIMIT = 50;
const WHO: Record<string, string> = { user: "you", notice: "kapell", assistant: "agent", tool: "tool" };

export function TalkTab({ id, moved }: { id: string; moved: number }) {
  const [before, setBefore] = useState(0);
  const query = before ? `&before=${before}` : "";
  const loaded = useLoad<Page<Entry>>(
    (signal) => get(path(id, `/transcript?limit=${LIMIT}&texts=4096${query}`), signal),
    [id, before, before ? 0 : moved],
  );
  return (
    <Loaded of={loaded}>
      {(page) => (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        <div class="scroll talk" tabIndex={0} role="group" aria-label="Conversation">
          <p class="bar small">
            {(page.items[0]?.seq ?? 1) > 1 && (
              <button type="button" onClick={() => setBefore(page.items[0]!.seq)}>
                Older
              </button>
            )}
            {before > 0 && (
              <button type="button" onClick={() => setBefore(0)}>
                Newest
              </button>
            )}
          </p>
          {page.items.map((entry) => (
            <One key={entry.seq} id={id} entry={entry} texts={page.texts ?? {}} />
          ))}
        </div>
      )}
    </Loaded>
  );
}

function One({ id, entry, texts }: { id: string; entry: Entry; texts: Texts }) {
  const at = (digest?: string) => (digest ? text(texts[digest] ?? "") : "");
  return (
    <article class={`entry ${entry.role}`}>
      <header>
        <b>{WHO[entry.role] ?? entry.role}</b> <time dateTime={entry.at}>{clock(entry.at)}</time> {entry.action}
      </header>
      {entry.partial && (
        <p class="hint">
          attempt {entry.partial.attempt} broke off ({line(entry.partial.why, 200)}); it was asked again
        </p>
      )}
      {entry.text && <p class="said">{at(entry.text)}</p>}
      {entry.notice !== undefined && <p class="said">{line(JSON.stringify(entry.notice), 600)}</p>}
      {(entry.calls ?? []).map((call) => (
        <div class="call" key={call.call}>
          <p>
            <b>{line(call.tool, 60)}</b> <Badge word={call.class} />{" "}
            {call.outcome ? call.outcome.ok ? "ok" : <b class="badword">failed</b> : "no result so far"}
            {call.outcome?.exit !== undefined && ` · exit ${call.outcome.exit}`}
          </p>
          <p class="said mono">{at(call.args)}</p>
          {call.outcome?.text && <p class="said mono result">{at(call.outcome.text)}</p>}
          {call.outcome?.full && <Blob id={id} name="the whole output" digest={call.outcome.full} />}
        </div>
      ))}
    </article>
  );
}
