// What if: hold some inputs from now on and see what the simulator foresees beside things as they stand.

import { of, post } from "../lib/api.js";
import { Chart, legend } from "../lib/chart.js";
import { fill, h, toast } from "../lib/dom.js";
import { ms, number } from "../lib/format.js";
import { said as sentence, t } from "../lib/words.js";

const MEMBERS = 100;

export function whatif(live) {
  const { inputs = [], outputs = [] } = live.status;
  if (!inputs.length) return { element: h("p", { class: "empty" }, t("This twin has no simulator to ask.")), run: () => {} };
  const chart = new Chart({ label: t("What if"), height: 170 });
  const which = h("select", { "aria-label": t("Which output") }, outputs.map((name) => h("option", {}, name)));
  const said = h("p", { class: "small", role: "status" });
  const propose = h("button", { class: "button little outline", disabled: true, onclick: suggest }, t("Propose this"));
  const reset = h("button", { class: "button little plain", onclick: () => run({}) }, t("As things stand"));
  const order = [...inputs].filter((n) => live.names.includes(n)).sort((a, b) => (live.signal(b).role === "controlled") - (live.signal(a).role === "controlled"));
  const sliders = new Map(order.map((name) => [name, slider(live.signal(name))]));
  let setpoints = {}, found = null, timer = null, asked = 0;

  which.value = outputs.find((n) => live.names.includes(n)) ?? outputs[0];
  which.onchange = draw;

  function slider(signal) {
    const controlled = signal.role === "controlled";
    const now = live.newest(signal.name) ?? signal.safe ?? 0;
    const low = signal.low ?? Math.min(0, now * 2), high = signal.high ?? Math.max(1, now * 2);
    const whole = signal.type === "state" || (controlled && Number.isInteger(low) && Number.isInteger(high) && high - low <= 10);
    const value = h("output", { class: "number" }, "–");
    const field = h("input", { type: "range", min: low, max: high, step: whole ? 1 : (high - low) / 200, value: now, "aria-label": signal.name });
    const show = (held) => fill(value, held ? number(Number(field.value)) : t("as it comes"), held && signal.unit ? h("span", { class: "unit" }, ` ${signal.unit}`) : null);
    field.addEventListener("input", () => {
      setpoints = { ...setpoints, [signal.name]: Number(field.value) };
      show(true);
      clearTimeout(timer);
      timer = setTimeout(ask, 250);
    });
    show(false);
    return { field, show, row: h("label", { style: { display: "grid", gridTemplateColumns: "minmax(70px, 100px) 1fr 92px", gap: "10px", alignItems: "center" } }, h("span", { class: "cut" }, signal.name), field, value) };
  }

  function run(wanted) {
    setpoints = Object.fromEntries(Object.entries(wanted).filter(([name]) => sliders.has(name)));
    for (const [name, { field, show }] of sliders) {
      if (name in setpoints) field.value = setpoints[name];
      show(name in setpoints);
    }
    return ask();
  }

  async function ask() {
    const mine = ++asked;
    propose.disabled = !Object.keys(setpoints).some((n) => live.signal(n).role === "controlled");
    said.textContent = t("Simulating …");
    try {
      const answer = await post(of(live.twin, "/fork"), { set: setpoints, members: MEMBERS });
      if (mine !== asked) return;
      found = answer;
      draw();
    } catch (error) {
      if (mine === asked) fill(said, h("span", { class: "warn" }, `${error.message}. ${error.hint}`));
    }
  }

  function draw() {
    if (!found) return;
    const name = which.value, place = found.asis.signals.indexOf(name);
    const unit = live.signal(name)?.unit ?? "";
    const level = (f, p) => f.values[place][f.levels.indexOf(p)];
    const time = found.asis.time.map(ms);
    const changed = Object.keys(setpoints).length > 0;
    chart.set({
      unit,
      lines: [{ name: t("as things stand"), time, value: level(found.asis, 0.5), colour: "measured", dash: [4, 3] }, changed && { name: t("what if"), time, value: level(found.whatif, 0.5), colour: "belief", width: 2 }].filter(Boolean),
      bands: [{ time, low: level(found.asis, 0.05), high: level(found.asis, 0.95), colour: "measured", alpha: 0.14 }, changed && { time, low: level(found.whatif, 0.05), high: level(found.whatif, 0.95), colour: "belief", alpha: 0.2 }].filter(Boolean),
    });
    const saving = changed && found.score?.saving;
    const peak = (f) => Math.max(...level(f, 0.95));
    fill(said, changed ? t("{name} peaks at {a} instead of {b} {unit} (95 % of futures stay below).", { name, a: number(peak(found.whatif)), b: number(peak(found.asis)), unit }) + (saving ? ` ${t(saving.mean < 0 ? "It costs {v} {currency} more ({low} … {high})." : "It saves {v} {currency} ({low} … {high}).", spent(saving))}` : "") : t("{name} peaks at {b} {unit} (95 % of futures stay below). Move a slider.", { name, b: number(peak(found.asis)), unit }));
  }

  /** A saving, or a cost, with its ends in order. */
  function spent({ mean, low, high }) {
    const ends = mean < 0 ? [-high, -low] : [low, high];
    return { v: number(Math.abs(mean), 3), low: number(ends[0], 3), high: number(ends[1], 3), currency: live.status.currency };
  }

  async function suggest() {
    const wanted = Object.fromEntries(Object.entries(setpoints).filter(([n]) => live.signal(n).role === "controlled"));
    try {
      const made = await post(of(live.twin, "/decisions"), { setpoints: wanted, reason: t("Tried out in the window"), valid: live.status.horizon });
      live.decisions = [...live.decisions.filter((d) => d.id !== made.id), made];
      live.tell("decisions");
      toast(made.status === "proposed" ? t("Proposed: it waits for approval above.") : `${t("It is not allowed")}: ${made.refused.map(sentence).join("; ")}`);
    } catch (error) {
      toast(`${error.message}. ${error.hint}`, "trouble");
    }
  }

  ask();
  return {
    element: h("div", { class: "stack" }, h("div", { class: "spread" }, which, legend([t("as things stand"), "measured"], [t("what if"), "belief"])), chart.element, said,
      [...sliders.values()].map((s) => s.row), h("div", { class: "row" }, propose, reset)),
    run,
  };
}
