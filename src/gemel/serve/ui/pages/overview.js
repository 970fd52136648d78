// All twins of this server: how each is, at a glance.

import { get, of } from "../lib/api.js";
import { spark } from "../lib/chart.js";
import { fill, h } from "../lib/dom.js";
import { ms, number, unit, whole } from "../lib/format.js";
import { said, t } from "../lib/words.js";

export const title = "All twins";

export async function show(content, _, frame) {
  const grid = h("div", { class: "cards twins" });
  content.append(h("div", { class: "spread" }, h("h2", { class: "heading" }, t("Twins")), h("a", { class: "button", href: "/new" }, t("Connect your own"))), grid);
  const draw = async () => fill(grid, (await Promise.all((await get("/v1/twins")).map(tile))));
  await draw();
  if (!grid.children.length) grid.append(h("p", { class: "empty" }, t("No twin is served here yet.")));
  const timer = setInterval(() => document.hidden || draw().catch(() => {}), 5000);
  return () => clearInterval(timer);
}

async function tile({ twin, mode, running, trouble }) {
  const [held, signals, findings] = await Promise.all([get(of(twin)), get(of(twin, "/signals")), get(of(twin, "/findings"))]);
  const worst = Math.max(0, ...findings.map((f) => f.severity));
  const shown = signals.filter((s) => s.role === "measured" && s.type !== "blob").slice(0, 4);
  const state = trouble || !running ? ["warn", trouble || t("Its sources have ended")] : findings.length ? [worst > 0.6 ? "bad" : "warn", t("{n} open findings", { n: findings.length })] : ["good", t("All well")];
  const draws = shown.map((s) => h("canvas", { "aria-hidden": "true", style: { width: "70px", height: "22px" } }));
  const made = h("a", { class: "card stack", href: `/twins/${encodeURIComponent(twin)}`, style: { textDecoration: "none", color: "inherit" } },
    h("div", { class: "spread" }, h("h3", { class: "cut", style: { fontSize: "17px" } }, twin), h("span", { class: "pill" }, t({ observe: "Observes only", advise: "Advises", auto: "Acts by itself" }[mode]))),
    h("div", { class: "row" }, h("i", { class: `dot ${state[0]}` }), state[1]),
    findings.slice(0, 2).map((f) => h("div", { class: "small warn cut" }, `${said(f.name)} (${f.subject})`)),
    shown.map((s, i) => h("div", { class: "row" }, h("span", { class: "grow cut muted" }, s.name), draws[i], h("span", { class: "number" }, number(held.latest[s.name]), " ", h("span", { class: "unit" }, unit(s.unit))))),
    h("div", { class: "muted small" }, t("{n} points · newest {time}", { n: (held.points.points ?? 0).toLocaleString(), time: whole(ms(held.newest)) })));
  get(of(twin, `/history?last=6h&every=10min&signals=${shown.map((s) => encodeURIComponent(s.name)).join(",")}`))
    .then((past) => past.values.forEach((values, i) => spark(draws[i], values, "measured")), () => {});
  return made;
}
