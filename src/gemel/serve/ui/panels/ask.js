// Ask the twin in plain words: what it answers, what it looked at for that, and pictures where they say more.

import { events, get, of } from "../lib/api.js";
import { Chart, legend } from "../lib/chart.js";
import { fill, h, icon } from "../lib/dom.js";
import { ms, span, unit } from "../lib/format.js";
import { language, t } from "../lib/words.js";

const REMEMBERED = 20; // lines of the talk that go with the next question
const POINTS = 400;
const COLOURS = ["belief", "forecast", "other", "measured", "warn", "bad"];
const EXAMPLES = ["What is wrong, and why?", "What happens in the next hours?", "What if nothing is changed?", "What should be done now?"];

const drawers = new Map(); // a talk goes on where it was, also after a look at what it cites

/** The drawer. It goes away with Escape or its button, and the focus goes back to where it was. */
export async function ask(twin) {
  const key = `${twin} ${language}`;
  const held = drawers.get(key) ?? (await made(twin));
  if (held.configured) drawers.set(key, held);
  held.opened(document.activeElement);
  return held.element;
}

async function made(twin) {
  const way = await get("/v1/ask").catch((error) => ({ configured: false, how: [error.message, error.hint].filter(Boolean).join(". ") }));
  const log = h("div", { class: "log", tabindex: "0", role: "log", "aria-label": t("Talk with the twin") });
  const aside = h("aside", { class: "drawer", "aria-label": t("Ask the twin"), onkeydown: (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    close();
  } });
  let stop = null, before = null;

  function close() {
    stop?.abort();
    aside.remove();
    if (before?.isConnected) before.focus();
  }

  const head = h("div", { class: "spread" }, h("h2", { class: "heading grow" }, t("Ask the twin")), way.configured ? h("span", { class: "muted small cut" }, way.model) : null,
    h("button", { class: "icon", "aria-label": t("Close"), title: t("Close"), onclick: close }, icon("close")));
  if (!way.configured) {
    fill(aside, head, missing(way.how));
    return opening(head.lastChild);
  }

  const field = h("textarea", { id: "question", rows: 2, maxlength: 4000, "aria-label": t("Your question"), placeholder: t("Your question"), onkeydown: (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  } });
  const send = h("button", { class: "button main" }, t("Ask"));
  const halt = h("button", { class: "button", type: "button", hidden: true, onclick: () => stop?.abort() }, t("Stop"));
  const state = h("span", { class: "muted small grow", role: "status" });
  const form = h("form", { class: "stack", onsubmit: (event) => {
    event.preventDefault();
    if (field.value.trim() && !stop) asked(field.value.trim());
  } }, field, h("div", { class: "row" }, state, halt, send));
  const starts = h("div", { class: "stack" }, h("p", { class: "muted" }, t("It looks at this twin with your rights, and says what it used. It never sends anything to the plant.")),
    h("div", { class: "row wrap" }, EXAMPLES.map((text) => h("button", { class: "button little", onclick: () => asked(t(text)) }, t(text)))));
  const talk = [];

  async function asked(question) {
    starts.remove();
    field.value = "";
    const answer = answering(twin, log);
    const place = h("article", { class: "stack" }, h("div", { class: "said mine" }, question), answer.element);
    log.append(place);
    follow(log, true);
    stop = new AbortController();
    busy(true);
    try {
      await events(of(twin, "/ask"), { question, before: talk.slice(-REMEMBERED) }, answer.told, stop.signal);
    } catch (error) {
      answer.told("error", stop.signal.aborted ? { error: t("Stopped."), hint: "" } : { error: error.message, hint: error.hint });
    }
    stop = null;
    busy(false);
    const said = answer.text();
    if (said) talk.push({ role: "user", text: question }, { role: "assistant", text: said.slice(0, 8000) });
    follow(log);
    if (aside.contains(document.activeElement) || document.activeElement === document.body) field.focus();
  }

  function busy(is) {
    halt.hidden = !is;
    send.disabled = is;
    state.textContent = is ? t("The twin is asked …") : "";
  }

  log.append(starts);
  fill(aside, head, log, form);
  return opening(field);

  function opening(first) {
    return { element: aside, configured: way.configured, opened: (from) => {
      before = from;
      setTimeout(() => { // once it is on the page
        first.focus();
        follow(log, true);
      });
    } };
  }
}

function missing(how) {
  return h("div", { class: "stack" },
    h("p", {}, t("There is no language model to ask yet.")),
    h("p", { class: "muted" }, t("Any server that speaks the OpenAI chat protocol will do, on this machine or elsewhere. Its address, model and key are given to gemel serve by environment variables:")),
    h("pre", { tabindex: "0", role: "region", "aria-label": t("Example") }, "GEMEL_CHAT_URL=http://127.0.0.1:11434/v1 \\\nGEMEL_CHAT_MODEL=qwen3 \\\ngemel serve plant.toml"),
    how ? h("p", { class: "note small" }, how) : null,
    h("p", { class: "muted small" }, t("It may ask the twin what you may ask, and nothing more. It never sends anything to the plant.")));
}

/** One answer as it comes: {element, told(event, body), text()}. */
function answering(twin, log) {
  const element = h("div", { class: "stack" });
  const calls = new Map();
  let bubble = null, spoken = "", whole = "";

  const heard = {
    text: ({ text }) => {
      if (!bubble) element.append(bubble = h("div", { class: "said" }));
      whole += text;
      bubble.textContent = spoken += text;
    },
    call: ({ n, verb, arguments: given }) => {
      bubble = null;
      spoken = "";
      const mark = h("span", { class: "muted", "aria-hidden": "true" }, "…"), result = h("div", { class: "muted" });
      const line = h("details", { class: "fold small" }, h("summary", {}, mark, " ", h("code", {}, verb), " ", h("span", { class: "muted" }, brief(given))),
        h("pre", { tabindex: "0", role: "region", "aria-label": t("What was asked") }, JSON.stringify(given, null, 1)), result);
      calls.set(n, { mark, result });
      element.append(line);
    },
    result: ({ n, ok, text }) => {
      const { mark, result } = calls.get(n) ?? {};
      if (!mark) return;
      mark.textContent = ok ? "✓" : "!";
      mark.className = ok ? "good" : "warn";
      result.textContent = text;
    },
    picture: (wanted) => element.append(picture(twin, wanted)),
    cites: ({ cites, text }) => element.append(cites.length ? h("div", { class: "row wrap small" }, h("span", { class: "muted" }, t("Used:")), cites.map((c) => cite(twin, c))) : h("p", { class: "note small" }, text)),
    error: ({ error, hint }) => element.append(h("div", { class: "trouble", role: "alert" }, h("div", {}, error), hint ? h("div", { class: "muted small" }, hint) : null)),
  };
  return {
    element,
    told(event, body) {
      const low = near(log);
      heard[event]?.(body);
      if (low) follow(log, true);
    },
    text: () => whole.trim(),
  };
}

const near = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 80;

/** Keep the newest in sight, unless somebody has scrolled up. */
function follow(log, always = false) {
  if (always || near(log)) log.scrollTop = log.scrollHeight;
}

const brief = (given) => Object.entries(given).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ").slice(0, 80);

/** A link to where what was used can be seen. What has a time in its name is seen in the replay. */
function cite(twin, { kind, id }) {
  const base = `/twins/${encodeURIComponent(twin)}`;
  const time = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)/.exec(id)?.[1];
  const text = `${t(kind.replace("_", " "))}: ${id}`;
  if (kind === "signal") return h("a", { class: "pill", href: `${base}/history?signals=${encodeURIComponent(id)}` }, id);
  if (time) return h("a", { class: "pill cut", style: { maxWidth: "100%" }, title: text, href: `${base}/replay?time=${encodeURIComponent(`${time}Z`)}` }, text);
  return h("span", { class: "pill cut", style: { maxWidth: "100%" }, title: text }, text);
}

function picture(twin, { signals, start, end, forecast }) {
  const label = signals.join(", ");
  const chart = new Chart({ label, height: 190 });
  const said = h("p", { class: "muted small", role: "status" }, t("Drawing …"));
  drawn().catch((error) => fill(said, h("span", { class: "warn" }, `${error.message}. ${error.hint ?? ""}`)));
  return h("figure", { class: "stack", style: { margin: 0 } }, chart.element, legend(...signals.map((name, i) => [name, COLOURS[i % COLOURS.length]])), said);

  async function drawn() {
    const every = Math.max(Math.round((end - start) / 1e9 / POINTS), 1);
    const [held, known, ahead] = await Promise.all([
      get(of(twin, `/history?signals=${signals.map(encodeURIComponent).join(",")}&start=${BigInt(Math.round(start))}&end=${BigInt(Math.round(end))}&every=${every}s`)),
      get(of(twin, "/signals")), forecast ? get(of(twin, "/forecasts")) : []]);
    const time = held.time.map(ms), lines = [], bands = [];
    signals.forEach((name, i) => {
      const colour = COLOURS[i % COLOURS.length], values = held.values[held.signals.indexOf(name)];
      const there = values.map((v, k) => (v === null ? -1 : k)).filter((k) => k >= 0);
      lines.push({ name, time: there.map((k) => time[k]), value: there.map((k) => values[k]), colour });
      const found = ahead.find((f) => f.signals.includes(name));
      if (!found) return;
      const level = (p) => found.values[found.signals.indexOf(name)][found.levels.indexOf(p)], later = found.time.map(ms);
      bands.push({ name: "80 %", time: later, low: level(0.1), high: level(0.9), colour, alpha: 0.2 });
      lines.push({ name: t("forecast"), time: later, value: level(0.5), colour, dash: [5, 4] });
    });
    const units = [...new Set(signals.map((name) => known.find((s) => s.name === name)?.unit).filter(Boolean))];
    chart.set({ lines, bands, unit: units.map(unit).join(", "), now: ms(end), nowText: t("newest") });
    fill(said, t("{span} up to the newest that is shown", { span: span(ms(end - start)) }));
  }
}
