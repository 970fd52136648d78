"""The twin file of the demo, run on the virtual clock against the emulated transformer."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from gemel.config import dump, load
from gemel.core.units import duration, instant
from gemel.core.values import Decision, Finding

START = "2025-05-20T10:00"
TEXT = resources.files("gemel.packs.energy").joinpath("transformer.toml").read_text(encoding="utf-8")


def rehearsal(**plant: Any) -> str:
    """The file with the plant in place of the broker."""
    keys = "".join(f", {k} = {v!r}" for k, v in plant.items()).replace("'", '"')
    text = re.sub(r"connectors\.plant = .*", f'connectors.plant = {{ kind = "transformer"{keys} }}', TEXT)
    text = re.sub(r"clock = .*", f'clock = {{ kind = "virtual", start = "{START}" }}', text)
    return re.sub(r"store = .*", 'store = { kind = "memory" }', text)


def test_the_file_loads_and_is_written_back() -> None:
    twin = load(TEXT)
    assert twin.mode == "auto"
    assert dump(load(dump(twin))) == dump(twin)


def test_both_faults_are_found_and_change_the_decision() -> None:
    twin = load(rehearsal(history="10d", fan_fails="2h", sensor_drifts="3h"))
    findings: dict[str, Finding] = {}
    decisions: dict[str, Decision] = {}

    def watch(loop: Any) -> None:
        findings.update({f.name: f for f in loop.state.findings if f.name not in findings})
        if loop.state.decision:
            decisions[loop.state.decision.id] = loop.state.decision

    start = instant(START)
    twin.run(until=start + duration("4.75h"), watch=watch)

    assert set(findings) == {"fan failed", "oil sensor drifts"}
    for name, hours in (("fan failed", 2.0), ("oil sensor drifts", 3.0)):
        since = findings[name].time - start - round(hours * duration("1h"))
        assert 0 <= since <= duration("2h"), name
    limits = {
        d.time: next(c.value for c in d.commands if c.signal == "load_limit") for d in decisions.values() if d.commands
    }

    def mean(begin: int, end: int) -> float:
        inside = [v for t, v in limits.items() if begin <= t <= end]
        return sum(inside) / len(inside)

    fan, oil = findings["fan failed"].time, findings["oil sensor drifts"].time
    healthy = mean(start, fan - duration("30min"))
    assert mean(fan, oil - 1) < healthy - 1
    assert mean(oil, oil + duration("1h")) < mean(oil - duration("1h"), oil - 1) - 0.5
    last = max(decisions.values(), key=lambda d: d.time)
    assert {f.id for f in findings.values()} <= set(last.because)
    assert "fan failed, oil sensor drifts (limits tightened by 3)" in last.reason
