// What was found in a source: the signals with how sure each guess is, a first forecast, and the twin file to mend and start.

import { post } from "../lib/api.js";
import { Chart, legend } from "../lib/chart.js";
import { doing } from "../lib/dialog.js";
import { card, fill, h } from "../lib/dom.js";
import { ms, number, percent, span, unit, whole } from "../lib/format.js";
import { signals, withConnector, withKey, withUse } from "../lib/twinfile.js";
import { t } from "../lib/words.js";
import { go } from "../app.js";

const ROLES = ["measured", "controlled", "derived", "known"];
const SURE = 0.7;
const WAIT = 500; // after the last key before the text is checked

/** Draws into `content`; answers a function that ends it. */
export function proposed(content, found, { origin, again }) {
  let timer = null, count = 0;
  const text = h("textarea", { class: "code", rows: Math.min(found.text.split("\n").length + 1, 28), spellcheck: "false", wrap: "off", "aria-label": t("The twin file") });
  const said = h("div", { role: "status" });
  const start = h("button", { class: "button main", onclick: () => doing(start, said, save) }, t("Start this twin"));
  const rows = found.signals.map((one) => row(one, (change) => {
    text.value = change(text.value);
    heard();
  }));

  /** The text has changed: the table shows what it says now, and the engine is asked whether it holds. */
  function heard() {
    const held = signals(text.value);
    rows.forEach((one) => one.show(held.get(one.address)));
    clearTimeout(timer);
    timer = setTimeout(check, WAIT);
  }

  async function check() {
    const mine = ++count;
    try {
      const { ok, problems, hint, name } = await post("/v1/new/check", { text: text.value, upload: found.upload });
      if (mine !== count) return;
      start.disabled = !ok;
      fill(said, ok ? h("p", { class: "small" }, h("span", { class: "good", "aria-hidden": "true" }, "✓ "), t("This twin file holds. It will be called {name}.", { name })) : h("div", { class: "trouble" },
        h("ul", { class: "past" }, problems.map((problem) => h("li", {}, pointed(problem)))), hint ? h("div", { class: "muted small" }, hint) : null));
    } catch (error) {
      if (mine === count) fill(said, h("div", { class: "trouble" }, error.message, error.hint ? h("div", { class: "muted small" }, error.hint) : null));
    }
  }

  /** A problem that names a line or a signal leads there. */
  function pointed(problem) {
    const line = /\bline (\d+)/.exec(problem)?.[1], name = /signals?\s+'([^']+)'/.exec(problem)?.[1];
    const lines = text.value.split("\n");
    const at = line ? Number(line) - 1 : name ? lines.findIndex((one) => one.includes(`name = ${JSON.stringify(name)}`)) : -1;
    return at < 0 || at >= lines.length ? problem : [`${problem} `, h("button", { class: "button little plain", onclick: () => {
      const from = lines.slice(0, at).join("\n").length + (at ? 1 : 0);
      text.focus();
      text.setSelectionRange(from, from + lines[at].length);
    } }, t("Show line {n}", { n: at + 1 }))];
  }

  async function save() {
    clearTimeout(timer);
    const { twin } = await post("/v1/new/save", { text: text.value, upload: found.upload });
    go(`/twins/${encodeURIComponent(twin)}`);
  }

  text.value = found.text;
  text.addEventListener("input", heard);
  fill(content, h("div", { class: "stack", style: { gap: "12px" } },
    summary(found, origin, start, again, (zone) => {
      text.value = withConnector(text.value, "zone", zone);
      heard();
    }),
    found.forecast ? h("div", { class: "two" }, found.forecast.signals.map((name, i) => ahead(found, name, i))) : h("p", { class: "note" }, t("Too little moves in it for a first forecast.")),
    card(t("Signals"), table(rows)),
    card(t("The twin file"), h("p", { class: "muted small", style: { marginBottom: "6px" } }, t("This text is the whole twin. Change it here or in the table; it is checked as you go.")), text, said)));
  heard();
  return () => clearTimeout(timer);
}

/** Whether a person should look: something is unsure, or commands may go there. */
const asked = ({ unsure, signal }) => unsure.length > 0 || signal.role === "controlled";

function summary(found, origin, start, again, zoned) {
  const { signals: all } = found;
  const ends = all.filter((s) => s.start !== null);
  const unsure = all.filter(asked), sum = (key) => all.reduce((total, one) => total + one[key], 0);
  const from = Math.min(...ends.map((s) => ms(s.start))), to = Math.max(...ends.map((s) => ms(s.end)));
  const zone = h("input", { type: "text", id: "zone", list: "zones", placeholder: "UTC", autocomplete: "off", onchange: () => zoned(zone.value.trim() || "UTC") });
  const faults = [["gaps", "gaps: {n}"], ["duplicates", "duplicates: {n}"], ["empty", "empty values: {n}"]].filter(([key]) => sum(key)).map(([key, text]) => t(text, { n: sum(key).toLocaleString() }));
  const longest = Math.max(...all.map((s) => ms(s.longest)));
  return h("section", { class: "card stack", "aria-label": t("What was found") },
    h("div", { class: "spread", style: { flexWrap: "wrap" } },
      h("div", { style: { flex: "1 1 260px" } }, h("h2", { class: "heading", tabindex: "-1" }, t("What was found")), h("p", { style: { fontSize: "17px", fontWeight: 620, overflowWrap: "anywhere" } }, t("{n} signals in {origin}", { n: all.length, origin })),
        h("p", { class: "muted" }, ends.length ? t("{points} points, {from} to {to}", { points: sum("points").toLocaleString(), from: whole(from), to: whole(to) }) : "")),
      h("div", { class: "row wrap" }, start, h("button", { class: "button", onclick: again }, t("Take another")))),
    h("div", { class: "check" }, h("span", { class: unsure.length ? "warn" : "good", "aria-hidden": "true" }, unsure.length ? "!" : "✓"), unsure.length ? t("Worth a look: {names}", { names: unsure.slice(0, 6).map((s) => s.signal.name).join(", ") + (unsure.length > 6 ? " …" : "") }) : t("Every unit and role is clear")),
    h("div", { class: "check" }, h("span", { class: faults.length ? "warn" : "good", "aria-hidden": "true" }, faults.length ? "!" : "✓"), faults.length ? `${faults.join(", ")}${longest ? ` · ${t("the longest gap is {span}", { span: span(longest) })}` : ""}` : t("No gaps, no duplicates, nothing empty")),
    found.naive ? h("div", { class: "note row wrap" }, h("label", { for: "zone" }, t("Its times name no zone. They were written in")), zone,
      h("datalist", { id: "zones" }, (Intl.supportedValuesOf?.("timeZone") ?? []).map((value) => h("option", { value })))) : null,
    found.notes.map((text) => h("p", { class: "note small" }, text)));
}

function ahead({ past, forecast, signals: all }, name, place) {
  const written = all.find((s) => s.signal.name === name)?.signal.unit ?? "";
  const chart = new Chart({ label: t("First forecast of {name}", { name }), height: 210 });
  const time = past.time.map(ms), later = forecast.time.map(ms), level = (p) => forecast.values[place][forecast.levels.indexOf(p)];
  const now = time.at(-1), shown = 2.5 * (later.at(-1) - now);
  const values = past.values[past.signals.indexOf(name)], there = values.map((v, k) => (v === null ? -1 : k)).filter((k) => k >= 0);
  chart.set({
    unit: unit(written), now, nowText: t("newest"), start: Math.max(now - shown, time[0]), end: later.at(-1),
    lines: [{ name: t("measured"), time: there.map((k) => time[k]), value: there.map((k) => values[k]), colour: "measured" }, { name: t("forecast"), time: later, value: level(0.5), colour: "forecast", dash: [5, 4], width: 2 }],
    bands: [{ name: "80 %", time: later, low: level(0.1), high: level(0.9), colour: "band", alpha: 0.28 }],
  });
  return card(`${name} · ${t("first forecast")}`, chart.element, legend([t("measured"), "measured"], [t("forecast, median"), "forecast"], [t("80 % band"), "band", true]));
}

function table(rows) {
  const heads = ["In use", "Signal", "Unit", "Role", "Low", "High", "Asset", "Sampling", "How sure", "Why"];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("Signals that were found"), style: { maxHeight: "560px" } },
    h("table", { class: "edit" }, h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, t(text))))), h("tbody", {}, rows.map((r) => r.element))));
}

/** One signal. `changing` is called with what to do to the text; `show` then hears what the text says. */
function row({ label, signal, sure, unsure, notes, guesses, points, gaps, duplicates, every }, changing) {
  const address = signal.address, fields = {};
  const name = (what) => `${t(what)}: ${label}`;
  const cell = (key, what, width, kind = "text") => {
    const field = fields[key] = h("input", { type: kind, step: "any", "aria-label": name(what), class: unsure.includes(key) ? "look" : "", style: { width }, title: guesses[key]?.why || null, autocomplete: "off",
      onchange: () => changing((text) => withKey(text, address, key, field.value === "" ? "" : kind === "number" ? Number(field.value) : field.value)) });
    return h("td", {}, field);
  };
  const use = h("input", { type: "checkbox", "aria-label": name("In use"), onchange: () => changing((text) => withUse(text, address, use.checked)) });
  const role = fields.role = h("select", { "aria-label": name("Role"), class: unsure.includes("role") || signal.role === "controlled" ? "look" : "", title: guesses.role?.why || null,
    onchange: () => changing((text) => withKey(text, address, "role", role.value === "measured" ? "" : role.value)) }, ROLES.map((value) => h("option", { value }, t(value))));
  const kind = sure >= 0.9 ? "good" : sure < SURE ? "warn" : "calm";
  const told = Object.entries(guesses).filter(([, guess]) => guess.why).map(([key, { value, sure: how, why }]) =>
    h("div", {}, h("strong", {}, `${t(key)}: ${typeof value === "number" ? number(value) : value ?? "–"}`), ` · ${percent(how)} · ${why}`));
  const faults = [gaps && t("gaps: {n}", { n: gaps }), duplicates && t("duplicates: {n}", { n: duplicates })].filter(Boolean).join(", ");
  const element = h("tr", {}, h("td", {}, use), cell("name", "Signal", "186px"), cell("unit", "Unit", "74px"), h("td", {}, role), cell("low", "Low", "76px", "number"), cell("high", "High", "76px", "number"), cell("asset", "Asset", "104px"),
    h("td", { class: "small" }, every ? span(ms(every)) : "–", h("div", { class: "muted" }, t("{n} points", { n: points.toLocaleString() })), faults ? h("div", { class: "warn" }, faults) : null),
    h("td", {}, h("div", { class: "row", style: { minWidth: "92px" } }, h("span", { class: "bar" }, h("i", { class: kind, style: { width: `${100 * sure}%` } })), h("span", { class: "small" }, percent(sure)))),
    h("td", { class: "small" }, h("details", { class: "fold" }, h("summary", {}, label), told, notes.map((text) => h("div", { class: "warn" }, text)))));

  /** What the text says of it; nothing when its line is gone. */
  function show(held) {
    use.checked = Boolean(held?.used);
    use.disabled = !held;
    element.classList.toggle("unused", !held?.used);
    for (const [key, field] of Object.entries(fields)) {
      field.disabled = !held?.used;
      const value = held?.[key] ?? (key === "role" ? "measured" : "");
      if (document.activeElement !== field) field.value = value;
    }
  }

  return { element, show, address };
}
