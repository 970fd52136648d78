// What the window says, in English or another language. English texts are the keys.

import { zh } from "../words/zh.js";

const LANGUAGES = { en: {}, zh };
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
