// What was measured, from years to a second: each zoom asks the twin again for as many cells as the screen is wide.

import { trouble } from "../app.js";
import { get, of } from "../lib/api.js";
import { Chart, legend } from "../lib/chart.js";
import { card, fill, h, icon } from "../lib/dom.js";
import { moment, ms, ns, number, span, unit } from "../lib/format.js";
import { address, instant, iso, local, outline, painted, quality, rollup, unlocal } from "../lib/past.js";
import { said, t } from "../lib/words.js";

export const title = "History";

const DAY = 864e5;
const PRESETS = { year: [366 * DAY, "Year"], month: [31 * DAY, "Month"], week: [7 * DAY, "Week"], day: [DAY, "Day"], hour: [36e5, "Hour"], minute: [6e4, "Minute"] };
const COLOURS = ["accent", "forecast", "other", "bad", "good", "measured"];
const LEAST = 1000; // milliseconds that a span has
const KEPT = 24; // roll-ups that are not asked for again
const EXPORTED = 2e6; // values; of more than that, means are handed out

export async function show(content, twin, frame) {
  const [status, signals, extents] = await Promise.all([frame.status(), get(of(twin, "/signals")), get(of(twin, "/extent"))]);
  frame.mode(status.mode);
  for (const signal of signals) signal.unit = unit(signal.unit);
  const heard = extents.filter((e) => e.points && signals.some((s) => s.name === e.signal && ["number", "state"].includes(s.type)));
  frame.subtitle(t("{n} points kept", { n: heard.reduce((sum, e) => sum + e.points, 0).toLocaleString() }));
  if (!heard.length) {
    fill(content, card(t("History"), h("p", { class: "empty" }, t("Nothing has been heard yet. As soon as the twin hears its plant, its history is here.")),
      h("a", { class: "button", href: `/twins/${encodeURIComponent(twin)}` }, t("See it live"))));
    return () => {};
  }
  const page = new Past(twin, signals.filter((s) => heard.some((e) => e.signal === s.name)), new Map(heard.map((e) => [e.signal, e])));
  fill(content, page.element);
  page.start();
  return () => page.end();
}

class Past {
  constructor(twin, signals, extents) {
    Object.assign(this, { twin, signals, extents, held: null, kept: new Map(), backs: [], findings: [], decisions: [], charts: new Map() });
    this._reach();
    this.chosen = [];
    this._build();
  }

  /** What the address asks for, else all of the first signal. */
  start() {
    const asked = new URLSearchParams(location.search);
    this.chosen = (asked.get("signals") ?? "").split(",").filter((name) => this.extents.has(name));
    if (!this.chosen.length) this.chosen = [(this.signals.find((s) => s.role === "measured") ?? this.signals[0]).name];
    const start = instant(asked.get("start")), end = instant(asked.get("end"));
    if (start === null) [this.from, this.to] = this._whole();
    else [this.from, this.to] = end === null ? [start - 0.1 * (this.newest - start), this.newest] : [start, end];
    this._choose(this.chosen);
    this.ask("open");
  }

  end() {
    this.asking?.abort();
  }

  _reach() {
    const ends = [...this.extents.values()];
    this.oldest = Math.min(...ends.map((e) => ms(e.start)));
    this.newest = Math.max(...ends.map((e) => ms(e.end)), this.oldest + 1000);
  }

  /** Look at another span; `why` is the name of the measured time. */
  look(from, to, why = "zoom", back = true) {
    if (back) this.backs.push([this.from, this.to]);
    const wide = Math.max(to - from, LEAST);
    const middle = (from + to) / 2;
    [this.from, this.to] = [middle - wide / 2, middle + wide / 2];
    this.ask(why);
  }

  preset(name) {
    const wide = PRESETS[name]?.[0];
    if (!wide) return this.look(...this._whole(), "all");
    const to = Math.min(this.to >= this.newest ? this.newest : (this.from + this.to) / 2 + wide / 2, this.newest);
    this.look(to - wide, to, name);
  }

  /** By so many spans: -0.5 goes half a span back. */
  pan(share) {
    const wide = this.to - this.from, room = 0.02 * wide;
    const from = Math.max(Math.min(this.from + share * wide, this.newest + room - wide), Math.min(this.oldest - room, this.from));
    this.look(from, from + wide, "pan");
  }

  zoom(factor) {
    const middle = (this.from + this.to) / 2, wide = Math.min((this.to - this.from) * factor, 1.2 * (this.newest - this.oldest));
    this.look(middle - wide / 2, middle + wide / 2);
  }

  back() {
    if (this.backs.length) this.look(...this.backs.pop(), "back", false);
    else this.preset("all");
  }

  /** Ask for the present span of the chosen signals, and draw it; where that takes time, first what is there, coarse as it may be. */
  async ask(why) {
    const begun = performance.now();
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    this._said();
    const soon = setTimeout(() => this.held && this._draw(), 120);
    const late = setTimeout(() => { this.progress.style.visibility = "visible"; }, 1000);
    try {
      const held = await this._rolled(asking.signal);
      if (asking.signal.aborted) return;
      clearTimeout(soon);
      this.held = held;
      this._draw();
      await painted();
      const values = [...held.series.values()].flatMap((one) => one.count).reduce((sum, count) => sum + count, 0);
      performance.measure(why, { start: begun, detail: { signals: this.chosen.length, values } });
      this._drawStrip();
      await new Promise((done) => setTimeout(done, 200)); // who zooms on at once does not wait for it
      if (!asking.signal.aborted) await this._happenings(asking.signal);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.wrong, trouble(error));
    } finally {
      [soon, late].forEach(clearTimeout);
      if (!asking.signal.aborted) this.progress.style.visibility = "hidden";
    }
  }

  async _rolled(signal) {
    const points = Math.round(Math.min(Math.max((this.place.clientWidth || 1100) - 62, 200), 2000));
    const room = this._room();
    const [from, to] = [Math.max(this.from - room, this.oldest), Math.min(this.to + room, this.newest)];
    const name = JSON.stringify([this.chosen, from, to, points]);
    const held = this.kept.get(name) ?? (await rollup(this.twin, this.chosen, Math.min(from, to), to, points, signal));
    this.kept.delete(name);
    this.kept.set(name, held);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    fill(this.wrong);
    return held;
  }

  /** A little more is asked for than is seen, so that a line enters and leaves the picture. */
  _room() {
    const steps = this.chosen.map((name) => this.extents.get(name)).map((e) => (2 * (ms(e.end) - ms(e.start))) / e.points);
    return Math.min(Math.max(...steps), 36e5);
  }

  /** What happened meanwhile: less urgent than the picture. */
  async _happenings(signal) {
    const within = `start=${ns(this.from)}&end=${ns(this.to)}`;
    const [moments, findings, decisions, extents] = await Promise.all(
      [`/moments?${within}`, "/findings?all=true", `/journal/decision?${within}&last=20`, "/extent"].map((rest) => get(of(this.twin, rest), signal)));
    for (const one of extents) if (this.extents.has(one.signal)) this.extents.set(one.signal, one);
    this._reach();
    this.decisions = moments.decisions.time.map(ms);
    this.findings = findings.map((f) => ({ ...f, from: ms(f.start), to: f.open ? this.newest : ms(f.time) }));
    this._draw();
    this._list(decisions);
    const first = this.chosen[0];
    if (this.strip.of !== first) {
      const all = await rollup(this.twin, [first], null, null, 500, signal);
      this.strip.of = first;
      this.strip.line = all.series.get(first);
    }
    this._drawStrip();
  }

  _whole() {
    const room = 0.01 * (this.newest - this.oldest);
    return [this.oldest - room, this.newest + room];
  }

  _choose(names) {
    this.chosen = names;
    for (const [name, button] of this.buttons) {
      const place = names.indexOf(name);
      button.setAttribute("aria-pressed", place >= 0 ? "true" : "false");
      button.firstChild.style.background = place >= 0 ? `var(--${this._colour(name)})` : "";
    }
  }

  _toggle(name) {
    const names = this.chosen.includes(name) ? this.chosen.filter((n) => n !== name) : [...this.chosen, name];
    if (!names.length) return;
    this._choose(names);
    this.ask("compare");
  }

  /** One chart a unit, in the order chosen. */
  _groups() {
    const groups = new Map();
    for (const name of this.chosen) {
      const { unit } = this._signal(name);
      groups.set(unit, [...(groups.get(unit) ?? []), name]);
    }
    return groups;
  }

  _signal(name) {
    return this.signals.find((s) => s.name === name);
  }

  _colour(name) {
    const group = this.chosen.filter((n) => this._signal(n).unit === this._signal(name).unit);
    return COLOURS[group.indexOf(name) % COLOURS.length];
  }

  _draw() {
    const groups = this._groups(), height = groups.size > 2 ? 190 : groups.size > 1 ? 250 : 360;
    for (const unit of groups.keys()) if (!this.charts.has(unit)) this.charts.set(unit, this._chart());
    for (const unit of [...this.charts.keys()]) if (!groups.has(unit)) this.charts.delete(unit);
    const wanted = [...groups.keys()].map((unit) => this.charts.get(unit).element);
    if (wanted.some((e, i) => this.place.children[i] !== e) || wanted.length !== this.place.children.length) fill(this.place, wanted);
    for (const [unit, names] of groups) {
      const { chart, key, told } = this.charts.get(unit);
      chart.element.style.height = `${height}px`;
      chart.canvas.setAttribute("aria-label", t("History of {names}", { names: names.join(", ") }));
      chart.set(this._content(unit, names));
      const some = (what) => names.some((name) => this.held?.series.get(name)?.[what].length);
      const ill = [some("missing") && [t("missing"), "muted", true], some("unusable") && [t("bad values"), "bad", true]].filter(Boolean);
      fill(key, legend(...names.map((name) => [name, this._colour(name)]), ...ill));
      fill(told, names.map((name) => this._told(name)));
    }
  }

  _content(unit, names) {
    const lines = [], bands = [], shades = [];
    for (const name of names) {
      const one = this.held?.series.get(name);
      if (!one) continue;
      const { role, type } = this._signal(name), colour = this._colour(name), { time, low, high } = one;
      const held = ["controlled", "known"].includes(role) || type === "state"; // said when it changes: silence is no gap
      if (!one.raw) bands.push({ name: names.length > 1 ? `${name}, ${t("least … most")}` : t("least … most"), time, low, high, colour, alpha: 0.28 });
      lines.push({ name: one.raw ? name : `${name}, ${t("mean")}`, time, value: one.mean, colour, width: 1.5, step: one.raw && held, dots: one.raw });
      if (!held) shades.push(...one.missing.map(([start, end]) => ({ start, end, colour: "muted", alpha: 0.13 / names.length })));
      shades.push(...one.unusable.map(([start, end]) => ({ start, end, colour: "bad", alpha: 0.9, foot: true })));
    }
    const mine = this._found().filter((f) => names.includes(f.subject));
    shades.push(...mine.map((f) => ({ start: f.from, end: f.to, colour: "warn", alpha: 0.09 })));
    const { low, high } = this._signal(names[0]);
    return {
      lines, bands, shades, unit, start: this.from, end: this.to,
      marks: mine.slice(0, 8).map((f) => ({ time: f.from, text: said(f.name), colour: f.severity > 0.6 ? "bad" : "warn" })),
      ticks: this.decisions.map((time) => ({ time, colour: "accent" })),
      limits: names.length > 1 ? [] : [[low, t("low limit")], [high, t("high limit")]].filter(([v]) => v !== null).map(([value, text]) => ({ value, text })),
    };
  }

  /** Findings of this span, the newest first. */
  _found() {
    return this.findings.filter((f) => f.from < this.to && f.to > this.from).sort((a, b) => b.from - a.from);
  }

  /** What the values of a signal are like, in a line. */
  _told(name) {
    const one = this.held?.series.get(name);
    if (!one) return null;
    const { points, bad, holes, longest } = quality(one, this.from, this.to);
    const parts = [t("values: {n}", { n: points.toLocaleString() })];
    if (points) parts.push(one.raw ? t("each is shown") : t("a cell is {span}", { span: span(this.held.every) }));
    if (bad) parts.push(t("bad: {n} ({share} %)", { n: bad.toLocaleString(), share: number((100 * bad) / points, 2) }));
    if (holes) parts.push(t("gaps: {n}, the longest {span}", { n: holes, span: span(longest) }));
    return h("div", { class: "muted small" }, h("strong", {}, name), `: ${parts.join(" · ")}`);
  }

  _chart() {
    const chart = new Chart({
      label: t("History"), zoom: (a, b) => (a === undefined ? this.back() : this.look(a, b)),
      pointed: (across) => this.charts.forEach((other) => other.chart !== chart && other.chart.follow(across)),
    });
    const key = h("div"), told = h("div");
    return { chart, key, told, element: h("div", { class: "stack", style: { gap: "4px" } }, key, chart.element, told) };
  }

  _drawStrip() {
    const { chart, line } = this.strip;
    const ticks = this.findings.map((f) => ({ time: f.from, colour: "warn" }));
    const shades = [{ start: this.from, end: this.to, colour: "accent", alpha: 0.2 }];
    const [start, end] = this._whole();
    const marks = this.to - this.from < 0.01 * (end - start) ? [{ time: (this.from + this.to) / 2, text: "▼", colour: "accent" }] : [];
    chart.set({ ...outline(line), shades, ticks, marks, start, end });
  }

  /** Everything that says which span is looked at. */
  _said() {
    const all = this._whole(), isAll = Math.abs(this.from - all[0]) < 1 && Math.abs(this.to - all[1]) < 1;
    address({ signals: this.chosen.join(","), start: isAll ? null : iso(this.from), end: isAll ? null : iso(this.to) });
    this.when.textContent = span(this.to - this.from);
    [this.fields.from.value, this.fields.to.value] = [local(this.from), local(this.to)];
    const is = (name) => (name === "all" ? isAll : !isAll && Math.abs((this.to - this.from) / PRESETS[name][0] - 1) < 0.005);
    for (const [name, button] of this.presets) button.setAttribute("aria-pressed", is(name) ? "true" : "false");
    this._offer();
  }

  /** The links to the values of this span. */
  _offer() {
    const [from, to] = [Math.max(this.from, this.oldest), Math.min(this.to, this.newest)];
    const share = (e) => Math.min(Math.max((to - from) / (ms(e.end) - ms(e.start) || 1), 0), 1);
    const values = this.chosen.map((name) => this.extents.get(name)).reduce((sum, e) => sum + e.points * share(e), 0);
    const cell = values > EXPORTED ? Math.ceil((to - from) / 1e3 / (EXPORTED / this.chosen.length)) : 0;
    const names = this.chosen.map(encodeURIComponent).join(",");
    const path = of(this.twin, `/history?signals=${names}&start=${ns(from)}&end=${ns(to)}${cell ? `&every=${cell}s` : ""}`);
    const file = `${this.twin}-${this.chosen.join("-").slice(0, 60)}-${iso(from).slice(0, 10)}`.replace(/[^\w.-]+/g, "_");
    for (const [form, link] of this.links) {
      link.href = `${path}&format=${form}`;
      link.download = `${file}.${form}`;
    }
    this.exported.textContent = cell ? t("means of {span}, since there is very much", { span: span(cell * 1e3) }) : t("every value of this span");
  }

  _list(decisions) {
    const base = `/twins/${encodeURIComponent(this.twin)}/replay?time=`;
    const row = (time, kind, signal, text, show = null) => h("li", { class: "happening" },
      h("i", { class: `dot ${kind}` }), h("span", { class: "muted when" }, moment(time)), h("span", { class: "grow" }, text), show,
      h("a", { class: "button little plain", href: `${base}${iso(time)}&signal=${encodeURIComponent(this.extents.has(signal) ? signal : this.chosen[0])}` }, t("Replay")));
    const rows = [
      ...this._found().slice(0, 30).map((f) => row(f.from, f.severity > 0.6 ? "bad" : "warn", f.subject, [`${said(f.name)} (${f.subject})`, f.text ? h("span", { class: "muted" }, ` · ${said(f.text)}`) : ""],
        h("button", { class: "button little", onclick: () => this._show(f) }, t("Show")))),
      ...decisions.reverse().map((d) => row(ms(d.time), "good", "", said(d.reason) || t("A decision"))),
    ];
    fill(this.list, rows.length ? rows : h("li", { class: "empty" }, t("Nothing was found or decided in this span.")),
      this.decisions.length > decisions.length ? h("li", { class: "muted small" }, t("The newest {n} of {all} decisions.", { n: decisions.length, all: this.decisions.length })) : null);
  }

  /** A finding with as much before and after it, its signal among those that are shown. */
  _show(f) {
    if (this.extents.has(f.subject) && !this.chosen.includes(f.subject)) this._choose([...this.chosen, f.subject]);
    const wide = Math.max(f.to - f.from, 36e5);
    this.look(f.from - 0.5 * wide, Math.min(f.from + 1.5 * wide, this.newest + 0.1 * wide), "finding");
    this.place.scrollIntoView({ block: "nearest" });
  }

  _build() {
    const tab = (name, text) => h("button", { class: "tab", "aria-pressed": "false", onclick: () => this.preset(name) }, t(text));
    const fitting = Object.entries(PRESETS).filter(([, [wide]]) => wide < 1.5 * (this.newest - this.oldest));
    this.presets = new Map([["all", tab("all", "All")], ...fitting.map(([name, [, text]]) => [name, tab(name, text)])]);
    const press = (label, mark, onclick) => h("button", { class: "icon", title: t(label), "aria-label": t(label), onclick }, mark);
    const field = (label) => h("input", { type: "datetime-local", step: 1, "aria-label": t(label), onchange: () => {
      const [from, to] = [unlocal(this.fields.from.value), unlocal(this.fields.to.value)];
      if (from < to) this.look(from, to, "dates");
    } });
    this.fields = { from: field("From"), to: field("To") };
    this.when = h("p", { class: "small muted", role: "status" });
    this.progress = h("progress", { style: { visibility: "hidden" }, "aria-label": t("Asking the twin …") });
    this.wrong = h("div");
    this.place = h("div", { class: "stack", style: { gap: "14px" } });
    const strip = new Chart({ label: t("All of the history; drag over a part of it to look at that"), height: 92, zoom: (a, b) => (a === undefined ? this.preset("all") : this.look(a, b)) });
    this.strip = { chart: strip, of: null, line: null };
    this.list = h("ul", { class: "happenings scroll", tabindex: "0", role: "list", "aria-label": t("What happened in this span") });
    this.links = new Map(["csv", "arrow", "json"].map((form) => [form, h("a", { class: "button little" }, { csv: "CSV", arrow: "Arrow", json: "JSON" }[form])]));
    this.exported = h("span", { class: "muted small" });
    this.place.addEventListener("keydown", (event) => this._key(event), true);
    this._lay(press);
  }

  _lay(press) {
    const bar = h("div", { class: "row wrap", style: { justifyContent: "space-between" } },
      h("div", { class: "row wrap", role: "group", "aria-label": t("How much of the past"), style: { gap: "2px" } }, [...this.presets.values()]),
      h("div", { class: "row", role: "group", "aria-label": t("Move and zoom"), style: { gap: "4px" } }, 
        press("Earlier", icon("left"), () => this.pan(-0.5)), press("Later", icon("right"), () => this.pan(0.5)),
        press("Closer", "+", () => this.zoom(0.5)), press("Farther", "−", () => this.zoom(2)), h("button", { class: "button", onclick: () => this.back() }, t("Zoom out"))));
    const taken = card(t("Take it with you"), h("div", { class: "row wrap" }, [...this.links.values()]), h("p", { style: { marginTop: "6px" } }, this.exported));
    taken.classList.add("late");
    const dates = h("div", { class: "row wrap" }, this.fields.from, h("span", { "aria-hidden": "true" }, "–"), this.fields.to, this.when, h("span", { class: "grow" }),
      h("span", { class: "muted small" }, t("Drag to zoom, double-click to go back")));
    this.element = h("div", { class: "columns sided" },
      h("div", { class: "column" }, card(t("Signals"), this._signals()), taken),
      h("div", { class: "column" }, card(t("Span"), h("div", { class: "stack" }, bar, this.strip.chart.element)),
        card(t("History"), h("div", { class: "stack" }, dates, this.progress, this.wrong, this.place)),
        card(t("What happened"), this.list)));
  }

  _key(event) {
    const act = { ArrowLeft: () => this.pan(-0.5), ArrowRight: () => this.pan(0.5), Home: () => this.preset("all"), Backspace: () => this.back() }[event.key];
    if (!act || (event.key.startsWith("Arrow") && !event.shiftKey)) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  _signals() {
    this.buttons = new Map(this.signals.map((s) => [s.name, h("button", { class: "choice", "aria-pressed": "false", "data-signal": s.name, onclick: () => this._toggle(s.name) },
      h("i", { class: "swatch" }), h("span", { class: "cut grow", title: s.name }, s.name), h("span", { class: "unit" }, s.unit))]));
    const find = this.signals.length > 12 && h("input", { type: "text", placeholder: t("Find a signal"), "aria-label": t("Find a signal"), oninput: (e) =>
      this.buttons.forEach((button, name) => { button.hidden = !name.toLowerCase().includes(e.target.value.toLowerCase()); }) });
    return h("div", { class: "stack" }, find || null, h("div", { class: "choices scroll", role: "group", "aria-label": t("Which signals are compared") }, [...this.buttons.values()]));
  }
}
