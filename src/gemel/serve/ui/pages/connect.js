// Connect your own: a file or a broker becomes a twin file that a person reads and mends, with a first forecast at once.

import { post, send } from "../lib/api.js";
import { fill, h } from "../lib/dom.js";
import { t } from "../lib/words.js";
import { proposed } from "../panels/proposed.js";

export const title = "Connect your own";

const ENDS = [".csv", ".csv.gz", ".parquet"];
const LARGEST = 64; // MiB

export async function show(content, _, frame) {
  frame.subtitle(t("Connect your own"));
  let stop = null, ended = null;
  begin();

  /** The two ways in. */
  function begin(error = null) {
    ended?.();
    ended = null;
    fill(content, h("div", { class: "narrow stack" },
      error ? h("div", { class: "trouble", role: "alert" }, h("div", {}, error.message), error.hint ? h("div", { class: "muted small" }, error.hint) : null) : null,
      file(), broker(),
      h("p", { class: "muted small" }, t("Nothing is written and nothing is sent to your plant before you say so. What you bring stays on this server."))));
  }

  function file() {
    const field = h("input", { type: "file", id: "file", accept: ".csv,.gz,.parquet", class: "hidden-text", onchange: () => field.files[0] && read(field.files[0]) });
    const zone = h("label", { class: "drop", for: "file",
      ondragover: (event) => { event.preventDefault(); zone.classList.add("over"); },
      ondragleave: () => zone.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        zone.classList.remove("over");
        if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]);
      } },
    h("strong", {}, t("Drop a data file here, or choose one")), h("span", { class: "muted small" }, t("CSV, compressed CSV (.csv.gz) or Parquet, up to {n} MiB: a column with times, and a column for each signal", { n: LARGEST })));
    return h("section", { class: "card stack", "aria-label": t("From a file") }, h("h2", {}, t("From a file")), field, zone);
  }

  function broker() {
    const url = h("input", { type: "text", id: "broker", required: true, class: "grow", placeholder: "mqtt://192.168.1.5:1883/plant/#", autocomplete: "off", spellcheck: "false" });
    const seconds = h("select", { id: "seconds" }, [[10, "10 seconds"], [30, "30 seconds"], [120, "2 minutes"], [300, "5 minutes"]].map(([value, text]) => h("option", { value }, t(text))));
    seconds.value = 30;
    return h("section", { class: "card stack", "aria-label": t("From an MQTT broker") }, h("h2", {}, t("From an MQTT broker")),
      h("form", { class: "stack", onsubmit: (event) => {
        event.preventDefault();
        listen(url.value.trim(), Number(seconds.value));
      } },
      h("div", { class: "row wrap" }, h("div", { class: "stack grow", style: { gap: "3px", minWidth: "220px" } }, h("label", { for: "broker", class: "small" }, t("Address and topic")), url),
        h("div", { class: "stack", style: { gap: "3px" } }, h("label", { for: "seconds", class: "small" }, t("Listen for")), seconds)),
      h("div", { class: "row" }, h("button", { class: "button main" }, t("Listen")))));
  }

  async function read(chosen) {
    if (!ENDS.some((end) => chosen.name.toLowerCase().endsWith(end))) return begin({ message: t("{name} is not a table this can read", { name: chosen.name }), hint: t("Take a file that ends in {ends}.", { ends: ENDS.join(", ") }) });
    if (chosen.size > LARGEST << 20) return begin({ message: t("{name} is larger than {n} MiB", { name: chosen.name, n: LARGEST }), hint: t("Take its last months, or run on the server: gemel new --from {name}", { name: chosen.name }) });
    const step = working(t("Sending {name} …", { name: chosen.name }));
    await looked(() => send(`/v1/new/discover?name=${encodeURIComponent(chosen.name)}`, chosen, (share) => {
      if (share < 1) step(share);
      else step(null, t("Reading it: names, units, limits, gaps, and a first forecast …"));
    }, stop.signal), chosen.name);
  }

  async function listen(url, seconds) {
    const step = working(t("Listening to {url} …", { url }));
    const began = performance.now();
    const timer = setInterval(() => {
      const share = (performance.now() - began) / 1000 / seconds;
      if (share < 1) step(share);
      else step(null, t("Looking at what was heard …"));
    }, 250);
    await looked(() => post("/v1/new/listen", { url, seconds }), url);
    clearInterval(timer);
  }

  /** The page while it works; answers a function that says how far it is. */
  function working(text) {
    stop = new AbortController();
    const bar = h("progress", { max: 1, "aria-label": text }), said = h("p", { role: "status" }, text);
    const mine = stop;
    fill(content, h("div", { class: "narrow" }, h("section", { class: "card stack", "aria-label": t("Connect your own") }, h("h2", {}, t("One moment")), said, bar,
      h("div", { class: "row" }, h("button", { class: "button", onclick: () => { mine.abort(); begin(); } }, t("Stop"))))));
    return (share, words) => {
      if (share === null) bar.removeAttribute("value");
      else bar.value = share;
      if (words && said.textContent !== words) said.textContent = words;
    };
  }

  async function looked(work, origin) {
    const mine = stop.signal;
    try {
      const found = await work();
      if (mine.aborted) return;
      ended = proposed(content, found, { origin, again: () => begin() });
      content.querySelector("h2")?.focus();
    } catch (error) {
      if (!mine.aborted) begin(error);
    }
  }

  return () => {
    stop?.abort();
    ended?.();
  };
}
