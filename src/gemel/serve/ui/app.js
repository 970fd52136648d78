// The frame of every page: which one the address names, the header, the theme, the language, the key.

import { ask, get, of, post, Trouble } from "./lib/api.js";
import { fill, h, icon, toast } from "./lib/dom.js";
import { language, speak, t } from "./lib/words.js";

const ROUTES = [
  [/^\/$/, "overview"],
  [/^\/new$/, "connect"],
  [/^\/twins\/([^/]+)$/, "twin"],
  [/^\/twins\/([^/]+)\/(history|replay|forecaster|simulator|shadow)$/, null],
];
const TABS = [["", "Live"], ["/history", "History"], ["/replay", "Replay"], ["/forecaster", "Forecaster"], ["/simulator", "Simulator"], ["/shadow", "Shadow"]];

let leave = null; // what the page on the screen must end
let turn = 0;

const main = h("main", { id: "main", tabindex: "-1" });
const header = h("header", { class: "top" });

/** Go to another page. */
export function go(path) {
  history.pushState(null, "", path);
  show();
}

async function show() {
  const mine = ++turn;
  const path = location.pathname;
  const [pattern, named] = ROUTES.find(([p]) => p.test(path)) ?? ROUTES[0];
  const [, text, rest] = pattern.exec(path) ?? [];
  const twin = text ? decodeURIComponent(text) : null;
  const name = named ?? rest;
  leave?.();
  leave = null;
  document.querySelector("aside.drawer")?.remove();
  fill(main, h("p", { class: "empty", role: "status" }, t("Asking the twin …")));
  const frame = head(twin, name);
  try {
    const page = await import(`./pages/${name}.js`);
    const content = h("div");
    const ended = await page.show(content, twin, frame);
    if (mine !== turn) return ended?.();
    leave = ended;
    fill(main, content);
    document.title = `${twin ? `${twin} · ` : ""}${t(page.title)} · Gemel`;
  } catch (error) {
    if (mine !== turn) return;
    fill(main, trouble(error));
  }
}

/** A failed question as people should see it. */
export function trouble(error) {
  console.assert(error instanceof Trouble, error);
  return h("div", { class: "trouble", role: "alert" }, h("div", {}, error.message), error.hint ? h("div", { class: "muted small" }, error.hint) : null);
}

function head(twin, name) {
  const title = h("h1", { class: "cut" }, twin ?? "Gemel");
  const subtitle = h("div", { class: "muted small cut" }, twin ? "" : t("Digital twins of this server"));
  const mode = h("span", { class: "pill", hidden: true });
  const link = h("span", { class: "pill", role: "status", hidden: true });
  const base = twin && `/twins/${encodeURIComponent(twin)}`;
  const tabs = twin && h("nav", { class: "tabs", "aria-label": t("Pages of this twin") }, TABS.map(([path, text]) =>
    h("a", { href: base + path, "aria-current": location.pathname === base + path ? "page" : null }, t(text))));
  fill(header,
    h("a", { class: "skip", href: "#main" }, t("To the content")),
    h("a", { class: "brand", href: "/", title: t("All twins") }, h("img", { src: "/ui/logo.svg", alt: "" }), h("div", { class: "grow" }, title, subtitle)),
    tabs, h("span", { class: "grow" }), link, mode,
    twin && h("button", { class: "icon", title: t("Ask the twin"), "aria-label": t("Ask the twin"), onclick: () => openAsk(twin) }, icon("ask")),
    h("button", { class: "icon", title: language === "en" ? "中文" : "English", onclick: () => { speak(language === "en" ? "zh" : "en"); show(); } }, language === "en" ? "中" : "EN"),
    h("button", { class: "icon", title: t("Light or dark"), "aria-label": t("Light or dark"), onclick: () => theme(dark() ? "light" : "dark") }, icon("theme")),
    sessionStorage.getItem("key") && h("button", { class: "icon", title: t("Log out"), "aria-label": t("Log out"), onclick: logout }, icon("leave")),
  );
  return {
    subtitle: (text) => { subtitle.textContent = text; },
    mode: (kind) => {
      const words = { observe: ["", "Observes only"], advise: ["warn", "Advises — a person approves"], auto: ["good", "Acts by itself"] }[kind];
      mode.hidden = !words;
      if (words) fill(mode, h("i", { class: `dot ${words[0]}` }), t(words[1]));
    },
    link: (good, text) => {
      link.hidden = false;
      fill(link, h("i", { class: `dot ${good ? "good pulse" : "bad"}` }), text);
    },
    status: twin ? () => get(of(twin)) : null,
  };
}

async function openAsk(twin) {
  if (document.querySelector("aside.drawer")) return document.querySelector("aside.drawer").remove();
  const { ask: panel } = await import("./panels/ask.js");
  document.body.append(await panel(twin));
}

const dark = () => document.documentElement.dataset.theme !== "light";

function theme(name) {
  document.documentElement.dataset.theme = name;
  localStorage.setItem("theme", name);
  dispatchEvent(new Event("gemel-theme"));
}

async function logout() {
  await ask("DELETE", "/v1/session");
  sessionStorage.removeItem("key");
  location.assign("/");
}

function login() {
  if (document.querySelector("dialog[open]")) return;
  const field = h("input", { type: "password", id: "key", autocomplete: "current-password", required: true, class: "grow" });
  const wrong = h("p", { class: "bad small", role: "alert" });
  const box = h("dialog", { "aria-labelledby": "login" }, h("form", { class: "stack", onsubmit: async (event) => {
    event.preventDefault();
    try {
      await post("/v1/session", { key: field.value });
      sessionStorage.setItem("key", "held"); // that there is one; the key itself is in a cookie no script can read
      box.remove();
      show();
    } catch (error) {
      wrong.textContent = `${error.message}. ${error.hint}`;
    }
  } },
  h("h2", { id: "login" }, t("This server asks for a key")),
  h("p", { class: "muted" }, t("Whoever runs it makes one with: gemel key new NAME")),
  h("label", { for: "key" }, t("Key")), h("div", { class: "row" }, field, h("button", { class: "button main" }, t("Log in"))), wrong));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

theme(localStorage.getItem("theme") || (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
speak(language);
document.body.append(header, main);
addEventListener("popstate", show);
addEventListener("gemel-key", login);
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || link.target || link.hasAttribute("download") || link.pathname.startsWith("/v1/")) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof Trouble)) return;
  event.preventDefault();
  toast(`${event.reason.message}. ${event.reason.hint}`, "trouble");
});
show();
