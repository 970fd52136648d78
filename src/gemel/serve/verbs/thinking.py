"""Verbs that think ahead and change nothing: a forecast, a what-if, what the policy would do."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from gemel.core.units import instant_id
from gemel.core.values import Forecast
from gemel.serve.verbs.looking import FEW, decision_row
from gemel.serve.verbs.plain import ROWS, cited, fan, found, spaced, when
from gemel.serve.verbs.verb import Asked, OfTwin

STEPS = 24


class Ahead(OfTwin):
    signals: list[str] = Field(default=[], description="Only these signals. Empty: all.", max_length=FEW)
    horizon: str = Field(default="", description='How far: "6h". Empty: the twin\'s own horizon.', max_length=40)


class WhatIf(OfTwin):
    setpoints: dict[str, float] = Field(
        description="Inputs held from now on, by name; describe lists them as what_if_inputs.", max_length=50
    )
    horizon: str = Field(default="6h", description='How far: "6h".', max_length=40)


async def forecast(asked: Asked, given: Ahead) -> dict[str, Any]:
    """A fresh forecast."""
    one = asked.one
    ahead: Forecast = await one.ask("forecast", horizon=given.horizon or None)
    wanted = [found(said, ahead.signals, "forecast of") for said in given.signals]
    names = wanted or list(ahead.signals)[:FEW]
    units = {s.name: s.unit for s in one.twin.signals}
    return {
        **fan(ahead, names, units, max(min(STEPS, ROWS // len(names)), 4)),
        "not_shown": 0 if wanted else len(ahead.signals) - len(names),
        "cites": cited("forecast", [ahead.id or f"forecast-{instant_id(ahead.issued)}"]) + cited("signal", names),
    }


async def what_if(asked: Asked, given: WhatIf) -> dict[str, Any]:
    """The simulator's outputs as things stand, and with setpoints held."""
    one = asked.one
    inputs = list(one.twin.simulator.inputs) if one.twin.simulator else []
    setpoints = {found(said, inputs, "input") if inputs else said: v for said, v in given.setpoints.items()}
    asis, changed = await one.ask("whatif", horizon=given.horizon, setpoints=setpoints)
    names = list(asis.signals)[:FEW]
    units = {s.name: s.unit for s in one.twin.signals}
    places = spaced(len(asis), max(min(STEPS, ROWS // max(len(names), 1)), 4))

    def column(name: str) -> dict[str, Any]:
        before, after = asis.median(name), changed.median(name)
        return {
            "signal": name,
            "unit": units.get(name, ""),
            "as_it_is": before[places],
            "changed": after[places],
            "changed_low": changed.quantile(name, changed.levels[0])[places],
            "changed_high": changed.quantile(name, changed.levels[-1])[places],
            "difference": {"mean": np.mean(after - before), "end": after[-1] - before[-1]},
            "highest": {"as_it_is": before.max(), "changed": after.max()},
            "lowest": {"as_it_is": before.min(), "changed": after.min()},
        }

    held = " ".join(f"{name}={value:g}" for name, value in setpoints.items())
    return {
        "held": [{"signal": name, "value": value} for name, value in setpoints.items()],
        "between": [changed.levels[0], changed.levels[-1]],
        "time": [when(int(asis.time[i])) for i in places],
        "signals": [column(name) for name in names],
        "cites": cited("what_if", [f"what-if {held} at {instant_id(asis.issued)}"])
        + cited("signal", [n for n in (*setpoints, *names) if n in one.twin.signals]),
    }


async def recommend(asked: Asked, _: OfTwin) -> dict[str, Any]:
    """What the policy would do now; nothing is kept or sent."""
    one = asked.one
    decision = await one.ask("decide")
    row = decision_row(decision)
    return {
        "commands": row["commands"],
        "expected": row["expected"],
        "refused": row["refused"],
        "reason": row["reason"],
        "rests_on": decision.because,
        "cites": cited("basis", decision.because) + cited("signal", [c.signal for c in decision.commands]),
    }
