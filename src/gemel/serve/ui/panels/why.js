// Why a finding says what it says: the causes that come into question, what each signal has to do with it, the raw signals,
// what like it there was before, what would have kept it healthy, and what a person says that it was.

import { get, of, post } from "../lib/api.js";
import { Chart } from "../lib/chart.js";
import { doing } from "../lib/dialog.js";
import { fill, h, toast } from "../lib/dom.js";
import { moment, ms, number, percent } from "../lib/format.js";
import { language, said, t } from "../lib/words.js";

const MORE = { counterfactual: "What would have kept it healthy?", rules: "As a rule", surrogate: "Near this window" };

/** Opens the answer about one finding; focus goes back to where it was. */
export function why(live, found) {
  const body = h("div", { class: "stack" }, h("p", { class: "muted", role: "status" }, t("Asking the twin …")));
  const box = h("dialog", { class: "wide", "aria-labelledby": "why-title" },
    h("div", { class: "stack" },
      h("div", { class: "spread" }, h("h2", { id: "why-title", class: "grow", style: { fontSize: "16px" } }, t("Why “{what}” ({subject})", { what: said(found.name), subject: found.subject })),
        h("button", { class: "button little", onclick: () => box.close() }, t("Close"))),
      h("p", { class: "muted small" }, t("since {time} · sure to {p}", { time: moment(ms(found.start)), p: percent(found.confidence) })), body));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  ask(live, found).then((answer) => drawn(live, found, answer, body), (error) => fill(body, h("p", { class: "warn", role: "alert" }, [error.message, error.hint].filter(Boolean).join(". "))));
}

const ask = (live, found, by = "attribution") => get(of(live.twin, `/findings/${encodeURIComponent(found.id)}/why?by=${by}`));
const spoken = (answer) => answer.sentence[language === "zh" ? "zh" : "en"];

function drawn(live, found, answer, body) {
  const more = answer.explainers.filter((name) => name in MORE);
  fill(body,
    h("p", {}, spoken(answer)),
    answer.scored ? null : h("p", { class: "muted small" }, t("This detector cannot judge single windows, so these are shares of its own evidence.")),
    answer.ranked.length ? part(t("Which component, what is wrong"), answer.ranked.slice(0, 6).map((one) => bar(said(one.name), one.probability, percent(one.probability)))) : null,
    answer.shares.length ? part(t("What each signal has to do with it"), shares(answer)) : null,
    signals(live, found, answer),
    more.length ? further(live, found, more) : null,
    answer.similar.length ? cases(answer.similar) : h("p", { class: "muted small" }, t("Nothing like it was found before.")),
    verdict(live, found, answer));
}

const part = (title, inside) => h("section", { class: "stack", style: { gap: "4px" }, "aria-label": title }, h("h3", {}, title), inside);

function bar(name, share, text) {
  return h("div", { class: "ranked" }, h("span", { class: "cut", title: name }, name),
    h("span", { class: "bar" }, h("i", { class: share < 0 ? "good" : "warn", style: { width: `${100 * Math.min(Math.abs(share), 1)}%` } })), h("span", { class: "number" }, text));
}

function shares(answer) {
  const rows = answer.shares.slice(0, 8), whole = rows.reduce((sum, one) => sum + Math.abs(one.share), 0) || 1;
  return rows.map((one) => bar(one.signal, one.share / whole, percent(one.share / whole)));
}

/** The raw signals around the start; what the explanation rests on is shaded. */
function signals(live, found, answer) {
  const series = answer.series.series.filter((one) => one.time.length);
  if (!series.length) return null;
  const start = ms(answer.series.start), end = ms(answer.series.end);
  return part(t("The signals around the start"), h("div", { class: "why-charts" }, series.map((one) => {
    const time = one.time.map(ms), signal = live.signal(one.signal);
    const chart = new Chart({ label: one.signal, height: 120 });
    const content = {
      lines: [{ name: t("measured"), time, value: one.mean, colour: "measured", width: 1.2 }],
      bands: one.raw ? [] : [{ name: "", time, low: one.min, high: one.max, colour: "measured", alpha: 0.18 }],
      marks: [{ time: ms(found.start), text: t("begins"), colour: "warn" }], shades: shaded(answer, one.signal), unit: signal?.unit, start, end,
    };
    const path = answer.paths[one.signal];
    if (path) content.lines.push({ name: t("healthy"), time: answer.time.map(ms), value: path, colour: "good", width: 1.6, dash: [5, 4] });
    chart.set(content);
    return h("figure", {}, h("figcaption", { class: "small" }, one.signal), chart.element);
  })));
}

function shaded(answer, name) {
  const row = answer.segments[answer.shares.findIndex((one) => one.signal === name)] ?? [];
  const most = Math.max(...answer.segments.flat().map(Math.abs), 1e-300);
  return row.map((share, i) => ({ start: ms(answer.edges[i]), end: ms(answer.edges[i + 1]), colour: share > 0 ? "warn" : "good", alpha: 0.35 * Math.abs(share) / most })).filter((one) => one.alpha > 0.03);
}

/** Other explainers, each asked when somebody wants to know. */
function further(live, found, names) {
  const place = h("div", { class: "stack small", "aria-live": "polite" });
  const buttons = names.map((name) => {
    const button = h("button", { class: "button little", onclick: () => doing(button, place, async () => {
      const answer = await ask(live, found, name);
      fill(place, h("p", {}, spoken(answer)), changes(live, answer), answer.kind === "change" ? signals(live, found, answer) : null,
        answer.kind === "shares" && answer.by === name ? h("div", {}, shares(answer)) : null);
    }) }, t(MORE[name]));
    return button;
  });
  return part(t("Asked further"), [h("div", { class: "row wrap" }, buttons), place]);
}

function changes(live, answer) {
  if (!answer.changes.length) return null;
  return h("ul", { class: "plain" }, answer.changes.map((one) => h("li", {}, t("{signal}: {needed} instead of {actual} {unit}, {from} to {to}", {
    signal: one.signal, needed: number(one.needed), actual: number(one.actual), unit: live.signal(one.signal)?.unit ?? "", from: moment(ms(one.start)), to: moment(ms(one.end)),
  }))), h("li", { class: "muted" }, answer.verified ? t("Run through the simulator again: it holds.") : t("Not verified by the simulator.")));
}

function cases(similar) {
  return part(t("Like it before"), h("ol", { class: "plain stack", style: { gap: "6px" } }, similar.map((one) => {
    const was = one.verdicts.map((a) => t("It was: {what}", { what: said(a.note) })), notes = one.said.filter((a) => a.note).map((a) => `${a.note} (${a.by})`);
    const done = one.done.map((d) => t("Then: {what}", { what: said(d.reason) }));
    return h("li", { class: "case" }, h("div", { class: "spread" }, h("span", { class: "grow" }, said(one.finding.name), " ", h("span", { class: "muted small" }, `${one.finding.subject} · ${moment(ms(one.finding.start))}`)),
      h("span", { class: "number small" }, t("alike {p}", { p: percent(one.likeness) }))), [...was, ...notes, ...done].map((text) => h("div", { class: "small" }, text)));
  })));
}

/** What a person says that it was; detectors that learn from cases take it up. */
function verdict(live, found, answer) {
  const id = "why-was", wrong = h("div", { class: "small", role: "status" });
  const field = h("input", { type: "text", id, list: "why-causes", maxlength: 200, required: true, autocomplete: "off", placeholder: "mill bearing: damaged" });
  const known = answer.ranked.map((one) => one.name).filter((name) => name !== "unknown");
  const button = h("button", { class: "button outline" }, t("Save"));
  const spokenOf = h("div", { class: "small" });
  const list = (verdicts) => fill(spokenOf, verdicts.map((a) => h("div", {}, t("It was: {what}", { what: said(a.note) }), a.by ? ` · ${a.by}` : "")));
  list(answer.verdicts);
  return part(t("What it really was"), [spokenOf, h("form", { class: "row wrap", onsubmit: (event) => {
    event.preventDefault();
    doing(button, wrong, async () => {
      const was = field.value.trim();
      live.found(await post(of(live.twin, `/findings/${encodeURIComponent(found.id)}/verdict`), { was }));
      list([...answer.verdicts, { note: was, by: "" }]);
      fill(wrong);
      toast(t("Kept; the twin learns from it."));
    });
  } }, h("label", { for: id, class: "small muted" }, t("Component and cause, or “false alarm”")), field,
  h("datalist", { id: "why-causes" }, [...known, "false alarm"].map((value) => h("option", { value }))), button), wrong]);
}
