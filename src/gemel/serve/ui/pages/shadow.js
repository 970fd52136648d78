// Shadow mode on one page, made to be printed: what the twin would have done, what that was worth, and whether to believe it.

import { get, of } from "../lib/api.js";
import { Chart, legend } from "../lib/chart.js";
import { card, fill, h } from "../lib/dom.js";
import { meter } from "../lib/figures.js";
import { duration, ms, number, percent, unit, whole } from "../lib/format.js";
import { said, t } from "../lib/words.js";

export const title = "Shadow";

const DAYS = [1, 7, 30];

export async function show(content, twin, frame) {
  const [status, signals] = await Promise.all([frame.status(), get(of(twin, "/signals"))]);
  const units = Object.fromEntries(signals.map((s) => [s.name, unit(s.unit)]));
  frame.mode(status.mode);
  frame.subtitle(t("What the twin would have done, and what that was worth"));
  let days = DAYS.find((n) => String(n) === new URLSearchParams(location.search).get("days")) ?? 7, left = new AbortController();
  const told = h("p", { class: "muted", role: "status", style: { flex: "1 1 260px" } });
  const waiting = h("progress", { hidden: true, "aria-label": t("Judging the decisions") });
  const page = h("div", { class: "column" });
  const print = h("button", { class: "button little", hidden: true, onclick: () => window.print() }, t("Print"));
  const tabs = h("div", { class: "row", role: "group", "aria-label": t("How many days") }, DAYS.map((n) =>
    h("button", { class: "tab", "aria-pressed": n === days ? "true" : "false", onclick: (event) => {
      days = n;
      tabs.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", b === event.currentTarget ? "true" : "false"));
      history.replaceState(null, "", `?days=${n}`);
      ask();
    } }, n === 1 ? t("1 day") : t("{n} days", { n }))));

  async function ask() {
    left.abort();
    const { signal } = (left = new AbortController());
    waiting.hidden = false;
    told.textContent = t("Playing every decision again, with the setpoints the plant had and with those of the twin …");
    try {
      // A decision is judged when its horizon is over: for so many days nearly one horizon more is asked for.
      const found = await get(of(twin, `/shadow?last=${1440 * days + Math.round(duration(status.horizon) / 6e4) - 1}min`), signal);
      if (signal.aborted) return;
      told.textContent = "";
      fill(page, ...drawn(found, status, units));
      print.hidden = false;
    } catch (error) {
      if (signal.aborted) return;
      told.textContent = "";
      fill(page, nothing(error, status));
      print.hidden = true;
    }
    waiting.hidden = true;
  }

  fill(content, h("div", { class: "column" }, h("div", { class: "row wrap screen" }, tabs, told, print), waiting, page));
  ask();
  return () => left.abort();
}

/** Why there is no figure, and what to do so that there will be one. */
function nothing(error, { mode }) {
  return card(t("Nothing to judge yet"), h("div", { class: "stack" },
    h("p", {}, error.message), error.hint ? h("p", { class: "muted" }, error.hint) : null,
    error.status === 409 && mode !== "observe" ? h("p", { class: "note" }, t("This twin does not only observe: what it decides reaches the plant, or waits for a person. Shadow mode is mode = \"observe\" in the twin file, beside the controller that is there.")) : null));
}

function drawn(found, status, units) {
  return [
    h("div", {}, h("h2", { style: { fontSize: "20px", fontWeight: "650" } }, t("What {twin} would have been worth", { twin: found.twin })),
      h("p", { class: "muted" }, t("{from} to {to} · decisions judged: {n} · days: {days}", { from: whole(ms(found.start)), to: whole(ms(found.end)), n: found.windows, days: number(found.days, 2) }))),
    status.mode === "observe" ? null : h("p", { class: "note" }, t("The twin does not only observe now. Only decisions that did not reach the plant are judged.")),
    h("div", { class: "two" }, worth(found, status.currency), trust(found)),
    saved(found),
    ...setpoints(found, units),
    h("div", { class: "two" }, broken(found), repeated(found, units)),
    method(found),
  ];
}

function worth({ saving, cost, objective, trusted }, currency) {
  const kind = !trusted ? "" : saving.low > 0 ? "good" : saving.high < 0 ? "bad" : "";
  return card(t("Saving"),
    h("div", { class: `worth ${kind}` }, number(saving.total), currency ? h("span", { class: "unit" }, ` ${currency}`) : null),
    h("p", {}, t("{p} interval: {low} to {high}", { p: percent(saving.level), low: number(saving.low), high: number(saving.high) })),
    h("p", {}, saving.low > 0 ? t("The twin would have done better.") : saving.high < 0 ? t("The twin would have done worse.") : t("It cannot be told yet whether the twin would have done better.")),
    h("p", { class: "muted" }, t("{v} a day", { v: number(saving.per_day) }), saving.share === null ? "" : ` · ${t("{p} of the cost", { p: percent(saving.share, 1) })}`,
      ` · ${t("cost {a} as it was, {b} with the twin", { a: number(cost.asis), b: number(cost.plan) })}`),
    h("p", { class: "small muted" }, t("Counted: {objective}", { objective })));
}

function trust({ trusted, doubts, ignored, skipped, decisions, windows }) {
  const passed = Object.entries(skipped);
  return card(t("Is the figure to be trusted?"), h("div", { class: "stack" },
    h("div", { class: "row", style: { fontSize: "17px", fontWeight: "620" } }, h("i", { class: `dot ${trusted ? "good" : "warn"}` }), trusted ? t("Yes: nothing speaks against it") : t("Not yet")),
    doubts.length ? h("ul", { class: "plain" }, doubts.map((text) => h("li", {}, said(text)))) : h("p", { class: "muted" }, t("The simulator repeats what was measured, and the plant was seen where the twin would have taken it.")),
    ignored?.length ? h("p", { class: "small muted" }, t("Not counted, for the simulator does not know them: {list}", { list: ignored.join(", ") })) : null,
    h("p", { class: "small muted" }, t("Judged: {w} of {d} decisions. One begins where the horizon of the one before has ended.", { w: windows, d: decisions }),
      passed.length ? ` ${t("Left out: {list}", { list: passed.map(([why, n]) => said(`${n} ${why}`)).join(", ") })}` : "")));
}

function saved({ start, cumulative, saving }) {
  const chart = new Chart({ label: t("Saving added up"), height: 210 });
  const time = [start, ...cumulative.time].map(ms), from = (column) => [0, ...column];
  chart.set({
    keep: [0, 0], limits: [{ value: 0, text: "" }],
    lines: [{ name: t("saving so far"), time, value: from(cumulative.saving), colour: "belief", width: 2 }],
    bands: [{ name: percent(saving.level), time, low: from(cumulative.low), high: from(cumulative.high), colour: "belief", alpha: 0.22 }],
  });
  return card(t("Saving added up"), chart.element, legend([t("saving so far"), "belief"], [t("{p} interval", { p: percent(saving.level) }), "belief", true]));
}

/** One chart a setpoint: what was really done, and what the twin would have done. */
function setpoints({ setpoints: held, start, end }, units) {
  return Object.entries(held).map(([name, { time, real, plan }]) => {
    const chart = new Chart({ label: t("Setpoint {name}", { name }), height: 150 });
    const times = time.map(ms);
    chart.set({
      start: ms(start), end: ms(end), unit: units[name] ?? "",
      lines: [{ name: t("really done"), time: times, value: real, colour: "measured", width: 1.6, step: true }, { name: t("the twin would have"), time: times, value: plan, colour: "belief", width: 1.8, step: true, dash: [5, 3] }],
    });
    return card(t("Setpoint {name}", { name }), chart.element, legend([t("really done"), "measured"], [t("the twin would have"), "belief"]));
  });
}

function broken({ constraints }) {
  const rows = Object.entries(constraints);
  if (!rows.length) return card(t("Constraints"), h("p", { class: "empty" }, t("The policy has no constraints.")));
  const most = Math.max(...rows.flatMap(([, r]) => [r.measured ?? 0, r.simulated, r.plan]), 0.01);
  const cell = (share, kind) => h("td", {}, share === null ? h("span", { class: "small muted" }, t("not measured")) : [h("span", { class: "number" }, percent(share, 1)), meter(share / most, kind)]);
  return card(t("How often a constraint was broken"), region(t("Constraints"), h("table", { class: "board" },
    h("thead", {}, h("tr", {}, [t("Constraint"), t("measured"), t("simulated as it was"), t("simulated with the twin")].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map(([rule, r]) => h("tr", {}, h("th", { scope: "row" }, rule), cell(r.measured, "plain"), cell(r.simulated, "plain"), cell(r.plan, r.plan > r.simulated ? "bad" : "belief")))))));
}

function repeated({ check }, units) {
  return card(t("How well the simulator repeats what was measured"), region(t("Simulator and measured"), h("table", { class: "board" },
    h("thead", {}, h("tr", {}, [t("Signal"), t("off by, on average"), t("spread it admits"), t("inside its 90 % band")].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, check.map((row) => h("tr", {}, h("th", { scope: "row" }, row.signal),
      h("td", { class: `number ${Math.abs(row.bias) > 2 * row.spread ? "warn" : ""}` }, `${row.bias > 0 ? "+" : ""}${number(row.bias, 3)} ${units[row.signal] ?? ""}`),
      h("td", { class: "number" }, `${number(row.spread, 3)} ${units[row.signal] ?? ""}`),
      h("td", {}, h("span", { class: "number" }, percent(row.inside)), meter(row.inside, "calm", 0.9))))))));
}

const region = (name, table) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, table);

function method({ saving }) {
  return h("p", { class: "small muted" }, t("How: from the belief at each decision the simulator runs twice, member by member with the same chance and the weather and load that really came: once with the setpoints the plant had, once with those of the twin. The interval ({p}) holds the spread of the members and of the days.", { p: percent(saving.level) }));
}
