// What a person does about a finding: has seen it, puts it aside for a time, closes it, works on the thing it is about.

import { get, of, post } from "../lib/api.js";
import { question, SPANS } from "../lib/dialog.js";
import { fill, h, toast } from "../lib/dom.js";
import { moment, ms } from "../lib/format.js";
import { t } from "../lib/words.js";

const WHY = () => ({ name: "note", label: t("Why") });
const LONG = (value) => ({ name: "span", label: t("For how long (plant time)"), choices: SPANS, value });

/** The buttons of a finding: for `findings`. */
export function life(live, changed = () => {}) {
  const said = async (word, found, body = {}) => {
    merged(live, await post(of(live.twin, `/findings/${word}`), { findings: [found.id], ...body }));
  };
  const button = (kind, text, onclick) => h("button", { class: `button little ${kind}`, onclick }, t(text));
  const ask = (text, title, why, action, fields, done) => button("plain", text, () => question({ title, text: why, fields, action, done }));
  const at = (found) => ({ what: t(found.name), subject: found.subject });

  return (found) => {
    const state = found.life?.state;
    if (!found.open || !state || state === "closed") return null;
    if (state === "maintenance") return null;
    const back = (text) => button("plain", text, () => said("reopen", found).catch(failed));
    if (state === "shelved") return back("Bring it back");
    return [
      state === "open" ? button("outline", "Acknowledge", () => said("acknowledge", found).catch(failed)) : back("Take back"),
      ask("Shelve", t("Shelve “{what}” ({subject})", at(found)), t("It does not ring meanwhile, and comes back by itself."), t("Shelve"), [LONG("8h"), WHY()], (given) => said("shelve", found, given)),
      ask("Close", t("Close “{what}” ({subject})", at(found)), t("If the twin still sees it after that time, it comes back."), t("Close"),
        [WHY(), { name: "again", label: t("Look again after"), choices: SPANS, value: "1h" }], (given) => said("resolve", found, given)),
      ask("Maintenance", t("Maintenance of {subject}", at(found)), t("What is found about it is kept and shown, but does not ring."), t("Begin"), [LONG("8h"), WHY()], async (given) => {
        await post(of(live.twin, "/maintenance"), { subject: found.subject, ...given });
        await Promise.all([live.lives(), changed()]);
      }),
    ];
  };
}

/** The maintenance windows that are or will be: {element, ask}. Nothing is shown when there are none. */
export function windows(live) {
  const element = h("div", { class: "stack small" });
  const drawn = (listed) => fill(element, listed.map((w) => h("div", { class: "note spread" },
    h("span", {}, t("Maintenance of {subject}", { subject: w.subject }), " · ", t("until {time}", { time: moment(ms(w.until)) }), ` · ${w.by} · ${w.note}`),
    h("button", { class: "button little plain", style: { flex: "none" }, onclick: async () => {
      drawn(await post(of(live.twin, "/maintenance/end"), { id: w.id }).catch((error) => failed(error) ?? listed));
      live.lives();
    } }, t("End it now")))));
  const ask = async () => drawn(await get(of(live.twin, "/maintenance")).catch(() => []));
  ask();
  return { element, ask };
}

function merged(live, changed) {
  const held = new Map(live.findings.map((f) => [f.id, f]));
  for (const f of changed) held.set(f.id, f);
  live.findings = [...held.values()].filter((f) => f.open && f.life?.state !== "closed");
  live.tell("findings");
}

function failed(error) {
  toast([error.message, error.hint].filter(Boolean).join(". "), "trouble");
}
