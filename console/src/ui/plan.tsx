// The plan as a graph, and the same as a list; the agent's own notes below. Where to start: PlanTab.

import { get, session as path } from "../api/client";
import type { PlanTask } from "../api/types";
import { line } from "../model/clean";
import { layout } from "../model/layout";
import { sessionAddress } from "../model/route";
import { Badge, Empty, Loaded, useLoad } from "./bits";

interface Plan {
  tasks: PlanTask[];
  todo: { state: string; text: string }[];
}

const [WIDE, HIGH, GAP_X, GAP_Y] = [190, 54, 56, 18];
const MARK: Record<string, string> = { pending: "○", active: "▶", done: "✓", failed: "✗", skipped: "–" };

export function PlanTab({ id, moved }: { id: string; moved: number }) {
  const loaded = useLoad<Plan>((signal) => get(path(id, "/plan"), signal), [id, moved]);
  return (
    <Loaded of={loaded}>
      {(plan) => (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        <div class="scroll" tabIndex={0} role="group" aria-label="Plan">
          {plan.tasks.length ? <Picture tasks={plan.tasks} /> : <Empty>This session has no plan.</Empty>}
          <ol class="tasks">
            {plan.tasks.map((task) => (
              <li key={task.id}>
                <Badge word={task.state} /> <b>{line(task.id, 60)}</b> {line(task.goal_text, 300)}
                {task.after?.length ? ` (after ${task.after.map((name) => line(name, 40)).join(", ")})` : ""}{" "}
                {task.session_id && <a href={sessionAddress(task.session_id)}>its session</a>}
              </li>
            ))}
          </ol>
          {plan.todo.length > 0 && <h2>The agent's own notes</h2>}
          <ul class="todo">
            {plan.todo.map((todo, at) => (
              <li key={at}>
                <span class="mark">{MARK[todo.state] ?? "○"}</span> {line(todo.text, 300)} <small>({todo.state})</small>
              </li>
            ))}
          </ul>
        </div>
      )}
    </Loaded>
  );
}

function Picture({ tasks }: { tasks: PlanTask[] }) {
  const graph = layout(tasks);
  const width = graph.columns * (WIDE + GAP_X);
  const height = graph.lines * (HIGH + GAP_Y) + GAP_Y;
  const x = (column: number) => column * (WIDE + GAP_X) + GAP_X / 4;
  const y = (at: number) => at * (HIGH + GAP_Y) + GAP_Y / 2;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <div class="wide" tabIndex={0} role="group" aria-label="The plan as a graph">
      <svg class="plan" width={width} height={height} role="img" aria-label={`A plan of ${tasks.length} tasks; the list below says the same`}>
        {graph.edges.map(([from, to]) => {
          const [x1, y1, x2, y2] = [x(from.column) + WIDE, y(from.line) + HIGH / 2, x(to.column), y(to.line) + HIGH / 2];
          const middle = (x1 + x2) / 2;
          return <path key={`${from.task.id}>${to.task.id}`} class="edge" d={`M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`} />;
        })}
        {graph.nodes.map(({ task, column, line: at }) => (
          <g key={task.id} class={`task ${task.state}`} transform={`translate(${x(column)} ${y(at)})`}>
            <rect width={WIDE} height={HIGH} rx="8" />
            <text x="10" y="21">
              {MARK[task.state] ?? "○"} {line(task.id, 20)} · {line(task.state, 10)}
            </text>
            <text x="10" y="41" class="goal">
              {line(task.goal_text, 26)}
            </text>
          </g>
        ))}
      </svg>
    </div>
  );
}
