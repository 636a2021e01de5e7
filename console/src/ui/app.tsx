// The frame of the page: where one can go, how the connection is, what was just said. Where to start: App.

import { useEffect, useRef, useState } from "preact/hooks";
import { login, told } from "../api/client";
import { connection, counts, leave, route, said } from "../model/store";
import { BoardView } from "./board";
import { Inbox } from "./inbox";
import { Metrics } from "./metrics";
import { Help, helpOpen, Palette, paletteOpen } from "./palette";
import { Schedules } from "./schedules";
import { Search } from "./search";
import { SessionView } from "./session";
import { Settings } from "./settings";
import { Start } from "./start";

const PLACES: [string, string, string][] = [
  ["board", "#/", "Sessions"],
  ["inbox", "#/inbox", "Waits for me"],
  ["schedules", "#/schedules", "Schedules"],
  ["metrics", "#/metrics", "Metrics"],
  ["settings", "#/settings", "Settings"],
];

export function App({ problem }: { problem?: unknown }) {
  const { view, id, tab } = route.value;
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  const waiting = counts.value.needsYou;
  useEffect(() => {
    if (view !== "session") leave();
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
  }, [view, id]);
  useEffect(() => {
    document.title = `${waiting ? `(${waiting}) ` : ""}Kapell`;
  }, [waiting]);
  if (connection.value === "out") return <Login problem={problem} />;
  return (
    <>
      {/* biome-ignore lint/a11y/useValidAnchor: addresses are fragments here, so that this one must not become one */}
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        To the content
      </a>
      <nav aria-label="Places">
        <span class="name">Kapell</span>
        {PLACES.map(([name, hash, words]) => (
          <a key={name} href={hash} aria-current={view === name ? "page" : undefined}>
            {words}
            {name === "inbox" && waiting > 0 && (
              <>
                {" "}
                <b class="count">{waiting}</b>
              </>
            )}
          </a>
        ))}
        <button
          type="button"
          aria-keyshortcuts="Control+K"
          onClick={() => {
            paletteOpen.value = true;
          }}
        >
          Commands <kbd>Ctrl-K</kbd>
        </button>
      </nav>
      <State />
      <main id="main" ref={main} tabIndex={-1} class="fill">
        {view === "board" && <BoardView />}
        {view === "session" && <SessionView key={id} id={id} tab={tab} />}
        {view === "inbox" && <Inbox />}
        {view === "schedules" && <Schedules />}
        {view === "metrics" && <Metrics />}
        {view === "settings" && <Settings />}
        {view === "new" && <Start />}
        {view === "search" && <Search />}
      </main>
      <Said />
      {paletteOpen.value && <Palette />}
      {helpOpen.value && <Help />}
    </>
  );
}

/** How the connection is; what is on the screen is marked as old while there is none. */
function State() {
  const state = connection.value;
  useEffect(() => {
    document.documentElement.dataset.connection = state;
  }, [state]);
  return (
    <p class={`connection ${state}`} role="status">
      {state === "lost" ? "The connection to Kapell is lost; what you see is from before. Trying again …" : ""}
    </p>
  );
}

const SHOWN_MS = 6000;

/** What was just said; a screen reader hears the newest, at most one a second. */
function Said() {
  const newest = said.value;
  const [shown, setShown] = useState<typeof newest>();
  useEffect(() => {
    if (!newest) return;
    const since = Date.now() - (shown?.at ?? 0);
    const show = setTimeout(() => setShown(newest), since < 1000 ? 1000 - since : 0);
    const hide = setTimeout(() => setShown(undefined), SHOWN_MS + 1000);
    return () => {
      clearTimeout(show);
      clearTimeout(hide);
    };
  }, [newest]);
  return (
    <div class="said-box" role="status" aria-live="polite">
      {shown && <p class={shown.bad ? "bad" : ""}>{shown.text}</p>}
    </div>
  );
}

function Login({ problem }: { problem?: unknown }) {
  const [error, setError] = useState<unknown>(problem);
  return (
    <main class="login">
      <h1>Kapell</h1>
      <p>
        This browser is not logged in. Type <code>kapell console</code> in a terminal: it opens this page with a code that works once.
      </p>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          const code = String(new FormData(event.currentTarget).get("code") ?? "").trim();
          login(code.replace(/^.*#code=/, "")).then(() => location.reload(), setError);
        }}
      >
        <label>
          Code
          <input name="code" autocomplete="off" required />
        </label>
        <button type="submit" class="main">
          Log in
        </button>
      </form>
      {error !== undefined && (
        <p class="trouble" role="alert">
          {told(error)}
        </p>
      )}
    </main>
  );
}
