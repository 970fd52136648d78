// Assets with the signals around them; lines are parents, relations, and what belongs to what.

import { svg } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { t } from "../lib/words.js";
import { worst } from "./plan.js";

const WIDTH = 760, HEIGHT = 340;

export function graph(live, choose) {
  const view = svg("svg", { class: "graph", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": t("Graph of assets and signals") });
  const assets = live.assets.length ? live.assets : [{ id: live.twin, parent: "", relations: {} }];
  const several = assets.length > 1;
  const home = (signal) => (assets.some((a) => a.id === signal.asset) ? signal.asset : assets[0].id);
  const at = new Map(assets.map((asset, i) => [asset.id, round(WIDTH / 2, HEIGHT / 2, several ? 220 : 0, several ? 95 : 0, i / assets.length - 0.25)]));
  const lines = [], nodes = [], circles = [], values = [];

  const line = ([x, y], [u, v]) => lines.push(svg("line", { x1: x, y1: y, x2: u, y2: v }));
  const circle = ([x, y], r, name, kind) => {
    const made = svg("circle", { class: kind, cx: x, cy: y, r });
    circles.push([made, name]);
    return made;
  };

  for (const asset of assets) {
    const centre = at.get(asset.id);
    for (const [name, other] of [["", asset.parent], ...Object.entries(asset.relations ?? {})]) {
      if (!at.has(other)) continue;
      const end = at.get(other);
      line(centre, end);
      if (name) lines.push(svg("text", { class: "quiet", x: (centre[0] + end[0]) / 2, y: (centre[1] + end[1]) / 2, "text-anchor": "middle" }, name));
    }
    const mine = live.signals.filter((signal) => home(signal) === asset.id);
    mine.forEach((signal, k) => {
      const place = round(...centre, several ? 78 : 250, several ? 52 : 118, (k + 0.5) / mine.length);
      line(centre, place);
      const value = svg("text", { class: "quiet", x: place[0], y: place[1] + 22, "text-anchor": "middle" });
      values.push([value, signal]);
      nodes.push(svg("g", { tabindex: "0", role: "button", "aria-label": signal.name, onclick: () => choose(signal.name), onkeydown: (e) => e.key === "Enter" && choose(signal.name) },
        circle(place, 7, signal.name, "signal"), svg("text", { x: place[0], y: place[1] - 12, "text-anchor": "middle" }, signal.name), value));
    });
    nodes.push(svg("g", {}, circle(centre, 17, asset.id, "asset"), svg("text", { class: "strong", x: centre[0], y: centre[1] + 32, "text-anchor": "middle" }, asset.id)));
  }
  view.append(...lines, ...nodes);
  live.on("values", () => values.forEach(([element, signal]) => (element.textContent = signal.type === "blob" ? t("picture") : `${number(live.newest(signal.name))} ${signal.unit}`)));
  live.on("findings", () => {
    const ill = worst(live);
    circles.forEach(([element, name]) => {
      element.classList.toggle("bad", (ill.get(name) ?? -1) >= 0.7);
      element.classList.toggle("warn", ill.has(name) && ill.get(name) < 0.7);
    });
  });
  return view;
}

/** A place on an ellipse; `turn` is a share of the whole round. */
function round(x, y, wide, high, turn) {
  return [x + wide * Math.cos(2 * Math.PI * turn), y + high * Math.sin(2 * Math.PI * turn)];
}
