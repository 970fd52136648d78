// Assets with their signals: the newest values, a line as small as a word each, and which one is looked at.

import { spark } from "../lib/chart.js";
import { fill, h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { t } from "../lib/words.js";

export function tree(live, choose) {
  const held = h("div", { class: "tree" });
  const rows = new Map();
  let chosen = null;

  const row = (signal) => {
    const canvas = h("canvas", { "aria-hidden": "true" });
    const value = h("span", { class: "value" });
    const blob = signal.type === "blob";
    const button = h("button", { "aria-pressed": "false", disabled: blob, onclick: () => choose(signal.name) }, h("span", { class: "cut", title: signal.name }, signal.name), canvas, value);
    rows.set(signal.name, { canvas, value, button, unit: signal.unit, blob });
    return button;
  };
  const under = (id) => live.signals.filter((s) => (s.asset || "") === id);
  const asset = (a, depth = 0) => [
    h("div", { class: "asset", style: { paddingLeft: `${depth * 10}px` }, "data-subject": a.id }, h("i", { class: "dot good" }), h("span", { class: "cut" }, a.attributes?.name ?? a.id), h("span", {}, a.kind)),
    under(a.id).map(row),
    live.assets.filter((b) => b.parent === a.id).map((b) => asset(b, depth + 1)),
  ];
  const known = new Set(live.assets.map((a) => a.id));
  const loose = live.signals.filter((s) => !known.has(s.asset || ""));
  fill(held, live.assets.filter((a) => !known.has(a.parent)).map((a) => asset(a)), loose.length && live.assets.length ? h("div", { class: "asset" }, t("Other signals")) : null, loose.map(row));

  let drawn = 0;
  live.on("values", () => {
    const due = performance.now() - drawn > 900; // values follow at once, the small lines once a second
    if (due) drawn = performance.now();
    for (const [name, { canvas, value, button, unit, blob }] of rows) {
      if (blob) {
        fill(value, live.newest(name) === null ? "–" : t("picture")); // its value is a code, and no line
        continue;
      }
      fill(value, number(live.newest(name)), unit ? h("span", { class: "unit" }, ` ${unit}`) : null);
      if (due) spark(canvas, every(live.series.get(name).value, 62), button.getAttribute("aria-pressed") === "true" ? "belief" : "measured");
    }
  });
  live.on("findings", () => {
    const ill = new Map(live.findings.flatMap((f) => [[f.subject, f.severity], [live.signal(f.subject)?.asset, f.severity]]));
    held.querySelectorAll("[data-subject]").forEach((e) => {
      const worst = ill.get(e.dataset.subject);
      e.querySelector(".dot").className = `dot ${worst === undefined ? "good" : worst > 0.6 ? "bad" : "warn"}`;
    });
  });
  return {
    element: held,
    mark: (name) => {
      rows.get(chosen)?.button.setAttribute("aria-pressed", "false");
      chosen = name;
      rows.get(name)?.button.setAttribute("aria-pressed", "true");
    },
  };
}

function every(values, most) {
  const step = Math.max(1, values.length / most);
  return Array.from({ length: Math.min(values.length, most) }, (_, i) => values[Math.floor(i * step)]);
}
