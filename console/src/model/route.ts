// Addresses are fragments, so that the server answers nothing but its files. Where to start: parse.

export interface Route {
  view: "board" | "session" | "inbox" | "schedules" | "metrics" | "settings" | "new" | "search";
  id: string;
  tab: string;
  query: URLSearchParams;
}

const VIEWS = new Set(["inbox", "schedules", "metrics", "settings", "new", "search"]);
export const TABS = ["timeline", "talk", "diff", "plan", "why", "verdict", "cost", "terminals"] as const;

export function parse(hash: string): Route {
  const [path = "", rest = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [first = "", second = "", third = ""] = path.split("/");
  const query = new URLSearchParams(rest);
  // An id that is none leads to the board and never into the path of a request.
  if (first === "s" && /^[0-9a-f-]{36}$/.test(second)) {
    const tab = (TABS as readonly string[]).includes(third) ? third : "timeline";
    return { view: "session", id: second, tab, query };
  }
  const view = VIEWS.has(first) ? (first as Route["view"]) : "board";
  return { view, id: "", tab: "", query };
}

export const sessionAddress = (id: string, tab = "timeline"): string => `#/s/${id}/${tab}`;
