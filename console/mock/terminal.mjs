// Made-up terminals over the frames of docs/api.md, section 7: they echo, and a few words do something. Where to start:
// attachTerminals.
import { WebSocketServer } from "ws";
import { checked, known } from "./server.mjs";

const frame = (kind, body) => Buffer.concat([Buffer.from(kind), Buffer.from(body)]);

export function attachTerminals(mock, server) {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 1024 * 1024, handleProtocols: () => "kapell.term.v1" });
  server.on("upgrade", (request, socket, head) => {
    const match = /^\/v1\/sessions\/([0-9a-f-]+)\/jobs\/([jt]\d+)\/attach$/.exec(request.url.split("?")[0]);
    const asked = (request.headers["sec-websocket-protocol"] ?? "").split(/,\s*/);
    const proof = asked.find((name) => name.startsWith("kapell.proof."))?.slice("kapell.proof.".length);
    const job = match && mock.world.sessions.get(match[1])?.jobs.find((one) => one.job === match[2]);
    let status = "";
    try {
      if (request.headers.origin === undefined) status = "403 Forbidden";
      checked(mock, request);
    } catch {
      status = "403 Forbidden";
    }
    if (!status && !(asked.includes("kapell.term.v1") && known(mock, request, proof))) status = "401 Unauthorized";
    if (!status && !job) status = "404 Not Found";
    if (status) {
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
      return;
    }
    const after = new URL(request.url, "http://localhost").searchParams.get("after");
    sockets.handleUpgrade(request, socket, head, (client) => attach(job, client, after));
  });
}

/** The number of a byte. */
function at(byte) {
  const body = Buffer.alloc(8);
  body.writeBigUInt64LE(BigInt(byte));
  return frame("n", body);
}

function attach(job, client, after) {
  job.clients.add(client);
  const all = Buffer.from(job.text);
  if (after !== null && Number(after) <= all.length) {
    client.send(at(after));
    client.send(frame("o", all.subarray(Number(after))));
  } else {
    client.send(frame("s", Buffer.concat([Buffer.from([80, 0, 24, 0]), all])));
    client.send(at(all.length));
  }
  client.on("close", () => job.clients.delete(client));
  client.on("message", (data, binary) => {
    if (!binary) return client.close(1003);
    if (data[0] === 0x69) type(job, data.subarray(1).toString());
    else if (data[0] === 0x78) stop(job);
    else if (data[0] !== 0x72) client.close(1002);
    return undefined;
  });
}

/** The job writes. */
export function write(job, text) {
  job.text += text;
  job.bytes += Buffer.byteLength(text);
  job.said_ms = Date.now();
  for (const client of job.clients) client.send(frame("o", text));
}

export function stop(job) {
  job.running = false;
  job.ended = "stopped by you";
  for (const client of job.clients) {
    client.send(frame("e", job.ended));
    client.close(1000);
  }
}

function type(job, keys) {
  for (const key of keys) {
    if (key === "\r") {
      const line = job.line;
      job.line = "";
      write(job, `\r\n${line.startsWith("echo ") ? `${line.slice(5)}\r\n` : line ? `${line}: command not found\r\n` : ""}$ `);
    } else if (key === "\x7f") {
      if (job.line) {
        job.line = job.line.slice(0, -1);
        write(job, "\b \b");
      }
    } else if (key >= " ") {
      job.line += key;
      write(job, key);
    }
  }
  job.typed += keys;
}

export const made = (name, command = "bash") => ({ job: name, command, terminal: true, pid: 4242, started_ms: Date.now(), beat_ms: Date.now(), said_ms: Date.now(), bytes: 2, running: true, waits: "", ended: "", text: "$ ", line: "", typed: "", clients: new Set() });
