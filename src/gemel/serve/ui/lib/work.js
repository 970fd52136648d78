// Work of some minutes on the server, told step by step: a bar, a line of text, and what came of it.

import { events } from "./api.js";
import { fill, h } from "./dom.js";
import { t } from "./words.js";

/** `begin(url, body, ended)`: `ended(value)` says what came of it, as text or element. `end()` stops listening. */
export function work(label) {
  const said = h("div", { class: "small", role: "status" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": label });
  const left = new AbortController();

  async function begin(url, body, ended) {
    bar.hidden = false;
    bar.removeAttribute("value"); // until the first step is told
    said.textContent = t("Reading the history …");
    try {
      await events(url, body, (event, value) => {
        if (event === "progress") {
          bar.max = Math.max(value.of, 1);
          bar.value = value.done;
          said.textContent = value.text;
        } else fill(said, event === "done" ? ended(value) : h("span", { class: "warn" }, `${value.error}. ${value.hint}`));
      }, left.signal);
    } catch (error) {
      if (!left.signal.aborted) throw error;
    } finally {
      bar.hidden = true;
    }
  }

  return { bar, said, begin, end: () => left.abort() };
}
