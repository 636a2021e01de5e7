// What is set and where that comes from; what this browser shows; what is wrong. Nothing of Kapell's configuration is changed here.
// Where to start: Settings.

import { useState } from "preact/hooks";
import { get, raw, setProof } from "../api/client";
import type { Page, Setting } from "../api/types";
import { line } from "../model/clean";
import { singleKeys, type Theme, theme } from "../model/prefs";
import { about } from "../model/store";
import { Act, Badge, Loaded, useLoad } from "./bits";

interface Doctor {
  findings: { level: string; name: string; what: string; hint: string }[];
}

const said = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? ""));

export function Settings() {
  const [filter, setFilter] = useState("");
  const settings = useLoad<Page<Setting>>((signal) => get("/v1/config?limit=1000", signal), []);
  const doctor = useLoad<Doctor>((signal) => get("/v1/doctor", signal), []);
  const fits = (of: Setting) => `${of.key} ${said(of.value)} ${of.origin}`.toLowerCase().includes(filter.toLowerCase());
  return (
    <section class="fill" aria-labelledby="settings-title">
      <header class="bar">
        <h1 id="settings-title">Settings</h1>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <div class="scroll" tabIndex={0} role="group" aria-label="Settings">
        <h2>This browser</h2>
        <p class="bar small">
          <label>
            Theme{" "}
            <select
              id="theme"
              value={theme.value}
              onChange={(event) => {
                theme.value = event.currentTarget.value as Theme;
              }}
            >
              <option value="system">as the system</option>
              <option value="dark">dark</option>
              <option value="light">light</option>
            </select>
          </label>
          <label>
            <input
              type="checkbox"
              checked={singleKeys.value}
              onChange={(event) => {
                singleKeys.value = event.currentTarget.checked;
              }}
            />{" "}
            keys without Ctrl (g b, g i, /, ?)
          </label>
          <Act
            run={async () => {
              await raw("DELETE", "/v1/login");
              setProof("");
              location.reload();
            }}
          >
            Log out
          </Act>
        </p>
        <h2>Kapell {about.value?.version}</h2>
        <Loaded of={doctor}>
          {({ findings }) => (
            <ul class="findings">
              {findings.map((finding) => (
                <li key={`${finding.name}${finding.what}`}>
                  <Badge word={finding.level} /> <b>{line(finding.name, 60)}</b> {line(finding.what)}{" "}
                  {finding.hint && <code>{line(finding.hint, 200)}</code>}
                </li>
              ))}
            </ul>
          )}
        </Loaded>
        <h2>Configuration</h2>
        <p class="hint">Read only. The later wins: defaults, your file, the project's file, the environment, flags.</p>
        <input type="search" aria-label="Filter settings" placeholder="Filter" value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
        <Loaded of={settings}>
          {({ items }) => (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
            <div class="wide" tabIndex={0} role="group" aria-label="Configuration">
              <table>
                <thead>
                  <tr>
                    <th scope="col">key</th>
                    <th scope="col">value</th>
                    <th scope="col">comes from</th>
                  </tr>
                </thead>
                <tbody>
                  {items.filter(fits).map((of) => (
                    <tr key={of.key}>
                      <th scope="row">{line(of.key, 80)}</th>
                      <td>
                        <code>{line(said(of.value), 200)}</code>
                      </td>
                      <td>
                        <Badge word={of.kind} /> {of.kind === "default" ? "" : line(of.origin, 160)}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </Loaded>
      </div>
    </section>
  );
}
