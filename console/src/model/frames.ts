// What a terminal and who looks at it say to each other: one byte for the kind, then its body (docs/api.md, section 7).
// Pure. Where to start: decode.

export type Frame =
  | { kind: "screen"; columns: number; rows: number; bytes: Uint8Array }
  | { kind: "at"; byte: number }
  | { kind: "output"; bytes: Uint8Array }
  | { kind: "ended"; how: string };

export function decode(message: Uint8Array): Frame | undefined {
  const body = message.subarray(1);
  switch (String.fromCharCode(message[0] ?? 0)) {
    case "s": {
      if (body.length < 4) return undefined;
      const view = new DataView(body.buffer, body.byteOffset, 4);
      return { kind: "screen", columns: view.getUint16(0, true), rows: view.getUint16(2, true), bytes: body.subarray(4) };
    }
    case "n":
      // Numbers above 2^53 do not occur: a terminal would have to write for centuries.
      return body.length === 8 ? { kind: "at", byte: Number(new DataView(body.buffer, body.byteOffset, 8).getBigUint64(0, true)) } : undefined;
    case "o":
      return { kind: "output", bytes: body };
    case "e":
      return { kind: "ended", how: new TextDecoder().decode(body) };
    default:
      return undefined;
  }
}

export function typed(text: string): Uint8Array<ArrayBuffer> {
  const body = new TextEncoder().encode(text);
  const out = new Uint8Array(body.length + 1);
  out[0] = 0x69;
  out.set(body, 1);
  return out;
}

export function resized(columns: number, rows: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(5);
  out[0] = 0x72;
  const view = new DataView(out.buffer);
  view.setUint16(1, columns, true);
  view.setUint16(3, rows, true);
  return out;
}
