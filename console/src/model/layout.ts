// Places for the tasks of a plan: one column for each step from the beginning, in the plan's order inside it.
// Pure. Where to start: layout.

import type { PlanTask } from "../api/types";

export interface Node {
  task: PlanTask;
  column: number;
  line: number;
}

export interface Graph {
  nodes: Node[];
  edges: [from: Node, to: Node][];
  columns: number;
  lines: number;
}

/** A task stands one column behind the last of those it waits for. Names of tasks that are not there are passed over. */
export function layout(tasks: PlanTask[]): Graph {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const columns = new Map<string, number>();
  const column = (task: PlanTask, above: Set<string>): number => {
    const known = columns.get(task.id);
    if (known !== undefined) return known;
    if (above.has(task.id)) return 0;
    above.add(task.id);
    let place = 0;
    for (const id of task.after ?? []) {
      const before = byId.get(id);
      if (before) place = Math.max(place, column(before, above) + 1);
    }
    above.delete(task.id);
    columns.set(task.id, place);
    return place;
  };
  const filled: number[] = [];
  const nodes = new Map<string, Node>();
  for (const task of tasks) {
    const at = column(task, new Set());
    const line = filled[at] ?? 0;
    filled[at] = line + 1;
    nodes.set(task.id, { task, column: at, line });
  }
  const edges: [Node, Node][] = [];
  for (const node of nodes.values())
    for (const id of node.task.after ?? []) {
      const from = nodes.get(id);
      if (from && from !== node) edges.push([from, node]);
    }
  return { nodes: [...nodes.values()], edges, columns: filled.length, lines: Math.max(0, ...filled.map((n) => n ?? 0)) };
}
