// Something that waits for a person: what exactly, how bad it can be, what it costs, and the answers. The content is shown whole
// and as it is: a yes is bound to it by its hash. Where to start: AskCard.

import { useState } from "preact/hooks";
import { post, session as path, told } from "../api/client";
import type { Asked, Told } from "../api/types";
import { line } from "../model/clean";
import { clock, count, moment, span, usd } from "../model/format";
import { sessionAddress } from "../model/route";
import { now, say } from "../model/store";
import { wish } from "../model/wish";
import { Act, Badge, Block, Dialog } from "./bits";

const RISK: Record<string, string> = {
  pure: "changes nothing",
  keyed: "can be repeated without harm",
  billed: "costs money",
  staged: "changes the workspace only; can be rewound",
  external: "reaches beyond the workspace; cannot be taken back",
};

async function answer(asked: Asked, yes: boolean, rule?: "session" | "always"): Promise<void> {
  const body = { say: yes ? "yes" : "no", ...(yes ? { hash: asked.hash } : {}), ...(rule ? { rule } : {}) };
  const got = await post<Told>(path(asked.session_id, `/approvals/${encodeURIComponent(asked.id)}`), body);
  say(`${asked.id}: ${yes ? "approved" : "denied"}${got.taken === "waiting" ? "; its process has not looked yet" : ""}`);
}

export function AskCard({ asked, withSession }: { asked: Asked; withSession?: boolean }) {
  const left = asked.expires ? Date.parse(asked.expires) - now.value : undefined;
  return (
    <article class="card ask" data-ask={`${asked.session_id}/${asked.id}`} aria-label={line(asked.what, 200)}>
      <header>
        <h2>{line(asked.what, 300)}</h2>
        {withSession && (
          <p>
            <a href={sessionAddress(asked.session_id)}>{asked.short ?? asked.session_id.slice(-8)}</a> {line(asked.goal ?? "", 160)}
          </p>
        )}
      </header>
      {asked.content && <Block of={asked.content} label="The exact content" />}
      <ul class="risk">
        {asked.class && (
          <li>
            risk: <Badge word={asked.class} /> {RISK[asked.class] ?? ""}
          </li>
        )}
        {asked.rule && <li>asked because: {line(asked.rule, 200)}</li>}
        {asked.cwd && <li>in: {line(asked.cwd, 200)}</li>}
        {asked.reserved?.nanos !== undefined && (
          <li>
            reserved for it: {usd(asked.reserved.nanos)}
            {asked.reserved.tokens ? `, ${count(asked.reserved.tokens)} tokens` : ""}
          </li>
        )}
        {asked.used_with_children && <li>spent so far: {usd(asked.used_with_children.nanos)}</li>}
        {left !== undefined && (
          <li title={moment(asked.expires!)}>
            {left > 0 ? `denied by itself in ${span(left)} (${clock(asked.expires!)})` : "its time has run out"}
          </li>
        )}
        {asked.hash && <li>a yes is bound to {asked.hash.slice(0, 12)}</li>}
        {asked.diff && (
          <li>
            <a href={sessionAddress(asked.session_id, "diff")}>see the change</a>
          </li>
        )}
      </ul>
      {asked.kind === "approval" && <Approval asked={asked} />}
      {asked.kind === "question" && <Question asked={asked} />}
      {asked.kind === "resume" && (
        <p class="answers">
          <Act tone="main" run={() => wish(asked.session_id, { resume: {} })}>
            Resume
          </Act>
          {asked.commands.filter(Boolean).map((command) => (
            <code key={command}>{line(command, 200)}</code>
          ))}
        </p>
      )}
    </article>
  );
}

function Approval({ asked }: { asked: Asked }) {
  const [always, setAlways] = useState(false);
  const isCall = !!asked.tool;
  return (
    <p class="answers">
      <Act tone="main" run={() => answer(asked, true)} label={`Approve once: ${asked.id}`}>
        Approve once
      </Act>
      <Act tone="danger" run={() => answer(asked, false)} label={`Deny: ${asked.id}`}>
        Deny
      </Act>
      {isCall && (
        <>
          <Act run={() => answer(asked, true, "session")} label={`For this session: approve ${asked.id}`}>
            For this session
          </Act>
          <button type="button" onClick={() => setAlways(true)} aria-label={`Always… approve what ${asked.id} asks`}>
            Always…
          </button>
        </>
      )}
      {always && (
        <Dialog title="Always allow this?" onClose={() => setAlways(false)}>
          <p>A rule in your own config.toml allows exactly this in this repository from now on, without asking:</p>
          <Block of={asked.content} label="What will be allowed" />
          <Act
            tone="main"
            run={async () => {
              await answer(asked, true, "always");
              setAlways(false);
            }}
          >
            Write the rule and approve
          </Act>
        </Dialog>
      )}
    </p>
  );
}

function Question({ asked }: { asked: Asked }) {
  const [words, setWords] = useState("");
  const send = (text: string) => wish(asked.session_id, { answer: { question: asked.id, text } });
  return (
    <form
      class="answers"
      onSubmit={(event) => {
        event.preventDefault();
        if (words.trim()) send(words).catch((error) => say(told(error), true));
      }}
    >
      {asked.choices?.map((choice) => (
        <Act key={choice} run={() => send(choice)}>
          {line(choice, 100)}
        </Act>
      ))}
      <input aria-label={`Answer to ${asked.id}`} value={words} onInput={(event) => setWords(event.currentTarget.value)} />
      <button type="submit" class="main" disabled={!words.trim()}>
        Answer
      </button>
    </form>
  );
}
