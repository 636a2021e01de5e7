// Numbers as people read them: money, tokens, spans, moments. Knows no shape. Where to start: usd.

const NANOS = 1_000_000_000;

export type Unit = number | "unlimited" | undefined;

/** As `contract::money::usd`: rounded up to the cent above one cent, more digits below. */
export function usd(nanos: Unit): string {
  if (nanos === "unlimited") return "no limit";
  const n = nanos ?? 0;
  const cent = NANOS / 100;
  if (n < 0) return `−${usd(-n)}`;
  if (n === 0 || n >= cent) {
    const cents = Math.ceil(n / cent);
    return `$${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;
  }
  return `$0.${String(Math.ceil(n / 1000)).padStart(6, "0")}`;
}

export function count(n: Unit): string {
  if (n === "unlimited") return "no limit";
  const v = n ?? 0;
  if (v < 10_000) return String(v);
  if (v < 1_000_000) return `${(v / 1000).toFixed(v < 100_000 ? 1 : 0)}k`;
  return `${(v / 1_000_000).toFixed(v < 100_000_000 ? 1 : 0)}M`;
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  if (n < 1024 * 1024) return `${(n / 1024).toFixed(1)} KiB`;
  return `${(n / 1024 / 1024).toFixed(1)} MiB`;
}

export function span(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** The time of day, local. */
export function clock(at: string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleTimeString([], { hour12: false });
}

export function moment(at: string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleString([], { hour12: false });
}

export const short = (id: string): string => id.slice(-8);
