// A unified diff as lines with numbers, and its files. Reads what git writes; what it does not understand stays a line of its own.
// Pure. Where to start: parse.

export interface DiffLine {
  kind: "file" | "hunk" | "add" | "del" | "same" | "note";
  old?: number;
  new?: number;
  text: string;
}

export interface DiffFile {
  path: string;
  /** Index of its first line. */
  at: number;
  added: number;
  removed: number;
}

export interface Diff {
  lines: DiffLine[];
  files: DiffFile[];
  /** Characters of the longest line, for the width of the page. */
  width: number;
}

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/;

export function parse(diff: string): Diff {
  const lines: DiffLine[] = [];
  const files: DiffFile[] = [];
  let file: DiffFile | undefined;
  let [old, now, oldLeft, newLeft, width] = [0, 0, 0, 0, 0];
  const all = diff.split("\n");
  if (all[all.length - 1] === "") all.pop();
  for (const raw of all) {
    width = Math.max(width, raw.length);
    const rest = raw.slice(1);
    const inside = oldLeft > 0 || newLeft > 0;
    if (inside && raw[0] === "+") {
      newLeft--;
      if (file) file.added++;
      lines.push({ kind: "add", new: now++, text: rest });
    } else if (inside && raw[0] === "-") {
      oldLeft--;
      if (file) file.removed++;
      lines.push({ kind: "del", old: old++, text: rest });
    } else if (inside && (raw[0] === " " || raw === "")) {
      oldLeft--;
      newLeft--;
      lines.push({ kind: "same", old: old++, new: now++, text: rest });
    } else if (raw.startsWith("diff --git ")) {
      file = { path: name(raw), at: lines.length, added: 0, removed: 0 };
      files.push(file);
      lines.push({ kind: "file", text: file.path });
    } else {
      const hunk = HUNK.exec(raw);
      if (hunk) {
        old = Number(hunk[1]);
        now = Number(hunk[3]);
        oldLeft = Number(hunk[2] ?? 1);
        newLeft = Number(hunk[4] ?? 1);
        lines.push({ kind: "hunk", text: raw });
      } else lines.push({ kind: "note", text: raw });
    }
  }
  return { lines, files, width };
}

function name(head: string): string {
  const rest = head.slice("diff --git ".length);
  const quoted = /"b\/((?:[^"\\]|\\.)*)"$/.exec(rest);
  if (quoted) return quoted[1]!;
  // `a/NAME b/NAME`: both are as long, so that blanks in a name do not matter.
  const half = (rest.length - 1) / 2;
  const [a, b] = [rest.slice(0, half), rest.slice(half + 1)];
  if (a.slice(2) === b.slice(2) && b.startsWith("b/")) return b.slice(2);
  const at = rest.lastIndexOf(" b/");
  return at < 0 ? rest : rest.slice(at + 3);
}
