// What the simulator was calibrated to: every version, what it learned and how well it foretells, and a button for another.

import { get, of, post } from "../lib/api.js";
import { doing } from "../lib/dialog.js";
import { fill, h, toast } from "../lib/dom.js";
import { change, interval } from "../lib/figures.js";
import { day, ms, number, span } from "../lib/format.js";
import { work } from "../lib/work.js";
import { t } from "../lib/words.js";
import { facts } from "./network.js";

const LAST = ["7d", "30d", "90d", "365d"];
const WHO = ["calibrated", "physics alone", "in use", "uncalibrated", "last value", "a day before"];

/** `changed` is called with all versions whenever they were read. */
export function calibrations(twin, changed) {
  const here = of(twin, "/calibrations");
  const listed = h("div", { class: "stack" }), { bar, said, begin, end } = work(t("Calibrating"));
  const last = h("select", { id: "history" }, LAST.map((text) => h("option", { value: text, selected: text === "30d" }, span(ms(Number.parseInt(text, 10) * 86400e9)))));
  const button = h("button", { class: "button outline", onclick: () => doing(button, said, calibrate) }, t("Calibrate"));
  const ask = h("div", { class: "row wrap", hidden: true }, button, h("label", { for: "history", class: "muted small" }, t("on the last")), last);
  let may = false;

  async function draw() {
    const found = await get(here);
    fill(listed, found.length ? [...found].reverse().map((one, i) => version(here, one, { may, open: one.promoted || i === 0, use, said }))
      : h("p", { class: "empty" }, t("Not calibrated yet. Calibrating finds the parameters that explain the history, with how sure that is; what comes out is used only if it foretells better on days that were held back.")));
    changed(found);
  }

  async function use(path, done) {
    const { promoted } = await post(here + path);
    toast(promoted ? t("Calibration {v} is in use.", { v: promoted }) : done);
    await draw();
  }

  async function calibrate() {
    await begin(here, { last: last.value }, () => t("Done."));
    await draw();
  }

  const ready = draw();
  get("/v1/me").then(async ({ scopes }) => {
    may = scopes.includes("admin");
    ask.hidden = !may;
    if (!may) said.textContent = t("To calibrate, promote or roll back, the key needs the scope admin.");
    await draw();
  }, () => {});
  return { element: h("div", { class: "stack" }, listed, ask, bar, said), ready, end };
}

function version(here, { version: id, promoted, fits, card }, { may, open, use, said }) {
  const pressed = (text, path, done) => {
    const made = h("button", { class: "button little", onclick: () => doing(made, said, () => use(path, done)) }, text);
    return made;
  };
  const [kind, word] = promoted ? (fits ? ["good", t("in use")] : ["warn", t("of another simulator")]) : !fits ? ["", t("of another simulator")] : card.passed ? ["", t("challenger")] : ["warn", t("refused by the gate")];
  return h("article", { class: "version stack" },
    h("div", { class: "spread" }, h("h3", {}, h("code", {}, id)), h("span", { class: "pill" }, h("i", { class: `dot ${kind}` }), word)),
    h("p", { class: "small" }, card.verdict),
    h("details", { class: "fold small", open }, h("summary", {}, t("Parameters, before and after")), learned(card.posterior)),
    h("details", { class: "fold small" }, h("summary", {}, t("Scores on days that were held back")), scores(card)),
    h("details", { class: "fold small" }, h("summary", {}, t("Card")), facts([
      [t("History"), `${day(ms(card.start))} – ${day(ms(card.end))}`], [t("Rows"), card.rows.toLocaleString()], [t("Method"), card.method],
      [t("Good until"), day(ms(card.expires))], [t("History, hash"), h("code", { title: card.data }, card.data.slice(0, 12))], [t("Code"), h("code", { title: card.code }, card.code.slice(0, 12))],
      ...Object.entries(card.region).map(([name, [low, high]]) => [t("Valid for {name}", { name }), `${number(low)} – ${number(high)}`]),
    ])),
    h("div", { class: "row wrap" }, h("a", { class: "button little", href: `${here}/${id}/report`, download: "" }, t("Report")),
      may && fits ? (promoted ? pressed(t("Roll back"), "/back", t("Back to the simulator's own priors.")) : pressed(t("Promote"), `/${id}/promote`)) : null));
}

/** A bar before and a bar after for each parameter: the middle 90 %. */
function learned(rows) {
  const reach = ([mean, sd]) => [mean - 1.645 * sd, mean + 1.645 * sd];
  return h("div", { class: "stack" }, rows.map(({ name, unit, prior, posterior, says }) => {
    const before = reach(prior), after = reach(posterior);
    return h("div", {},
      h("div", { class: "spread" }, h("span", {}, name), h("span", { class: "number" }, `${number(posterior[0])} ± ${number(posterior[1], 2)} ${unit}`)),
      interval(Math.min(before[0], after[0]), Math.max(before[1], after[1]), [[before, "plain"], [after, "calm"]]),
      h("div", { class: "muted" }, says));
  }));
}

function scores({ scores: outputs, horizon, starts }) {
  const makers = WHO.filter((who) => Object.values(outputs).some((one) => one[who]));
  return h("table", { class: "board" }, h("caption", { class: "muted" }, t("Error (RMSE) up to {ahead} ahead, from {n} starts", { ahead: span(ms(horizon)), n: starts })),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }), Object.keys(outputs).map((name) => h("th", { scope: "col", class: "right" }, name)))),
    h("tbody", {}, makers.map((who) => h("tr", {}, h("th", { scope: "row" }, t(who)), Object.values(outputs).map((one) =>
      h("td", { class: "right" }, h("span", { class: "number" }, number(one[who]?.rmse)), who === "calibrated" ? [" ", change(one.calibrated.rmse, one.uncalibrated?.rmse)] : null))))));
}
