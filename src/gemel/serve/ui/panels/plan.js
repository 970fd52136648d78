// The site's plan: an SVG whose parts say by data attributes what they show (docs/plan.md). The server has checked it.

import { of, raw } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { language, t } from "../lib/words.js";

/** An element with the plan, or null when the twin has none. */
export async function plan(live, choose, point) {
  if (!live.status.plan) return null;
  const answer = await raw("GET", of(live.twin, "/plan")).catch(() => null);
  if (!answer) return null;
  const styles = []; // the page's policy refuses styles in a text as soon as it is parsed, and allows the same as sheets
  const text = (await answer.text())
    .replace(/<style\b[^>]*>([\s\S]*?)<\/style>/g, (_, css) => (styles.push(css.replaceAll("&gt;", ">")), ""))
    .replace(/\sstyle=("[^"]*"|'[^']*')/g, " data-style=$1");
  const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (root.tagName !== "svg") return null;
  const view = document.importNode(root, true);
  view.setAttribute("role", "img");
  view.setAttribute("aria-label", t("Plan of {twin}", { twin: live.twin }));
  const held = h("div", { class: "plan" });
  const room = held.attachShadow({ mode: "open" }); // so that its styles stay in it
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`svg { display: block; width: 100%; height: auto; max-height: 440px; } [data-val], [data-subject] { cursor: pointer; }\n${styles.join("\n")}`);
  room.adoptedStyleSheets = [sheet];
  for (const element of view.querySelectorAll("[data-style]")) element.style.cssText = element.dataset.style;
  room.append(view);
  bind(live, view, choose, point);
  return held;
}

function bind(live, view, choose, point) {
  const all = (name) => [...view.querySelectorAll(`[data-${name}]`)];
  const values = all("val"), levels = all("level").map(level), states = all("state").map(state), subjects = all("subject");
  for (const element of all("unit")) element.textContent = live.signal(element.dataset.unit)?.unit ?? "";
  if (language === "zh") for (const element of all("zh")) element.textContent = element.dataset.zh;
  view.addEventListener("click", (event) => {
    const ill = event.target.closest("[data-subject].warn, [data-subject].bad");
    const signal = event.target.closest("[data-val]")?.dataset.val ?? event.target.closest("[data-subject]")?.dataset.subject.split(" ").find((n) => live.names.includes(n));
    if (ill) point(ill.dataset.subject.split(" "));
    else if (signal) choose(signal);
  });
  live.on("values", () => {
    for (const element of values) element.textContent = number(live.newest(element.dataset.val));
    for (const draw of [...levels, ...states]) draw();
  });
  live.on("findings", () => {
    const ill = worst(live);
    for (const element of subjects) {
      const severity = Math.max(...element.dataset.subject.split(" ").map((name) => ill.get(name) ?? -1));
      element.classList.toggle("bad", severity >= 0.7);
      element.classList.toggle("warn", severity >= 0 && severity < 0.7);
    }
  });

  function level(element) {
    const signal = live.signal(element.dataset.level), across = element.dataset.axis === "x";
    const [at, size] = across ? ["x", "width"] : ["y", "height"];
    const first = Number(element.getAttribute(at)), whole = Number(element.getAttribute(size));
    const low = Number(element.dataset.low ?? signal?.low ?? 0), high = Number(element.dataset.high ?? signal?.high ?? 1);
    return () => {
      const value = live.newest(element.dataset.level);
      const share = value === null ? 0 : Math.min(Math.max((value - low) / (high - low), 0), 1);
      element.setAttribute(size, whole * share);
      if (!across) element.setAttribute(at, first + whole * (1 - share));
    };
  }

  function state(element) {
    const [name, words] = element.dataset.state.split(":");
    const known = words.split("|");
    return () => {
      const value = live.newest(name);
      for (const word of new Set(known)) element.classList.toggle(`is-${word}`, value !== null && known[Math.round(value)] === word);
    };
  }
}

/** Signal or asset -> severity of the worst that is found about it. */
export function worst(live) {
  const found = new Map();
  for (const { subject, severity } of live.findings) {
    for (const name of [subject, live.signal(subject)?.asset]) if (name) found.set(name, Math.max(found.get(name) ?? 0, severity));
  }
  return found;
}
