// The virtual copy: what is believed of it, whether it still fits, and what it was calibrated to.

import { get, of } from "../lib/api.js";
import { card, fill, h } from "../lib/dom.js";
import { tile } from "../lib/figures.js";
import { day, ms, percent } from "../lib/format.js";
import { t } from "../lib/words.js";
import { drift, posteriors } from "../panels/beliefs.js";
import { calibrations } from "../panels/calibrations.js";

export const title = "Simulator";

const OFTEN = 60000;

export async function show(content, twin, frame) {
  const status = await frame.status();
  frame.mode(status.mode);
  frame.subtitle(t("The virtual copy: what it has learned, and whether it still fits"));
  const tiles = h("div", { class: "cards" }), believed = h("div", { class: "column" });
  let held = [], drifts = [], before = "", over = false;
  const head = () => fill(tiles, numbers(held, drifts, ms(status.turn)));
  const versions = calibrations(twin, (found) => {
    held = found;
    head();
  });

  async function again() {
    const found = await get(of(twin, "/standing"));
    const now = JSON.stringify([found.posteriors, found.innovations]);
    if (over || now === before) return; // what is looked at stays as it is
    [before, drifts] = [now, found.drift];
    fill(believed, card(t("What the twin believes"), posteriors(found.posteriors)), card(t("Drift"), drift(found.innovations, found.drift)));
    head();
  }

  await Promise.all([again(), versions.ready]);
  fill(content, h("div", { class: "column" }, tiles,
    h("div", { class: "beside" }, believed, h("div", { class: "column" }, card(t("Calibrations"), versions.element)))));
  const timer = setInterval(() => document.hidden || again().catch(() => {}), OFTEN); // asked again; a lost server is said by others
  return () => {
    clearInterval(timer);
    over = true;
    versions.end();
  };
}

function numbers(versions, drifts, now) {
  const used = versions.find((one) => one.promoted && one.fits);
  return [used ? inUse(used, now) : tile(t("Calibration"), t("none"), t("it runs on its priors")), used ? better(used.card) : null, moving(drifts)].filter(Boolean);
}

function inUse({ version, card: { expires } }, now) {
  const late = ms(expires) < now; // a replayed twin lives in another year
  return tile(t("Calibration"), version.slice(0, 6), late ? t("expired {day}", { day: day(ms(expires)) }) : t("good until {day}", { day: day(ms(expires)) }), late ? "warn" : "");
}

function better({ ratios }) {
  const share = 1 - (ratios.uncalibrated ?? NaN);
  return Number.isFinite(share) ? tile(t("Error (CRPS)"), `${share < 0 ? "+" : "−"}${percent(Math.abs(share))}`, t("beside the uncalibrated simulator"), share < 0 ? "warn" : "good") : null;
}

function moving(drift) {
  const drifting = drift.filter((d) => d.drifting), unknown = drift.filter((d) => d.p === null);
  if (drifting.length) return tile(t("Drift"), `${drifting.length} / ${drift.length}`, drifting.map((d) => d.signal).join(", "), "warn");
  if (!drift.length) return tile(t("Drift"), "–", t("no simulator to compare with"));
  return tile(t("Drift"), unknown.length === drift.length ? "–" : t("none"), unknown.length ? t("too few updates of {list}", { list: unknown.map((d) => d.signal).join(", ") }) : t("the simulator fits as well as before"));
}
