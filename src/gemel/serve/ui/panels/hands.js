// Actuators: what the twin or a person last set, and the plant in a person's own hands for a while.

import { get, of, post } from "../lib/api.js";
import { doing, question, SPANS } from "../lib/dialog.js";
import { fill, h } from "../lib/dom.js";
import { clock, moment, ms, number, span } from "../lib/format.js";
import { said as sentence, t } from "../lib/words.js";

const OFTEN = 5000;

/** {element, end}; without an actuator an element that says so. */
export function hands(live) {
  const held = h("div", { class: "stack" });
  const rows = new Map();
  let timer = null, me = null, asking = null, more = false;

  /** Ask how they stand now; who asks while somebody asks already waits for an answer that is newer. */
  function ask() {
    if (document.hidden) return asking;
    more = true;
    asking ??= (async () => {
      while (more) {
        more = false;
        try {
          me ??= await get("/v1/me");
          drawn(await get(of(live.twin, "/hands")));
        } catch (error) {
          if (!rows.size) fill(held, h("p", { class: "empty" }, error.message));
        }
      }
      asking = null;
    })();
    return asking;
  }

  function drawn(actuators) {
    if (!actuators.length) return fill(held, h("p", { class: "empty" }, t("Nothing is controlled here.")));
    for (const one of actuators) {
      if (!rows.has(one.signal)) rows.set(one.signal, row(live, one.signal, ask));
      rows.get(one.signal).show(one, me);
    }
    if (held.children.length !== rows.size) fill(held, [...rows.values()].map((r) => r.element));
  }

  ask();
  live.on("acks decisions hands", ask);
  timer = setInterval(ask, OFTEN);
  return { element: held, end: () => clearInterval(timer) };
}

/** One actuator. Its parts are made once, so that a field keeps what a person types while news comes in. */
function row(live, name, again) {
  const signal = live.signal(name), path = of(live.twin, "/hands");
  const pill = h("span", { class: "pill" });
  const state = h("div", { class: "small muted" });
  const said = h("p", { class: "small", role: "status" });
  const value = setter(signal);
  const set = h("button", { class: "button little main" }, t("Set"));
  const form = h("form", { class: "stack", hidden: true, onsubmit: (event) => {
    event.preventDefault();
    doing(set, said, async () => {
      const made = await post(`${path}/put`, { signal: name, value: value.get() });
      const sent = made.commands[0]?.value;
      const refused = made.refused.map((text) => h("span", { class: "warn" }, `${t("Not allowed")}: ${sentence(text)} `));
      fill(said, refused, sent === undefined ? null : sent === value.get() ? t("Sent.") : t("Sent {value}: a larger step is not allowed at once.", { value: figure(sent) }));
      await again();
    });
  } }, h("div", { class: "row" }, value.element, set));
  const take = h("button", { class: "button little", onclick: () => question({
    title: t("Take {name} in hand", { name }), text: t("The twin stops moving it until you give it back. You set it yourself, within its limits."), action: t("Take"),
    fields: [{ name: "span", label: t("For how long (plant time)"), choices: { "": "until I give it back", ...SPANS }, value: "" }, { name: "note", label: t("Why"), required: false }],
    done: async ({ span, note }) => {
      await post(`${path}/take`, { signal: name, note, ...(span && { span }) });
      fill(said, t("It is in your hand."));
      await again();
    },
  }) }, t("Take"));
  const release = h("button", { class: "button little outline", hidden: true, onclick: () => doing(release, said, async () => {
    await post(`${path}/release`, { signal: name });
    fill(said, t("The twin has it again, and goes on from the present value."));
    await again();
  }) }, t("Give back"));
  const element = h("article", { class: "actuator", "aria-label": name },
    h("div", { class: "spread" }, h("h3", { class: "cut" }, name), pill), state, form, h("div", { class: "row wrap" }, take, release), said);

  function show({ hand, setpoint, measured, ack }, me) {
    const mine = hand && hand.by === me.name, unit = signal.unit ? ` ${signal.unit}` : "";
    fill(pill, h("i", { class: `dot ${hand ? "warn" : "good"}` }), hand ? (mine ? t("In your hand") : t("In hand of {who}", { who: hand.by })) : t(live.status.mode === "advise" ? "By approval" : "Automatic"));
    fill(state, h("div", { class: "spread" },
      h("span", {}, t("set"), " ", h("span", { class: "number" }, figure(setpoint)), unit), h("span", {}, t("measured"), " ", h("span", { class: "number" }, figure(measured)), unit)),
    hand ? h("div", {}, hand.until === null ? t("until it is given back") : t("until {time} · {span} left", { time: moment(ms(hand.until)), span: span(Math.max(ms(hand.until) - live.now, 0)) }), hand.note ? ` · ${hand.note}` : "") : null,
    ack ? answered(ack) : null);
    if (mine && form.hidden) value.put(measured ?? setpoint ?? signal.safe ?? signal.low ?? 0);
    form.hidden = !mine;
    take.hidden = Boolean(hand) || live.status.mode === "observe" || !live.status.running || !me.scopes.includes("approve");
    release.hidden = !hand || !me.scopes.includes("approve");
  }

  return { element, show };
}

const figure = (value) => (Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value).replace("-", "−") : number(value));

function answered({ state, text, time }) {
  const good = ["done", "accepted"].includes(state);
  return h("div", { class: good ? "" : "warn" }, t("the plant answered at {time}:", { time: clock(ms(time)) }), " ", h("span", { class: good ? "good" : "warn" }, t(state)), text ? `: ${sentence(text)}` : "");
}

/** A number and a slider that say the same. */
function setter(signal) {
  const { low, high } = signal, whole = signal.type === "state" || (Number.isInteger(low) && Number.isInteger(high) && high - low <= 10);
  const limits = { min: low, max: high, step: whole ? 1 : "any" };
  const field = h("input", { type: "number", ...limits, required: true, "aria-label": t("Setpoint of {name}", { name: signal.name }), style: { width: "84px" } });
  const slider = low === null || high === null ? null : h("input", { type: "range", ...limits, step: whole ? 1 : (high - low) / 200, "aria-label": t("Setpoint of {name}", { name: signal.name }) });
  field.oninput = () => slider && (slider.value = field.value);
  if (slider) slider.oninput = () => { field.value = Number(Number(slider.value).toPrecision(4)); };
  return {
    element: h("div", { class: "row grow" }, slider, field, signal.unit ? h("span", { class: "unit" }, signal.unit) : null),
    get: () => Number(field.value),
    put: (value) => { field.value = Number(value.toPrecision(4)); if (slider) slider.value = value; },
  };
}
