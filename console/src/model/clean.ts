// Foreign text made visible: what a terminal or a browser would hide or turn around is written out.
// Text stays text everywhere; nothing here makes HTML. Where to start: text and line.

// C0 and C1 controls but tab and line feed, marks of direction, joiners, isolates, tags, the byte order mark.
const HIDDEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

const code = (c: string) => `\\u{${c.codePointAt(0)!.toString(16)}}`;

/** Several lines; hidden characters as escapes. */
export const text = (raw: string): string => raw.replace(/\r\n/g, "\n").replace(HIDDEN, code);

/** One line, at most so many characters. */
export function line(raw: string, most = 400): string {
  const short = raw.length > most * 2 ? raw.slice(0, most * 2) : raw;
  const one = text(short).replace(/\s+/g, " ").trim();
  return one.length > most ? `${one.slice(0, most - 1)}…` : one;
}
