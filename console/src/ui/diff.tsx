// The change a session has made, line by line. Signs stand beside colours. Where to start: DiffTab.

import { useMemo, useState } from "preact/hooks";
import { get, session as path } from "../api/client";
import { line as oneLine, text } from "../model/clean";
import { type DiffLine, parse } from "../model/diff";
import { Empty, Loaded, useLoad } from "./bits";
import { Virtual } from "./virtual";

interface Change {
  session_id: string;
  of: string;
  files: number;
  added: number;
  removed: number;
  diff: string;
}

const SIGN: Record<DiffLine["kind"], string> = { file: "", hunk: "", add: "+", del: "−", same: " ", note: "" };

export function DiffTab({ id, moved }: { id: string; moved: number }) {
  const loaded = useLoad<Change>((signal) => get(path(id, "/diff"), signal), [id, moved]);
  return <Loaded of={loaded}>{(change) => <DiffView change={change} />}</Loaded>;
}

export function DiffView({ change }: { change: Change }) {
  const diff = useMemo(() => parse(change.diff), [change.diff]);
  const [active, setActive] = useState(0);
  if (!diff.lines.length) return <Empty>Nothing was changed ({oneLine(change.of)}).</Empty>;
  return (
    <div class="diff fill">
      <p class="bar small">
        <span>
          {change.files} files, <b class="goodword">+{change.added}</b> <b class="badword">−{change.removed}</b> (
          {oneLine(change.of)})
        </span>
        <select
          aria-label="Go to file"
          onChange={(event) => setActive(Number(event.currentTarget.value))}
          value={String([...diff.files].reverse().find((file) => file.at <= active)?.at ?? 0)}
        >
          {diff.files.map((file) => (
            <option key={file.at} value={file.at}>
              {oneLine(file.path, 100)} +{file.added} −{file.removed}
            </option>
          ))}
        </select>
      </p>
      <Virtual
        name="d"
        role="listbox"
        label="Changed lines"
        count={diff.lines.length}
        height={20}
        wide={Math.min(diff.width + 14, 4000)}
        active={Math.min(active, diff.lines.length - 1)}
        onActive={setActive}
        onKey={(event, index) => {
          const at =
            event.key === "n"
              ? diff.files.find((file) => file.at > index)
              : event.key === "p"
                ? [...diff.files].reverse().find((file) => file.at < index)
                : undefined;
          if (at) setActive(at.at);
          return !!at;
        }}
        line={(index) => {
          const of = diff.lines[index]!;
          return {
            key: index,
            attributes: { class: of.kind },
            children: (
              <>
                <span class="no">{of.old ?? ""}</span>
                <span class="no">{of.new ?? ""}</span>
                <span class="sign">{SIGN[of.kind]}</span>
                <code>{text(of.text).slice(0, 4000)}</code>
              </>
            ),
          };
        }}
      />
    </div>
  );
}
