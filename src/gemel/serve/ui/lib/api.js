// The public HTTP API. What goes wrong is a `Trouble` with a sentence and a hint, as the API gives them.

import { t } from "./words.js";

export class Trouble extends Error {
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** `signal` of an AbortController takes a question back. */
export const get = (path, signal) => ask("GET", path, undefined, undefined, signal);
export const post = (path, body = {}) => ask("POST", path, body);

/** The path of a question about a twin. */
export const of = (twin, rest = "") => `/v1/twins/${encodeURIComponent(twin)}${rest}`;

export async function ask(method, path, body, type = "application/json", signal = null) {
  const answer = await raw(method, path, body, type, signal);
  return answer.status === 204 ? null : answer.json();
}

/** The answer itself, for what is not JSON. */
export async function raw(method, path, body, type = "application/json", signal = null) {
  const sent = body === undefined ? {} : { body: type === "application/json" ? JSON.stringify(body) : body, headers: { "content-type": type } };
  let answer;
  try {
    answer = await fetch(path, { method, signal, ...sent });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(0, t("the twin cannot be reached"), t("is gemel serve running?"));
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) dispatchEvent(new CustomEvent("gemel-key"));
  throw new Trouble(answer.status, said.error || t("answer {status}", { status: answer.status }), said.hint || "");
}

/** Send a file; `told(share)` hears how much of it has gone. `signal` ends it. */
export function send(path, file, told, signal) {
  return new Promise((good, bad) => {
    const asked = new XMLHttpRequest(); // fetch does not tell how much has gone
    asked.open("POST", path);
    asked.responseType = "json";
    asked.setRequestHeader("content-type", "application/octet-stream");
    asked.upload.onprogress = (event) => event.lengthComputable && told(event.loaded / event.total);
    asked.onerror = () => bad(new Trouble(0, t("the twin cannot be reached"), t("is gemel serve running?")));
    asked.onabort = () => bad(new Trouble(0, t("stopped"), ""));
    asked.onload = () => {
      if (asked.status < 400) return good(asked.response);
      if (asked.status === 401) dispatchEvent(new CustomEvent("gemel-key"));
      bad(new Trouble(asked.status, asked.response?.error || t("answer {status}", { status: asked.status }), asked.response?.hint || ""));
    };
    signal?.addEventListener("abort", () => asked.abort());
    asked.send(file);
  });
}

/** Server-sent events of an answer, as they come: calls `told(event, value)`. */
export async function events(path, body, told, signal) {
  const answer = await raw("POST", path, body, "application/json", signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const name = /^event: ?(.*)$/m.exec(part)?.[1] || "message";
      const text = [...part.matchAll(/^data: ?(.*)$/gm)].map((m) => m[1]).join("\n");
      if (text) told(name, JSON.parse(text));
    }
  }
}
