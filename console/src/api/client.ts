// Requests to the daemon: both halves of the login, problem+json, keys that make a repeat harmless, retries.
// Knows no screen. Where to start: get and post; what a login is stands in docs/api.md, section 2.

const PROOF = "kapell.proof";
const TRIES = 4;

/** An answer that says no, as the daemon words it. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    title: string,
    readonly hint: string,
    readonly retryAfterMs = 0,
    /** What a yes would be bound to, of `needs-yes`. */
    readonly hash = "",
  ) {
    super(title);
  }
}

/** The page's half of the login; it never leaves this origin's storage but as a header. */
export const proof = (): string => localStorage.getItem(PROOF) ?? "";

export function setProof(value: string): void {
  if (value) localStorage.setItem(PROOF, value);
  else localStorage.removeItem(PROOF);
}

/** Called when the daemon does not know us any more. */
let unauthorised: () => void = () => {};
export const onUnauthorised = (call: () => void): void => {
  unauthorised = call;
};

export interface Options {
  body?: unknown;
  key?: string;
  accept?: string;
  signal?: AbortSignal;
}

/** One request, not repeated; throws Problem, or TypeError when there is no connection. */
export async function raw(method: string, path: string, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: options.accept ?? "application/json", "Kapell-Proof": proof() };
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (options.key) headers["Idempotency-Key"] = options.key;
  const response = await fetch(path, {
    method,
    headers,
    body: options.body === undefined ? undefined : JSON.stringify(options.body),
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
    signal: options.signal,
  });
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401) unauthorised();
  throw problem;
}

async function problemOf(response: Response): Promise<Problem> {
  const fallback = `the daemon answered ${response.status}`;
  try {
    const body = (await response.json()) as Record<string, unknown>;
    const text = (name: string) => (typeof body[name] === "string" ? (body[name] as string) : "");
    const wait = Number(body.retry_after_ms ?? 0) || Number(response.headers.get("Retry-After") ?? 0) * 1000;
    return new Problem(response.status, text("code"), text("title") || fallback, text("hint"), wait, text("hash"));
  } catch {
    return new Problem(response.status, "", fallback, "");
  }
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** A request that is made again when the connection broke or the daemon asked for patience; safe, because of its key. */
async function again(method: string, path: string, options: Options): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await raw(method, path, options);
    } catch (error) {
      const busy = error instanceof Problem && (error.status === 429 || error.status === 503);
      const lost = error instanceof TypeError;
      if (options.signal?.aborted || attempt >= TRIES || !(busy || lost)) throw error;
      const wait = error instanceof Problem ? error.retryAfterMs : 0;
      await pause(Math.min(Math.max(wait, 200 * 2 ** attempt), 5000));
    }
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await again("GET", path, { signal })).json()) as T;
}

/** Text of a blob, at most so many characters. */
export async function text(path: string, most: number, signal?: AbortSignal): Promise<string> {
  const all = await (await again("GET", path, { signal, accept: "text/plain" })).text();
  return all.length > most ? `${all.slice(0, most)}…` : all;
}

export async function post<T>(path: string, body: unknown, method = "POST"): Promise<T> {
  const response = await again(method, path, { body, key: crypto.randomUUID() });
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** Exchanges a one-time code for a login. */
export async function login(code: string): Promise<void> {
  const answer = (await (await raw("POST", "/v1/login", { body: { code } })).json()) as { proof: string };
  setProof(answer.proof);
}

/** What went wrong, in the daemon's words. */
export function told(error: unknown): string {
  if (error instanceof Problem) return error.hint ? `${error.message}. ${error.hint}` : error.message;
  if (error instanceof TypeError) return "there is no connection to the daemon";
  return error instanceof Error ? error.message : String(error);
}

export const session = (id: string, rest = ""): string => `/v1/sessions/${encodeURIComponent(id)}${rest}`;
