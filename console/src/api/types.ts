// The shapes of docs/api.md, which are those that Kapell prints and stores. Only what the console reads is named; readers skip
// the rest. Knows no network. Where to start: BoardRow and Stored.

export type Nanos = number;

/** Absent units are zero; "unlimited" is a cap that is none. */
export interface Amount {
  nanos?: number | "unlimited";
  tokens?: number | "unlimited";
  steps?: number | "unlimited";
  time_ms?: number | "unlimited";
}

export interface Waits {
  for: string;
  what: string;
  type_next?: string;
  until?: string;
}

export interface Doing {
  action: string;
  work: string;
  on: string;
  attempt: number;
  for_ms: number;
}

export interface BoardRow {
  id: string;
  short: string;
  goal: string;
  goal_text: string | null;
  status: string;
  stage: string;
  round: number;
  task?: string;
  doing?: Doing;
  quiet_ms: number;
  waits?: Waits;
  code?: number;
  ended?: string;
  used: Amount;
  used_with_children: Amount;
  parent?: string;
  events?: number;
  children?: BoardRow[];
}

export interface Asked {
  session_id: string;
  kind: "approval" | "question" | "resume";
  id: string;
  what: string;
  content: string;
  commands: string[];
  hash: string | null;
  asked_at?: string;
  expires?: string;
  short?: string;
  goal?: string;
  choices?: string[];
  tool?: string;
  class?: string;
  rule?: string;
  cwd?: string;
  reserved?: Amount;
  used_with_children?: Amount;
  diff?: boolean;
}

export interface SessionPage {
  session_id: string;
  short: string;
  state: string;
  exit_code: number | null;
  why: string | null;
  waits: Waits | null;
  stage: string | null;
  round: number;
  goal: string;
  repo: string | null;
  model: string | null;
  opened: string;
  updated: string;
  events: number;
  steps: number;
  tokens: number;
  cost_nanos: number;
  verdict: string | null;
  landed: string | null;
  parent: string | null;
  children: number;
  holder: string | null;
  broken: string | null;
  waiting: Asked[];
  savepoints: string[];
  todo: { state: string; text: string }[];
  reasons: string[];
}

/** A record as it is stored; the event is an object of one key, its kind. */
export interface Stored {
  v: number;
  seq: number;
  at: string;
  event: Record<string, unknown>;
}

export type Texts = Record<string, string>;

export interface Page<T> {
  items: T[];
  next?: string;
  texts?: Texts;
  head?: number;
}

export interface Chosen {
  action: string;
  at: string;
  source: string;
  wish: string;
  intent?: string;
  submitted?: string;
  why: string;
  others?: { intent?: string; source: string; wish: string; why: string }[];
  work: string;
  attempts: Attempt[];
  then?: string[];
}

export interface Attempt {
  attempt: number;
  at: string;
  class: string;
  class_why: string;
  deadline: string;
  fence: number;
  approval?: string;
  reserved: Amount;
  end?: string;
  ended?: string;
  used: Amount;
}

export interface Unchosen {
  intent: string;
  source: string;
  wish: string;
  submitted: string;
  fate: { disposed: { at: string; how: string | { refused: string } } } | { waits: string };
}

export interface Why {
  actions: Chosen[];
  intents: Unchosen[];
  waits?: Waits;
  ended?: string;
  total: number;
}

export interface PlanTask {
  id: string;
  goal: string;
  goal_text: string;
  after?: string[];
  state: string;
  session_id?: string;
}

export interface CheckRun {
  check: string;
  side: "base" | "result";
  status: string;
  exit?: number;
  log: string;
  ms: number;
  tests?: { passed: number; failed: number; ignored: number };
}

export interface Checks {
  verdict: string | null;
  result: string | null;
  reasons: string[];
  flags: { code: string; path: string; what: string }[];
  report: { base: string; result: string; same_tree: boolean; runs: CheckRun[] } | null;
}

export interface Part {
  name: string;
  calls: number;
  reserved: Amount;
  held: Amount;
  settled: Amount;
  over: Amount;
}

export interface Cost {
  cap: Amount;
  total: Part;
  frozen: boolean;
  sessions: { session: string; parent?: string; cap: Amount; own: Part; settled_with_children: Amount }[];
  models: Part[];
  kinds: Part[];
}

export interface ModelCall {
  session: string;
  action: string;
  attempt: number;
  model: string;
  mode: string;
  at: string;
  ms: number;
  end: string;
  nanos: number;
  tokens: number;
  usage?: { input: number; output: number; cache_read?: number; cache_write?: number };
  estimated: boolean;
  saved: number;
}

export interface Break {
  before: string;
  action: string;
  message: number;
  from: number;
  speaker: string;
  why: string;
}

export interface Calls {
  session_id: string;
  saved: number;
  breaks: Break[];
  calls: ModelCall[];
}

export interface Entry {
  seq: number;
  at: string;
  role: "user" | "notice" | "assistant" | "tool";
  source?: string;
  action?: string;
  text?: string;
  notice?: unknown;
  calls?: {
    call: string;
    tool: string;
    args: string;
    class: string;
    outcome?: { at: string; ok: boolean; text?: string; full?: string; exit?: number; notice?: unknown };
  }[];
  partial?: { attempt: number; why: string };
}

export interface Job {
  job: string;
  command: string;
  terminal: boolean;
  pid: number;
  started_ms: number;
  beat_ms: number;
  said_ms: number;
  bytes: number;
  running: boolean;
  waits: string;
  ended: string;
}

export interface Told {
  session_id: string;
  wish: string;
  taken: "applied" | "queued" | "waiting" | "refused";
  why: string;
  holder: string | null;
  next: string;
  intent?: string;
  key?: string;
}

export interface Schedule {
  repo: string;
  id: string;
  name?: string;
  mode?: string;
  taskInstructions?: string;
  scheduleType?: string;
  timeInterval?: string;
  timeUnit?: string;
  active?: boolean;
  lastExecutionTime?: string;
  nextExecutionTime?: string;
  lastTaskId?: string;
}

export interface Series {
  name: string;
  labels: Record<string, string>;
  unit: string;
  points: (number | null)[];
}

export interface SeriesPage {
  step_ms: number;
  from: string;
  series: Series[];
}

export interface Setting {
  key: string;
  value: unknown;
  origin: string;
  kind: "default" | "file" | "env" | "flag";
}

export interface Hit {
  session_id: string;
  seq: number;
  at: string;
  kind: string;
  text: string;
}

export interface About {
  version: string;
  boot: string;
  schema_version: number;
  now: string;
  capabilities: string[];
}
