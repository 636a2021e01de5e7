// The mock of `kapell serve`: docs/api.md over a made-up world, for development and tests. Host, Origin, both halves of the login,
// problem+json, pages, keys, streams with resume. Where to start: serve.
import { randomBytes } from "node:crypto";
import { readFileSync, realpathSync, statSync } from "node:fs";
import http from "node:http";
import { join, normalize, sep } from "node:path";
import { gzipSync } from "node:zlib";
import { World } from "./data.mjs";
import { attachTerminals } from "./terminal.mjs";
import { Life } from "./life.mjs";
import { HEADERS } from "./policy.mjs";
import { routes } from "./routes.mjs";

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json", ".txt": "text/plain; charset=utf-8" };

export class Problem extends Error {
  constructor(status, code, title, hint = "") {
    super(title);
    Object.assign(this, { status, code, hint });
  }
}

export async function serve({ port = 0, dist, world = new World(), open = false } = {}) {
  const life = new Life(world);
  const mock = { world, life, boot: "01a1f791-19db-7000-8000-0000000000ff", logins: new Map(), codes: new Set(), reports: [], streams: new Set(), deafUntil: 0, log: [], open };
  const files = dist && fileCache(dist);
  const server = http.createServer({ maxHeaderSize: 16_384, requestTimeout: 30_000, headersTimeout: 10_000 }, (request, response) => {
    handle(mock, files, request, response).catch((error) => problem(response, error));
  });
  server.on("connection", (socket) => {
    socket.setNoDelay(true);
    if (Date.now() < mock.deafUntil) socket.destroy();
  });
  attachTerminals(mock, server);
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
  mock.port = server.address().port;
  mock.url = `http://127.0.0.1:${mock.port}`;
  mock.code = () => {
    const code = randomBytes(16).toString("hex");
    mock.codes.add(code);
    return code;
  };
  /** The network is gone for so long: what is open breaks, what is new is refused. */
  mock.deaf = (ms) => {
    mock.deafUntil = Date.now() + ms;
    server.closeAllConnections();
  };
  mock.close = () => {
    life.close();
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return mock;
}

/** Host, Origin and where the request comes from, before anything else (docs/api.md, section 2). */
export function checked(mock, request) {
  const hosts = [`127.0.0.1:${mock.port}`, `localhost:${mock.port}`];
  const { host, origin } = request.headers;
  if (!hosts.includes(host)) throw new Problem(403, "forbidden", "this Host is not ours");
  if (origin !== undefined && origin !== `http://${host}`) throw new Problem(403, "forbidden", "this Origin is not ours");
  const site = request.headers["sec-fetch-site"];
  const file = request.method === "GET" && !request.url.startsWith("/v1/");
  if (site && site !== "same-origin" && !(site === "none" && file)) throw new Problem(403, "forbidden", "the request comes from another site");
}

/** Both halves: the cookie and the proof. */
export function known(mock, request, proof) {
  if (mock.open) return true;
  const cookie = new RegExp(`(?:^|;\\s*)kapell-${mock.port}=([0-9a-f]+)`).exec(request.headers.cookie ?? "")?.[1];
  return !!cookie && mock.logins.get(cookie) === proof && !!proof;
}

const FREE = new Set(["POST /v1/login", "GET /v1/health", "GET /v1/ready", "POST /v1/csp-reports"]);

async function handle(mock, files, request, response) {
  const url = new URL(request.url, "http://x");
  response.setHeader("Request-Id", request.headers["request-id"] ?? `r-${randomBytes(3).toString("hex")}`);
  checked(mock, request);
  if (!url.pathname.startsWith("/v1")) return file(files, request, url, response);
  const name = `${request.method} ${url.pathname}`;
  if (!FREE.has(name) && !known(mock, request, request.headers["kapell-proof"])) {
    response.setHeader("WWW-Authenticate", "Bearer");
    throw new Problem(401, "unauthorised", "this browser is not logged in", "kapell console opens it");
  }
  response.setHeader("Cache-Control", "no-store");
  const found = routes.find(([method, pattern]) => method === request.method && pattern.test(url.pathname));
  if (!found) {
    const there = routes.some(([, pattern]) => pattern.test(url.pathname));
    throw there ? new Problem(405, "method", "this is not how it is asked") : new Problem(404, "no-route", "there is no such route");
  }
  const body = request.method === "GET" ? undefined : await read(request);
  const key = request.headers["idempotency-key"];
  const known_ = key && mock.world.requests.get(`${url.pathname} ${key}`);
  if (known_) {
    if (known_.body !== JSON.stringify(body)) throw new Problem(409, "key-reused", "this key was used for something else");
    return send(request, response, known_.status, known_.answer);
  }
  const match = found[1].exec(url.pathname).slice(1).map(decodeURIComponent);
  const answer = await found[2]({ mock, request, response, query: url.searchParams, body, match, key });
  if (answer === undefined) return undefined;
  const { status = 200, headers = {}, value } = answer;
  for (const [header, text] of Object.entries(headers)) response.setHeader(header, text);
  if (key && status < 300) mock.world.requests.set(`${url.pathname} ${key}`, { body: JSON.stringify(body), status, answer: value });
  return send(request, response, status, value);
}

function send(request, response, status, value) {
  if (value === undefined) return response.writeHead(status).end();
  let bytes = Buffer.from(JSON.stringify(value));
  response.setHeader("Content-Type", "application/json");
  if (bytes.length > 4096 && /\bgzip\b/.test(request.headers["accept-encoding"] ?? "")) {
    bytes = gzipSync(bytes, { level: 1 });
    response.setHeader("Content-Encoding", "gzip");
  }
  response.writeHead(status, { "Content-Length": bytes.length }).end(bytes);
  return undefined;
}

async function read(request) {
  let size = 0;
  const pieces = [];
  for await (const piece of request) {
    size += piece.length;
    if (size > 1024 * 1024) throw new Problem(413, "too-large", "a request holds at most 1 MiB");
    pieces.push(piece);
  }
  if (!size) return undefined;
  const type = (request.headers["content-type"] ?? "").split(";")[0];
  if (!["application/json", "application/csp-report", "application/reports+json"].includes(type)) throw new Problem(415, "media-type", "a body is application/json");
  try {
    return JSON.parse(Buffer.concat(pieces).toString());
  } catch {
    throw new Problem(400, "bad-request", "the body is not JSON");
  }
}

function problem(response, error) {
  if (response.headersSent) return response.destroy();
  const known_ = error instanceof Problem;
  if (!known_) console.error(error);
  const status = known_ ? error.status : 500;
  const body = { type: `urn:kapell:${known_ ? error.code : "internal"}`, title: known_ ? error.message : "the mock broke", status, code: known_ ? error.code : "internal", kind: "user-fixable", hint: known_ ? error.hint : "", exit_code: 2, request_id: response.getHeader("Request-Id") };
  response.writeHead(status, { "Content-Type": "application/problem+json" }).end(JSON.stringify(body));
  return undefined;
}

function fileCache(dist) {
  const root = realpathSync(dist);
  return (path) => {
    const full = normalize(join(root, path === "/" ? "/index.html" : path));
    if (!full.startsWith(root + sep)) return undefined;
    try {
      if (!statSync(full).isFile()) return undefined;
      return { bytes: readFileSync(full), type: TYPES[full.slice(full.lastIndexOf("."))] ?? "application/octet-stream" };
    } catch {
      return undefined;
    }
  };
}

function file(files, request, url, response) {
  const found = request.method === "GET" && files?.(decodeURIComponent(url.pathname));
  if (!found) throw new Problem(404, "no-route", "there is no such file");
  const packed = gzipSync(found.bytes, { level: 6 });
  response.writeHead(200, {
    ...HEADERS,
    "Content-Type": found.type,
    "Content-Encoding": "gzip",
    "Cache-Control": url.pathname.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache",
  });
  response.end(packed);
  return undefined;
}
