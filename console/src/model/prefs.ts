// What this browser remembers: theme, single keys. Kept in localStorage; nothing of it leaves the page. Where to start: theme.

import { effect, signal } from "@preact/signals";

export type Theme = "system" | "dark" | "light";

const read = (name: string): string => localStorage.getItem(`kapell.${name}`) ?? "";

const stored = read("theme");
export const theme = signal<Theme>(stored === "dark" || stored === "light" ? stored : "system");
/** Keys without Ctrl; a person who dictates turns them off (WCAG 2.1.4). */
export const singleKeys = signal(read("keys") !== "off");

export function remember(): void {
  effect(() => {
    document.documentElement.dataset.theme = theme.value;
    localStorage.setItem("kapell.theme", theme.value);
  });
  effect(() => localStorage.setItem("kapell.keys", singleKeys.value ? "on" : "off"));
}
