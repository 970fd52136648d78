// What was fitted to this twin: every version, which one is in use, and a button that fits another.

import { get, of, post } from "../lib/api.js";
import { doing } from "../lib/dialog.js";
import { fill, h, toast } from "../lib/dom.js";
import { change, meter } from "../lib/figures.js";
import { day, ms, number, span } from "../lib/format.js";
import { work } from "../lib/work.js";
import { t } from "../lib/words.js";
import { facts } from "./network.js";

/** `changed` is called when another version is in use. */
export function versions(twin, { name, head, shelf, versions: first }, changed) {
  const listed = h("div", { class: "stack" }), { bar, said, begin, end } = work(t("Adapting"));
  const adapt = h("button", { class: "button outline", hidden: true, onclick: () => doing(adapt, said, fit) }, t("Adapt to this twin's history"));
  let may = false;

  function draw(fitted) {
    fill(listed, fitted.length ? [...fitted].reverse().map((one) => version(one, { may, used: Boolean(head), promote, said }))
      : h("p", { class: "empty" }, name ? t("Nothing was fitted to this twin yet. Adapting takes a few minutes; what comes out is used only if it is better on days that were held back.") : t("Nothing to adapt: this twin has no forecaster.")),
    fitted.some((one) => one.promoted) && !head ? h("div", { class: "note small" }, t("Promoted, but not used: put this line into the twin file and start it again."), h("pre", { tabindex: "0", role: "region", "aria-label": t("Line of the twin file") }, `forecaster = { kind = "foundation", head = "${shelf}" }`)) : null);
  }

  async function promote(one, wanted) {
    const { promoted } = await post(of(twin, `/artifacts/${encodeURIComponent(one.name)}/promote`), wanted ? { version: wanted } : {});
    toast(promoted ? t("Version {v} is promoted.", { v: promoted }) : t("Back to the network as it was trained."));
    draw(await get(of(twin, "/artifacts")));
    changed();
  }

  async function fit() {
    await begin(of(twin, "/adapt"), {}, ended);
    draw(await get(of(twin, "/artifacts")));
  }

  draw(first);
  get("/v1/me").then(({ scopes }) => {
    may = scopes.includes("admin");
    adapt.hidden = !may;
    if (!may) said.textContent = t("To adapt, promote or roll back, the key needs the scope admin.");
    draw(first);
  }, () => {});
  return { element: h("div", { class: "stack" }, listed, name ? adapt : null, bar, said), end };
}

function ended({ version, promoted, card }) {
  return h("span", { class: card.passed ? "good" : "warn" }, promoted === version ? t("Done and promoted.") : t("Done, and not promoted."), ` ${card.verdict}`);
}

function version({ name, version: id, promoted, card }, { may, used, promote, said }) {
  const scores = Object.entries(card.scores?.CRPS ?? {}), zero = card.scores?.["CRPS zero-shot"] ?? {};
  const most = Math.max(...scores.flatMap(([signal, v]) => [v, zero[signal] ?? 0]), 1e-12);
  const button = (text, wanted) => {
    const made = h("button", { class: "button little", onclick: () => doing(made, said, () => promote({ name }, wanted)) }, text);
    return made;
  };
  return h("article", { class: "version stack" },
    h("div", { class: "spread" }, h("h3", {}, name, " ", h("code", {}, id)),
      h("span", { class: "pill" }, h("i", { class: `dot ${promoted ? "good" : card.passed === false ? "warn" : ""}` }), promoted ? (used ? t("in use") : t("promoted")) : card.passed === false ? t("refused by the gate") : t("challenger"))),
    card.verdict ? h("p", { class: "small" }, card.verdict) : null,
    h("details", { class: "fold small" }, h("summary", {}, t("Card")),
      facts([
        card.start && [t("History"), `${day(ms(card.start))} – ${day(ms(card.end))}`], card.rows && [t("Rows"), card.rows.toLocaleString()],
        card.horizon && [t("Horizon"), span(ms(card.step) * card.horizon)], card.data && [t("History, hash"), h("code", { title: card.data }, card.data.slice(0, 12))],
        card.network && [t("Network"), h("code", { title: card.network }, card.network.slice(0, 12))], card.code && [t("Code"), h("code", { title: card.code }, card.code.slice(0, 12))],
      ].filter(Boolean)),
      scores.length ? h("table", { class: "board" }, h("caption", { class: "small muted" }, t("CRPS on {n} windows that were held back", { n: card.scores.windows })),
        h("thead", {}, h("tr", {}, [t("Signal"), t("zero-shot"), t("fitted")].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, scores.map(([signal, v]) => h("tr", {}, h("th", { scope: "row" }, signal), [zero[signal], v].map((value, i) => h("td", {}, h("span", { class: "number" }, number(value)), i ? [" ", change(v, zero[signal])] : null, meter(value / most, i ? "calm" : "plain"))))))) : null),
    may ? h("div", { class: "row" }, promoted ? button(t("Roll back"), "") : button(t("Promote"), id)) : null);
}
