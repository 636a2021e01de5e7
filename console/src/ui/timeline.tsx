// Every event of a session, from the first to the last, in a list that holds only what is in sight; what one says in full beside
// it. Where to start: Timeline.

import { useEffect, useRef, useState } from "preact/hooks";
import { session as path, text } from "../api/client";
import type { Stored, Texts } from "../api/types";
import { text as visible } from "../model/clean";
import { describe } from "../model/describe";
import { clock, moment } from "../model/format";
import { route, watched } from "../model/store";
import { Empty, Trouble, useLoad } from "./bits";
import { useLineHeight, Virtual } from "./virtual";

/** Characters of a blob that are shown. */
const SHOWN = 200_000;

export function Timeline({ id }: { id: string }) {
  const page = watched.value?.id === id ? watched.value : undefined;
  const wanted = Number(route.value.query.get("at") ?? 0);
  const [active, setActive] = useState(-1);
  const [stick, setStick] = useState(!wanted);
  const height = useLineHeight(30, 56);
  const total = page?.head.value ?? 0;
  const at = page?.at.value;
  const sight = useRef<[number, number]>([1, 1]);
  useEffect(() => {
    // What is in sight, and what is read beside it: also after a page was let go, or could not be had.
    page?.pages.want(...sight.current);
    if (active >= 0) page?.pages.want(active + 1, active + 1);
  }, [page, at, active]);
  useEffect(() => {
    if (wanted && total) setActive(Math.min(wanted, total) - 1);
  }, [wanted, total > 0, id]);
  if (!page) return <Empty>Loading …</Empty>;
  if (page.problem.value !== undefined && !total) return <Trouble error={page.problem.value} />;
  const chosen = active >= 0 ? page.pages.get(active + 1) : undefined;
  return (
    <div class="split fill">
      <div class="fill list">
        <div class="bar small">
          <span>{total.toLocaleString()} events</span>
          <label>
            go to{" "}
            <input
              type="number"
              min={1}
              max={total}
              aria-label="Go to event"
              onChange={(event) => {
                const to = Math.floor(Number(event.currentTarget.value));
                if (to >= 1) {
                  setStick(false);
                  setActive(Math.min(to, total) - 1);
                }
              }}
            />
          </label>
          <label>
            <input type="checkbox" checked={stick} onChange={(event) => setStick(event.currentTarget.checked)} /> follow
          </label>
        </div>
        <Virtual
          name="e"
          role="listbox"
          label="Events"
          count={total}
          height={height}
          active={active}
          stick={stick}
          onStick={setStick}
          onActive={(index) => {
            setActive(index);
            if (index < total - 1) setStick(false);
          }}
          onRange={(first, last) => {
            sight.current = [first + 1, last + 1];
            page.pages.want(first + 1, last + 1);
          }}
          line={(index) => {
            const found = page.pages.get(index + 1);
            return {
              key: index,
              attributes: { "data-seq": index + 1 },
              children: found ? <Row {...found} /> : <span class="seq">{index + 1} …</span>,
            };
          }}
        />
      </div>
      {chosen && <Details id={id} {...chosen} close={() => setActive(-1)} />}
    </div>
  );
}

function Row({ record, texts }: { record: Stored; texts: Texts }) {
  const told = describe(record, texts);
  return (
    <>
      <span class="seq">{record.seq}</span>
      <time dateTime={record.at}>{clock(record.at)}</time>
      <span class={`kind ${told.tone}`}>{told.kind}</span>
      <span class="words">{told.words}</span>
    </>
  );
}

function Details(props: { id: string; record: Stored; texts: Texts; close: () => void }) {
  const { id, record, texts } = props;
  const told = describe(record, texts);
  return (
    <aside class="details" aria-label={`Event ${record.seq}`}>
      <header class="bar small">
        <h2>
          {record.seq} {told.kind}
        </h2>
        <span>{moment(record.at)}</span>
        <button type="button" onClick={props.close} aria-label="Close the event">
          ✕
        </button>
      </header>
      <p>{told.words}</p>
      {told.texts.map(([name, digest]) => (
        <Blob key={`${name}/${digest}`} id={id} name={name} digest={digest} />
      ))}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <pre class="block" tabIndex={0} role="group" aria-label="The record">
        {visible(JSON.stringify(record.event, null, 2))}
      </pre>
    </aside>
  );
}

export function Blob({ id, name, digest, open }: { id: string; name: string; digest: string; open?: boolean }) {
  const [wanted, setWanted] = useState(!!open);
  const loaded = useLoad<string>(
    (signal) => (wanted ? text(path(id, `/blobs/${encodeURIComponent(digest)}`), SHOWN, signal) : Promise.resolve("")),
    [id, digest, wanted],
  );
  return (
    <details open={wanted} onToggle={(event) => setWanted(event.currentTarget.open)}>
      <summary>{visible(name)}</summary>
      {wanted && loaded.error !== undefined && <Trouble error={loaded.error} />}
      {wanted && loaded.value !== undefined && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        <pre class="block" tabIndex={0} role="group" aria-label={visible(name)}>
          {visible(loaded.value)}
        </pre>
      )}
    </details>
  );
}
