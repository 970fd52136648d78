// A chart over time on a canvas: lines, bands between two lines, marks at times, limits. Draws at most once a frame.
// Times are milliseconds, missing values null or NaN. Colours are names of CSS variables.

import { h } from "./dom.js";
import { clock, day, moment, month, number, seconds, tenths, whole } from "./format.js";
import { place, reach, ticks, times } from "./scale.js";

const LEFT = 50, RIGHT = 12, TOP = 18, BOTTOM = 22;
const charts = new Set();

addEventListener("gemel-theme", () => charts.forEach((chart) => chart.draw()));

// Paper is white, and is printed at once: there is no next frame to draw in.
let theme = null;
addEventListener("beforeprint", () => printed(true));
addEventListener("afterprint", () => printed(false));

function printed(paper) {
  const { dataset } = document.documentElement;
  if (paper) theme = dataset.theme;
  dataset.theme = paper ? "light" : theme;
  document.body.classList.toggle("paper", paper);
  charts.forEach((chart) => chart._draw());
}

export class Chart {
  /** `zoom(start, end)` is called when a span is dragged, with nothing when all is wanted again; `pick(time)` when a
   *  time is pressed or dragged to; `pointed(across)` when the cursor moves, so that others can follow (`follow`). */
  constructor({ label, height = 260, zoom = null, pick = null, pointed = null }) {
    this.canvas = h("canvas", { role: "img", "aria-label": label, tabindex: "0" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.spoken = h("div", { class: "hidden-text", "aria-live": "polite" });
    this.element = h("div", { class: "chart", style: { height: `${height}px` } }, this.canvas, this.tip, this.spoken);
    Object.assign(this, { zoom, pick, pointed });
    this.content = { lines: [], bands: [], marks: [], limits: [], shades: [], ticks: [] };
    this.cursor = this.from = null;
    new ResizeObserver(() => this.draw()).observe(this.element);
    this._listen();
  }

  /** lines: [{name, time, value, colour, width, dash, step, dots}], bands: [{time, low, high, colour, alpha}],
   *  marks: [{time, text, colour}], limits: [{value, text}], shades: [{start, end, colour, alpha, foot}] behind all (`foot`:
   *  only along the time axis), ticks: [{time, colour}] at the top, now, start, end, unit. */
  set(content) {
    this.content = { lines: [], bands: [], marks: [], limits: [], shades: [], ticks: [], ...content };
    this.draw();
  }

  /** Show the cursor where another chart has it; null: nowhere. */
  follow(across) {
    this.cursor = across;
    this.draw();
  }

  draw() {
    this._due ??= requestAnimationFrame(() => {
      this._due = null;
      this._draw();
    });
  }

  _span() {
    const { lines, bands, start, end } = this.content;
    const ends = [...lines, ...bands].filter((l) => l.time.length).flatMap((l) => [l.time[0], l.time[l.time.length - 1]]);
    return [start ?? Math.min(...ends), end ?? Math.max(...ends)];
  }

  _draw() {
    const box = this.element.getBoundingClientRect();
    const ratio = devicePixelRatio || 1;
    if (!box.width) return void charts.delete(this); // off the page; once it is back it is drawn
    charts.add(this);
    if (this.canvas.width !== Math.round(box.width * ratio) || this.canvas.height !== Math.round(box.height * ratio)) {
      this.canvas.width = Math.round(box.width * ratio);
      this.canvas.height = Math.round(box.height * ratio);
    }
    const pen = this.canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim() || name;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, box.width, box.height);
    pen.font = "11.5px system-ui, sans-serif";
    const [start, end] = this._span();
    this.area = null;
    if (!(end > start)) return;
    const cut = (column, time) => column.slice(Math.max(place(time, start) - 1, 0), place(time, end) + 1);
    const { lines, bands, marks, limits, unit, now, keep } = this.content;
    const seen = [...lines.map((l) => cut(l.value, l.time)), ...bands.flatMap((b) => [cut(b.low, b.time), cut(b.high, b.time)])];
    const plain = reach([...seen, keep ?? []]);
    const near = limits.map((l) => l.value).filter((v) => plain && v > plain[0] - (plain[1] - plain[0]) / 2 && v < plain[1] + (plain[1] - plain[0]) / 2);
    const found = near.length ? reach([...seen, keep ?? [], near]) : plain; // a limit that is not far is shown
    if (!found && (this.content.start ?? null) === null) return;
    const [low, high] = found ?? [0, 1]; // a span that is asked for is drawn though nothing was heard in it
    const width = box.width - LEFT - RIGHT, height = box.height - TOP - BOTTOM;
    const x = (time) => LEFT + ((time - start) / (end - start)) * width;
    const y = (value) => TOP + (1 - (value - low) / (high - low)) * height;
    this.area = { start, end, x, width, height };

    pen.textBaseline = "middle";
    pen.textAlign = "right";
    pen.lineWidth = 1;
    const rows = ticks(low, high, Math.max(2, height / 42));
    pen.fillStyle = colour("muted");
    for (const value of found ? rows.values : []) {
      pen.strokeStyle = colour("line");
      pen.beginPath();
      pen.moveTo(LEFT, Math.round(y(value)) + 0.5);
      pen.lineTo(box.width - RIGHT, Math.round(y(value)) + 0.5);
      pen.stroke();
      pen.fillStyle = colour("muted");
      pen.fillText(axis(value, rows.step), LEFT - 7, y(value));
    }
    pen.fillText(unit || "", LEFT - 7, 7);
    pen.textAlign = "center";
    const columns = times(start, end, width / 92);
    for (const time of columns.values) {
      const text = date(time, columns.step), half = pen.measureText(text).width / 2;
      pen.fillText(text, Math.min(Math.max(x(time), LEFT + 14), box.width - half - 2), box.height - 9);
    }

    pen.save();
    pen.beginPath();
    pen.rect(LEFT, TOP - 8, width, height + 8);
    pen.clip();
    this._shades(pen, x, colour, box);
    for (const band of bands) {
      pen.fillStyle = colour(band.colour);
      pen.globalAlpha = band.alpha ?? 0.25;
      for (const [first, last] of runs(band.low)) {
        pen.beginPath();
        for (let i = first; i < last; i++) pen.lineTo(x(band.time[i]), y(band.high[i]));
        for (let i = last - 1; i >= first; i--) pen.lineTo(x(band.time[i]), y(band.low[i]));
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    for (const { value, text } of limits) {
      if (!found || value < low || value > high) continue;
      pen.strokeStyle = pen.fillStyle = colour("warn");
      pen.setLineDash([2, 4]);
      pen.beginPath();
      pen.moveTo(LEFT, y(value));
      pen.lineTo(LEFT + width, y(value));
      pen.stroke();
      pen.setLineDash([]);
      pen.textAlign = "left";
      pen.fillText(text, LEFT + 6, y(value) - 8);
    }
    for (const line of lines) this._line(pen, line, x, y, colour, start, end, width);
    pen.restore();

    pen.textAlign = "center";
    if (now && now > start && now < end) this._upright(pen, x(now), this.content.nowText ?? "now", colour("muted"), box);
    for (const mark of marks) if (mark.time >= start && mark.time <= end) this._upright(pen, x(mark.time), mark.text, colour(mark.colour || "warn"), box, true);
    if (this.from !== null && this.cursor !== null) {
      pen.fillStyle = colour("accent");
      pen.globalAlpha = 0.14;
      pen.fillRect(Math.min(this.from, this.cursor), TOP, Math.abs(this.cursor - this.from), height);
      pen.globalAlpha = 1;
    }
    this._point(pen, colour, y);
  }

  _shades(pen, x, colour, box) {
    for (const { start, end, colour: name, alpha, foot } of this.content.shades) {
      pen.fillStyle = colour(name);
      pen.globalAlpha = alpha ?? 0.12;
      const left = x(start), wide = Math.max(x(end) - left, 1);
      if (foot) pen.fillRect(left, box.height - BOTTOM - 4, wide, 4);
      else pen.fillRect(left, 0, wide, box.height);
    }
    pen.globalAlpha = 1;
    for (const { time, colour: name } of this.content.ticks) {
      pen.fillStyle = colour(name);
      pen.fillRect(x(time) - 0.75, TOP - 3, 1.5, 6);
    }
  }

  _line(pen, line, x, y, colour, start, end, width) {
    const first = Math.max(place(line.time, start) - 1, 0), last = Math.min(place(line.time, end) + 1, line.time.length);
    pen.strokeStyle = colour(line.colour);
    pen.lineWidth = line.width ?? 1.6;
    pen.lineJoin = "round";
    pen.setLineDash(line.dash ?? []);
    pen.beginPath();
    if (last - first > 3 * width) this._dense(pen, line, x, y, first, last);
    else {
      let lifted = true, before = 0;
      for (let i = first; i < last; i++) {
        const value = line.value[i];
        if (value === null || value !== value) {
          lifted = true;
          continue;
        }
        const across = x(line.time[i]), down = y(value);
        if (lifted) pen.moveTo(across, down);
        else {
          if (line.step) pen.lineTo(across, before);
          pen.lineTo(across, down);
        }
        before = down;
        lifted = false;
      }
    }
    pen.stroke();
    pen.setLineDash([]);
    if (!line.dots || last - first > width / 14) return;
    pen.fillStyle = colour(line.colour);
    for (let i = first; i < last; i++) {
      if (line.value[i] === null || line.value[i] !== line.value[i]) continue;
      pen.beginPath();
      pen.arc(x(line.time[i]), y(line.value[i]), 2.2, 0, 7);
      pen.fill();
    }
  }

  /** More points than pixels: of each column of pixels the first, least, most and last. */
  _dense(pen, line, x, y, first, last) {
    let at = -1, low = 0, high = 0, open = 0, close = 0;
    const put = () => {
      pen.lineTo(at, open);
      pen.lineTo(at, low);
      pen.lineTo(at, high);
      pen.lineTo(at, close);
    };
    for (let i = first; i < last; i++) {
      const value = line.value[i];
      if (value === null || value !== value) continue;
      const across = Math.round(x(line.time[i])), down = y(value);
      if (across !== at) {
        if (at >= 0) put();
        at = across;
        low = high = open = down;
      }
      if (down < low) low = down;
      if (down > high) high = down;
      close = down;
    }
    if (at >= 0) put();
  }

  _upright(pen, across, text, colour, box, dashed = false) {
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 1;
    pen.setLineDash(dashed ? [3, 3] : []);
    pen.beginPath();
    pen.moveTo(across, TOP - 4);
    pen.lineTo(across, box.height - BOTTOM);
    pen.stroke();
    pen.setLineDash([]);
    pen.fillText(text, Math.min(Math.max(across, LEFT + 20), box.width - 30), 7);
  }

  _point(pen, colour, y) {
    const { lines, bands, unit } = this.content;
    if (this.cursor === null || !this.area) return void (this.tip.hidden = true);
    const { start, end, x, width, height } = this.area;
    const time = start + ((this.cursor - LEFT) / width) * (end - start);
    const rows = [];
    for (const line of lines) {
      if (!line.name || !line.time.length) continue;
      let i = place(line.time, time);
      if (i > 0 && (i === line.time.length || time - line.time[i - 1] < line.time[i] - time)) i--;
      if (Math.abs(line.time[i] - time) > (end - start) / 12 || line.value[i] === null || line.value[i] !== line.value[i]) continue;
      rows.push([line, line.time[i], line.value[i]]);
      pen.fillStyle = colour(line.colour);
      pen.beginPath();
      pen.arc(x(line.time[i]), y(line.value[i]), 3.2, 0, 7);
      pen.fill();
    }
    for (const band of bands) {
      if (!band.name || !band.time.length || time < band.time[0] || time > band.time[band.time.length - 1]) continue;
      const i = Math.min(place(band.time, time), band.time.length - 1);
      if (band.low[i] === null || band.low[i] !== band.low[i]) continue;
      rows.push([band, band.time[i], `${number(band.low[i])} … ${number(band.high[i])}`]);
    }
    pen.strokeStyle = colour("muted");
    pen.beginPath();
    pen.moveTo(this.cursor, TOP);
    pen.lineTo(this.cursor, TOP + height);
    pen.stroke();
    const when = whole(rows.length ? rows[0][1] : time);
    const said = rows.map(([line, , value]) => `${line.name}: ${typeof value === "string" ? value : number(value)} ${unit || ""}`);
    this.tip.replaceChildren(h("div", { class: "muted" }, when), ...said.map((text, i) => h("div", { class: "row" }, h("i", { class: "dot", style: { background: `var(--${rows[i][0].colour})` } }), text)));
    this.tip.hidden = false;
    const room = this.element.clientWidth - this.tip.offsetWidth - 6;
    this.tip.style.left = `${Math.max(4, Math.min(this.cursor + 14, room))}px`;
    this.tip.style.top = `${TOP + 4}px`;
    if (document.activeElement === this.canvas) this.spoken.textContent = `${when}. ${said.join(", ")}`;
  }

  _listen() {
    const { canvas } = this;
    const inside = (event) => Math.min(Math.max(event.offsetX, LEFT), canvas.clientWidth - RIGHT);
    const timeAt = (across) => this.area.start + ((across - LEFT) / this.area.width) * (this.area.end - this.area.start);
    const point = (across) => {
      this.follow(across);
      this.pointed?.(across);
    };
    canvas.addEventListener("pointermove", (event) => {
      point(inside(event));
      if (this.pick && this.area && event.buttons & 1) this.pick(timeAt(this.cursor));
    });
    canvas.addEventListener("pointerleave", () => {
      this.from = null;
      point(null);
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (this.pick && this.area) this.pick(timeAt(inside(event)));
      if (this.zoom && this.area && event.pointerType !== "touch") this.from = inside(event);
    });
    canvas.addEventListener("pointerup", () => {
      const [a, b] = [this.from, this.cursor];
      this.from = null;
      if (a !== null && this.area && Math.abs(a - b) > 6) this.zoom(timeAt(Math.min(a, b)), timeAt(Math.max(a, b)));
    });
    canvas.addEventListener("dblclick", () => this.zoom?.());
    canvas.addEventListener("keydown", (event) => {
      if (!this.area) return;
      const { start, end } = this.area;
      const centre = timeAt(this.cursor ?? canvas.clientWidth / 2);
      const step = { ArrowLeft: -8, ArrowRight: 8 }[event.key];
      if (step) point(Math.min(Math.max((this.cursor ?? canvas.clientWidth / 2) + step, LEFT), canvas.clientWidth - RIGHT));
      else if (event.key === "+" && this.zoom) this.zoom(centre - (end - start) / 4, centre + (end - start) / 4);
      else if (event.key === "-" && this.zoom) this.zoom(centre - (end - start), centre + (end - start));
      else if (event.key === "Enter" && this.pick) this.pick(centre);
      else if (event.key === "Escape") point(null);
      else return;
      event.preventDefault();
    });
  }
}

/** [first, after last] of each stretch of a column without a hole. */
function runs(column) {
  const found = [];
  for (let i = 0, first = -1; i <= column.length; i++) {
    const there = i < column.length && column[i] !== null && column[i] === column[i];
    if (there && first < 0) first = i;
    if (!there && first >= 0) {
      found.push([first, i]);
      first = -1;
    }
  }
  return found;
}

/** A line as small as a word. */
export function spark(canvas, values, colour) {
  const ratio = devicePixelRatio || 1;
  const width = (canvas.width = (canvas.clientWidth || 62) * ratio), height = (canvas.height = (canvas.clientHeight || 20) * ratio);
  const found = reach([values], 0.1);
  const pen = canvas.getContext("2d");
  if (!found) return;
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${colour}`).trim();
  pen.lineWidth = 1.4 * ratio;
  pen.beginPath();
  values.forEach((value, i) => {
    if (value !== null && value === value) pen.lineTo((i / Math.max(values.length - 1, 1)) * width, (1 - (value - found[0]) / (found[1] - found[0])) * height);
  });
  pen.stroke();
}

/** What the colours mean. */
export function legend(...entries) {
  return h("div", { class: "legend" }, entries.map(([text, colour, wide]) => h("span", {}, h("i", { class: wide ? "wide" : "", style: { background: `var(--${colour})`, opacity: wide ? 0.45 : 1 } }), text)));
}

function axis(value, step) {
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9) + (Math.abs(step / 10 ** Math.floor(Math.log10(step)) - 2.5) < 1e-6 ? 1 : 0));
  return Math.abs(value) >= 1e5 ? value.toExponential(1) : (Object.is(value, -0) ? 0 : value).toFixed(Math.min(places, 6)).replace("-", "−");
}

function date(time, step) {
  if (step < 1e3) return tenths(time);
  if (step < 6e4) return seconds(time);
  if (step >= 20 * 864e5) return month(time);
  if (step >= 864e5) return day(time);
  return new Date(time).getHours() === 0 && new Date(time).getMinutes() === 0 ? day(time) : step >= 432e5 ? moment(time) : clock(time);
}
