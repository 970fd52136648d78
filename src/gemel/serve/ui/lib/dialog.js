// A small question before something is done: a few fields, the button that does it, and what went wrong if it did.

import { fill, h } from "./dom.js";
import { t } from "./words.js";

/** Texts of durations to choose from; "" is for good. */
export const SPANS = { "15min": "15 minutes", "1h": "1 hour", "4h": "4 hours", "8h": "8 hours", "1d": "1 day", "7d": "1 week" };

/** fields: [{name, label, value, choices: {value: text}, required, most}]. `done(values)` may fail: the dialog then says why
 *  and stays open. Focus goes back to where it was. */
export function question({ title, text, fields, action, done }) {
  const held = fields.map(made);
  const wrong = h("p", { class: "bad small", role: "alert" });
  const button = h("button", { class: "button main" }, action);
  const box = h("dialog", { "aria-labelledby": "question" }, h("form", { class: "stack", onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    wrong.textContent = "";
    try {
      await done(Object.fromEntries(held.map(({ name, field }) => [name, field.value.trim()])));
      box.close();
    } catch (error) {
      button.disabled = false;
      wrong.textContent = [error.message, error.hint].filter(Boolean).join(". ");
    }
  } },
  h("h2", { id: "question", style: { fontSize: "16px" } }, title), text ? h("p", { class: "muted" }, text) : null, held.map(({ row }) => row), wrong,
  h("div", { class: "row" }, button, h("button", { class: "button plain", type: "button", onclick: () => box.close() }, t("Cancel")))));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

function made({ name, label, value = "", choices, required = true, most = 500 }) {
  const id = `question-${name}`;
  const field = choices
    ? h("select", { id }, Object.entries(choices).map(([key, text]) => h("option", { value: key }, t(text))))
    : h("input", { type: "text", id, required, maxlength: most, autocomplete: "off" });
  field.value = value;
  return { name, field, row: h("div", { class: "stack", style: { gap: "3px" } }, h("label", { for: id, class: "small" }, label), field) };
}

/** Do something that a button asked for; what goes wrong is said beside it, in `said`. */
export async function doing(button, said, done) {
  button.disabled = true;
  try {
    await done();
  } catch (error) {
    fill(said, h("span", { class: "warn" }, [error.message, error.hint].filter(Boolean).join(". ")));
  }
  button.disabled = false;
}
