// xterm.js, kept from acting: no titles, no links, no answers to questions that a program asks its terminal, no style elements
// that the policy would refuse. A piece of its own, loaded when a terminal is looked at. Where to start: make.

import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";

/**
 * A document whose style elements are none: what is written into them goes to constructed sheets, which the policy allows.
 */
function withoutInlineStyles(): Document {
  const make = (name: string, options?: ElementCreationOptions): HTMLElement => {
    if (name.toLowerCase() !== "style") return document.createElement(name, options);
    // Not even an empty style element may be put into the page.
    const element = document.createElement("span");
    element.hidden = true;
    const sheet = new CSSStyleSheet();
    let words = "";
    const fill = (text: string) => {
      words = text;
      sheet.replaceSync(text);
      if (!document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    };
    for (const property of ["textContent", "innerText", "innerHTML"])
      Object.defineProperty(element, property, { get: () => words, set: fill });
    const remove = element.remove.bind(element);
    element.remove = () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
      remove();
    };
    return element;
  };
  return new Proxy(document, {
    get(target, property) {
      if (property === "createElement") return make;
      const value = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

export interface Made {
  terminal: Terminal;
  fit(): void;
  dispose(): void;
}

export function make(element: HTMLElement, onTyped: (text: string) => void, leave: () => void): Made {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const terminal = new Terminal({
    documentOverride: withoutInlineStyles(),
    scrollback: 10_000,
    fontFamily: "ui-monospace, monospace",
    fontSize: 14,
    screenReaderMode: true,
    allowProposedApi: false,
    linkHandler: { activate: () => {}, hover: () => {} },
    theme: { background: colour("--back"), foreground: colour("--text"), cursor: colour("--text") },
  });
  mute(terminal);
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(element);
  terminal.attachCustomKeyEventHandler((event) => {
    // The way out for who has no mouse: Tab belongs to the program.
    if (!(event.ctrlKey && event.key === "]")) return true;
    if (event.type === "keydown") {
      event.preventDefault();
      leave();
    }
    return false;
  });
  terminal.onData(onTyped);
  return { terminal, fit: () => fit.fit(), dispose: () => terminal.dispose() };
}

/** Questions are swallowed: whoever holds the terminal answers, not each who looks at it. Titles and links are not for the page. */
function mute(terminal: Terminal): void {
  const yes = () => true;
  const { parser } = terminal;
  for (const id of [
    { final: "c" },
    { prefix: ">", final: "c" },
    { prefix: "=", final: "c" },
    { final: "n" },
    { prefix: "?", final: "n" },
    { intermediates: "$", final: "p" },
    { prefix: "?", intermediates: "$", final: "p" },
    { prefix: ">", final: "q" },
    { final: "t" },
  ])
    parser.registerCsiHandler(id, yes);
  parser.registerDcsHandler({ intermediates: "$", final: "q" }, yes);
  // Titles, directory, hyperlinks, colours asked for, clipboard.
  for (const number of [0, 1, 2, 4, 7, 8, 10, 11, 12, 52]) parser.registerOscHandler(number, yes);
}
