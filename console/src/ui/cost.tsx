// What it took: against its cap, by model and kind, over time, and what made the provider's cache useless. Where to start: CostTab.

import { get, session as path } from "../api/client";
import type { Amount, Calls, Cost, Part } from "../api/types";
import { line } from "../model/clean";
import { clock, count, short, span, usd } from "../model/format";
import { Chart } from "./chart";
import { Loaded, Trouble, useLoad } from "./bits";

/** Calls listed at most; the chart has all of them. */
const LISTED = 200;

export function CostTab({ id, moved }: { id: string; moved: number }) {
  const cost = useLoad<Cost>((signal) => get(path(id, "/cost"), signal), [id, moved]);
  const calls = useLoad<Calls>((signal) => get(path(id, "/cost/calls"), signal), [id, moved]);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <div class="scroll" tabIndex={0} role="group" aria-label="Cost">
      <Loaded of={cost}>{(of) => <Account of={of} />}</Loaded>
      {calls.error !== undefined ? <Trouble error={calls.error} /> : calls.value && <Over of={calls.value} />}
    </div>
  );
}

const row = (name: string, of: Amount) => (
  <tr key={name}>
    <th scope="row">{line(name, 60)}</th>
    <td>{usd(of.nanos)}</td>
    <td>{count(of.tokens)}</td>
    <td>{count(of.steps)}</td>
    <td>{of.time_ms === "unlimited" ? "no limit" : span(of.time_ms ?? 0)}</td>
  </tr>
);

function Account({ of }: { of: Cost }) {
  const parts = (title: string, list: Part[]) =>
    list.length > 0 && (
      <Table title={title} first={title}>
        {list.map((part) => row(`${part.name} (${part.calls})`, part.settled))}
      </Table>
    );
  return (
    <>
      {of.frozen && (
        <p class="trouble" role="alert">
          Frozen: more was billed than reserved. Nothing is granted until the cap is raised.
        </p>
      )}
      <Table title="The whole tree" first="">
        {[row("spent", of.total.settled), row("reserved now", of.total.held), row("cap", of.cap)]}
      </Table>
      {parts("Model", of.models)}
      {parts("Kind of action", of.kinds)}
      {of.sessions.length > 1 && (
        <Table title="By session" first="session">
          {of.sessions.slice(0, LISTED).map((one) => row(short(one.session), one.settled_with_children))}
        </Table>
      )}
    </>
  );
}

const Table = ({ title, first, children }: { title: string; first: string; children: preact.ComponentChildren }) => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
  <div class="wide" tabIndex={0} role="group" aria-label={title}>
    <table>
      <caption>{title}</caption>
      <thead>
        <tr>
          {[first || "what", "money", "tokens", "steps", "time"].map((name) => (
            <th key={name} scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  </div>
);

function Over({ of }: { of: Calls }) {
  const places = new Map(of.calls.map((call, at) => [call.action, at]));
  let money = 0;
  const spent = of.calls.map((call) => {
    money += call.nanos;
    return money;
  });
  const marks = of.breaks.map((one) => ({ at: places.get(one.action) ?? 0, why: `${one.action}: ${one.why}` }));
  return (
    <>
      {of.calls.length > 1 && (
        <Chart
          title={`Money over ${of.calls.length} calls; upright lines are where the provider's cache broke`}
          curves={[{ name: "spent", points: spent }]}
          name={(index) => (of.calls[index] ? clock(of.calls[index].at) : "")}
          value={(v) => usd(Math.round(v))}
          marks={marks}
        />
      )}
      <h2>What broke the cache</h2>
      {of.breaks.length ? (
        <ul>
          {of.breaks.slice(-LISTED).map((one) => (
            <li key={one.action}>
              {one.action} after {one.before}: {line(one.why, 200)}
              {one.message ? ` (message ${one.message}${one.speaker ? `, ${line(one.speaker, 20)}` : ""})` : ""}
            </li>
          ))}
        </ul>
      ) : (
        <p class="hint">Every call began as the one before: nothing broke it.</p>
      )}
      <p>Saved by the provider's cache: {usd(of.saved)}</p>
      <Calls_ of={of} />
    </>
  );
}

const Calls_ = ({ of }: { of: Calls }) => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
  <div class="wide" tabIndex={0} role="group" aria-label="Model calls">
    <table>
      <caption>
        The newest {Math.min(LISTED, of.calls.length)} of {of.calls.length} calls
      </caption>
      <thead>
        <tr>
          {["action", "model", "end", "time", "input", "from cache", "output", "money"].map((name) => (
            <th key={name} scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {of.calls
          .slice(-LISTED)
          .reverse()
          .map((call) => (
            <tr key={`${call.action}/${call.attempt}`}>
              <th scope="row">{call.action}</th>
              <td>{line(call.model, 40)}</td>
              <td>{call.end || "runs"}</td>
              <td>{span(call.ms)}</td>
              <td>{count(call.usage?.input)}</td>
              <td>{count(call.usage?.cache_read)}</td>
              <td>{count(call.usage?.output)}</td>
              <td>
                {usd(call.nanos)}
                {call.estimated ? " at most" : ""}
              </td>
            </tr>
          ))}
      </tbody>
    </table>
  </div>
);
