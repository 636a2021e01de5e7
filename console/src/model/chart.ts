// Numbers to points: scales, ticks, lines of an SVG. Pure. Where to start: scale and ticks.

/** Round values between these, about so many. */
export function ticks(low: number, high: number, about = 4): number[] {
  if (!(high > low)) return [low];
  const raw = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw) ?? raw;
  const out: number[] = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) out.push(Number(v.toPrecision(12)));
  return out;
}

export const scale = (low: number, high: number, from: number, to: number) => (v: number) =>
  high === low ? from : from + ((v - low) / (high - low)) * (to - from);

/** An SVG path; a gap where a value is missing. */
export function path(points: [x: number, y: number | null][]): string {
  let out = "";
  let pen = false;
  for (const [x, y] of points) {
    if (y === null) {
      pen = false;
      continue;
    }
    out += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  }
  return out;
}

/** At most so many points: of each piece its least and its greatest, so that no peak is lost. */
export function thin(values: (number | null)[], most: number): { at: number; value: number | null }[] {
  if (values.length <= most) return values.map((value, at) => ({ at, value }));
  const out: { at: number; value: number | null }[] = [];
  const size = Math.ceil((values.length * 2) / most);
  for (let from = 0; from < values.length; from += size) {
    let low = -1;
    let high = -1;
    for (let at = from; at < Math.min(from + size, values.length); at++) {
      const v = values[at];
      if (v === null || v === undefined) continue;
      if (low < 0 || v < values[low]!) low = at;
      if (high < 0 || v > values[high]!) high = at;
    }
    if (low < 0) out.push({ at: from, value: null });
    else for (const at of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) out.push({ at, value: values[at]! });
  }
  return out;
}
