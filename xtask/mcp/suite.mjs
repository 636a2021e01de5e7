// The suite through the official TypeScript SDK: `suite.mjs TRANSPORT TARGET SUITE`, as suite.py.
// Run where @modelcontextprotocol/sdk is installed; KAPELL_TOKEN holds the token.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.cwd() + "/");
const sdk = async (path) => import(pathToFileURL(require.resolve("@modelcontextprotocol/sdk/client/" + path)));
const [transport, target, suite] = process.argv.slice(2);
const headers = { Authorization: "Bearer " + (process.env.KAPELL_TOKEN ?? "") };

async function opened() {
  if (transport === "stdio") {
    const [command, ...args] = target.split(" ");
    const { StdioClientTransport } = await sdk("stdio.js");
    return new StdioClientTransport({ command, args });
  }
  if (transport === "sse") {
    const { SSEClientTransport } = await sdk("sse.js");
    return new SSEClientTransport(new URL(target), { requestInit: { headers } });
  }
  const { StreamableHTTPClientTransport } = await sdk("streamableHttp.js");
  return new StreamableHTTPClientTransport(new URL(target), { requestInit: { headers } });
}

function wrong(step, result) {
  const said = result.structuredContent?.result ?? {};
  if (Boolean(result.isError) !== Boolean(step.fails)) return JSON.stringify(result).slice(0, 400);
  if (!result.content?.length) return "no content";
  for (const [name, value] of Object.entries(step.is ?? {})) {
    if (said[name] !== value) return `${name} is ${JSON.stringify(said[name])}`;
  }
  return undefined;
}

const { Client } = await sdk("index.js");
const client = new Client({ name: "suite", version: "1" });
const steps = JSON.parse(await readFile(suite, "utf8"));
let failed = 0;
const way = await opened();
await client.connect(way);
const names = new Set((await client.listTools()).tools.map((tool) => tool.name));
const missing = steps.filter((step) => !names.has(step.tool)).map((step) => step.tool);
if (missing.length) {
  failed += 1;
  console.log("not listed:", missing);
}
for (const step of steps) {
  const why = wrong(step, await client.callTool({ name: step.tool, arguments: step.args }));
  if (why) {
    failed += 1;
    console.log(step.tool, JSON.stringify(step.args).slice(0, 100), why);
  }
}
await client.ping();
const { resources } = await client.listResources();
const { prompts } = await client.listPrompts();
if (!resources.length || !prompts.length) {
  failed += 1;
  console.log("resources:", resources, "prompts:", prompts);
}
await client.close();
const { version } = JSON.parse(await readFile("node_modules/@modelcontextprotocol/sdk/package.json", "utf8"));
const protocol = way.protocolVersion ?? "as negotiated";
console.log(
  `TypeScript SDK ${version}, ${transport}, protocol ${protocol}: ${names.size} tools listed, ${steps.length} calls, ${failed} failed`,
);
process.exit(failed ? 1 : 0);
