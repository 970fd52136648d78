// The picture that a finding carries, with the heat map of where the defect is over it.

import { of } from "../lib/api.js";
import { h, svg } from "../lib/dom.js";
import { t } from "../lib/words.js";

/** The address of a blob by its code, a whole number. */
export const blob = (twin, code) => of(twin, `/blobs/${code.toString(16).padStart(13, "0")}`);

/** The picture in a finding's evidence, else null; one that cannot be shown takes no place. */
export function picture(live, found) {
  const { picture: code, heat, row, column } = found.evidence;
  if (!Number.isSafeInteger(code)) return null;
  const marked = Number.isFinite(row) && Number.isFinite(column);
  const text = marked ? t("Picture of the part; the defect is at row {row}, column {column}", { row, column }) : t("Picture of the part");
  const frame = h("div", { class: "picture" });
  const element = h("figure", { class: "shot" }, frame);
  const seen = h("img", { src: blob(live.twin, code), alt: text, onerror: () => element.remove() });
  frame.append(seen, marked ? ring(row, column) : "");
  if (!Number.isSafeInteger(heat)) return element;
  const over = h("img", { class: "heat", src: blob(live.twin, heat), alt: "", onerror: () => over.remove() });
  frame.append(over);
  const box = h("input", { type: "checkbox", checked: true, onchange: () => frame.classList.toggle("bare", !box.checked) });
  element.append(h("figcaption", { class: "small" }, h("label", { class: "row" }, box, t("Heat map")), marked ? h("span", { class: "muted" }, t("row {row}, column {column}", { row, column })) : null));
  return element;
}

/** Where the defect is, for those who do not see the colours. The place is in pixels of what the network sees, 64 x 64. */
const ring = (row, column) => svg("svg", { viewBox: "0 0 64 64", "aria-hidden": "true" }, svg("circle", { cx: column + 0.5, cy: row + 0.5, r: 7 }));
