// A chart of lines over time as SVG: it takes its colours from the page, needs no canvas, and has its figures as a table beside it.
// Where to start: Chart.

import { path, scale, thin, ticks } from "../model/chart";
import { line as oneLine } from "../model/clean";

export interface Curve {
  name: string;
  points: (number | null)[];
}

export interface Mark {
  at: number;
  why: string;
}

const [WIDTH, HIGH, LEFT, LOW, TOP] = [640, 180, 62, 24, 10];
const DASH = ["", "6 3", "2 3", "8 3 2 3"];

export function Chart(props: {
  title: string;
  curves: Curve[];
  /** What stands below the point of this index. */
  name: (index: number) => string;
  value: (value: number) => string;
  marks?: Mark[];
}) {
  const { curves, marks = [] } = props;
  const length = Math.max(1, ...curves.map((curve) => curve.points.length));
  const all = curves.flatMap((curve) => curve.points).filter((v): v is number => v !== null);
  const high = all.reduce((most, v) => Math.max(most, v), 0) || 1;
  const x = scale(0, Math.max(1, length - 1), LEFT, WIDTH - 10);
  const y = scale(0, high, HIGH - LOW, TOP);
  const lastOf = (curve: Curve) => curve.points.filter((v): v is number => v !== null).pop();
  return (
    <figure class="chart">
      <figcaption>{oneLine(props.title, 100)}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HIGH}`} role="img" aria-label={`${oneLine(props.title, 100)}; the table below says the same`}>
        {ticks(0, high).map((v) => (
          <g key={v}>
            <line class="grid" x1={LEFT} x2={WIDTH - 10} y1={y(v)} y2={y(v)} />
            <text x={LEFT - 6} y={y(v) + 4} text-anchor="end">
              {props.value(v)}
            </text>
          </g>
        ))}
        {[0, length - 1].map((index, at) => (
          <text key={at === 0 ? "first" : "last"} x={x(index)} y={HIGH - 6} text-anchor={at ? "end" : "start"}>
            {props.name(index)}
          </text>
        ))}
        {marks.slice(0, 200).map((mark) => (
          <line key={`${mark.at}${mark.why}`} class="mark" x1={x(mark.at)} x2={x(mark.at)} y1={TOP} y2={HIGH - LOW}>
            <title>{oneLine(mark.why, 200)}</title>
          </line>
        ))}
        {curves.slice(0, 8).map((curve, at) => (
          <path
            key={curve.name}
            class={`curve c${at % 4}`}
            stroke-dasharray={DASH[at % 4]}
            d={path(thin(curve.points, 600).map(({ at: index, value }) => [x(index), value === null ? null : y(value)]))}
          />
        ))}
      </svg>
      {curves.length > 1 && (
        <p class="legend">
          {curves.slice(0, 8).map((curve, at) => (
            <span key={curve.name}>
              <svg viewBox="0 0 30 8" aria-hidden="true">
                <path class={`curve c${at % 4}`} stroke-dasharray={DASH[at % 4]} d="M0 4L30 4" />
              </svg>{" "}
              {oneLine(curve.name, 40)}
            </span>
          ))}
        </p>
      )}
      <details>
        <summary>Figures</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
        <div class="wide" tabIndex={0} role="group" aria-label={`Figures of ${oneLine(props.title, 60)}`}>
          <table>
            <thead>
              <tr>
                <th scope="col">what</th>
                <th scope="col">now</th>
                <th scope="col">most</th>
              </tr>
            </thead>
            <tbody>
              {curves.map((curve) => {
                const known = curve.points.filter((v): v is number => v !== null);
                return (
                  <tr key={curve.name}>
                    <th scope="row">{oneLine(curve.name, 80)}</th>
                    <td>{props.value(lastOf(curve) ?? 0)}</td>
                    <td>{props.value(known.reduce((most, v) => Math.max(most, v), 0))}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}
