"""The twin file of the demo, run on the virtual clock against the emulated transformer."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.slow
def test_both_faults_are_found_and_change_the_decision() -> None:
    text = rehearsal(history="8d", fan_fails="56h", sensor_drifts="59h")  # after the two days a detector warms up
    twin = load(text)
    assert twin.forecaster
    assert twin.policy
    twin.forecaster.every, twin.policy.every = duration("12h"), duration("1h")
    findings: dict[str, Finding] = {}
    decisions: dict[int, Decision] = {}

    def watch(loop: Any) -> None:
        findings.update({f.name: f for f in loop.state.findings if f.name not in findings})
        if loop.state.decision:
            decisions[loop.state.decision.time] = loop.state.decision

    start = instant(START)
    twin.run(until=start + duration("62h"), watch=watch)

    assert set(findings) == {"fan failed", "oil sensor drifts"}
    for name, hours in (("fan failed", 56), ("oil sensor drifts", 59)):
        since = findings[name].time - start - hours * duration("1h")
        assert 0 <= since <= duration("2h"), name
        decided = decisions[findings[name].time]  # a finding does not wait for the next hour
        before = decisions[max(t for t in decisions if t < decided.time)]
        assert limit(decided) < limit(before), name
        assert findings[name].id in decided.because
    last = decisions[max(decisions)]
    assert "fan failed, oil sensor drifts (limits tightened by 3)" in last.reason


def limit(decision: Decision) -> float:
    return next(c.value for c in decision.commands if c.signal == "load_limit")


@pytest.mark.slow
def test_two_runs_with_one_seed_write_identical_stores(tmp_path: Path) -> None:
    digests = []
    for name in ("first", "second"):
        text = rehearsal(history="1d").replace('kind = "memory"', f'kind = "duckdb", path = "{tmp_path / name}.gemel"')
        twin = load(text)
        twin.run(until=instant(START) + duration("2h"))
        with twin.open():
            assert twin.status()["acks"]["done"] >= 6
            digests.append(twin.store.digest())
    assert digests[0] == digests[1]
