"""What a decision says of itself: figures against doing nothing, and one sentence.

Doing nothing means that every control stays where it is. Both plans see the same futures, so their difference is taken
future by future and holds no luck of the draw.

Letters: c controls, b blocks, m members, t times, r constraints. A plan is an array [b, c].
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from gemel.core.units import spell
from gemel.core.values import Finding, Floats, Signals
from gemel.policies.trial import Outcome, Trial

_SIGNS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}


def expected(trial: Trial, outcome: Outcome) -> dict[str, float]:
    """The figures of a plan; `outcome` holds the plan and, second, what comes of doing nothing.

    objective, objective if held: over the horizon, mean of the members. saving, saving 5%, saving 95%: of the plan
    against doing nothing, mean and quantiles over the members. P(saves): share of them in which it costs less.
    P(RULE), P(RULE) if held: share that keeps one constraint at every step, each by its text; with several, P(all)
    too. P(better): share in which the plan keeps all constraints where doing nothing does not, or costs less and
    breaks none that doing nothing keeps. members: how many there were. tightened by: caution in force, if any.
    """
    cost, held = outcome.cost
    with np.errstate(invalid="ignore"):
        saving = held - cost  # [m]
    kept = outcome.margin >= 0  # [r, p, m]
    keeps, before = kept[:, 0].all(axis=0), kept[:, 1].all(axis=0)  # [m]
    better = (keeps & ~before) | ((keeps == before) & (saving > 0))
    low, mean, high = np.quantile(saving, 0.05), saving.mean(), np.quantile(saving, 0.95)
    found = {"saving": mean, "saving 5%": low, "saving 95%": high, "P(saves)": (saving > 0).mean()}
    for rule, share in zip((r.text for r in trial.constraints), kept.mean(axis=2), strict=True):
        found |= {f"P({rule})": share[0], f"P({rule}) if held": share[1]}
    if len(trial.constraints) > 1:
        found |= {"P(all)": keeps.mean(), "P(all) if held": before.mean()}
    found |= {"P(better)": better.mean(), "objective": cost.mean(), "objective if held": held.mean()}
    found["members"] = len(saving)
    if trial.caution:
        found["tightened by"] = trial.caution
    return {name: float(value) for name, value in found.items()}


def sentence(
    trial: Trial,
    plan: Floats,
    held: Floats,
    figures: Mapping[str, float],
    signals: Signals,
    allowed: bool,
    currency: str = "",
) -> str:
    """What is to be done, from when, and why: `held` is the plan that does nothing."""
    changes = bool(np.any(plan != held))
    moves = [_course(trial, plan[:, i], i, signals) for i in range(len(trial.choices))]
    text = " and ".join(moves) or "There is nothing to control"
    text = text[0].upper() + text[1:]
    return text + _why(trial, figures, signals, changes, allowed, currency)


def carried(name: str, load: float, signals: Signals) -> str:
    """How much of an input is safe, as a sentence."""
    return f" A {name} of up to {_value(name, load, signals)} is safe."


def noted(findings: Sequence[Finding], caution: float) -> str:
    """What was found and taken into account, as a sentence; empty when nothing was."""
    if not findings:
        return ""
    tightened = f" (limits tightened by {caution:g})" if caution else ""
    return f" Taken into account: {', '.join(dict.fromkeys(f.name for f in findings))}{tightened}."


def _course(trial: Trial, values: Floats, i: int, signals: Signals) -> str:
    """One control: what it is set to now, and what comes next."""
    name, now = trial.choices[i].name, float(values[0])
    stays = abs(now - trial.present[i]) < 1e-9
    text = (
        f"keep {name} at {_value(name, now, signals)}" if stays else f"set {name} to {_value(name, now, signals)} now"
    )
    later = np.flatnonzero(values != values[0])
    if len(later):
        first = int(np.flatnonzero(trial.block == later[0])[0]) * round(trial.step_s * 1e9)
        text += f", then to {_value(name, float(values[later[0]]), signals)} in {spell(first)}"
    return text


def _why(
    trial: Trial, figures: Mapping[str, float], signals: Signals, changes: bool, allowed: bool, currency: str
) -> str:
    rules = [_plain(r.text, signals) for r in trial.constraints]
    saving, low, high = (figures[f"saving{end}"] for end in ("", " 5%", " 95%"))
    said = [f"{' and '.join(rules)} in {_chance(figures, trial, changes, allowed)}"] if rules else []
    if changes and saving:
        ends, verb, more = ((low, high), "saves", "") if saving > 0 else ((-high, -low), "costs", " more")
        span = spell(round(len(trial.block) * trial.step_s * 1e9))
        between = f" ({ends[0]:.3g} to {ends[1]:.3g})" if high - low > 1e-9 else ""
        said.append(f"this {verb} {abs(saving):.3g}{between}{currency and f' {currency}'}{more} over {span}")
    return f"{'' if allowed else ', the safest there is'}{': ' if said else ''}{', and '.join(said)}."


def _chance(figures: Mapping[str, float], trial: Trial, changes: bool, allowed: bool) -> str:
    key = "P(all)" if len(trial.constraints) > 1 else f"P({trial.constraints[0].text})"
    text = f"{'' if allowed else 'only '}{figures[key]:.0%} of futures"
    before = figures[f"{key} if held"]
    return f"{text} instead of {before:.0%}" if changes and before != figures[key] else text


def _plain(rule: str, signals: Signals) -> str:
    """`winding < 98` as `winding stays below 98 degC`; what is not so simple is left as it is."""
    found = re.fullmatch(r"\s*(\w+)\s*(<=?|>=?)\s*([\d.+-]+)\s*", rule)
    if not found:
        return f"{rule} holds"
    unit = signals.named(found[1]).unit if found[1] in signals else ""
    return f"{found[1]} stays {_SIGNS[found[2]]} {found[3]}{unit and ' ' + unit}"


def _value(name: str, value: float, signals: Signals) -> str:
    """With its unit, or the word for a state."""
    if name not in signals:
        return f"{value:g}"
    signal = signals.named(name)
    if signal.states and value == int(value) and 0 <= value < len(signal.states):
        return signal.states[int(value)]
    return f"{value:.4g}{signal.unit and ' ' + signal.unit}"
