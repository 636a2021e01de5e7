// Server-sent events out of pieces of text, as the HTML standard reads them. fetch can send a header, EventSource cannot.
// Knows no network. Where to start: Lines.push.

export interface Message {
  event: string;
  data: string;
  id: string;
}

/** Collects text and gives every message that is whole. */
export class Lines {
  private rest = "";
  private event = "";
  private data: string[] = [];
  private id = "";

  push(piece: string): Message[] {
    const out: Message[] = [];
    const text = this.rest + piece;
    let from = 0;
    for (let at = 0; at < text.length; at++) {
      const c = text.charCodeAt(at);
      if (c !== 10 && c !== 13) continue;
      // A carriage return at the very end may be half of a line's end.
      if (c === 13 && at + 1 === text.length) break;
      this.line(text.slice(from, at), out);
      if (c === 13 && text.charCodeAt(at + 1) === 10) at++;
      from = at + 1;
    }
    this.rest = text.slice(from);
    return out;
  }

  private line(line: string, out: Message[]): void {
    if (line === "") {
      if (this.data.length) out.push({ event: this.event || "message", data: this.data.join("\n"), id: this.id });
      this.event = "";
      this.data = [];
      return;
    }
    if (line.startsWith(":")) return;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "data") this.data.push(value);
    else if (field === "event") this.event = value;
    else if (field === "id" && !value.includes("\0")) this.id = value;
  }
}
