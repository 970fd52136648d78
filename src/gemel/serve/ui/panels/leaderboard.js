// Who forecasts best: every maker on the very same instants, beside what costs nothing.

import { h } from "../lib/dom.js";
import { change, meter } from "../lib/figures.js";
import { number, percent } from "../lib/format.js";
import { t } from "../lib/words.js";

export function leaderboard({ leaderboard: rows, forecaster, coverage: { nominal } }) {
  const best = rows.find((r) => r.baseline);
  const most = (name) => Math.max(...rows.map((r) => r[name] ?? 0), 1e-12);
  const mosts = { crps: most("crps"), mase: most("mase") };
  const error = (row, name) => h("td", {}, h("div", { class: "spread" }, h("span", { class: "number" }, number(row[name])), best && !row.baseline ? change(row[name], best[name]) : null),
    meter(row[name] / mosts[name], row.baseline ? "plain" : "calm", best ? best[name] / mosts[name] : null));
  const weighed = rows.some((r) => r.weight !== null);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("All forecasters") },
    h("table", { class: "board" },
      h("thead", {}, h("tr", {}, [t("Forecaster"), t("CRPS, less is better"), t("MASE, less is better"), t("Inside the {p} band", { p: percent(nominal) }), weighed && t("Weight")]
        .filter(Boolean).map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, rows.map((row) => h("tr", { class: row.baseline ? "muted" : "" },
        h("th", { scope: "row" }, t(row.forecaster), " ", row.forecaster === forecaster.name ? h("span", { class: "pill" }, t("in use")) : null),
        error(row, "crps"), error(row, "mase"),
        h("td", {}, row.coverage === null ? h("span", { class: "small" }, t("says no band")) : [h("span", { class: "number" }, percent(row.coverage)), meter(row.coverage, "calm", nominal)]),
        weighed ? h("td", {}, row.weight === null ? "–" : [h("span", { class: "number" }, percent(row.weight)), meter(row.weight, "good")]) : null)))),
    h("p", { class: "small muted" }, best ? t("The mark on a bar is the best of what costs nothing: {name}.", { name: t(best.forecaster) }) : null));
}
