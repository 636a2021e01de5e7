// The board: all sessions as a live tree. Where to start: BoardView.

import { signal } from "@preact/signals";
import { line } from "../model/clean";
import { count, span, usd } from "../model/format";
import { sessionAddress } from "../model/route";
import { atWork, type Line, needsYou, type View } from "../model/rows";
import { board, boardKnown, counts, lines, live, now, open, toggleFold, toggleOpen, view } from "../model/store";
import { Badge, Empty, Spinner } from "./bits";
import { useLineHeight, Virtual } from "./virtual";

/** The line that has the focus: by name, because the list moves below it. */
const at = signal("");

const STATES: [View["states"], string][] = [
  ["all", "All"],
  ["open", "Not ended"],
  ["running", "Running"],
  ["needs-you", "Waits for me"],
  ["ended", "Ended"],
];

const name = (of: Line) => `${of.kind}:${of.row.id}`;

export function BoardView() {
  const list = lines.value;
  const height = useLineHeight(44, 78);
  const sums = counts.value;
  const found = list.findIndex((of) => name(of) === at.value);
  const active = found < 0 ? (list.length ? 0 : -1) : found;
  const go = (index: number) => {
    const of = list[index];
    if (of) location.hash = sessionAddress(of.row.id);
  };
  const key = (event: KeyboardEvent, index: number): boolean => {
    const of = list[index];
    if (!of) return false;
    if (event.key === "ArrowRight" && of.folded) toggleFold(of.row.id);
    else if (event.key === "ArrowLeft" && of.below && !of.folded) toggleFold(of.row.id);
    else if (event.key === "ArrowLeft" && of.row.parent) at.value = `row:${of.row.parent}`;
    else if (event.key === " " && atWork(of.row)) toggleOpen(of.row.id);
    else return false;
    return true;
  };
  return (
    <section class="board fill" aria-labelledby="board-title">
      <header class="bar">
        <h1 id="board-title">Sessions</h1>
        <span class="sums">
          {sums.running} running · {sums.needsYou} wait for you · {sums.open} not ended · {sums.all} in all
        </span>
        <input
          type="search"
          id="filter"
          aria-label="Filter sessions"
          placeholder="Filter by goal, state, id"
          value={view.value.filter}
          onInput={(event) => {
            view.value = { ...view.value, filter: event.currentTarget.value };
          }}
        />
        <select
          aria-label="Which sessions"
          value={view.value.states}
          onChange={(event) => {
            view.value = { ...view.value, states: event.currentTarget.value as View["states"] };
          }}
        >
          {STATES.map(([value, words]) => (
            <option key={value} value={value}>
              {words}
            </option>
          ))}
        </select>
        <a class="button main" href="#/new">
          New session
        </a>
      </header>
      {list.length === 0 ? (
        <Empty>
          {!boardKnown.value
            ? "Loading …"
            : board.rows.size
              ? "No session fits the filter."
              : "There are no sessions yet. Start one here, or type: kapell run “your goal”"}
        </Empty>
      ) : (
        <Virtual
          name="s"
          role="tree"
          label="Sessions"
          count={list.length}
          height={height}
          active={active}
          onActive={(index) => {
            at.value = name(list[index]!);
          }}
          onOpen={go}
          onKey={key}
          line={(index) => one(list[index]!)}
        />
      )}
      <p class="hint">
        Enter opens · ← → fold · Space shows what a running session does. At most three show it by themselves.
      </p>
    </section>
  );
}

function one(of: Line) {
  const { row } = of;
  const tree = {
    "aria-level": of.depth + 1,
    "aria-posinset": of.place,
    "aria-setsize": of.siblings,
    "aria-expanded": of.below && of.kind === "row" ? !of.folded : undefined,
    "data-id": row.id,
  };
  if (of.kind === "live")
    return { key: name(of), attributes: { ...tree, class: "live", "aria-level": of.depth + 2 }, children: <Live of={of} /> };
  return {
    key: name(of),
    attributes: { ...tree, class: `row ${needsYou(row) ? "asks" : ""}`, "data-status": row.status },
    children: <Row of={of} />,
  };
}

const INDENT = 18;

function Row({ of }: { of: Line }) {
  const { row } = of;
  const age = row.quiet_ms + (now.value - (board.heard.get(row.id) ?? now.value));
  const doing = row.doing && `${row.doing.work}${row.doing.on ? ` ${row.doing.on}` : ""}`;
  const last = doing ?? row.waits?.what ?? row.ended ?? "";
  return (
    <>
      <span class="tree" style={{ paddingLeft: `${of.depth * INDENT}px` }}>
        {of.below > 0 ? (
          <button
            type="button"
            class="fold"
            tabIndex={-1}
            aria-hidden="true"
            onClick={() => toggleFold(row.id)}
          >
            {of.folded ? "▸" : "▾"}
          </button>
        ) : (
          <span class="fold" />
        )}
        {row.doing && <Spinner of={`${row.id}/${row.doing.action}`} what={doing ?? ""} />}
      </span>
      <a class="goal" href={sessionAddress(row.id)} tabIndex={-1} title={line(row.goal_text ?? "", 300)}>
        {line(row.goal_text ?? "", 160) || row.short}
      </a>
      <span class="state">
        <Badge word={row.status} />
      </span>
      <span class="stage">{line(row.stage, 24)}</span>
      <span class="what" title={line(last, 300)}>
        {line(last, 120)}
      </span>
      <span class="age" title="since anything happened">
        {span(age)}
      </span>
      <span class="tokens" title="tokens, with children">
        {count(row.used_with_children.tokens)}
      </span>
      <span class="money" title="money, with children">
        {usd(row.used_with_children.nanos)}
      </span>
      {atWork(row) ? (
        <button
          type="button"
          class="peek"
          tabIndex={-1}
          aria-hidden="true"
          onClick={() => toggleOpen(row.id)}
        >
          {open.value.has(row.id) ? "−" : "+"}
        </button>
      ) : (
        <span class="peek" />
      )}
    </>
  );
}

/** What a running session says now: no sign of running here, it stands in the row above. */
function Live({ of }: { of: Line }) {
  const words = live.value.get(of.row.id) ?? "";
  const { doing } = of.row;
  return (
    <span class="words" style={{ paddingLeft: `${(of.depth + 2) * INDENT}px` }}>
      {doing ? (
        <b>
          {doing.action} {doing.work} {line(doing.on, 60)}
          {doing.attempt > 1 ? `, attempt ${doing.attempt}` : ""}
          {": "}
        </b>
      ) : (
        <b>between two actions: </b>
      )}
      {line(words.slice(-240), 240) || "no words yet"}
    </span>
  );
}

export const focusedSession = (): string => at.peek().split(":")[1] ?? "";
