// What runs by itself and when. Where to start: Schedules.

import { useState } from "preact/hooks";
import { get, post } from "../api/client";
import type { Page, Schedule, SessionPage } from "../api/types";
import { line } from "../model/clean";
import { moment } from "../model/format";
import { sessionAddress } from "../model/route";
import { can, say, schedulesAt } from "../model/store";
import { Act, Badge, Dialog, Empty, Loaded, useLoad } from "./bits";

const address = (of: Schedule, rest = "") =>
  `/v1/schedules/${encodeURIComponent(of.id)}${rest}?repo=${encodeURIComponent(of.repo)}`;

const when = (of: Schedule): string =>
  of.scheduleType === "interval" || of.timeInterval
    ? `every ${of.timeInterval ?? "?"} ${of.timeUnit ?? ""}`
    : (of.scheduleType ?? "time");

export function Schedules() {
  const [again, setAgain] = useState(0);
  const [making, setMaking] = useState(false);
  const loaded = useLoad<Page<Schedule>>((signal) => get("/v1/schedules?limit=1000", signal), [schedulesAt.value, again]);
  const change = async (run: Promise<unknown>) => {
    await run;
    setAgain((n) => n + 1);
  };
  return (
    <section class="fill" aria-labelledby="schedules-title">
      <header class="bar">
        <h1 id="schedules-title">Schedules</h1>
        <button type="button" class="main" onClick={() => setMaking(true)}>
          New schedule…
        </button>
      </header>
      {making && <Make close={() => setMaking(false)} made={() => setAgain((n) => n + 1)} />}
      <Loaded of={loaded}>
        {({ items }) =>
          items.length ? (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
            <div class="scroll cards" tabIndex={0} role="group" aria-label="Schedules">
              {items.map((of) => (
                <article key={`${of.repo}/${of.id}`} class="card" aria-label={line(of.name ?? of.id, 80)}>
                  <h2>{line(of.name ?? of.id, 120)}</h2>
                  <p>
                    <Badge word={of.active === false ? "off" : "on"} /> {line(when(of), 60)} · mode {line(of.mode ?? "", 40)} · in{" "}
                    {line(of.repo, 120)}
                  </p>
                  <p class="said">{line(of.taskInstructions ?? "", 500)}</p>
                  <p class="hint">
                    next {of.nextExecutionTime ? moment(of.nextExecutionTime) : "not known"} · last{" "}
                    {of.lastExecutionTime ? moment(of.lastExecutionTime) : "never"}{" "}
                    {of.lastTaskId && <a href={sessionAddress(of.lastTaskId)}>its session</a>}
                  </p>
                  <p class="answers">
                    {can("schedules") && (
                      <Act
                        label={`Run now: ${line(of.name ?? of.id, 60)}`}
                        run={async () => {
                          const made = await post<SessionPage>(address(of, "/run"), {});
                          say(`started ${made.short}`);
                        }}
                      >
                        Run now
                      </Act>
                    )}
                    <Act
                      label={`Turn ${of.active === false ? "on" : "off"}: ${line(of.name ?? of.id, 60)}`}
                      run={() => change(post(address(of), { active: of.active === false }, "PATCH"))}
                    >
                      {of.active === false ? "Turn on" : "Turn off"}
                    </Act>
                    <Act
                      tone="danger"
                      label={`Delete: ${line(of.name ?? of.id, 60)}`}
                      run={() => change(post(address(of), undefined, "DELETE"))}
                    >
                      Delete
                    </Act>
                  </p>
                </article>
              ))}
            </div>
          ) : (
            <Empty>There are no schedules. They stand in a project's .roo/schedules.json.</Empty>
          )
        }
      </Loaded>
    </section>
  );
}

function Make({ close, made }: { close: () => void; made: () => void }) {
  const [fields, setFields] = useState<Record<string, string>>({ timeInterval: "1", timeUnit: "day", mode: "code" });
  const field = (name: string, words: string, needed = true) => (
    <label>
      {words}
      <input
        required={needed}
        value={fields[name] ?? ""}
        onInput={(event) => setFields({ ...fields, [name]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <Dialog title="New schedule" onClose={close}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          post("/v1/schedules", { ...fields, scheduleType: "interval", active: true }).then(
            () => {
              made();
              close();
            },
            (error) => say(String(error.message ?? error), true),
          );
        }}
      >
        {field("name", "Name")}
        {field("repo", "Project (absolute path)")}
        {field("taskInstructions", "What is to be done")}
        {field("mode", "Mode")}
        {field("timeInterval", "Every (number)")}
        <label>
          of
          <select value={fields.timeUnit} onChange={(event) => setFields({ ...fields, timeUnit: event.currentTarget.value })}>
            <option>minute</option>
            <option>hour</option>
            <option>day</option>
          </select>
        </label>
        <button type="submit" class="main">
          Create
        </button>
      </form>
    </Dialog>
  );
}
