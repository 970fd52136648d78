// What the twin wants done, what that is worth, how sure it is, and a person's word on it.

import { of, post } from "../lib/api.js";
import { fill, h, toast } from "../lib/dom.js";
import { moment, ms, number, percent, span } from "../lib/format.js";
import { said, t } from "../lib/words.js";
import { taken } from "./commands.js";

const STATUS = {
  proposed: "waits for approval", approved: "approved", sent: "sent", rejected: "rejected", observed: "observed only", expired: "expired",
};

/** The decision that a person should look at: the newest open proposal, else the newest of all. */
export function current(live) {
  const open = live.decisions.filter((d) => d.status === "proposed" && !expired(live, d));
  return open.findLast((d) => d.id.startsWith("proposal-")) ?? open.at(-1) ?? live.decisions.at(-1) ?? null; // a person's own first
}

const until = (d) => Math.min(...d.commands.map((c) => ms(c.expires)), Infinity);
const expired = (live, d) => until(d) <= live.now;

export function decision(live, simulate) {
  const held = h("section", { class: "card decision", "aria-label": t("Recommended action"), "aria-live": "polite" });
  let shown = "", before = null;
  live.on("decisions acks", () => {
    const d = current(live), old = live.decisions.find((one) => one.id === before);
    if (d?.id !== before && old?.status === "proposed" && !expired(live, old) && held.matches(":hover, :focus-within")) return;
    before = d?.id;
    const text = JSON.stringify([d, live.commands.length, live.commands.map((c) => c.ack?.state)]);
    if (text === shown) return; // what a person reads or is about to press stays where it is
    shown = text;
    fill(held, ...drawn(live, d, simulate));
  });
  return held;
}

function drawn(live, d, simulate) {
  if (!d) return [h("h2", {}, t("Recommended action")), h("p", { class: "empty" }, t("No decision yet."))];
  const open = d.status === "proposed" && !expired(live, d);
  const left = until(d) - live.now;
  return [
    h("div", { class: "spread" }, h("h2", { class: "heading" }, open ? t("Recommended action") : t("Latest decision")),
      h("span", { class: "pill" }, h("i", { class: `dot ${open ? "warn" : d.status === "sent" ? "good" : ""}` }), open && Number.isFinite(left) ? t("expires in {span}", { span: span(left) }) : t(STATUS[d.status] ?? d.status))),
    h("h3", {}, changes(live, d)),
    h("p", { class: "muted" }, said(d.reason)),
    h("div", { class: "stack", style: { gap: "3px", margin: "8px 0" } }, checks(d)),
    worth(d.expected, live.status.currency),
    open ? h("div", { class: "row wrap" },
      h("button", { class: "button main", onclick: (e) => answer(live, d, "approve", e) }, t("Approve and send")),
      h("button", { class: "button outline", onclick: () => simulate(Object.fromEntries(d.commands.map((c) => [c.signal, c.value]))) }, t("Simulate")),
      h("button", { class: "button plain", onclick: (e) => answer(live, d, "reject", e) }, t("Reject"))) : acked(live, d),
    h("div", { class: "muted small" }, moment(ms(d.time)), " · ", d.id),
  ];
}

/** The setpoints that would move; the others only by their number. */
function changes(live, { commands }) {
  const moved = commands.filter((c) => c.value !== live.newest(c.signal));
  const told = (c) => `${c.signal} → ${number(c.value)} ${live.signal(c.signal)?.unit ?? ""}`.trim();
  if (!moved.length) return t("Nothing is changed");
  return [moved.map(told).join(", "), moved.length < commands.length ? h("span", { class: "muted" }, ` ${t("({n} stay as they are)", { n: commands.length - moved.length })}`) : null];
}

/** Saving with its interval, if the policy says so; else what it expects the objective to be. */
export function worth(expected, currency = "") {
  const { saving } = expected;
  if (saving === undefined) return null;
  const [low, high, sure] = [expected["saving 5%"], expected["saving 95%"], expected["P(saves)"]];
  return h("div", { class: "spread" },
    h("div", {}, h("div", { class: "money" }, number(saving, 3), currency ? h("span", { class: "unit" }, ` ${currency}`) : null), h("div", { class: "muted small" }, low === undefined ? t("expected saving over the horizon") : t("expected saving · 90 % interval {low} … {high}", { low: number(low, 3), high: number(high, 3) }))),
    sure === undefined ? null : h("div", { style: { textAlign: "right" } }, h("div", { class: "number", style: { fontSize: "17px" } }, percent(sure)), h("div", { class: "muted small" }, t("chance that it saves"))));
}

export function checks(d) {
  const held = Object.entries(d.expected).filter(([name]) => /^P\(.*\)$/.test(name) && !["P(saves)", "P(better)"].includes(name));
  const line = (mark, kind, text) => h("div", { class: "check" }, h("span", { class: kind, "aria-hidden": "true" }, mark), h("span", {}, text));
  return [
    held.map(([name, p]) => line(p >= 0.9 ? "✓" : "!", p >= 0.9 ? "good" : "warn", name + " if held" in d.expected && d.expected[name + " if held"] !== p
      ? t("{what} holds in {p} of futures, in {q} if nothing is changed", { what: name.slice(2, -1), p: percent(p), q: percent(d.expected[name + " if held"]) })
      : t("{what} holds in {p} of futures", { what: name.slice(2, -1), p: percent(p) }))),
    d.refused.map((text) => line("!", "warn", said(text))),
  ];
}

function acked(live, d) {
  const acks = live.commands.filter((c) => d.commands.some((mine) => mine.id === c.command.id));
  return acks.map(({ command, ack }) => h("div", { class: "check" },
    h("span", { class: taken(ack) ? "good" : "warn", "aria-hidden": "true" }, taken(ack) ? "✓" : "…"),
    h("span", { "data-ack": ack?.state ?? "" }, `${command.signal} = ${number(command.value)}: ${t(ack?.state ?? "no answer yet")} ${said(ack?.text ?? "")}`)));
}

async function answer(live, d, word, event) {
  const button = event.currentTarget;
  button.disabled = true;
  try {
    const made = await post(of(live.twin, `/decisions/${encodeURIComponent(d.id)}/${word}`));
    live.decisions = [...live.decisions.filter((one) => one.id !== made.id), made];
    live.tell("decisions");
    toast(t({ sent: "Approved and sent.", rejected: "Rejected.", expired: "It had expired and was not sent." }[made.status] ?? made.status));
  } catch (error) {
    button.disabled = false;
    toast(`${error.message}. ${error.hint}`, "trouble");
  }
}
