// A living twin as the page holds it: asked once, then kept up to date by the stream. Listeners are told by topic, at
// most once a frame.

import { get, of } from "./api.js";
import { duration, ms, unit } from "./format.js";
import { watch } from "./stream.js";

const MOST = 6000; // points a signal keeps
const CELLS = 360; // of the past that is asked for

export class Live {
  static async start(twin, link) {
    const live = new Live(twin, link);
    await live.load();
    live._watch();
    return live;
  }

  constructor(twin, link) {
    this.twin = twin;
    this.link = link;
    this.listeners = new Map();
    this._due = new Set();
    this.past = null; // milliseconds of it that are shown
  }

  async load() {
    const ask = (rest) => get(of(this.twin, rest));
    const [status, signals, assets, findings, decisions, commands] = await Promise.all(
      ["", "/signals", "/assets", "/findings", "/decisions?last=20", "/commands?last=20"].map(ask));
    for (const signal of signals) signal.unit = unit(signal.unit);
    Object.assign(this, { status, signals, assets, decisions, commands });
    this.findings = findings;
    this.names = signals.map((s) => s.name);
    this.forecasts = await ask("/forecasts").catch(() => []);
    this.past ??= duration(status.horizon) || 864e5;
    await this.reach(this.past);
  }

  /** Hold so much of the past. */
  async reach(past) {
    this.past = past;
    this.series = new Map(this.names.map((name) => [name, { time: [], value: [] }]));
    this.believed = new Map();
    this.now = ms(this.status.newest) ?? Date.now();
    if (this.status.newest === null) return;
    const every = Math.max(Math.round(past / CELLS / 1000), 1);
    const start = Math.round(this.now - past) * 1e6;
    const [held, estimates] = await Promise.all([
      get(of(this.twin, `/history?start=${BigInt(start)}&every=${every}s`)),
      get(of(this.twin, `/estimates?start=${BigInt(start)}`)).catch(() => ({ signals: [], time: [] })),
    ]);
    const time = held.time.map(ms);
    held.signals.forEach((name, i) => {
      const there = held.values[i].map((v) => v !== null);
      this.series.set(name, { time: time.filter((_, k) => there[k]), value: held.values[i].filter((_, k) => there[k]) });
    });
    const when = estimates.time.map(ms);
    const after = when.map((at, k) => k > 0 && at - when[k - 1] > past / 16); // too far apart to be joined by a line
    estimates.signals.forEach((name, i) => this.believed.set(name, { time: when.slice(), value: estimates.mean[i].map((v, k) => (after[k] ? null : v)), spread: [...estimates.spread[i]] }));
    this.tell("values", "belief", "forecasts", "findings", "decisions");
  }

  /** Call `heard` after news of any of these topics: values belief forecasts findings decisions acks hands. */
  on(topics, heard) {
    for (const topic of topics.split(" ")) this.listeners.set(topic, [...(this.listeners.get(topic) ?? []), heard]);
    heard();
  }

  tell(...topics) {
    topics.forEach((topic) => this._due.add(topic));
    this._frame ??= requestAnimationFrame(() => {
      this._frame = null;
      const told = new Set([...this._due].flatMap((topic) => this.listeners.get(topic) ?? []));
      this._due.clear();
      told.forEach((heard) => heard());
    });
  }

  signal(name) {
    return this.signals.find((s) => s.name === name);
  }

  newest(name) {
    const { value } = this.series.get(name) ?? { value: [] };
    return value.length ? value[value.length - 1] : (this.status.latest[name] ?? null);
  }

  /** The newest forecast of a signal, that of the forecaster before that of the simulator. */
  forecast(name) {
    return this.forecasts.find((f) => f.signals.includes(name)) ?? null;
  }

  end() {
    this._ended = true;
    this._stop?.();
  }

  _watch() {
    const heard = {
      values: (body) => this._values(body),
      belief: (body) => {
        const time = ms(body.time);
        for (const [name, [mean, spread]] of Object.entries(body.estimate ?? {})) {
          if (!this.believed.has(name)) this.believed.set(name, { time: [], value: [], spread: [] });
          const held = this.believed.get(name);
          held.time.push(time);
          held.value.push(mean);
          held.spread.push(spread);
          trim(held, this.now - this.past);
        }
        this.status.belief = body.mean;
        this.tell("belief");
      },
      forecasts: (body) => {
        this.forecasts = [...this.forecasts.filter((f) => f.by !== body.by), body].sort((a, b) => (a.by === "physics") - (b.by === "physics"));
        this.tell("forecasts");
      },
      findings: (body) => this.found([body]),
      hands: () => this.tell("hands"),
      decisions: (body) => {
        this.decisions = [...this.decisions.filter((d) => d.id !== body.id), body].slice(-20);
        this.tell("decisions");
        this._commands();
      },
      acks: () => this._commands(),
    };
    this._stop = watch(this.twin, heard, {
      gap: () => this.load().catch(() => {}),
      state: (good) => {
        this.connected = good;
        this.link?.(good, this.now);
      },
    });
  }

  /** What has changed about findings. */
  found(changed) {
    const news = new Map(changed.map((f) => [f.id, f]));
    const kept = this.findings.filter((f) => !news.has(f.id));
    this.findings = [...news.values(), ...kept].filter((f) => f.open && f.life?.state !== "closed");
    this.tell("findings");
  }

  _values({ signal, time, value, quality }) {
    signal.forEach((place, i) => {
      const held = this.series.get(this.names[place]);
      const at = ms(time[i]);
      if (this.signals[place].role !== "known" && at > this.now) this.now = at;
      if (!held || value[i] === null || quality[i] === 2 || at <= held.time[held.time.length - 1]) return;
      held.time.push(at);
      held.value.push(value[i]);
      trim(held, this.now - this.past);
    });
    this.link?.(true, this.now);
    this.tell("values");
  }

  async _commands() {
    if (this._asking) return;
    this._asking = true;
    await new Promise((done) => setTimeout(done, 400)); // acks follow their commands closely
    this._asking = false;
    if (this._ended) return;
    this.commands = await get(of(this.twin, "/commands?last=20")).catch(() => this.commands);
    this.tell("acks");
  }
}

function trim(held, start) {
  if (held.time.length < MOST && held.time[0] >= start - 36e5) return;
  let from = held.time.findIndex((time) => time >= start);
  from = Math.max(from, held.time.length - MOST, 0);
  if (from < 32) return; // not for every point
  for (const column of Object.values(held)) column.splice(0, from);
}
