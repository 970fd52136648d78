// What a person does about a finding: has seen it, puts it aside for a time, closes it, works on the thing it is about.

import { get, of, post } from "../lib/api.js";
import { question, SPANS } from "../lib/dialog.js";
import { fill, h, toast } from "../lib/dom.js";
import { moment, ms } from "../lib/format.js";
import { said as sentence, t } from "../lib/words.js";

const WHY = () => ({ name: "note", label: t("Why") });
const LONG = (value) => ({ name: "span", label: t("For how long (plant time)"), choices: SPANS, value });

/** The buttons of a finding: for `findings`. */
export function life(live, changed = () => {}) {
  const said = async (word, found, body = {}) => {
    live.found(await post(of(live.twin, `/findings/${word}`), { findings: [found.id], ...body }));
  };
  const button = (kind, text, onclick) => h("button", { class: `button little ${kind}`, onclick }, t(text));
  const ask = (text, title, why, action, fields, done) => button("plain", text, () => question({ title, text: why, fields, action, done }));
  const at = (found) => ({ what: sentence(found.name), subject: found.subject });

  return (found) => {
    const state = found.life?.state;
    if (!found.open || !state || ["closed", "maintenance"].includes(state)) return null;
    const back = (text) => button("plain", text, () => said("reopen", found).catch(failed));
    if (state === "shelved") return back("Bring it back");
    return [
      state === "open" ? button("outline", "Acknowledge", () => said("acknowledge", found).catch(failed)) : back("Take back"),
      ask("Shelve", t("Shelve “{what}” ({subject})", at(found)), t("It does not ring meanwhile, and comes back by itself."), t("Shelve"), [LONG("8h"), WHY()], (given) => said("shelve", found, given)),
      ask("Close", t("Close “{what}” ({subject})", at(found)), t("If the twin still sees it after that time, it comes back."), t("Close"),
        [WHY(), { name: "again", label: t("Look again after"), choices: SPANS, value: "1h" }], (given) => said("resolve", found, given)),
      ask("Maintenance", t("Maintenance of {subject}", at(found)), t("What is found about it is kept and shown, but does not ring."), t("Begin"), [LONG("8h"), WHY()], async (given) => {
        await post(of(live.twin, "/maintenance"), { subject: found.subject, ...given });
        await Promise.all([again(live), changed()]);
      }),
    ];
  };
}

/** The maintenance windows that are or will be: {element, ask}. Nothing is shown when there are none. */
export function windows(live) {
  const element = h("div", { class: "stack small" });
  let listed = [], shown = "";
  const ask = async () => {
    listed = await get(of(live.twin, "/maintenance")).catch(() => []);
    draw();
  };

  function draw() {
    const left = listed.filter((w) => ms(w.until) > live.now);
    if (JSON.stringify(left) !== shown) fill(element, left.map(row));
    shown = JSON.stringify(left);
  }

  const row = (w) => h("div", { class: "note spread" },
    h("span", {}, t("Maintenance of {subject}", { subject: w.subject }), " · ", t("until {time}", { time: moment(ms(w.until)) }), ` · ${w.by} · ${w.note}`),
    h("button", { class: "button little plain", style: { flex: "none" }, onclick: async () => {
      try {
        listed = await post(of(live.twin, "/maintenance/end"), { id: w.id });
        draw();
        await again(live);
      } catch (error) {
        failed(error);
      }
    } }, t("End it now")));

  ask();
  live.on("findings values", draw);
  return { element, ask };
}

/** All findings anew: what is said of an asset is about more than one. */
async function again(live) {
  const found = await get(of(live.twin, "/findings"));
  live.findings = [];
  live.found(found);
}

function failed(error) {
  toast([error.message, error.hint].filter(Boolean).join(". "), "trouble");
}
