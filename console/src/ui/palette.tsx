// Everything that can be done, by typing: places, sessions, acts on the session that is looked at. Where to start: Palette.

import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { line } from "../model/clean";
import { singleKeys, type Theme, theme } from "../model/prefs";
import { sessionAddress, TABS } from "../model/route";
import { board, can, route } from "../model/store";
import { wish } from "../model/wish";
import { focusedSession } from "./board";
import { Dialog } from "./bits";

export const paletteOpen = signal(false);
export const helpOpen = signal(false);

interface Item {
  words: string;
  more: string;
  run: () => void;
}

const LISTED = 50;
const to = (hash: string) => () => {
  location.hash = hash;
};

const PLACES: [string, string, string][] = [
  ["Go to sessions", "#/", "g b"],
  ["Go to what waits for me", "#/inbox", "g i"],
  ["Go to schedules", "#/schedules", "g s"],
  ["Go to metrics", "#/metrics", "g m"],
  ["Go to settings", "#/settings", "g ,"],
  ["Start a new session", "#/new", "g n"],
];

function items(query: string): Item[] {
  const here = route.peek().view === "session" ? route.peek().id : focusedSession();
  const all: Item[] = PLACES.map(([words, hash, more]) => ({ words, more, run: to(hash) }));
  if (here && board.rows.has(here)) {
    const of = here.slice(-8);
    for (const tab of TABS) all.push({ words: `Open ${tab}`, more: `of ${of}`, run: to(sessionAddress(here, tab)) });
    all.push({ words: "Pause", more: `session ${of}`, run: () => void wish(here, "pause") });
    all.push({ words: "Resume", more: `session ${of}`, run: () => void wish(here, { resume: {} }) });
    const asks = can("fork") ? (["rewind", "fork", "cancel"] as const) : (["rewind", "cancel"] as const);
    for (const what of asks)
      all.push({ words: `${what[0]!.toUpperCase()}${what.slice(1)}…`, more: `session ${of}`, run: to(`#/s/${here}/timeline?do=${what}`) });
  }
  for (const name of ["dark", "light", "system"] as Theme[])
    all.push({
      words: `Theme: ${name}`,
      more: "",
      run: () => {
        theme.value = name;
      },
    });
  all.push({
    words: "Keys",
    more: "?",
    run: () => {
      helpOpen.value = true;
    },
  });
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (text: string) => words.every((word) => text.toLowerCase().includes(word));
  const found = all.filter((item) => fits(`${item.words} ${item.more}`));
  if (words.length) {
    for (const row of board.rows.values()) {
      if (found.length >= LISTED) break;
      if (fits(`${row.goal_text ?? ""} ${row.short} ${row.status}`))
        found.push({ words: line(row.goal_text ?? row.short, 90), more: `${row.short} ${row.status}`, run: to(sessionAddress(row.id)) });
    }
    if (can("search"))
      found.push({ words: `Search all sessions for “${line(query, 60)}”`, more: "", run: to(`#/search?${new URLSearchParams({ q: query })}`) });
  }
  return found.slice(0, LISTED + 1);
}

export function Palette() {
  const [query, setQuery] = useState("");
  const [active, setActive] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const list = useMemo(() => items(query), [query]);
  const close = () => {
    paletteOpen.value = false;
  };
  useEffect(() => box.current?.querySelector(".active")?.scrollIntoView({ block: "nearest" }), [active]);
  const run = (item: Item | undefined) => {
    if (!item) return;
    close();
    // After the dialog has given the focus back.
    setTimeout(item.run);
  };
  const key = (event: KeyboardEvent) => {
    const to: Record<string, number> = { ArrowDown: active + 1, ArrowUp: active - 1 };
    const next = to[event.key];
    if (next !== undefined) setActive((next + list.length) % Math.max(1, list.length));
    else if (event.key === "Enter") run(list[active]);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title="Command palette" class="palette" onClose={close}>
      <input
        autoFocus
        role="combobox"
        aria-label="What to do"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={list.length ? `p-${active}` : undefined}
        placeholder="Type what to do, or a session's goal"
        value={query}
        onInput={(event) => {
          setQuery(event.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={key}
      />
      <div id="palette-list" role="listbox" aria-label="Commands" ref={box} tabIndex={0} onKeyDown={key}>
        {list.map((item, at) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the input takes the keys
          // biome-ignore lint/a11y/useFocusableInteractive: the input has the focus
          <div key={`${item.words}/${item.more}`} id={`p-${at}`} role="option" aria-selected={at === active} class={at === active ? "active" : ""} onClick={() => run(item)}>
            <span>{item.words}</span> <small>{item.more}</small>
          </div>
        ))}
        {list.length === 0 && (
          // biome-ignore lint/a11y/useFocusableInteractive: the input has the focus
          <div role="option" aria-selected="false" aria-disabled="true">
            Nothing fits.
          </div>
        )}
      </div>
    </Dialog>
  );
}

const KEYS: [string, string][] = [
  ["Ctrl-K", "command palette"],
  ["g, then b i s m n ,", "sessions, what waits for me, schedules, metrics, new session, settings"],
  ["/", "filter the sessions"],
  ["?", "these keys"],
  ["↑ ↓ PageUp PageDown Home End", "move in a list"],
  ["Enter", "open"],
  ["← →", "fold and unfold; move between tabs, or between actions in Why"],
  ["Space", "show or hide what a running session does"],
  ["n p", "next and previous file of a diff"],
  ["Ctrl-]", "leave a terminal"],
  ["Escape", "close a dialog"],
];

export function Help() {
  return (
    <Dialog
      title="Keys"
      onClose={() => {
        helpOpen.value = false;
      }}
    >
      <dl class="keys">
        {KEYS.map(([key, words]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{words}</dd>
          </div>
        ))}
      </dl>
      <p class="hint">Keys without Ctrl can be turned off in the settings.</p>
    </Dialog>
  );
}

const GO: Record<string, string> = { b: "#/", i: "#/inbox", s: "#/schedules", m: "#/metrics", n: "#/new", ",": "#/settings" };
/** Between the two keys of a pair, milliseconds. */
const PAIR_MS = 1200;

/** Keys of the whole page. */
export function keys(): void {
  let gone = 0;
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      paletteOpen.value = !paletteOpen.value;
      return;
    }
    const target = event.target as Element | null;
    if (!singleKeys.value || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target?.closest("input,textarea,select,dialog,.xterm")) return;
    if (gone && Date.now() - gone < PAIR_MS && GO[event.key]) {
      event.preventDefault();
      location.hash = GO[event.key]!;
      gone = 0;
      return;
    }
    gone = event.key === "g" ? Date.now() : 0;
    if (event.key === "?") helpOpen.value = true;
    else if (event.key === "/") {
      event.preventDefault();
      if (route.value.view !== "board") location.hash = "#/";
      requestAnimationFrame(() => document.getElementById("filter")?.focus());
    }
  });
}
