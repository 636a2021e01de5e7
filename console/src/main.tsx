// The console begins here: a code from the address is exchanged first, then the feed opens and the page is drawn.

import { render } from "preact";
import { login } from "./api/client";
import { remember } from "./model/prefs";
import { begin } from "./model/store";
import "./style.css";
import "./views.css";
import { App } from "./ui/app";
import { keys } from "./ui/palette";

remember();
keys();

/** Takes the one-time code out of the address bar before anything else can see it. */
async function enter(): Promise<unknown> {
  const code = /^#code=([A-Za-z0-9_-]+)/.exec(location.hash)?.[1];
  if (!code) return undefined;
  history.replaceState(null, "", `${location.pathname}#/`);
  dispatchEvent(new HashChangeEvent("hashchange"));
  try {
    await login(code);
    return undefined;
  } catch (error) {
    return error;
  }
}

void enter().then((problem) => {
  begin();
  render(<App problem={problem} />, document.getElementById("app")!);
});
