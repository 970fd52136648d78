// What the window says, in English or another language. English texts are the keys.

import { sentences } from "../words/sentences.js";
import { zh } from "../words/zh.js";

const LANGUAGES = { en: {}, zh };
const SENTENCES = { en: [], zh: sentences };
const wished = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");

export let language = LANGUAGES[wished] ? wished : "en";

export function speak(name) {
  language = name;
  localStorage.setItem("language", name);
  document.documentElement.lang = name;
}

/** A text with {names} filled in. */
export function t(english, values) {
  const text = LANGUAGES[language][english] ?? english;
  return values ? text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "") : text;
}

/** A sentence or name that the engine made. What no pattern knows stays as it is: a signal's name, a person's note. */
export function said(text) {
  if (text?.includes(" ") && LANGUAGES[language][text]) return LANGUAGES[language][text]; // a signal may be called "load"
  for (const [pattern, meant] of SENTENCES[language]) {
    const found = pattern.exec(text);
    if (found) return typeof meant === "string" ? meant.replace(/\$(\d)/g, (_, k) => said(found[k] ?? "")) : meant(said, ...found.slice(1));
  }
  return text;
}
