// Begins a session. Where to start: Start.

import { useState } from "preact/hooks";
import { get, post, told } from "../api/client";
import type { SessionPage } from "../api/types";
import { line } from "../model/clean";
import { sessionAddress } from "../model/route";
import { say } from "../model/store";
import { Trouble, useLoad } from "./bits";

interface Models {
  models: { id: string }[];
}

export function Start() {
  const [fields, setFields] = useState<Record<string, string>>({});
  const [land, setLand] = useState(true);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const repos = useLoad<{ items: string[] }>((signal) => get("/v1/repos", signal), []);
  const models = useLoad<Models>((signal) => get("/v1/models", signal), []);
  const set = (name: string) => (event: { currentTarget: { value: string } }) =>
    setFields({ ...fields, [name]: event.currentTarget.value });
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const filled = Object.fromEntries(Object.entries(fields).filter(([, value]) => value.trim()));
      const made = await post<SessionPage>("/v1/sessions", { ...filled, ...(land ? {} : { no_land: true }) });
      say(`started ${made.short}`);
      location.hash = sessionAddress(made.session_id);
    } catch (failed) {
      setError(failed);
      say(told(failed), true);
    } finally {
      setBusy(false);
    }
  };
  return (
    <section class="fill" aria-labelledby="new-title">
      <header class="bar">
        <h1 id="new-title">New session</h1>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <div class="scroll" tabIndex={0} role="group" aria-label="New session">
        <form class="form" onSubmit={submit}>
          <label>
            Goal
            <textarea id="goal" required rows={4} value={fields.goal ?? ""} onInput={set("goal")} />
          </label>
          <label>
            Project (absolute path)
            <input id="repo" required list="repos" value={fields.repo ?? ""} onInput={set("repo")} />
          </label>
          <datalist id="repos">
            {repos.value?.items.map((repo) => (
              <option key={repo} value={line(repo, 300)} />
            ))}
          </datalist>
          <label>
            Model
            <select value={fields.model ?? ""} onChange={set("model")}>
              <option value="">as configured</option>
              {models.value?.models.map((model) => (
                <option key={model.id} value={model.id}>
                  {line(model.id, 80)}
                </option>
              ))}
            </select>
          </label>
          <label>
            Most money, US dollars
            <input inputMode="decimal" value={fields.max_budget_usd ?? ""} onInput={set("max_budget_usd")} />
          </label>
          <label>
            Ask before
            <select value={fields.ask ?? ""} onChange={set("ask")}>
              <option value="">as configured</option>
              <option value="external">what reaches beyond the workspace</option>
              <option value="writes">everything that changes something</option>
              <option value="never">nothing</option>
            </select>
          </label>
          <label class="check">
            <input type="checkbox" checked={land} onChange={(event) => setLand(event.currentTarget.checked)} /> land a confirmed
            result
          </label>
          {error !== undefined && <Trouble error={error} />}
          <button type="submit" class="main" disabled={busy}>
            Start
          </button>
        </form>
      </div>
    </section>
  );
}
