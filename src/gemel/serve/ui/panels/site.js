// Where things are: the site's own plan if there is one, and a graph of assets and signals.

import { fill, h } from "../lib/dom.js";
import { t } from "../lib/words.js";
import { graph } from "./graph.js";
import { plan } from "./plan.js";

/** `choose(signal)` looks at a signal, `point(names)` at what was found about some signals or assets. */
export async function site(live, choose, point) {
  const held = h("div", { role: "tabpanel", "aria-label": t("Site") });
  const views = [[t("Graph"), graph(live, choose)]];
  const drawn = await plan(live, choose, point);
  if (drawn) views.unshift([t("Plan"), drawn]);
  fill(held, views[0][1]);
  if (views.length === 1) return held;
  const tabs = h("div", { class: "row", role: "tablist", "aria-label": t("Site") }, views.map(([text, view], i) =>
    h("button", { class: "tab", role: "tab", "aria-selected": i === 0 ? "true" : "false", onclick: (event) => {
      tabs.querySelectorAll("button").forEach((b) => b.setAttribute("aria-selected", b === event.currentTarget ? "true" : "false"));
      fill(held, view);
    } }, text)));
  return h("div", { class: "stack" }, tabs, held);
}
