// The past, made ready for charts: roll-ups as lines that stop where nothing was heard, instants in addresses and fields.

import { get, of } from "./api.js";
import { ms, ns } from "./format.js";

/** Signals from `start` to `end` (ms; null: all there is) in so many cells: {start, end, every, series: name -> columns}. */
export async function rollup(twin, signals, start, end, points, signal) {
  const asked = [`signals=${signals.map(encodeURIComponent).join(",")}`, `points=${points}`];
  if (start !== null) asked.push(`start=${ns(start)}`);
  if (end !== null) asked.push(`end=${ns(end)}`);
  const told = await get(of(twin, `/rollup?${asked.join("&")}`), signal);
  const every = ms(told.every);
  return { start: ms(told.start), end: ms(told.end), every, series: new Map(told.series.map((one) => [one.signal, columns(one, every)])) };
}

/** Columns of a chart: {raw, time, low, mean, high, count, bad, missing, unusable, usual}. `missing` are stretches [start, end]
 *  where much more than the usual time passed without a word, `unusable` those that hold bad values; lines break at both. */
function columns({ raw, time, min, mean, max, count, bad }, every) {
  const half = raw ? 0 : every / 2; // a cell is drawn at its middle
  const heard = [];
  for (let i = 0; i < time.length; i++) if (count[i] + bad[i]) heard.push(i);
  const at = heard.map((i) => ms(time[i]) + half);
  const usual = median(at);
  const made = { raw, time: [], low: [], mean: [], high: [], count: [], bad: [], missing: [], unusable: [], usual };
  const put = (when, low, middle, high, good, ill) => {
    made.time.push(when);
    made.low.push(low);
    made.mean.push(middle);
    made.high.push(high);
    made.count.push(good);
    made.bad.push(ill);
  };
  const wide = Math.max(raw ? usual : every, 1) / 2;
  heard.forEach((i, k) => {
    if (k && at[k] - at[k - 1] > 6 * usual) {
      made.missing.push([at[k - 1] + wide, at[k] - wide]);
      put((at[k] + at[k - 1]) / 2, null, null, null, 0, 0);
    }
    put(at[k], min[i], mean[i], max[i], count[i], bad[i]);
    if (!bad[i]) return;
    const last = made.unusable[made.unusable.length - 1];
    if (last && at[k] - wide - last[1] <= usual) last[1] = at[k] + wide;
    else made.unusable.push([at[k] - wide, at[k] + wide]);
  });
  return made;
}

/** The median step of rising times. */
function median(at) {
  const steps = at.slice(1).map((time, i) => time - at[i]).sort((a, b) => a - b);
  return steps[steps.length >> 1] ?? 0;
}

/** How many values there are from `start` to `end`, how many of them bad, and the stretches without any. */
export function quality({ time, count, bad, missing }, start, end) {
  let good = 0, ill = 0;
  for (let i = 0; i < time.length; i++) {
    if (time[i] < start || time[i] > end) continue;
    good += count[i];
    ill += bad[i];
  }
  const holes = missing.filter(([from, to]) => to > start && from < end);
  return { points: good + ill, bad: ill, holes: holes.length, longest: Math.max(0, ...holes.map(([from, to]) => to - from)) };
}

/** What a small chart shows of columns. */
export function outline(one) {
  if (!one) return {};
  const { time, mean: value, low, high } = one, colour = "measured";
  return { lines: [{ time, value, colour, width: 1 }], bands: one.raw ? [] : [{ time, low, high, colour, alpha: 0.3 }] };
}

/** A time in an address: ISO 8601 or whole nanoseconds; null for what is neither. */
export function instant(text) {
  if (!text) return null;
  const time = /^-?\d{1,20}$/.test(text) ? Number(text) / 1e6 : Date.parse(/[zZ]|[+-]\d\d:?\d\d$/.test(text) || !text.includes("T") ? text : `${text}Z`);
  return Number.isFinite(time) ? time : null;
}

/** As short as it can be said without losing a millisecond. */
export const iso = (time) => new Date(time).toISOString().replace(/(:00)?\.000Z$/, "Z");

/** A time as a field of local time takes it, and back. */
export function local(time) {
  const shifted = new Date(Math.round(time) - new Date(time).getTimezoneOffset() * 6e4);
  return shifted.toISOString().slice(0, 19);
}
export const unlocal = (text) => (text ? new Date(text).getTime() : NaN);

/** The address of this page with other values, without a new entry in the browser's history; null leaves one out. */
export function address(values) {
  const query = Object.entries(values).filter(([, v]) => v !== null && v !== "").map(([name, v]) => `${name}=${encodeURIComponent(v).replaceAll("%2C", ",").replaceAll("%3A", ":")}`);
  history.replaceState(null, "", location.pathname + (query.length ? `?${query.join("&")}` : ""));
}

/** Resolves when what is to be drawn is on the screen. */
export const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
