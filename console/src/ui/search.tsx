// Finds words in goals, in what was said, in results and commands. Where to start: Search.

import { get } from "../api/client";
import type { Hit, Page } from "../api/types";
import { line } from "../model/clean";
import { moment } from "../model/format";
import { route } from "../model/store";
import { Badge, Empty, Loaded, useLoad } from "./bits";

export function Search() {
  const wanted = route.value.query.get("q") ?? "";
  const loaded = useLoad<Page<Hit>>(
    (signal) => (wanted ? get(`/v1/search?q=${encodeURIComponent(wanted)}`, signal) : Promise.resolve({ items: [] })),
    [wanted],
  );
  return (
    <section class="fill" aria-labelledby="search-title">
      <header class="bar">
        <h1 id="search-title">Search</h1>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const words = new FormData(event.currentTarget).get("q");
            location.hash = `#/search?${new URLSearchParams({ q: String(words ?? "") })}`;
          }}
        >
          <input type="search" name="q" aria-label="Search all sessions" defaultValue={wanted} key={wanted} />
          <button type="submit">Search</button>
        </form>
      </header>
      <Loaded of={loaded}>
        {({ items }) =>
          items.length ? (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
            <ul class="scroll hits" tabIndex={0} aria-label="What was found">
              {items.map((hit) => (
                <li key={`${hit.session_id}/${hit.seq}`}>
                  <a href={`#/s/${encodeURIComponent(hit.session_id)}/timeline?at=${hit.seq}`}>
                    {hit.session_id.slice(-8)} {hit.seq}
                  </a>{" "}
                  <Badge word={hit.kind} /> {moment(hit.at)} {line(hit.text, 300)}
                </li>
              ))}
            </ul>
          ) : (
            <Empty>{wanted ? "Nothing was found." : "Type what you look for."}</Empty>
          )
        }
      </Loaded>
    </section>
  );
}
