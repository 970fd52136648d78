// Any past instant again: what was known, believed, foreseen, found and decided then, and what came of it.

import { go, trouble } from "../app.js";
import { get, of } from "../lib/api.js";
import { Chart, legend } from "../lib/chart.js";
import { card, fill, h, icon } from "../lib/dom.js";
import { duration, moment, ms, ns, number, span, unit, whole } from "../lib/format.js";
import { address, instant, iso, local, outline, rollup, unlocal } from "../lib/past.js";
import { place } from "../lib/scale.js";
import { said, t } from "../lib/words.js";
import { taken } from "../panels/commands.js";
import { checks, worth } from "../panels/decision.js";
import { finding } from "../panels/findings.js";

export const title = "Replay";

const DAY = 864e5;
const WINDOWS = [["All", null], ["Month", 31 * DAY], ["Week", 7 * DAY], ["Day", DAY]];
const STATUS = {
  proposed: "It waited for approval.", approved: "A person approved it.", sent: "It was sent.", rejected: "A person rejected it.", observed: "It was only observed.", expired: "It expired.",
};

export async function show(content, twin, frame) {
  const [status, signals, extents, moments] = await Promise.all([frame.status(), get(of(twin, "/signals")), get(of(twin, "/extent")), get(of(twin, "/moments"))]);
  frame.mode(status.mode);
  for (const signal of signals) signal.unit = unit(signal.unit);
  const heard = extents.filter((e) => e.points);
  if (!heard.length) {
    fill(content, card(t("Replay"), h("p", { class: "empty" }, t("Nothing has been heard yet, so there is nothing to replay.")),
      h("a", { class: "button", href: `/twins/${encodeURIComponent(twin)}` }, t("See it live"))));
    return () => {};
  }
  const page = new Replay(twin, frame, status, signals, heard, moments);
  fill(content, page.element);
  page.start();
  return () => page.end();
}

class Replay {
  constructor(twin, frame, status, signals, extents, moments) {
    Object.assign(this, { twin, frame, status, signals });
    this.names = signals.map((s) => s.name); // of these and of `now` findings are drawn
    this.oldest = Math.min(...extents.map((e) => ms(e.start)));
    this.newest = ms(status.newest) ?? Math.max(...extents.map((e) => ms(e.end)));
    this.horizon = duration(status.horizon) || DAY;
    const { decisions, findings } = moments;
    this.happened = [
      ...decisions.time.map((time) => ({ time: ms(time), colour: "accent" })),
      ...findings.time.map((time, i) => ({ time: ms(time), colour: findings.open[i] ? "warn" : "good" })),
    ].sort((a, b) => a.time - b.time);
    this.times = this.happened.map((one) => one.time);
    this.then = this.seen = this.believed = this.running = null;
    this.wish = 0;
    this.asking = new AbortController();
    this._build();
  }

  start() {
    const asked = new URLSearchParams(location.search);
    this.signal = this.names.find((name) => name === asked.get("signal")) ?? null;
    this.now = this._clamped(instant(asked.get("time")) ?? this.times[this.times.length - 1] ?? this.newest);
    this._window(this.newest - this.oldest > 9 * DAY ? 7 * DAY : null);
    this.to(this.now, 0);
  }

  end() {
    this.playing = false;
    clearTimeout(this.due);
    this.details?.abort();
    this.asking.abort();
  }

  /** Go to an instant. The picture stays until that of the instant is there. One question at a time: what comes meanwhile is
   *  asked for after it, the last one only, so that a scrub shows as many pictures as the twin can give. */
  to(time, wait = 120) {
    this.now = this._clamped(time);
    this.wish++;
    if (this.now < this.from || this.now > this.until) this._window(this.wide);
    this._where();
    clearTimeout(this.due);
    this.details?.abort();
    return new Promise((done) => { this.due = setTimeout(() => (this.running ??= this._run()).then(done), wait); });
  }

  async _run() {
    const slow = setTimeout(() => { this.progress.style.visibility = "visible"; }, 1500);
    const late = setTimeout(() => this.picture.classList.add("waiting"), 400);
    for (let asked = null; asked !== this.wish && !this.asking.signal.aborted;) {
      asked = this.wish;
      address({ time: iso(this.now), signal: this.signal });
      await this._ask(this.now).catch((error) => error.name === "AbortError" || fill(this.wrong, trouble(error)));
    }
    clearTimeout(slow);
    clearTimeout(late);
    this.progress.style.visibility = "hidden";
    this.picture.classList.remove("waiting");
    this.running = null;
  }

  async _ask(now) {
    this.details?.abort();
    const { signal } = this.asking, guessed = this.signal;
    const [then, seen] = await Promise.all([get(of(this.twin, `/at?time=${ns(now)}`), signal), guessed && this._measured(now, signal)]);
    Object.assign(this, { then, believed: null, newest: Math.max(this.newest, ms(then.newest)) });
    this._offer(then);
    this.seen = this.signal === guessed ? seen : await this._measured(now, signal);
    fill(this.wrong);
    this._draw(now);
    this.details = new AbortController(); // not worth waiting for when somebody goes on
    this._estimated(now, this.details.signal).then((believed) => {
      this.believed = believed;
      this._chart(now);
    }, () => {});
  }

  /** The signal that is looked at, before then and, as far as it is known, after. */
  async _measured(now, signal) {
    const held = await rollup(this.twin, [this.signal], Math.max(now - this.horizon, this.oldest), Math.min(now + this.horizon, this.newest), 800, signal);
    return held.series.get(this.signal);
  }

  async _estimated(now, signal) {
    if (!(this.status.outputs ?? []).includes(this.signal)) return null;
    const held = await get(of(this.twin, `/estimates?start=${ns(now - this.horizon)}&end=${ns(now)}`), signal);
    const i = held.signals.indexOf(this.signal);
    return i < 0 ? null : { time: held.time.map(ms), value: held.mean[i] };
  }

  /** Which signals may be looked at: those foreseen then, else all. */
  _offer(then) {
    const foreseen = [...new Set(then.forecasts.flatMap((f) => f.signals))].filter((n) => this.names.includes(n));
    const names = foreseen.length ? foreseen : this.signals.filter((s) => s.type === "number").map((s) => s.name);
    const known = (n) => names.includes(n);
    if (!known(this.signal)) this.signal = then.findings.map((f) => f.subject).find(known) ?? (this.status.outputs ?? []).find(known) ?? names[0];
    if (JSON.stringify(names) !== this.offered) fill(this.which, names.map((name) => h("option", {}, name)));
    this.offered = JSON.stringify(names);
    this.which.value = this.signal;
    address({ time: iso(this.now), signal: this.signal });
  }

  _draw(now) {
    this.frame.subtitle(t("as it was on {time}", { time: whole(now) }));
    this._chart(now);
    const { latest, belief, findings, decision, commands, unknown } = this.then;
    const nothing = h("tr", {}, h("td", { class: "muted" }, t("No belief was recorded before then.")));
    const age = (time) => (time === null ? t("never heard") : now - ms(time) < 1000 ? "" : t("{span} before", { span: span(now - ms(time)) }));
    fill(this.values, latest.signals.map((name, i) => row(name, this._signal(name)?.type === "blob" ? t("picture") : number(latest.value[i]), this._signal(name)?.unit, age(latest.time[i]))));
    const spread = (name) => number(belief.spread[name] < 1e-9 ? 0 : belief.spread[name], 2);
    fill(this.belief, belief ? Object.keys(belief.mean).map((name) => row(name, number(belief.mean[name]), "", `± ${spread(name)}`)) : nothing);
    const listed = [...findings].sort((a, b) => b.severity - a.severity), seen = { twin: this.twin, names: this.names, now, signals: this.signals }, look = (...found) => this._look(now, ...found);
    fill(this.findings, listed.length ? listed.map((f) => finding(seen, f, look)) : h("div", { class: "empty row" }, h("i", { class: "dot good" }), t("Nothing was wrong then.")));
    fill(this.decision, this._decided(decision, commands));
    fill(this.unknown, unknown.map((text) => h("li", {}, said(text))));
  }

  /** The signals of a finding on the page of the history. */
  _look(now, signals, found) {
    const [start, end] = [ms(found.start) - this.horizon / 2, Math.min(now + this.horizon / 2, this.newest)];
    go(`/twins/${encodeURIComponent(this.twin)}/history?signals=${signals.slice(0, 4).map(encodeURIComponent).join(",")}&start=${iso(start)}&end=${iso(end)}`);
  }

  _chart(now) {
    const { then, seen, signal } = this;
    const split = place(seen.time, now + 1);
    const part = (from, to) => ({ time: seen.time.slice(from, to), value: seen.mean.slice(from, to) });
    const lines = [{ name: t("measured"), ...part(0, split), colour: "measured", width: 1.4 }];
    const bands = [];
    if (this.believed) lines.push({ name: t("twin estimate"), ...this.believed, colour: "belief", width: 2 });
    const [ahead, other] = then.forecasts.filter((f) => f.signals.includes(signal)).sort((a, b) => (a.by === "physics") - (b.by === "physics"));
    const level = (f, p) => f.values[f.signals.indexOf(signal)][f.levels.indexOf(p)];
    const starts = [now];
    if (ahead) {
      const time = ahead.time.map(ms);
      for (const [p, q, alpha] of [[0.05, 0.95, 0.22], [0.2, 0.8, 0.34]]) {
        const [low, high] = [level(ahead, p), level(ahead, q)];
        if (low && high) bands.push({ name: `${Math.round(100 * (q - p))} %`, time, low, high, colour: "band", alpha });
      }
      lines.push({ name: `${t("forecast then")} (${ahead.by})`, time, value: level(ahead, 0.5), colour: "forecast", dash: [5, 4], width: 2 });
      starts.push(time[time.length - 1]);
    }
    if (other && level(other, 0.5)) lines.push({ name: `${t("forecast then")} (${other.by})`, time: other.time.map(ms), value: level(other, 0.5), colour: "good", dash: [2, 3], width: 1.6 });
    lines.push({ name: t("what happened"), ...part(Math.max(split - 1, 0)), colour: "other", width: 2.2 });
    const found = then.findings.filter((f) => f.subject === signal).map((f) => ({ time: ms(f.start), text: said(f.name), colour: "warn" }));
    this.chart.set({ lines, bands, marks: found, unit: this._signal(signal)?.unit, now, nowText: t("then"), start: now - this.horizon, end: Math.max(...starts, now + this.horizon),
      ticks: this.happened.filter((one) => one.time >= now - this.horizon && one.time <= now + this.horizon) });
    fill(this.foreseen, ahead ? t("Issued {time}, {span} before this instant.", { time: moment(ms(ahead.issued)), span: span(now - ms(ahead.issued)) }) : t("No forecast was in force."));
  }

  _decided(decision, commands) {
    if (!decision) return h("p", { class: "empty" }, t("No decision was recorded before then."));
    const wanted = ({ signal, value }, sign) => `${signal} ${sign} ${number(value)} ${this._signal(signal)?.unit ?? ""}`.trim();
    const acks = commands.map(({ command, ack }) =>
      h("div", { class: "check" }, h("span", { class: taken(ack) ? "good" : "warn", "aria-hidden": "true" }, taken(ack) ? "✓" : "…"),
        h("span", { "data-ack": ack?.state ?? "" }, `${wanted(command, "=")}: ${t(ack?.state ?? "no answer yet")} ${ack ? moment(ms(ack.time)) : ""} ${said(ack?.text ?? "")}`)));
    return [
      h("h3", {}, decision.commands.length ? decision.commands.map((c) => wanted(c, "→")).join(", ") : t("Nothing is changed")),
      h("p", { class: "muted" }, said(decision.reason)), worth(decision.expected), h("div", { class: "stack", style: { gap: "3px", margin: "8px 0" } }, checks(decision), acks),
      h("div", { class: "muted small" }, moment(ms(decision.time)), ` · ${t(STATUS[decision.status] ?? decision.status)}`),
    ];
  }

  _signal(name) {
    return this.signals.find((s) => s.name === name);
  }

  _clamped(time) {
    return Math.min(Math.max(time, this.oldest), this.newest);
  }

  /** The stretch of time under the slider. */
  async _window(wide) {
    this.wide = wide;
    const end = wide === null ? this.newest : Math.min(this.now + wide / 2, this.newest);
    [this.from, this.until] = wide === null ? [this.oldest, this.newest] : [Math.max(end - wide, this.oldest), end];
    this.tabs.forEach((button, at) => button.setAttribute("aria-pressed", at === wide ? "true" : "false"));
    [this.slider.min, this.slider.max] = [this.from, this.until];
    this._where();
    const name = this.signal ?? (this.signals.find((s) => s.type !== "blob") ?? this.signals[0]).name, { from, until } = this;
    const held = await rollup(this.twin, [name], from, until, 500).catch(() => null);
    if (from === this.from && until === this.until) this.line = held?.series.get(name);
    this._strip();
  }

  /** Show which instant it is. */
  _where() {
    this.slider.value = this.now;
    this.slider.setAttribute("aria-valuetext", whole(this.now));
    this.field.value = local(this.now);
    this.said.textContent = whole(this.now);
    this.before.disabled = !(this.times[0] < this.now - 1);
    this.next.disabled = !(this.times[this.times.length - 1] > this.now + 1);
    this._strip();
  }

  _strip() {
    const { line } = this;
    const ticks = this.happened.slice(place(this.times, this.from), place(this.times, this.until + 1));
    this.strip.set({ ...outline(line), ticks, start: this.from, end: this.until, now: this.now, nowText: "▼" });
  }

  /** To the decision or finding before this instant, or after it. */
  _hop(by) {
    const i = by < 0 ? place(this.times, this.now - 1) - 1 : place(this.times, this.now + 1);
    if (this.times[i] !== undefined) this.to(this.times[i], 0);
  }

  async _play() {
    this.playing = !this.playing;
    this._playing();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches; // then the picture changes seldom
    while (this.playing && this.now < this.newest) {
      await this.to(this.now + this.step, 0);
      await new Promise((done) => setTimeout(done, calm ? 2500 : 350));
    }
    this.playing = false;
    this._playing();
  }

  _playing() {
    const text = t(this.playing ? "Pause" : "Play");
    fill(this.player, icon(this.playing ? "pause" : "play"));
    this.player.title = text;
    this.player.setAttribute("aria-label", text);
  }

  _build() {
    const press = (label, mark, onclick) => h("button", { class: "icon", title: t(label), "aria-label": t(label), onclick }, mark);
    this.before = press("The decision or finding before", "⇤", () => this._hop(-1));
    this.next = press("The next decision or finding", "⇥", () => this._hop(1));
    this.player = h("button", { class: "icon", onclick: () => this._play() });
    this._playing();
    const steps = [1 / 288, 1 / 48, 1 / 12, 1 / 2].map((share) => Math.max(share * this.horizon, 1000));
    const pace = h("select", { "aria-label": t("How far a step goes"), onchange: () => { this.step = Number(pace.value); } }, steps.map((step) => h("option", { value: step }, span(step))));
    pace.value = this.step = steps[1];
    this.field = h("input", { type: "datetime-local", step: 1, "aria-label": t("Instant"), onchange: () => {
      const time = unlocal(this.field.value);
      if (Number.isFinite(time)) this.to(time, 0);
    } });
    this.slider = h("input", { type: "range", step: "any", "aria-label": t("Instant"), oninput: () => this.to(Number(this.slider.value)), onkeydown: (e) => {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[e.key];
      if (!by) return;
      e.preventDefault();
      this.to(this.now + by * this.step);
    } });
    this.strip = new Chart({ label: t("The history under the slider; ticks are decisions and findings"), height: 84, pick: (time) => this.to(time) });
    this.tabs = new Map(WINDOWS.map(([text, wide]) => [wide, h("button", { class: "tab", "aria-pressed": "false", onclick: () => this._window(wide) }, t(text))]));
    this.said = h("strong", { role: "status" });
    this.progress = h("progress", { style: { visibility: "hidden" }, "aria-label": t("Asking the twin …") });
    this.wrong = h("div");
    this.which = h("select", { "aria-label": t("Which signal"), onchange: () => {
      this.signal = this.which.value;
      this._window(this.wide);
      this.to(this.now, 0);
    } });
    this.chart = new Chart({ label: t("Forecast then, and what happened"), height: 380 });
    for (const name of ["values", "belief"]) this[name] = h("tbody");
    for (const name of ["findings", "decision", "foreseen"]) this[name] = h("div", { class: "stack" });
    this.foreseen.className = "muted small";
    this.unknown = h("ul", { class: "muted small", style: { margin: 0, paddingLeft: "18px" } });
    this._lay(press, pace);
  }

  _lay(press, pace) {
    const controls = h("div", { class: "row wrap", style: { justifyContent: "space-between" } },
      h("div", { class: "row wrap", role: "group", "aria-label": t("Move in time"), style: { gap: "4px" } }, this.before,
        press("A step back", icon("left"), () => this.to(this.now - this.step)), this.player, press("A step on", icon("right"), () => this.to(this.now + this.step)), this.next, h("label", { class: "row small muted" }, t("Step"), pace)),
      h("div", { class: "row wrap" }, this.said, this.field),
      h("div", { class: "row wrap", role: "group", "aria-label": t("Go to") }, h("button", { class: "button outline", onclick: () => this.to(this.newest - DAY, 0) }, t("Yesterday")),
        h("button", { class: "button", onclick: () => this.to(this.newest, 0) }, t("Newest"))));
    const table = (body, title) => {
      const made = card(title, h("div", { class: "scroll", tabindex: "0", style: { maxHeight: "300px" } }, h("table", {}, body)));
      made.classList.add("late");
      return made;
    };
    const decided = card(t("Decision then"), this.decision);
    decided.classList.add("decision");
    this.picture = h("div", { class: "columns" },
      h("div", { class: "column first" }, table(this.values, t("Values then")), table(this.belief, t("Belief then"))),
      h("div", { class: "column second" }, h("section", { class: "card", "aria-label": t("Forecast then, and what happened") },
        h("div", { class: "spread", style: { flexWrap: "wrap" } }, h("h2", { class: "heading" }, t("Forecast then, and what happened")), this.which), this.chart.element,
        legend([t("measured"), "measured"], [t("twin estimate"), "belief"], [t("forecast then"), "forecast"], [t("60 % and 90 % band"), "band", true], [t("what happened"), "other"]), this.foreseen),
      card(t("Limits of this replay"), this.unknown)),
      h("div", { class: "column third" }, decided, card(t("Findings open then"), this.findings)));
    const reach = h("div", { class: "row wrap", role: "group", "aria-label": t("How much of the past is under the slider"), style: { gap: "2px" } }, [...this.tabs.values()]);
    this.element = h("div", { class: "stack", style: { gap: "12px" } },
      card(t("Instant"), h("div", { class: "stack" }, controls, reach, h("div", {}, this.strip.element, h("div", { class: "scrubber" }, this.slider)), this.progress, this.wrong)), this.picture);
  }
}

function row(name, value, unit, more) {
  return h("tr", {}, h("td", { class: "muted" }, name), h("td", { class: "right number" }, value, unit ? h("span", { class: "unit" }, ` ${unit}`) : null), h("td", { class: "right muted small" }, more));
}
