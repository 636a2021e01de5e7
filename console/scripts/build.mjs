// Builds the console into dist and writes what it was made from beside it; with --check builds aside and compares, so that what
// is committed is what the sources give. The digest of the sources needs no node to be compared: see console/README.md.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { blake3 } from "@noble/hashes/blake3.js";
import { bytesToHex } from "@noble/hashes/utils.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** What a build depends on, in this order of names. */
const SOURCES = ["index.html", "package-lock.json", "package.json", "public", "scripts/build.mjs", "src", "tsconfig.json", "vite.config.ts"];
const LIST = "sources.txt";

function files(path) {
  if (statSync(path).isFile()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => files(join(path, name)));
}

const name = (base, path) => relative(base, path).split(sep).join("/");

/** One line for each source: its BLAKE3 digest, two blanks, its name. */
function sources() {
  const all = SOURCES.flatMap((path) => files(join(root, path)));
  return all
    .map((path) => `${bytesToHex(blake3(readFileSync(path)))}  ${name(root, path)}\n`)
    .join("");
}

function build(out) {
  execFileSync(process.execPath, [join(root, "node_modules/vite/bin/vite.js"), "build", "--outDir", out, "--emptyOutDir", "--logLevel", "warn"], {
    cwd: root,
    stdio: "inherit",
  });
  writeFileSync(join(out, LIST), sources());
}

const dist = join(root, "dist");
if (process.argv.includes("--check")) {
  const aside = mkdtempSync(join(tmpdir(), "kapell-console-"));
  try {
    build(aside);
    const listed = (base) => files(base).map((path) => name(base, path));
    const wrong = [...new Set([...listed(aside), ...listed(dist)])].filter((path) => {
      try {
        return !readFileSync(join(aside, path)).equals(readFileSync(join(dist, path)));
      } catch {
        return true;
      }
    });
    if (wrong.length) {
      console.error(`dist is not what the sources give: ${wrong.join(", ")}. Type: npm run build`);
      process.exitCode = 1;
    } else console.log("dist is what the sources give");
  } finally {
    rmSync(aside, { recursive: true });
  }
} else {
  build(dist);
  let [raw, packed] = [0, 0];
  for (const path of files(dist)) {
    const bytes = readFileSync(path);
    const small = gzipSync(bytes, { level: 9 }).length;
    raw += bytes.length;
    packed += small;
    console.log(`${String(bytes.length).padStart(8)} ${String(small).padStart(8)}  ${name(dist, path)}`);
  }
  console.log(`${String(raw).padStart(8)} ${String(packed).padStart(8)}  in all: raw, gzip`);
}
