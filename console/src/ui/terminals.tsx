// Background commands and terminals of a session: a list, a screen to type at, and what was written as plain text.
// Where to start: TerminalsTab.

import { useEffect, useRef, useState } from "preact/hooks";
import { get, Problem, post, proof, session as path } from "../api/client";
import type { Job } from "../api/types";
import { line, text } from "../model/clean";
import { bytes, span } from "../model/format";
import { decode, resized, typed } from "../model/frames";
import { can, jobsAt, now, say } from "../model/store";
import { Act, Badge, Empty, Loaded, Trouble, useLoad } from "./bits";
import type { Made } from "./xterm";

interface Jobs {
  session_id: string;
  jobs: Job[];
}

export function TerminalsTab({ id }: { id: string }) {
  const [chosen, setChosen] = useState<{ job: string; how: "screen" | "text" }>();
  const [again, setAgain] = useState(0);
  const loaded = useLoad<Jobs>((signal) => get(path(id, "/jobs"), signal), [id, jobsAt.value, again]);
  const [needs, setNeeds] = useState<Problem>();
  const begin = async (hash?: string) => {
    setNeeds(undefined);
    try {
      const made = await post<Job>(path(id, "/jobs"), { terminal: true, columns: 80, rows: 24, ...(hash && { hash }) });
      setAgain(again + 1);
      setChosen({ job: made.job, how: "screen" });
    } catch (failed) {
      if (!(failed instanceof Problem && failed.code === "needs-yes" && failed.hash)) throw failed;
      setNeeds(failed);
    }
  };
  return (
    <div class="terminals fill">
      <p class="bar small">
        {can("terminals") && (
          <Act tone="main" run={() => begin()}>
            New terminal
          </Act>
        )}
        <button type="button" onClick={() => setAgain(again + 1)}>
          Read again
        </button>
      </p>
      {needs && (
        <section class="bar" role="alertdialog" aria-label="A terminal needs your yes">
          <span>{text(needs.message)}</span>
          <Act tone="danger" run={() => begin(needs.hash)}>
            Open it
          </Act>
          <button type="button" onClick={() => setNeeds(undefined)}>
            Leave it
          </button>
        </section>
      )}
      <Loaded of={loaded}>
        {({ jobs }) =>
          jobs.length ? (
            <ul class="jobs">
              {jobs.map((job) => (
                <li key={job.job} class={chosen?.job === job.job ? "active" : ""}>
                  <b>{line(job.job, 12)}</b> {job.terminal ? "terminal" : "background"} <code>{line(job.command, 160)}</code>{" "}
                  <Badge word={job.running ? "running" : "ended"} /> {line(job.ended || job.waits, 100)} {bytes(job.bytes)}
                  {job.running && ` · silent for ${span(now.value - job.said_ms)}`}
                  <span class="answers">
                    {job.terminal && job.running && (
                      <button type="button" onClick={() => setChosen({ job: job.job, how: "screen" })} aria-label={`Attach to ${job.job}`}>
                        Attach
                      </button>
                    )}
                    <button type="button" onClick={() => setChosen({ job: job.job, how: "text" })} aria-label={`Transcript of ${job.job}`}>
                      Transcript
                    </button>
                    {job.running && (
                      <Act
                        tone="danger"
                        label={`Stop ${job.job}`}
                        run={async () => {
                          await post(path(id, `/jobs/${encodeURIComponent(job.job)}`), undefined, "DELETE");
                          setAgain(again + 1);
                        }}
                      >
                        Stop
                      </Act>
                    )}
                  </span>
                </li>
              ))}
            </ul>
          ) : (
            <Empty>This session has no background commands and no terminals.</Empty>
          )
        }
      </Loaded>
      {chosen?.how === "screen" && <Screen key={chosen.job} id={id} job={chosen.job} leave={() => setChosen(undefined)} />}
      {chosen?.how === "text" && <Transcript key={chosen.job} id={id} job={chosen.job} />}
    </div>
  );
}

/** Between two attempts to connect again, milliseconds. */
const AGAIN_MS = 1000;

function Screen({ id, job, leave }: { id: string; job: string; leave: () => void }) {
  const box = useRef<HTMLDivElement>(null);
  const out = useRef<HTMLButtonElement>(null);
  const [state, setState] = useState("connecting");
  useEffect(() => {
    let made: Made | undefined;
    let socket: WebSocket | undefined;
    let gone = false;
    /** Number of the byte that comes next; none before the first screen. */
    let at: number | undefined;
    const send = (frame: Uint8Array<ArrayBuffer>) => socket?.readyState === WebSocket.OPEN && socket.send(frame);
    const observer = new ResizeObserver(() => made?.fit());
    const connect = () => {
      if (gone) return;
      const address = new URL(path(id, `/jobs/${encodeURIComponent(job)}/attach`), location.href);
      if (at !== undefined) address.searchParams.set("after", String(at));
      address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
      socket = new WebSocket(address, ["kapell.term.v1", `kapell.proof.${proof()}`]);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => {
        setState("attached");
        if (made) send(resized(made.terminal.cols, made.terminal.rows));
      };
      socket.onmessage = ({ data }) => {
        const frame = data instanceof ArrayBuffer ? decode(new Uint8Array(data)) : undefined;
        if (!frame || !made) return;
        if (frame.kind === "screen") {
          made.terminal.reset();
          made.terminal.write(frame.bytes);
        } else if (frame.kind === "at") at = frame.byte;
        else if (frame.kind === "output") {
          made.terminal.write(frame.bytes);
          if (at !== undefined) at += frame.bytes.length;
        } else {
          setState(`ended: ${line(frame.how, 100)}`);
          gone = true;
        }
      };
      socket.onclose = () => {
        if (gone) return;
        setState("connection lost; trying again");
        setTimeout(connect, AGAIN_MS);
      };
    };
    void import("./xterm").then(({ make }) => {
      if (gone || !box.current) return;
      made = make(
        box.current,
        (words) => send(typed(words)),
        () => out.current?.focus(),
      );
      made.terminal.onResize(({ cols, rows }) => send(resized(cols, rows)));
      made.fit();
      observer.observe(box.current);
      made.terminal.focus();
      connect();
    });
    return () => {
      gone = true;
      observer.disconnect();
      socket?.close();
      made?.dispose();
    };
  }, []);
  return (
    <section class="screen fill" aria-label={`Terminal ${job}`}>
      <p class="bar small">
        <b>{line(job, 12)}</b>{" "}
        <span role="status" class="terminal-state">
          {state}
        </span>
        <span class="hint">Ctrl-] leaves the keyboard to the page; the terminal runs on</span>
        <button type="button" ref={out} onClick={leave}>
          Detach
        </button>
      </p>
      <div class="xterm-box" ref={box} />
    </section>
  );
}

interface Piece {
  from: number;
  bytes: number;
  text: string;
  end: boolean;
}

/** Characters of a transcript that are held. */
const HELD = 500_000;

function Transcript({ id, job }: { id: string; job: string }) {
  const [words, setWords] = useState("");
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    const abort = new AbortController();
    let after = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      try {
        for (;;) {
          const piece = await get<Piece>(path(id, `/jobs/${encodeURIComponent(job)}/output?after=${after}`), abort.signal);
          if (!piece.bytes) break;
          after = piece.from + piece.bytes;
          setWords((before) => (before + piece.text).slice(-HELD));
          if (piece.end) break;
        }
        setError(undefined);
      } catch (failed) {
        if (!abort.signal.aborted) setError(failed);
      }
      if (!abort.signal.aborted) timer = setTimeout(read, 2000);
    };
    void read();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, []);
  return (
    <section class="fill" aria-label={`Transcript of ${job}`}>
      {error !== undefined && <Trouble error={error} />}
      <p class="bar small">
        <span>{words.length.toLocaleString()} characters</span>
        <Act
          run={async () => {
            await navigator.clipboard.writeText(words);
            say("copied");
          }}
        >
          Copy
        </Act>
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <pre class="block fill transcript" tabIndex={0} role="log" aria-live="off" aria-label={`What ${job} wrote`}>
        {text(words) || "nothing so far"}
      </pre>
    </section>
  );
}
