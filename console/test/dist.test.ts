// What is committed in dist: small enough, without a word of another host, made from these sources.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { blake3 } from "@noble/hashes/blake3.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const files = readdirSync(join(root, "dist"), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name));

test("below 500 kB packed and 2 MB raw, all of it together", () => {
  const all = files.map((path) => readFileSync(path));
  const raw = all.reduce((sum, bytes) => sum + bytes.length, 0);
  const packed = all.reduce((sum, bytes) => sum + gzipSync(bytes, { level: 6 }).length, 0);
  console.log(`dist: ${raw} bytes, ${packed} packed`);
  expect(raw).toBeLessThan(2_000_000);
  expect(packed).toBeLessThan(500_000);
});

test("nothing inline, nothing from elsewhere", () => {
  const html = readFileSync(join(root, "dist/index.html"), "utf8");
  expect(html).not.toMatch(/<style|<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=/i);
  for (const path of files) {
    const text = readFileSync(path, "utf8");
    const hosts = [...text.matchAll(/https?:\/\/([a-z0-9.-]+)/gi)].map((match) => match[1]);
    // Names of XML's own, which nobody asks for.
    expect(hosts.filter((host) => host !== "www.w3.org"), path).toEqual([]);
    expect(text, path).not.toMatch(/\beval\(|new Function\(|dangerouslySetInnerHTML=|insertAdjacentHTML|document\.write\(/);
  }
});

test("made from these sources", () => {
  const list = readFileSync(join(root, "dist/sources.txt"), "utf8").trimEnd().split("\n");
  expect(list.length).toBeGreaterThan(30);
  for (const entry of list) {
    const [digest, name] = entry.split("  ");
    expect(bytesToHex(blake3(readFileSync(join(root, name!)))), `${name} was changed: npm run build`).toBe(digest);
  }
});
