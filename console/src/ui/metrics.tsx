// Figures over time, as the daemon counts them. Where to start: Metrics.

import { useEffect, useState } from "preact/hooks";
import { get } from "../api/client";
import type { SeriesPage } from "../api/types";
import { line } from "../model/clean";
import { bytes, clock, count, span, usd } from "../model/format";
import { Chart } from "./chart";
import { Empty, Loaded, useLoad } from "./bits";

/** What is shown, in this order; what the daemon does not have is left out. */
const SHOWN: [name: string, title: string][] = [
  ["kapell_sessions", "Sessions by state"],
  ["kapell_actions", "Actions ended, by kind, in a step of time"],
  ["kapell_tokens", "Tokens"],
  ["kapell_money_nanos", "Money"],
  ["kapell_cache_hits_permille", "Read from the provider's cache, per mille of input"],
  ["kapell_decide_us", "Time of a decision, p99"],
  ["kapell_commit_us", "Time of a commit, p99"],
  ["kapell_provider_ms", "Time to a provider's first word, p95"],
  ["kapell_queue_depth", "Wishes that wait"],
  ["kapell_breaker", "Breakers that are open"],
  ["kapell_rss_bytes", "Memory"],
];

const SPANS: [string, number][] = [
  ["15 min", 15 * 60_000],
  ["1 h", 3_600_000],
  ["6 h", 6 * 3_600_000],
  ["24 h", 24 * 3_600_000],
];

const AGAIN_MS = 10_000;

function words(unit: string): (v: number) => string {
  if (unit === "nanos") return (v) => usd(Math.round(v));
  if (unit === "bytes") return (v) => bytes(v);
  if (unit === "us") return (v) => (v < 1000 ? `${Math.round(v)} µs` : span(v / 1000));
  if (unit === "ms") return (v) => span(v);
  return (v) => count(Math.round(v * 10) / 10);
}

const name = (labels: Record<string, string>) =>
  Object.values(labels)
    .map((value) => line(value, 40))
    .join(" ") || "all";

export function Metrics() {
  const [back, setBack] = useState(SPANS[1]![1]);
  const [tick, setTick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && setTick((n) => n + 1), AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  const loaded = useLoad<SeriesPage>(
    (signal) => get(`/v1/metrics/series?since=${new Date(Date.now() - back).toISOString()}&step_ms=${Math.ceil(back / 360)}`, signal),
    [back, tick],
  );
  return (
    <section class="fill" aria-labelledby="metrics-title">
      <header class="bar">
        <h1 id="metrics-title">Metrics</h1>
        <label>
          of the last{" "}
          <select value={String(back)} onChange={(event) => setBack(Number(event.currentTarget.value))}>
            {SPANS.map(([title, ms]) => (
              <option key={ms} value={ms}>
                {title}
              </option>
            ))}
          </select>
        </label>
      </header>
      <Loaded of={loaded}>
        {(page) => {
          const from = Date.parse(page.from);
          const charts = SHOWN.flatMap(([wanted, title]) => {
            const found = page.series.filter((series) => series.name === wanted);
            return found.length ? [{ wanted, title, found }] : [];
          });
          if (!charts.length) return <Empty>The daemon has no figures so far.</Empty>;
          return (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
            <div class="scroll charts" tabIndex={0} role="group" aria-label="Charts">
              {charts.map(({ wanted, title, found }) => (
                <Chart
                  key={wanted}
                  title={title}
                  curves={found.map((series) => ({ name: name(series.labels), points: series.points }))}
                  name={(index) => clock(new Date(from + index * page.step_ms).toISOString())}
                  value={words(found[0]!.unit)}
                />
              ))}
            </div>
          );
        }}
      </Loaded>
    </section>
  );
}
