// Starts the mock and says where: `npm run mock` serves dist; `npm run dev` beside it builds at every change. --tick N: changes a second.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { serve } from "./server.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const argument = (name) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : (process.argv[at + 1] ?? "");
};
const mock = await serve({ port: Number(argument("port") ?? 7373), dist: join(root, "dist") });
const tick = Number(argument("tick") ?? 0);
if (tick) mock.life.tick(tick);
console.log(`${mock.url}/#code=${mock.code()}`);
