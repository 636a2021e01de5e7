// One session: what it is, what it does, what can be done with it, and its pages. Where to start: SessionView.

import { useEffect, useState } from "preact/hooks";
import { get, post, session as path } from "../api/client";
import type { SessionPage } from "../api/types";
import { line } from "../model/clean";
import { count, moment, span, usd } from "../model/format";
import { parse, sessionAddress, TABS } from "../model/route";
import { asks, board, boardAt, can, now, route, say, watch, watched } from "../model/store";
import { wish } from "../model/wish";
import { AskCard } from "./ask";
import { Act, Badge, Dialog, Line, Spinner, Trouble, useLoad } from "./bits";
import { CostTab } from "./cost";
import { DiffTab } from "./diff";
import { PlanTab } from "./plan";
import { TalkTab } from "./talk";
import { TerminalsTab } from "./terminals";
import { Timeline } from "./timeline";
import { VerdictTab } from "./verdict";
import { WhyTab } from "./why";

const TITLES: Record<(typeof TABS)[number], string> = {
  timeline: "Timeline",
  talk: "Conversation",
  diff: "Diff",
  plan: "Plan",
  why: "Why",
  verdict: "Verdict",
  cost: "Cost",
  terminals: "Terminals",
};

const over = (state: string): boolean => state === "completed" || state === "failed" || state === "cancelled";

export function SessionView({ id, tab }: { id: string; tab: string }) {
  useEffect(() => {
    void watch(id);
  }, [id]);
  boardAt.value;
  const row = board.rows.get(id);
  const moved = watched.value?.id === id ? watched.value.moved.value : 0;
  const page = useLoad<SessionPage>((signal) => get(path(id), signal), [id, moved, row?.status, row?.stage]);
  if (page.error !== undefined && !page.value) return <Trouble error={page.error} />;
  const known = page.value?.session_id === id ? page.value : undefined;
  const goal = known?.goal ?? row?.goal_text ?? "";
  const state = row?.status ?? known?.state ?? "";
  return (
    <section class="session fill" aria-labelledby="session-title">
      <header class="head">
        <h1 id="session-title">
          {row?.doing && <Spinner of={`${id}/${row.doing.action}`} what={`${row.doing.work} ${row.doing.on}`} />}
          <span class="goal">{line(goal, 300) || id.slice(-8)}</span>
        </h1>
        <Facts id={id} page={known} state={state} />
        <Actions id={id} page={known} state={state} />
      </header>
      {(asks.value.get(id) ?? []).map((asked) => (
        <AskCard key={`${asked.kind}/${asked.id}`} asked={asked} />
      ))}
      <Tabs id={id} tab={tab} />
      <div class="tabpanel fill" role="tabpanel" id="panel" aria-labelledby={`tab-${tab}`}>
        {tab === "timeline" && <Timeline id={id} />}
        {tab === "talk" && <TalkTab id={id} moved={moved} />}
        {tab === "diff" && <DiffTab id={id} moved={moved} />}
        {tab === "plan" && <PlanTab id={id} moved={moved} />}
        {tab === "why" && <WhyTab id={id} moved={moved} />}
        {tab === "verdict" && <VerdictTab id={id} moved={moved} />}
        {tab === "cost" && <CostTab id={id} moved={moved} />}
        {tab === "terminals" && <TerminalsTab id={id} />}
      </div>
    </section>
  );
}

function Facts({ id, page, state }: { id: string; page: SessionPage | undefined; state: string }) {
  const row = board.rows.get(id);
  const used = row?.used_with_children;
  const parent = row?.parent ?? page?.parent;
  const waits = row ? row.waits : page?.waits;
  return (
    <dl class="facts">
      <Fact name="state">
        <Badge word={state} />
      </Fact>
      <Fact name="stage">
        <Line of={row?.stage ?? page?.stage} most={40} />
        {(row?.round ?? page?.round) ? ` (round ${row?.round ?? page?.round})` : ""}
      </Fact>
      {row?.doing && (
        <Fact name="does">
          <Line of={`${row.doing.action} ${row.doing.work} ${row.doing.on}`} most={80} />
        </Fact>
      )}
      {waits && (
        <Fact name="waits">
          <Line of={waits.what} most={200} />
        </Fact>
      )}
      {page?.verdict && (
        <Fact name="verdict">
          <Badge word={page.verdict} />
        </Fact>
      )}
      <Fact name="cost">
        {usd(used?.nanos ?? page?.cost_nanos)} · {count(used?.tokens ?? page?.tokens)} tokens
      </Fact>
      <Fact name="model">
        <Line of={page?.model} most={60} />
      </Fact>
      <Fact name="project">
        <Line of={page?.repo} most={120} />
      </Fact>
      {page && (
        <Fact name="opened">
          {moment(page.opened)} ({span(now.value - Date.parse(page.opened))} ago)
        </Fact>
      )}
      {parent && (
        <Fact name="of">
          <a href={sessionAddress(parent)}>{parent.slice(-8)}</a>
        </Fact>
      )}
      {page?.why && (
        <Fact name="why">
          <Line of={page.why} most={300} />
        </Fact>
      )}
      {page?.landed && <Fact name="landed">{line(page.landed, 12)}</Fact>}
    </dl>
  );
}

const Fact = ({ name, children }: { name: string; children: preact.ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);

type Asking = "" | "cancel" | "rewind" | "fork";

function Actions({ id, page, state }: { id: string; page: SessionPage | undefined; state: string }) {
  const [words, setWords] = useState("");
  const wanted = route.value.query.get("do") as Asking | null;
  const [asking, setAsking] = useState<Asking>("");
  useEffect(() => {
    if (wanted === "cancel" || wanted === "rewind" || wanted === "fork") {
      setAsking(wanted);
      // Taken up: the same wish again is another one.
      history.replaceState(null, "", sessionAddress(id, route.peek().tab));
      route.value = parse(location.hash);
    }
  }, [wanted, id]);
  const ended = over(state);
  const paused = state === "paused" || state === "stopped";
  const send = async () => {
    if (!words.trim()) return;
    await wish(id, { message: { text: words } });
    setWords("");
  };
  return (
    <div class="actions">
      {!ended && (
        <form
          class="message"
          onSubmit={(event) => {
            event.preventDefault();
            send().catch((error) => say(String(error.message ?? error), true));
          }}
        >
          <input
            id="message"
            aria-label="Message to the agent"
            placeholder="A message to the agent"
            value={words}
            onInput={(event) => setWords(event.currentTarget.value)}
          />
          <button type="submit" disabled={!words.trim()}>
            Send
          </button>
        </form>
      )}
      {!ended && !paused && <Act run={() => wish(id, "pause")}>Pause</Act>}
      {!ended && paused && (
        <Act run={() => wish(id, { resume: {} })} tone="main">
          Resume
        </Act>
      )}
      {!ended && (
        <button type="button" onClick={() => setAsking("rewind")} disabled={!page?.savepoints.length}>
          Rewind…
        </button>
      )}
      {can("fork") && (
        <button type="button" onClick={() => setAsking("fork")} disabled={!page?.savepoints.length}>
          Fork…
        </button>
      )}
      {!ended && (
        <button type="button" class="danger" onClick={() => setAsking("cancel")}>
          Cancel…
        </button>
      )}
      {asking === "cancel" && (
        <Dialog title="Cancel this session?" onClose={() => setAsking("")}>
          <p>It ends for good, with everything below it. What it has done so far stays in its workspace.</p>
          <Act
            tone="danger"
            run={async () => {
              await wish(id, "cancel");
              setAsking("");
            }}
          >
            Cancel the session
          </Act>
        </Dialog>
      )}
      {(asking === "rewind" || asking === "fork") && page && (
        <Back id={id} page={page} how={asking} close={() => setAsking("")} />
      )}
    </div>
  );
}

/** Chooses a savepoint, to go back to or to begin another session from. */
function Back(props: { id: string; page: SessionPage; how: "rewind" | "fork"; close: () => void }) {
  const { id, page, how } = props;
  const points = [...page.savepoints].reverse().slice(0, 200);
  const [wanted, setTo] = useState("");
  // Savepoints come while the dialog is open; the newest is offered until a person has chosen.
  const to = points.includes(wanted) ? wanted : (points[0] ?? "");
  const run = async () => {
    if (how === "rewind") await wish(id, { rewind: { to } });
    else {
      const made = await post<SessionPage>("/v1/sessions", { from: { session_id: id, action: to } });
      say(`forked as ${made.short}`);
      location.hash = sessionAddress(made.session_id);
    }
    props.close();
  };
  return (
    <Dialog title={how === "rewind" ? "Rewind the workspace" : "Fork this session"} onClose={props.close}>
      <p>
        {how === "rewind"
          ? "The workspace goes back to before the chosen action. The rewind can itself be rewound."
          : "Another session begins where this one stood before the chosen action; this one stays as it is."}
      </p>
      {!points.length && <p class="hint">There is no savepoint so far: nothing was changed.</p>}
      <label>
        Before action{" "}
        <select value={to} onChange={(event) => setTo(event.currentTarget.value)}>
          {points.map((point) => (
            <option key={point} value={point}>
              {point}
            </option>
          ))}
        </select>
      </label>
      <p>
        <Act run={run} tone="main" disabled={!to}>
          {how === "rewind" ? "Rewind" : "Fork"}
        </Act>
      </p>
    </Dialog>
  );
}

function Tabs({ id, tab }: { id: string; tab: string }) {
  const key = (event: KeyboardEvent) => {
    const at = TABS.indexOf(tab as (typeof TABS)[number]);
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!by) return;
    event.preventDefault();
    const next = TABS[(at + by + TABS.length) % TABS.length]!;
    location.hash = sessionAddress(id, next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Pages of this session" onKeyDown={key}>
      {TABS.map((name) => (
        <a
          key={name}
          id={`tab-${name}`}
          role="tab"
          href={sessionAddress(id, name)}
          aria-selected={name === tab}
          aria-controls="panel"
          tabIndex={name === tab ? 0 : -1}
        >
          {TITLES[name]}
        </a>
      ))}
    </div>
  );
}
