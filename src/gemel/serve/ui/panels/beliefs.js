// How the states and parameters of the simulator moved, and whether what it learns from telemetry is still noise.

import { Chart, legend } from "../lib/chart.js";
import { h } from "../lib/dom.js";
import { ms, number } from "../lib/format.js";
import { t } from "../lib/words.js";

const FIRST = 12; // drawn at once; the rest when it is asked for

/** Mean and spread of every state and parameter over time. */
export function posteriors({ time, names, mean, spread }) {
  if (time.length < 2) return h("p", { class: "empty" }, time.length ? t("One update so far. Come back after a few turns.") : t("No simulator, so no state to estimate."));
  const times = time.map(ms);
  const made = (name, k) => {
    const chart = new Chart({ label: t("Belief in {name} over time", { name }), height: 112 });
    const low = mean[k].map((v, i) => v - spread[k][i]), high = mean[k].map((v, i) => v + spread[k][i]);
    chart.set({ lines: [{ name, time: times, value: mean[k], colour: "belief", width: 1.8 }], bands: [{ name: "± 1 σ", time: times, low, high, colour: "belief", alpha: 0.22 }] });
    return h("div", {}, h("div", { class: "spread" }, h("h3", { class: "small cut" }, name), h("span", { class: "number small" }, about(mean[k].at(-1), spread[k].at(-1)))), chart.element);
  };
  const grid = h("div", { class: "small-charts" }, names.slice(0, FIRST).map(made));
  const more = names.length > FIRST && h("button", { class: "button little", onclick: () => {
    grid.append(...names.slice(FIRST).map((name, i) => made(name, FIRST + i)));
    more.remove();
  } }, t("Show all {n}", { n: names.length }));
  return h("div", { class: "stack" }, legend([t("mean of the members"), "belief"], [t("one standard deviation"), "belief", true]), grid, more);
}

/** A spread that is only rounding is none. */
const about = (mean, spread) => `${number(mean)} ± ${spread < 1e-9 * Math.abs(mean) ? 0 : number(spread, 3)}`;

/** Innovations over what they should be, and the verdict on each signal. */
export function drift({ time, signals, z }, verdicts) {
  if (!signals.length) return h("p", { class: "empty" }, t("Nothing to compare: the twin has no simulator that is updated from telemetry."));
  const times = time.map(ms);
  return h("div", { class: "stack" },
    h("p", { class: "small muted" }, t("What each update still had to learn, in standard deviations. Noise around 0 means that the simulator fits. A drift is a mean that moved, by more than half a deviation and surely (p < 0.01).")),
    h("div", { class: "small-charts" }, signals.map((name, k) => {
      const chart = new Chart({ label: t("Innovations of {name}", { name }), height: 112 });
      chart.set({ keep: [-2.5, 2.5], limits: [{ value: 2, text: "" }, { value: -2, text: "" }], lines: [{ name, time: times, value: z[k], colour: "measured", width: 1.2 }] });
      const said = verdicts.find((v) => v.signal === name);
      return h("div", {}, h("div", { class: "spread" }, h("h3", { class: "small cut" }, name), verdict(said)), chart.element,
        h("div", { class: "small muted" }, t("mean {a} before, {b} lately", { a: number(said.before, 2), b: number(said.lately, 2) }), said.p === null ? "" : ` · p = ${number(said.p, 2)}`));
    })));
}

function verdict({ p, drifting }) {
  const [kind, text] = p === null ? ["", t("too few updates")] : drifting ? ["warn", t("drifts")] : ["good", t("steady")];
  return h("span", { class: "pill" }, h("i", { class: `dot ${kind}` }), text);
}
