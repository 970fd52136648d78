// What was sent, and what came of it.

import { fill, h } from "../lib/dom.js";
import { clock, moment, ms, number } from "../lib/format.js";
import { said, t } from "../lib/words.js";

/** Whether the plant has taken a command. */
export const taken = (ack) => ["done", "accepted"].includes(ack?.state);

export function commands(live) {
  const body = h("tbody");
  const held = h("div", { class: "scroll", style: { maxHeight: "220px" }, tabindex: "0", role: "region", "aria-label": t("Commands, newest first") },
    h("table", {}, h("thead", {}, h("tr", {}, [t("Time"), t("Setpoint"), t("Answer")].map((text) => h("th", { scope: "col" }, text)))), body));
  live.on("acks decisions", () => {
    const listed = [...live.commands].reverse().slice(0, 30);
    fill(body, listed.length ? listed.map(({ command, ack }) => {
      return h("tr", {}, h("td", { class: "muted tight", title: ack ? moment(ms(ack.time)) : null }, ack ? clock(ms(ack.time)) : "–"), h("td", { class: "tight" }, `${command.signal} = ${number(command.value)}`),
        h("td", { class: taken(ack) ? "good" : "warn", title: said(ack?.text) || null }, t(ack?.state ?? "no answer yet")));
    }) : h("tr", {}, h("td", { colspan: 3, class: "muted" }, t("No command has been sent."))));
  });
  return held;
}
