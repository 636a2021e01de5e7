// Who wanted what, why it won, and why the others waited, as a picture: a column for each action, a row for each kind of who wants
// something. The chosen wish is a full dot, one that waited an empty one. Where to start: WhyTab.

import { useEffect, useState } from "preact/hooks";
import { get, session as path } from "../api/client";
import type { Chosen, Unchosen, Why } from "../api/types";
import { line } from "../model/clean";
import { clock, span, usd } from "../model/format";
import { Badge, Empty, Loaded, useLoad } from "./bits";

const LANES = ["user", "recovery", "subtask", "schedule", "planner", "main-loop"];
const LIMIT = 40;

export function WhyTab({ id, moved }: { id: string; moved: number }) {
  const [before, setBefore] = useState<string[]>([]);
  const last = before[before.length - 1];
  const loaded = useLoad<Why>(
    (signal) => get(path(id, `/why?limit=${LIMIT}${last ? `&before=${last}` : ""}`), signal),
    [id, last, last ? 0 : moved],
  );
  return (
    <Loaded of={loaded}>
      {(why) => (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        <div class="scroll why" tabIndex={0} role="group" aria-label="Why">
          <p class="bar small">
            <span>
              {why.actions.length} of {why.total} actions
            </span>
            <button type="button" disabled={why.actions.length < LIMIT} onClick={() => setBefore([...before, why.actions[0]!.action])}>
              Older
            </button>
            <button type="button" disabled={!before.length} onClick={() => setBefore(before.slice(0, -1))}>
              Newer
            </button>
          </p>
          {why.actions.length ? <Picture actions={why.actions} /> : <Empty>Nothing was selected so far.</Empty>}
          {why.waits && (
            <p>
              <b>Now:</b> {line(why.waits.what)} {why.waits.type_next && <code>{line(why.waits.type_next)}</code>}
            </p>
          )}
          {why.ended && (
            <p>
              <b>Ended:</b> {line(why.ended)}
            </p>
          )}
          <h2>Wishes that never became an action</h2>
          {why.intents.length ? (
            <ul>
              {why.intents.map((intent) => (
                <li key={intent.intent}>
                  {clock(intent.submitted)} <b>{line(intent.wish, 40)}</b> of {line(intent.source, 20)}: {fate(intent)}
                </li>
              ))}
            </ul>
          ) : (
            <p class="hint">none</p>
          )}
        </div>
      )}
    </Loaded>
  );
}

function fate({ fate }: Unchosen): string {
  if ("waits" in fate) return `still waits: ${line(fate.waits)}`;
  const { how } = fate.disposed;
  return typeof how === "string" ? how : `refused: ${line(how.refused)}`;
}

function Picture({ actions }: { actions: Chosen[] }) {
  const [active, setActive] = useState(actions.length - 1);
  const at = Math.min(active, actions.length - 1);
  const chosen = actions[at]!;
  const newest = actions[actions.length - 1]!.action;
  useEffect(() => {
    setActive(actions.length - 1);
    const columns = document.getElementById("w-0")?.parentElement;
    if (columns) columns.scrollLeft = columns.scrollWidth;
  }, [newest]);
  const used = LANES.filter((lane) => actions.some((a) => a.source === lane || a.others?.some((o) => o.source === lane)));
  const key = (event: KeyboardEvent) => {
    const to: Record<string, number> = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: actions.length - 1 };
    const next = to[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const place = Math.min(actions.length - 1, Math.max(0, next));
    setActive(place);
    document.getElementById(`w-${place}`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  return (
    <>
      <div class="lanes">
        <div class="names" aria-hidden="true">
          {used.map((lane) => (
            <span key={lane}>{lane}</span>
          ))}
          <span>action</span>
        </div>
        <div class="columns" role="listbox" aria-label="Actions" aria-orientation="horizontal" tabIndex={0} aria-activedescendant={`w-${at}`} onKeyDown={key}>
          {actions.map((action, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the list takes the keys
            // biome-ignore lint/a11y/useFocusableInteractive: the list has the focus
            <div
              key={action.action}
              id={`w-${index}`}
              role="option"
              aria-selected={index === at}
              class={`column ${index === at ? "active" : ""} ${bad(action) ? "bad" : ""}`}
              aria-label={`${action.action} ${line(action.work, 30)}, wanted by ${action.source}, ${action.others?.length ?? 0} others waited`}
              onClick={() => setActive(index)}
            >
              {used.map((lane) => {
                const won = action.source === lane;
                const waited = action.others?.filter((other) => other.source === lane).length ?? 0;
                return (
                  <span key={lane} class={`dot ${won ? "won" : waited ? "waited" : ""}`}>
                    {won ? "●" : waited ? (waited > 1 ? waited : "○") : ""}
                  </span>
                );
              })}
              <span class="box">
                {action.action}
                <br />
                {line(action.work || action.wish, 9)}
              </span>
            </div>
          ))}
        </div>
      </div>
      <Told of={chosen} />
    </>
  );
}

const bad = (of: Chosen): boolean => {
  const end = of.attempts[of.attempts.length - 1]?.end;
  return !!end && end !== "done";
};

function Told({ of }: { of: Chosen }) {
  return (
    <div class="card" aria-live="polite">
      <h2>
        {of.action} {line(of.work || of.wish, 60)} <small>{clock(of.at)}</small>
      </h2>
      <p>
        Wanted by <b>{line(of.source, 30)}</b> ({line(of.wish, 40)}
        {of.submitted ? `, submitted ${clock(of.submitted)}` : ""}): {line(of.why)}
      </p>
      {of.others?.length ? (
        <ul>
          {of.others.map((other, at) => (
            <li key={at}>
              not <b>{line(other.wish, 40)}</b> of {line(other.source, 30)}: {line(other.why)}
            </li>
          ))}
        </ul>
      ) : (
        <p class="hint">nobody else wanted anything</p>
      )}
      {of.attempts.map((attempt) => (
        <p key={attempt.attempt}>
          attempt {attempt.attempt} · <Badge word={attempt.class} /> ({line(attempt.class_why, 200)}) ·{" "}
          {attempt.end
            ? `ended after ${span(Date.parse(attempt.ended ?? attempt.at) - Date.parse(attempt.at))}: ${line(attempt.end)}`
            : `runs until ${clock(attempt.deadline)} at most`}
          {attempt.reserved.nanos ? ` · reserved ${usd(attempt.reserved.nanos)}, used ${usd(attempt.used.nanos)}` : ""}
          {attempt.approval ? ` · under approval ${line(attempt.approval, 12)}` : ""}
        </p>
      ))}
      {of.then?.map((then, at) => (
        <p key={at}>→ {line(then)}</p>
      ))}
    </div>
  );
}
