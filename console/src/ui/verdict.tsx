// What Kapell's own checks said, on base and on result, with their logs. Where to start: VerdictTab.

import { get, session as path } from "../api/client";
import type { CheckRun, Checks } from "../api/types";
import { line } from "../model/clean";
import { span } from "../model/format";
import { Badge, Empty, Loaded, useLoad } from "./bits";
import { Blob } from "./timeline";

export function VerdictTab({ id, moved }: { id: string; moved: number }) {
  const loaded = useLoad<Checks>((signal) => get(path(id, "/checks"), signal), [id, moved]);
  return (
    <Loaded of={loaded}>
      {(checks) => (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        <div class="scroll" tabIndex={0} role="group" aria-label="Verdict">
          {checks.verdict ? (
            <p class="verdict">
              <Badge word={checks.verdict} /> on {line(checks.result ?? "", 12)}
            </p>
          ) : (
            <Empty>There is no verdict so far: the checks have not run on a result.</Empty>
          )}
          <ul>
            {checks.reasons.map((reason) => (
              <li key={reason}>{line(reason)}</li>
            ))}
          </ul>
          {checks.flags.length > 0 && (
            <>
              <h2>What a person should look at before it lands</h2>
              <ul>
                {checks.flags.map((flag) => (
                  <li key={`${flag.code}${flag.path}${flag.what}`}>
                    <Badge word={flag.code} /> {line(flag.path, 200)}: {line(flag.what)}
                  </li>
                ))}
              </ul>
            </>
          )}
          {checks.report && <Runs id={id} runs={checks.report.runs} />}
        </div>
      )}
    </Loaded>
  );
}

function Runs({ id, runs }: { id: string; runs: CheckRun[] }) {
  const names = [...new Set(runs.map((run) => run.check))];
  const of = (check: string, side: string) => runs.find((run) => run.check === check && run.side === side);
  return (
    <div class="runs">
      {names.map((check) => (
        <section key={check} class="card" aria-label={`Check ${line(check, 60)}`}>
          <h2>{line(check, 80)}</h2>
          {(["base", "result"] as const).map((side) => {
            const run = of(check, side);
            return (
              <div key={side}>
                <p>
                  {side}: {run ? <Badge word={run.status} /> : "not run"} {run && span(run.ms)}
                  {run?.exit !== undefined && ` · exit ${run.exit}`}
                  {run?.tests && ` · ${run.tests.passed} passed, ${run.tests.failed} failed, ${run.tests.ignored} ignored`}
                </p>
                {run && <Blob id={id} name={`log of ${check} on ${side}`} digest={run.log} />}
              </div>
            );
          })}
        </section>
      ))}
    </div>
  );
}
