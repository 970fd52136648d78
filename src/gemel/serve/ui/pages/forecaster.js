// What forecasts this twin, how good it has been, and what could take its place.

import { get, of } from "../lib/api.js";
import { Chart, legend } from "../lib/chart.js";
import { card, fill, h } from "../lib/dom.js";
import { histogram, reliability, tile } from "../lib/figures.js";
import { day, duration, ms, number, percent, span } from "../lib/format.js";
import { t } from "../lib/words.js";
import { leaderboard } from "../panels/leaderboard.js";
import { network } from "../panels/network.js";
import { versions } from "../panels/versions.js";

export const title = "Forecaster";

const OFTEN = 60000; // asked anew every so many ms: it changes with each forecast that comes true

export async function show(content, twin, frame) {
  const status = await frame.status();
  frame.mode(status.mode);
  frame.subtitle(t("What forecasts this twin, and how good that has been"));
  let wanted = new URLSearchParams(location.search).get("signal"), asked = 0;
  const ask = () => get(of(twin, `/standing${wanted ? `?signal=${encodeURIComponent(wanted)}` : ""}`));
  let found = await ask();

  const which = h("select", { id: "signal", onchange: () => {
    wanted = which.value;
    told.textContent = t("Asking the twin …");
    history.replaceState(null, "", `?signal=${encodeURIComponent(wanted)}`);
    again();
  } });
  const told = h("p", { class: "muted", role: "status", style: { flex: "1 1 260px" } });
  const tiles = h("div", { class: "cards" }), scores = h("div", { class: "column" });
  const tried = versions(twin, found.forecaster, () => again());

  async function again() {
    const mine = ++asked;
    try {
      const answer = await ask();
      if (mine !== asked) return;
      const same = JSON.stringify(answer) === JSON.stringify(found);
      found = answer;
      if (same) told.textContent = summary(found); // what is looked at stays as it is
      else draw();
    } catch (error) {
      if (mine === asked) fill(told, h("span", { class: "warn" }, `${error.message}. ${error.hint}`));
    }
  }

  function draw() {
    if (which.options.length !== found.signals.length) fill(which, found.signals.map((name) => h("option", { value: name }, name)));
    which.value = found.signal ?? "";
    told.textContent = summary(found);
    fill(tiles, numbers(found));
    fill(scores, found.windows ? scored(found) : card(t("Scores"), unscored(found, status)));
  }

  draw();
  fill(content, h("div", { class: "column" },
    h("div", { class: "row wrap" }, found.signals.length ? [h("label", { for: "signal" }, t("Forecast of")), which] : null, told), tiles,
    h("div", { class: "beside" }, scores, h("div", { class: "column" }, card(t("Forecaster"), network(found.forecaster)), card(t("Challengers"), tried.element)))));
  const timer = setInterval(() => document.hidden || again(), OFTEN);
  return () => {
    clearInterval(timer);
    asked = Infinity;
    tried.end();
  };
}

/** The row of the forecaster that is in use. */
const own = (found) => found.leaderboard.find((r) => r.forecaster === found.forecaster.name) ?? found.leaderboard.find((r) => !r.baseline);
const naive = (found) => found.leaderboard.find((r) => r.baseline);

function summary(found) {
  if (!found.windows) return found.forecaster.name ? t("Nothing of it has come true yet.") : "";
  return t("{n} forecasts of {ahead}, issued {from} to {to}, each beside what was then measured", {
    n: found.windows, ahead: span(ms(found.step) * found.steps), from: day(ms(found.start)), to: day(ms(found.end)) });
}

function numbers(found) {
  const mine = own(found), plain = naive(found);
  if (!mine) return [];
  return [
    tile(t("Error (CRPS)"), number(mine.crps), plain ? beside(mine.crps, plain.crps, t(plain.forecaster)) : t("of all quantiles, scaled"), ""),
    tile(t("Error of the median (MASE)"), number(mine.mase), plain ? beside(mine.mase, plain.mase, t(plain.forecaster)) : t("1 is a day before")),
    tile(t("{p} band", { p: percent(found.coverage.nominal) }), percent(mine.coverage), t("of what came true was inside")),
  ];
}

/** "20 % below a day before" */
function beside(mine, other, name) {
  if (!Number.isFinite(mine) || !other) return "";
  const share = 1 - mine / other;
  return share >= 0 ? t("{p} below {name}", { p: percent(share), name }) : t("{p} above {name}", { p: percent(-share), name });
}

function unscored(found, status) {
  if (!found.forecaster.name) return h("p", { class: "empty" }, t("This twin has no forecaster. Add forecaster = { kind = \"pool\" } to its file."));
  return h("p", { class: "empty" }, t("No forecast of {signal} has come true yet. One counts when its horizon ({ahead}) is over and two days of history lie before it.", {
    signal: found.signal ?? t("any signal"), ahead: span(duration(status.horizon)) }));
}

function scored(found) {
  return [card(t("Leaderboard"), leaderboard(found)), h("div", { class: "two" }, covered(found), calibrated(found))];
}

/** The share that the band held, period by period; a step lasts until the next begins. */
function covered({ coverage, end, start, step, steps, windows }) {
  const chart = new Chart({ label: t("Coverage over time"), height: 240 });
  const last = windows > 1 ? end : start + step * steps;
  const edges = [...coverage.time, last].map(ms);
  const share = coverage.value.map((v) => v === null ? null : 100 * v), nominal = 100 * coverage.nominal;
  const each = edges.slice(1).flatMap((edge, i) => [edges[i], edge]);
  const twice = (column) => column.flatMap((v) => [100 * v, 100 * v]);
  chart.set({
    unit: "%", keep: [0, 100],
    lines: [{ name: t("inside the band"), time: edges, value: [...share, share.at(-1)], colour: "belief", width: 2, step: true }, { time: [edges[0], edges.at(-1)], value: [nominal, nominal], colour: "text", width: 1, dash: [4, 4] }],
    bands: coverage.low ? [{ name: t("by chance"), time: each, low: twice(coverage.low), high: twice(coverage.high), colour: "measured", alpha: 0.2 }] : [],
  });
  const inside = coverage.value.filter((v, i) => v >= coverage.low[i] && v <= coverage.high[i]).length;
  return card(t("Coverage over time"),
    chart.element, legend([t("inside the {p} band", { p: percent(coverage.nominal) }), "belief"], [t("what chance would give, 9 times in 10"), "measured", true]),
    h("p", { class: "small muted" }, t("{k} of {n} periods are where chance would put an honest band.", { k: inside, n: coverage.value.length })));
}

function calibrated({ calibration: { levels, observed, histogram: heights } }) {
  const held = (figure, heading, said) => h("figure", {}, h("h3", { class: "small" }, heading), figure, h("figcaption", { class: "small muted" }, said));
  if (!levels.length) return card(t("Calibration"), h("p", { class: "empty" }, t("Nothing has come true yet.")));
  return card(t("Calibration"), h("div", { class: "figures" },
    held(reliability(levels, observed), t("Said and happened"), t("Dots on the line: what was given p % came true in p % of cases. Above it: forecasts are too high.")),
    held(histogram(levels, heights), t("Where the truth fell"), t("Flat at 1 is honest. High ends: bands are too narrow. High middle: too wide."))));
}
