// Everything that waits for a person, oldest first. Where to start: Inbox.

import { allAsks } from "../model/store";
import { AskCard } from "./ask";
import { Empty } from "./bits";

export function Inbox() {
  const all = allAsks.value;
  return (
    <section class="fill" aria-labelledby="inbox-title">
      <header class="bar">
        <h1 id="inbox-title">Waits for me</h1>
        <span class="sums">{all.length} in all; a yes is for one time and for exactly what is shown</span>
      </header>
      {all.length === 0 && <Empty>Nothing waits for you.</Empty>}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <div class="scroll cards" tabIndex={0} role="group" aria-label="What waits for me">
        {all.slice(0, 100).map((asked) => (
          <AskCard key={`${asked.session_id}/${asked.kind}/${asked.id}`} asked={asked} withSession />
        ))}
        {all.length > 100 && <p>and {all.length - 100} more, once these are answered</p>}
      </div>
    </section>
  );
}
