// What the forecaster is made of: the card of the pre-trained network in it, if there is one.

import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { t } from "../lib/words.js";

const short = (digest) => (digest ? h("code", { title: digest }, digest.slice(0, 12)) : "–");

export function network({ name, network: made }) {
  if (!name) return h("p", { class: "empty" }, t("This twin has no forecaster. Add forecaster = { kind = \"pool\" } to its file."));
  if (!made) return h("div", { class: "stack" }, facts([[t("Kind"), name]]), h("p", { class: "small muted" }, t("There is no pre-trained network in it, so it has no card.")));
  const [first] = Object.values(made.sha256 ?? {});
  return h("div", { class: "stack" },
    facts([
      [t("Kind"), name], [t("Network"), made.name], [t("Version (weights)"), short(first)],
      [t("Parameters"), made.parameters?.toLocaleString() ?? "–"],
      [t("Trained"), t("{n} steps, {hours} h", { n: (made.steps ?? 0).toLocaleString(), hours: number(made.hours, 2) })],
      [t("Training data"), short(made.recipe?.data)], [t("Code"), short(made.code)],
    ]),
    held(made.scores?.pool),
    made.recipe ? h("details", { class: "fold" }, h("summary", {}, t("Recipe")), h("pre", { tabindex: "0", role: "region", "aria-label": t("Recipe") }, JSON.stringify(made.recipe, null, 1))) : null);
}

/** A list of names and values. */
export function facts(rows) {
  return h("dl", { class: "facts" }, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** How it did on series it had never seen, beside the naive ones: relative to the seasonal naive, which is 1. */
function held(views) {
  if (!views) return null;
  const ways = Object.keys(views).filter((way) => views[way].all);
  if (!ways.length) return null;
  const makers = Object.keys(views[ways[0]].all);
  return h("div", { class: "stack", style: { gap: "2px" } },
    h("h3", { class: "small" }, t("On series it was not trained on")),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("CRPS, seasonal naive = 1")), ways.map((way) => h("th", { scope: "col", class: "right" }, t(way))))),
      h("tbody", {}, makers.map((maker) => h("tr", { class: maker === "network" ? "" : "muted" }, h("td", {}, t(maker)), ways.map((way) => h("td", { class: "right number" }, number(views[way].all[maker]?.CRPS, 3))))))));
}
