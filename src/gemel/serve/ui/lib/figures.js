// Small pictures that are not over time: bars within lines of text, and two that tell how honest a forecast is.

import { h, svg } from "./dom.js";
import { percent } from "./format.js";
import { t } from "./words.js";

const SIZE = 240, LEFT = 42, BOTTOM = 24, TOP = 8;
const across = (share) => LEFT + share * (SIZE - LEFT - 6);
const down = (share) => TOP + (1 - share) * (SIZE - TOP - BOTTOM);

/** A bar of `share` (0 to 1) of its width; `mark` is where it should end. */
export function meter(share, kind, mark = null) {
  return h("span", { class: "meter", "aria-hidden": "true" },
    h("i", { class: kind, style: { width: `${100 * Math.min(Math.max(share || 0, 0), 1)}%` } }),
    mark === null ? null : h("b", { style: { left: `${100 * mark}%` } }));
}

/** A number with a name above and a sentence under it. */
export function tile(name, value, under, kind = "") {
  return h("div", { class: "card tile" }, h("div", { class: "muted small cut" }, name), h("div", { class: `value ${kind}` }, value), h("div", { class: "small muted" }, under));
}

/** Bars from and to, `[[low, high], kind]`, one under the other on one axis from `low` to `high`. */
export function interval(low, high, bars) {
  const share = (value) => 100 * (value - low) / (high - low || 1);
  return h("div", { class: "intervals", "aria-hidden": "true" }, bars.map(([[from, to], kind]) =>
    h("span", { class: "meter" }, h("i", { class: kind, style: { marginLeft: `${share(from)}%`, width: `max(2px, ${share(to) - share(from)}%)` } }))));
}

/** By how much `value` is less or more than `other`; less is better. */
export function change(value, other) {
  if (!Number.isFinite(value) || !other) return null;
  const share = value / other - 1;
  return h("span", { class: `small ${Math.abs(share) < 0.005 ? "muted" : share < 0 ? "good" : "warn"}` }, `${share < 0 ? "−" : "+"}${percent(Math.abs(share))}`);
}

/** How often the truth lay at or below each level, against how often it should have. */
export function reliability(levels, observed) {
  const picture = frame(t("Said beside happened: {list}", { list: levels.map((p, i) => `${percent(p)} → ${percent(observed[i])}`).join(", ") }));
  for (const p of [0, 0.5, 1]) {
    picture.append(
      line("grid", across(0), down(p), across(1), down(p)), text(LEFT - 5, down(p) + 4, percent(p), "end"),
      text(Math.min(across(p), SIZE - 16), SIZE - 8, percent(p), "middle"));
  }
  picture.append(line("due", across(0), down(0), across(1), down(1)));
  picture.append(svg("polyline", { class: "seen", points: levels.map((p, i) => `${across(p)},${down(observed[i])}`).join(" ") }));
  levels.forEach((p, i) => picture.append(svg("circle", { class: "seen", cx: across(p), cy: down(observed[i]), r: 3 }, svg("title", {}, `${percent(p)} → ${percent(observed[i])}`))));
  return picture;
}

/** Where the truth fell between the levels, over what should have fallen there: 1 everywhere is right. */
export function histogram(levels, heights) {
  const edges = [0, ...levels, 1], most = Math.max(2, ...heights);
  const picture = frame(t("Where the truth fell, over what should have fallen there: {list}", { list: heights.map((v) => v.toFixed(2)).join(", ") }));
  for (const value of [0, 1, most]) picture.append(text(LEFT - 5, down(value / most) + 4, value.toFixed(value % 1 ? 1 : 0), "end"));
  heights.forEach((value, i) => picture.append(svg("rect", {
    class: "seen", x: across(edges[i]) + 0.5, y: down(value / most), width: Math.max(across(edges[i + 1]) - across(edges[i]) - 1, 1), height: down(0) - down(value / most),
  }, svg("title", {}, `${percent(edges[i])} – ${percent(edges[i + 1])}: ${value.toFixed(2)}`))));
  picture.append(line("due", across(0), down(1 / most), across(1), down(1 / most)));
  picture.append(text(across(0), SIZE - 8, t("below"), "start"), text(across(0.5), SIZE - 8, t("median"), "middle"), text(across(1), SIZE - 8, t("above"), "end"));
  return picture;
}

const frame = (said) => svg("svg", { class: "figure", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": said });
const line = (kind, x1, y1, x2, y2) => svg("line", { class: kind, x1, y1, x2, y2 });
const text = (x, y, said, anchor) => svg("text", { x, y, "text-anchor": anchor }, said);
