// Leaves a wish in a session's inbox and says what became of it. Where to start: wish.

import { post, session } from "../api/client";
import type { Told } from "../api/types";
import { say } from "./store";

export async function wish(id: string, what: Record<string, unknown> | string): Promise<Told> {
  const told = await post<Told>(session(id, "/intents"), { wish: what });
  const words: Record<string, string> = {
    applied: `${told.wish}: done`,
    queued: `${told.wish}: waits for its turn`,
    waiting: `${told.wish}: in the inbox; nobody has looked so far`,
  };
  say(words[told.taken] ?? `${told.wish}: ${told.why}`, told.taken === "refused");
  return told;
}
