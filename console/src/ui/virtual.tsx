// A list of any length of which only the lines in sight exist, with keys of its own. Lines are equally high, so that the place of
// each is known without measuring. Where to start: Virtual.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

export interface Props {
  count: number;
  /** Pixels of a line. */
  height: number;
  label: string;
  role: "listbox" | "tree" | "none";
  /** Names the lines for assistive technology; unique on the screen. */
  name: string;
  active: number;
  onActive: (index: number) => void;
  onOpen?: (index: number) => void;
  /** Keys beyond moving; true = taken. */
  onKey?: (event: KeyboardEvent, index: number) => boolean;
  /** Stays at the end while new lines come. */
  stick?: boolean;
  onStick?: (stick: boolean) => void;
  /** First and last line in sight. */
  onRange?: (first: number, last: number) => void;
  line: (index: number) => { key: string | number; attributes?: Record<string, unknown>; children: ComponentChildren };
  /** Width of the widest line, in characters; without it lines end at the edge. */
  wide?: number;
}

const SPARE = 6;

export function Virtual(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [tall, setTall] = useState(600);
  const { count, height, active, stick } = props;
  const first = Math.max(0, Math.floor(top / height) - SPARE);
  const last = Math.min(count - 1, Math.ceil((top + tall) / height) + SPARE);

  useLayoutEffect(() => {
    const element = box.current!;
    const measure = () => setTall(element.clientHeight);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  useLayoutEffect(() => {
    if (stick && box.current) box.current.scrollTop = count * height;
  }, [stick, count, height, tall]);

  useEffect(() => props.onRange?.(first, last), [first, last, count]);

  const scrolled = () => {
    // A list that has left the page may still hear that it was scrolled.
    const element = box.current;
    if (!element) return;
    setTop(element.scrollTop);
    const atEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - height;
    if (props.onStick && atEnd !== !!stick) props.onStick(atEnd);
  };

  const show = (index: number) => {
    const element = box.current;
    if (!element) return;
    const from = index * height;
    if (from < element.scrollTop) element.scrollTop = from;
    else if (from + height > element.scrollTop + element.clientHeight) element.scrollTop = from + height - element.clientHeight;
  };

  const before = useRef(active);
  useLayoutEffect(() => {
    if (before.current !== active && active >= 0 && active < count) show(active);
    before.current = active;
  }, [active]);

  const key = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(tall / height) - 1);
    const to: Record<string, number> = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: count - 1,
    };
    const next = to[event.key];
    if (next !== undefined && count > 0) {
      props.onStick?.(event.key === "End");
      props.onActive(Math.min(count - 1, Math.max(0, next)));
    } else if (event.key === "Enter" && active >= 0 && active < count && props.onOpen) props.onOpen(active);
    else if (!props.onKey?.(event, active)) return;
    event.preventDefault();
    event.stopPropagation();
  };

  const item = props.role === "tree" ? "treeitem" : props.role === "listbox" ? "option" : undefined;
  const shown: ComponentChildren[] = [];
  const draw = (index: number) => {
    const { key: name, attributes, children } = props.line(index);
    shown.push(
      <div
        key={name}
        id={`${props.name}-${index}`}
        role={item}
        aria-selected={item === "option" || item === "treeitem" ? index === active : undefined}
        aria-posinset={item === "option" ? index + 1 : undefined}
        aria-setsize={item === "option" ? count : undefined}
        {...attributes}
        class={`line ${index === active ? "active" : ""} ${String(attributes?.class ?? "")}`}
        style={{ top: `${index * height}px`, height: `${height}px` }}
        onClick={(event) => {
          if ((event.target as Element).closest("button,a")) return;
          props.onActive(index);
          if (event.detail > 1) props.onOpen?.(index);
        }}
      >
        {children}
      </div>,
    );
  };
  // The line that has the focus exists also when it is out of sight.
  if (active >= 0 && active < first && active < count) draw(active);
  for (let index = first; index <= last; index++) draw(index);
  if (active > last && active < count) draw(active);

  return (
    <div
      ref={box}
      class="virtual"
      role={props.role === "none" ? "group" : props.role}
      aria-label={props.label}
      aria-activedescendant={item && active >= 0 && active < count ? `${props.name}-${active}` : undefined}
      tabIndex={0}
      onScroll={scrolled}
      onKeyDown={key}
      data-count={count}
    >
      <div class="height" role="presentation" style={{ height: `${count * height}px`, minWidth: props.wide ? `${props.wide}ch` : undefined }}>
        {shown}
      </div>
    </div>
  );
}

/** Pixels of a line: more where it is narrow and a line holds two rows. */
export function useLineHeight(wide: number, narrow: number): number {
  const query = matchMedia("(max-width: 720px)");
  const [is, set] = useState(query.matches);
  useEffect(() => {
    const changed = () => set(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return is ? narrow : wide;
}
