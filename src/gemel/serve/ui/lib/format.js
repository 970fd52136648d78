// Numbers, times and spans as people read them. Times of the API are nanoseconds; here they are milliseconds.

import { language, t } from "./words.js";

export const ms = (ns) => (ns === null ? null : ns / 1e6);
export const ns = (milliseconds) => `${Math.round(milliseconds)}000000`;

/** Four digits that matter, no more. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 10) return String(value).replace("-", "−"); // a stage, a count
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2).replace("e+", "e");
  const places = size >= 1000 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(Math.max(size, 0.1))) - 1);
  return value.toFixed(Math.min(places, 3)).replace("-", "−");
}

const SIGNS = { degC: "°C", degF: "°F", deg: "°", m3: "m³", "m3/h": "m³/h", "m3/s": "m³/s", m2: "m²", "m/s2": "m/s²", "1": "", percent: "%" };

/** A unit as it is written: degC is °C. */
export const unit = (text) => SIGNS[text] ?? text;

export const percent = (share, digits = 0) => (Number.isFinite(share) ? `${(100 * share).toFixed(digits).replace("-", "−")}${language === "zh" ? "" : "\u00a0"}%` : "–");

const written = (options) => {
  const made = {};
  return (time) => (time ? (made[language] ??= new Intl.DateTimeFormat(language === "zh" ? "zh-CN" : "en-GB", { hourCycle: "h23", ...options })).format(time) : "–");
};

export const clock = written({ hour: "2-digit", minute: "2-digit" });
export const seconds = written({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const tenths = written({ minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 });
export const day = written({ day: "numeric", month: "short" });
export const moment = written({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
export const whole = written({ year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const month = written({ month: "short", year: "numeric" });

const UNITS = [["d", 864e5], ["h", 36e5], ["min", 6e4], ["s", 1e3]];

/** "3 h 20 min" */
export function span(milliseconds) {
  let rest = Math.abs(milliseconds);
  const parts = [];
  for (const [name, size] of UNITS) {
    const count = name === "s" && !parts.length ? Math.round(rest / 100) / 10 : Math.floor(rest / size);
    if (count && parts.length < 2) parts.push(`${count} ${t(name)}`);
    rest -= Math.floor(rest / size) * size;
    if (parts.length && name !== UNITS[0][0] && parts.length === 2) break;
  }
  return parts.join(" ") || `0 ${t("s")}`;
}

/** "24h" -> milliseconds */
export function duration(text) {
  const sizes = { w: 7 * 864e5, d: 864e5, h: 36e5, min: 6e4, s: 1e3, ms: 1 };
  return [...String(text).matchAll(/([\d.]+)(w|d|h|min|ms|s)/g)].reduce((sum, [, count, unit]) => sum + count * sizes[unit], 0);
}
