// What is wrong, since when, what speaks for it, and what people have done about it.

import { fill, h } from "../lib/dom.js";
import { moment, ms, percent, span } from "../lib/format.js";
import { said, t } from "../lib/words.js";
import { picture } from "./picture.js";
import { why } from "./why.js";

const ASIDE = { shelved: "{n} shelved", maintenance: "{n} under maintenance" };
const PILLS = { open: ["bad", "New"], acknowledged: ["warn", "Acknowledged"], shelved: ["", "Shelved"], maintenance: ["", "Under maintenance"], closed: ["good", "Closed"] };
const DONE = {
  open: "Found", return: "Came back", reopen: "Taken back", acknowledge: "Acknowledged", shelve: "Shelved", resolve: "Closed by hand", maintain: "Maintenance", close: "Gone",
};

export function findings(live, look, actions = () => null) {
  const held = h("div", { class: "stack" });
  const calm = h("div", { class: "empty row" }, h("i", { class: "dot good" }), t("Nothing is wrong."));
  const folds = new Map(Object.keys(ASIDE).map((state) => [state, h("details", { class: "fold" }, h("summary"), h("div", { class: "stack" }))]));
  const cards = new Map(); // what is on the screen stays there while its numbers change, so that nobody presses in vain
  live.on("findings values", () => {
    const listed = [...live.findings].sort((a, b) => b.severity - a.severity);
    for (const f of listed) {
      if (!cards.has(f.id)) cards.set(f.id, place(live, look, actions));
      cards.get(f.id).show(f);
    }
    for (const id of cards.keys()) if (!listed.some((f) => f.id === id)) cards.delete(id);
    const of = (state) => listed.filter((f) => (f.life?.state in ASIDE ? f.life.state : "open") === state).map((f) => cards.get(f.id).element);
    const ringing = of("open");
    for (const [state, fold] of folds) {
      const inside = of(state);
      fold.hidden = !inside.length;
      fold.firstChild.textContent = t(ASIDE[state], { n: inside.length });
      keep(fold.lastChild, inside);
    }
    keep(held, [...(ringing.length ? ringing : [calm]), ...folds.values()]);
  });
  return held;
}

/** One finding as a picture that does not change, as of then. */
export function finding(live, found, look, actions = () => null) {
  const one = place(live, look, actions);
  one.show(found);
  return one.element;
}

function place(live, look, actions) {
  const body = h("div"), buttons = h("div", { class: "row wrap", style: { marginTop: "6px" } }), past = h("div");
  const element = h("article", {}, body, buttons, past);
  let shown = "", lived = "", offered = null;
  return {
    element,
    show(found) {
      element.className = `finding ${rank(found)}`;
      const said = JSON.stringify([found, Math.round(live.now / 6e4)]);
      if (said !== shown) fill(body, drawn(live, found));
      shown = said;
      const life = JSON.stringify(found.life);
      if (life !== lived) fill(past, (found.life?.history.length ?? 0) > 1 ? history(found.life) : null);
      lived = life;
      const state = found.open && found.life?.state;
      if (state === offered) return;
      offered = state;
      const signals = [found.subject, ...Object.keys(found.evidence)].filter((n, i, all) => live.names.includes(n) && live.signals.find((s) => s.name === n).type !== "blob" && all.indexOf(n) === i);
      fill(buttons, signals.length ? h("button", { class: "button little", onclick: () => look(signals, found) }, t("Show the signals")) : null, h("button", { class: "button little", onclick: () => why(live, found) }, t("Why?")), actions(found));
    },
  };
}

function drawn(live, found) {
  const evidence = Object.entries(found.evidence).filter(([name, v]) => Number.isFinite(v) && (live.names.includes(name) || name.startsWith("P("))).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const [dot, text] = PILLS[found.life?.state] ?? [];
  return [
    h("div", { class: "spread" }, h("h3", { class: "grow" }, said(found.name)), h("span", { class: "muted small" }, found.subject), text ? h("span", { class: "pill" }, h("i", { class: `dot ${dot}` }), t(text)) : null),
    h("div", { class: "muted small" }, t("since {time} · sure to {p}", { time: moment(ms(found.start)), p: percent(found.confidence) }),
      found.open && live.now > ms(found.start) ? ` · ${span(live.now - ms(found.start))}` : ""),
    stands(found.life),
    found.text ? h("p", { style: { margin: "4px 0" } }, said(found.text)) : null,
    picture(live, found),
    evidence.length ? h("div", { class: "why" }, evidence.slice(0, 5).map(([name, value]) => [
      h("span", { class: "cut" }, name),
      h("span", { class: "bar" }, h("i", { class: rank(found), style: { width: `${100 * Math.min(Math.abs(value), 1)}%` } })),
      h("span", { class: "number", style: { textAlign: "right" } }, value > 10 ? "> 1000 %" : percent(value)),
    ])) : null,
    evidence.length && found.by === "residual" ? h("div", { class: "muted small" }, t("how far each signal had left what the twin expects; an alarm is raised at 100 %")) : null,
  ];
}

const rank = (found) => (!found.open || found.life?.state in ASIDE ? "closed" : found.severity > 0.6 ? "bad" : found.severity > 0.3 ? "warn" : "calm");

/** "by ann, until 14:00: why" */
function stands(life) {
  if (!life || life.state === "open") return null;
  const parts = [life.by && t("by {who}", { who: life.by }), life.until !== null && t("until {time}", { time: moment(ms(life.until)) }), life.note];
  return h("div", { class: "small" }, parts.filter(Boolean).join(" · "));
}

function history(life) {
  return h("details", { class: "fold small" }, h("summary", {}, t("What was done")), h("ol", { class: "past" }, life.history.map((a) =>
    h("li", {}, h("span", { class: "muted" }, moment(ms(a.start ?? a.time))), " ", t(DONE[a.what] ?? a.what), a.by && a.what !== "open" && a.what !== "close" ? ` ${t("by {who}", { who: a.by })}` : "", a.note ? `: ${a.note}` : ""))));
}

/** Put these elements there, touching nothing when they are there already: what has the focus keeps it. */
function keep(parent, wanted) {
  if (wanted.length !== parent.children.length || wanted.some((element, i) => parent.children[i] !== element)) parent.replaceChildren(...wanted);
}
