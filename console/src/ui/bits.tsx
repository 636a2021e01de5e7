// Small parts that every view uses: text that stays text, marks of state, dialogs, loading. Where to start: useLoad.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { told } from "../api/client";
import { line as oneLine, text as allText } from "../model/clean";
import { say } from "../model/store";

/** Foreign words on one line. */
export const Line = ({ of, most }: { of: string | null | undefined; most?: number }) => <>{oneLine(of ?? "", most)}</>;

/** Foreign text, as it is, with a scroll bar of its own. */
export const Block = ({ of, label }: { of: string; label: string }) => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
  <pre class="block" tabIndex={0} role="group" aria-label={label}>
    {allText(of)}
  </pre>
);

const TONE: Record<string, string> = {
  running: "run",
  active: "run",
  waiting: "ask",
  paused: "ask",
  completed: "good",
  CONFIRMED: "good",
  passed: "good",
  done: "good",
  failed: "bad",
  REFUTED: "bad",
  external: "bad",
  billed: "warn",
  INCONCLUSIVE: "warn",
  flaky: "warn",
  "could-not-run": "warn",
  cancelled: "warn",
  stopped: "warn",
};

/** A word about a state: its colour says nothing that the word does not. */
export const Badge = ({ word }: { word: string }) => <span class={`badge ${TONE[word] ?? ""}`}>{oneLine(word, 40)}</span>;

/** The one sign that an action runs; it stands once for each action on a screen. */
export const Spinner = ({ of, what }: { of: string; what: string }) => (
  <span class="spinner" data-action={of} role="img" aria-label={`running: ${what}`} />
);

export const Empty = ({ children }: { children: ComponentChildren }) => <p class="empty">{children}</p>;

export const Trouble = ({ error }: { error: unknown }) => (
  <p class="trouble" role="alert">
    {told(error)}
  </p>
);

/** Loads again when a key changes; what was there stays until the new one is. */
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, keys: unknown[]) {
  const [value, setValue] = useState<T>();
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    const abort = new AbortController();
    load(abort.signal).then(
      (found) => {
        setValue(() => found);
        setError(undefined);
      },
      (failed) => abort.signal.aborted || setError(() => failed),
    );
    return () => abort.abort();
  }, keys);
  return { value, error };
}

/** What to show of something that is loaded. */
export function Loaded<T>(props: { of: { value?: T; error: unknown }; children: (value: T) => ComponentChildren }) {
  const { value, error } = props.of;
  return (
    <>
      {error !== undefined && <Trouble error={error} />}
      {value !== undefined ? props.children(value) : error === undefined && <Empty>Loading …</Empty>}
    </>
  );
}

/** A button that does something slow: it cannot be pressed twice meanwhile, and says how it went. */
export function Act(props: {
  run: () => Promise<unknown>;
  done?: string;
  tone?: "main" | "danger";
  children: ComponentChildren;
  label?: string;
  disabled?: boolean;
}) {
  const [busy, setBusy] = useState(false);
  const press = async () => {
    setBusy(true);
    try {
      await props.run();
      if (props.done) say(props.done);
    } catch (error) {
      say(told(error), true);
    } finally {
      setBusy(false);
    }
  };
  return (
    <button type="button" class={props.tone} aria-label={props.label} disabled={busy || props.disabled} onClick={press}>
      {props.children}
    </button>
  );
}

/** A modal dialog; Escape and the first button close it, focus goes back to where it was. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren; class?: string }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    ref.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog ref={ref} class={props.class} aria-label={props.title} onClose={props.onClose}>
      <header>
        <h2>{props.title}</h2>
        <button type="button" onClick={() => ref.current?.close()} aria-label="Close">
          ✕
        </button>
      </header>
      {props.children}
    </dialog>
  );
}
