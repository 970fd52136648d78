// One twin, alive: what it hears, believes, foresees, finds, and wants done.

import { Chart, legend } from "../lib/chart.js";
import { card, fill, h } from "../lib/dom.js";
import { duration, moment, ms, number, span } from "../lib/format.js";
import { Live } from "../lib/live.js";
import { said, t } from "../lib/words.js";
import { commands } from "../panels/commands.js";
import { current, decision } from "../panels/decision.js";
import { findings } from "../panels/findings.js";
import { hands } from "../panels/hands.js";
import { life, windows } from "../panels/life.js";
import { site } from "../panels/site.js";
import { tree } from "../panels/tree.js";
import { whatif } from "../panels/whatif.js";

export const title = "Live";

export async function show(content, twin, frame) {
  const live = await Live.start(twin, (good, now) => frame.link(good, good ? linked(now) : t("Connection lost, trying again …")));
  frame.mode(live.status.mode);
  let chosen = first(live), marks = [];

  const choose = (name) => {
    if (!live.names.includes(name) || live.signal(name).type === "blob") return;
    chosen = name;
    branch.mark(name);
    live.tell("values");
    draw();
  };
  const look = (signals, found) => {
    marks = [{ time: ms(found.start), text: said(found.name), colour: "warn" }];
    choose(signals[0]);
    chart.element.scrollIntoView({ block: "nearest" });
  };
  const branch = tree(live, choose);
  const chart = new Chart({ label: t("Live and forecast"), height: 300 });
  const heading = h("h2", { class: "heading" });
  const tried = whatif(live);
  const tiles = h("div", { class: "cards" });
  const actuators = hands(live), repairs = windows(live);

  const whole = duration(live.status.horizon);
  const spans = [whole / 4, whole, whole * 7].map((past) => h("button", { class: "tab", "aria-pressed": past === live.past ? "true" : "false", onclick: async (e) => {
    e.currentTarget.parentElement.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", b === e.currentTarget ? "true" : "false"));
    await live.reach(past);
    draw();
  } }, span(past)));

  function draw() {
    const signal = live.signal(chosen), measured = live.series.get(chosen), believed = live.believed.get(chosen), ahead = live.forecast(chosen);
    heading.textContent = `${chosen} · ${t("measured, believed, foreseen")}`;
    const lines = [{ name: t("measured"), ...measured, colour: "measured", width: 1.2, step: signal.role === "controlled" }];
    if (believed) lines.push({ name: t("twin estimate"), ...believed, colour: "belief", width: 2 });
    const bands = [], end = live.now + Math.min(whole, live.past * 0.7);
    if (ahead) {
      const time = ahead.time.map(ms), level = (p) => ahead.values[ahead.signals.indexOf(chosen)][ahead.levels.indexOf(p)];
      if (level(0.05)) bands.push({ name: "90 %", time, low: level(0.05), high: level(0.95), colour: "band", alpha: 0.22 });
      bands.push({ name: "60 %", time, low: level(0.2), high: level(0.8), colour: "band", alpha: 0.34 });
      lines.push({ name: t("forecast"), time, value: level(0.5), colour: "forecast", dash: [5, 4], width: 2 });
    }
    const limits = rules(live).filter((r) => r.name === chosen).map((r) => ({ value: r.value, text: `${r.name} ${r.sign} ${r.value}` }));
    chart.set({ lines, bands, marks, limits, unit: signal.unit, now: live.now, nowText: t("now"), start: live.now - live.past, end });
  }

  const point = (names) => {
    const found = live.findings.find((f) => names.includes(f.subject) || names.includes(live.signal(f.subject)?.asset));
    wrong.scrollIntoView({ block: "nearest" });
    if (found) look([found.subject].filter((n) => live.names.includes(n)), found);
  };
  const wrong = card(t("Findings"), findings(live, look, life(live, repairs.ask)), repairs.element);
  const graphic = h("section", { class: "card early", "aria-label": t("Live and forecast") },
    h("div", { class: "spread", style: { flexWrap: "wrap" } }, heading, h("div", { class: "row", role: "group", "aria-label": t("How much of the past") }, spans)), chart.element,
    legend([t("measured"), "measured"], [t("twin estimate"), "belief"], [t("forecast, median"), "forecast"], [t("60 % and 90 % band"), "band", true]));
  const [assets, state, place, log] = [card(t("Assets and signals"), branch.element), card(t("Belief"), belief(live)), card(t("Site"), await site(live, choose, point)), card(t("Command log"), commands(live))];
  const act = decision(live, tried.run);
  act.classList.add("first-of-all");
  wrong.classList.add("first-of-all");
  tiles.classList.add("early");
  [assets, state, place, log].forEach((one) => one.classList.add("late")); // on a phone, what is wrong and what to do comes first
  fill(content, h("div", { class: "columns" },
    h("div", { class: "column first" }, assets, state),
    h("div", { class: "column second" }, tiles, graphic, place, h("div", { class: "two late" }, card(t("What if"), tried.element), log)),
    h("div", { class: "column third" }, act, wrong, card(t("Actuators"), actuators.element))));
  choose(chosen);
  live.on("values belief forecasts", draw);
  live.on("values forecasts findings decisions", () => fill(tiles, ...numbers(live, chosen)));
  const idle = setInterval(() => frame.subtitle(t("{n} points · {turns} turns · {d} decisions", { n: (live.status.points.points ?? 0).toLocaleString(), turns: live.status.turns, d: live.status.decisions })), 1000);
  const asked = setInterval(async () => {
    if (document.hidden) return;
    live.status = { ...(await frame.status().catch(() => live.status)) };
  }, 5000);
  return () => {
    actuators.end();
    clearInterval(idle);
    clearInterval(asked);
    live.end();
  };
}

/** Limits that the decisions keep: "P(winding < 98)" says one. */
function rules(live) {
  const found = Object.keys(live.decisions.at(-1)?.expected ?? {}).map((key) => /^P\((\w+) ([<>]=?) ([\d.+-]+)\)$/.exec(key));
  return found.filter((m) => m && live.names.includes(m[1])).map(([, name, sign, value]) => ({ name, sign, value: Number(value) }));
}

/** What to look at first: what must stay within a limit, else what a finding is about, else what the simulator can foresee, else the first. */
function first(live) {
  const names = live.signals.filter((s) => s.type !== "blob").map((s) => s.name);
  const watched = rules(live).map((rule) => rule.name).find((n) => live.forecast(n));
  const subject = live.findings.map((f) => f.subject).find((n) => names.includes(n));
  return watched ?? subject ?? (live.status.outputs ?? []).find((n) => live.names.includes(n) && live.forecast(n)) ?? live.names.find((n) => live.forecast(n)) ?? names[0] ?? live.names[0];
}

function linked(now) {
  const lag = Date.now() - now;
  return Math.abs(lag) < 864e5 ? t("Live · {span} behind", { span: span(Math.max(lag, 0)) }) : t("Live · plant time {time}", { time: moment(now) });
}

function tile(name, value, unit, under) {
  return h("div", { class: "card tile" }, h("div", { class: "muted small" }, name), h("div", { class: "value" }, value, unit ? h("span", { class: "unit" }, ` ${unit}`) : null), h("div", { class: "small muted" }, under));
}

function numbers(live, chosen) {
  const signal = live.signal(chosen), ahead = live.forecast(chosen);
  const heard = live.signals.filter((s) => ["measured", "derived"].includes(s.role));
  const fresh = heard.filter((s) => live.now - (live.series.get(s.name).time.at(-1) ?? 0) < Math.max(3 * duration(live.status.every), live.past / 100)).length;
  const d = current(live);
  const made = [
    tile(t("Twin sync"), `${fresh} / ${heard.length}`, "", h("span", {}, h("i", { class: `dot ${fresh === heard.length ? "good" : "warn"}`, style: { display: "inline-block", marginRight: "6px" } }), t("signals fresh"))),
    tile(chosen, number(live.newest(chosen)), signal.unit, live.believed.get(chosen)?.value.length ? t("estimate {v} ± {sd}", { v: number(live.believed.get(chosen).value.at(-1)), sd: number(live.believed.get(chosen).spread.at(-1), 2) }) : t("measured")),
  ];
  if (ahead) {
    const row = ahead.values[ahead.signals.indexOf(chosen)], last = ahead.time.length - 1, at = (p) => row[ahead.levels.indexOf(p)][last];
    made.push(tile(t("Forecast {time}", { time: moment(ms(ahead.time[last])) }), number(at(0.5)), signal.unit, t("80 %: {low} … {high}", { low: number(at(0.1)), high: number(at(0.9)) })));
  }
  const worst = [...live.findings].sort((a, b) => b.severity - a.severity)[0];
  made.push(tile(t("Open findings"), live.findings.length, "", worst ? h("span", { class: worst.severity > 0.6 ? "bad" : "warn" }, said(worst.name)) : h("span", { class: "good" }, t("All well"))));
  if (d && "objective" in d.expected) made.push(tile(t("Expected cost"), number(d.expected.objective, 3), live.status.currency, "objective if held" in d.expected ? t("{v} if nothing is changed", { v: number(d.expected["objective if held"], 3) }) : t("over the horizon")));
  return made;
}

function belief(live) {
  const held = h("div", { class: "stack", style: { gap: "2px" } });
  live.on("belief", () => fill(held, h("p", { class: "muted small" }, t("What the simulator's states and parameters are held to be.")), Object.entries(live.status.belief).map(([name, mean]) => h("div", { class: "spread" }, h("span", { class: "muted cut" }, name), h("span", { class: "number" }, number(mean)))),
    Object.keys(live.status.belief).length ? null : h("p", { class: "empty" }, t("No simulator, so no state to estimate."))));
  return held;
}
