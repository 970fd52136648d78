"""The twin file: what it says, and what it says when it is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gemel
from gemel.core.errors import ConfigError, InputError

HARBOUR = """
name = "harbour"
every = "5min"
horizon = "12h"
mode = "advise"
seed = 7
plan = "plan.svg"
clock = { kind = "data", lateness = "30min", timeout = "2h" }
assets = [ { id = "boiler", kind = "boiler" } ]
signals = [
  { name = "supply", unit = "degC", low = 0, high = 110, address = "plant:#supply", asset = "boiler" },
  { name = "burner", unit = "kW", role = "controlled", low = 0, high = 20, safe = 0 },
]
connectors.plant = { kind = "replay", path = "rows.csv", zone = "Europe/Berlin" }
transforms = [ { kind = "limits" }, { kind = "hampel", window = 9 } ]
store = { kind = "memory" }
forecaster = { kind = "seasonal_naive", every = "1h", step = "15min", context = "7d", budget = "2s", neighbour = { kind = "naive" }, report = ["supply"] }
"""  # noqa: E501


def load(text: str) -> gemel.Twin:
    return gemel.load(text)


def test_a_file_says_what_python_says():
    twin = load(HARBOUR)
    assert (twin.name, twin.every, twin.horizon, twin.mode, twin.seed) == ("harbour", "5min", "12h", "advise", 7)
    assert twin.signals.named("burner").safe == 0
    assert twin.forecaster is not None
    assert twin.forecaster.every == 3600 * 10**9
    assert twin.forecaster.budget == 2.0
    assert type(twin.forecaster.neighbour).__name__ == "Naive"


def test_dump_and_load_agree():
    text = gemel.dump(load(HARBOUR))
    assert gemel.dump(load(text)) == text
    assert 'zone = "Europe/Berlin"' in text
    assert "window = 9" in text
    assert 'plan = "plan.svg"' in text


def test_a_twin_made_in_python_can_be_written_to_a_file():
    from gemel.forecasters.naive import Naive
    from gemel.stores.memory import Memory

    twin = gemel.Twin(
        name="small",
        signals=[gemel.Signal("x", unit="K")],
        store=Memory(),
        forecaster=gemel.Stage(Naive(), every=60 * 10**9),
    )
    again = load(gemel.dump(twin))
    assert gemel.dump(again) == gemel.dump(twin)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return caught.value.problems


def test_all_problems_are_reported_together_each_with_its_place():
    text = HARBOUR.replace("mode =", "mood =").replace("window = 9", "windw = 9").replace("high = 110", 'high = "110"')
    found = problems(text)
    assert "mood: unknown key, did you mean 'mode'?" in found
    assert "transforms[1]: unknown key 'windw' for transforms kind 'hampel', did you mean 'window'?" in found
    assert "signals.supply.high: a number is needed, not '110'" in found


def test_an_unknown_kind_names_the_nearest():
    (found,) = problems(HARBOUR.replace('kind = "limits"', 'kind = "limit"'))
    assert found == "transforms[0]: unknown kind 'limit' in transforms, did you mean 'limits'?"


def test_a_missing_name_and_a_wrong_duration():
    found = problems(HARBOUR.replace('name = "harbour"', "").replace('every = "5min"', 'every = "5 parsecs"'))
    assert "name: is missing" in found
    (found,) = problems(HARBOUR.replace('every = "5min"', 'every = "5 parsecs"'))
    assert found == "every: '5 parsecs' is not a duration"


def test_an_address_without_connector():
    (found,) = problems(HARBOUR.replace('"plant:#supply"', '"plnt:#supply"'))
    assert found == "signals.supply.address: there is no connector 'plnt', did you mean 'plant'?"


def test_two_signals_of_one_name_and_a_safe_value_outside_its_limits():
    found = problems(HARBOUR.replace('name = "burner"', 'name = "supply"').replace("safe = 0", "safe = 30"))
    assert "signals.supply: signal 'supply': safe 30 is outside its own limits" in found


def test_text_that_is_not_toml():
    (found,) = problems("name = harbour\nevery = 3")
    assert found.startswith("not valid TOML")


def test_a_file_that_is_not_there():
    with pytest.raises(InputError, match=r"there is no file nowhere\.toml"):
        gemel.open(Path("nowhere.toml"))


def test_an_estimator_needs_a_simulator():
    (found,) = problems(HARBOUR + 'estimator = { kind = "enkf", noise = { supply = 0.5 } }\n')
    assert found == "estimator: it needs a simulator; add simulator = { kind = ... }"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("clock = { kind", "clock = 5\nspare = { kind", "clock: a text or a table is needed, not 5"),
        ("clock = { kind", 'clock = { kind = ["data"] }\nspare = { kind', "clock: unknown clock '['data']'"),
        ('lateness = "30min"', "lateness = [5]", "clock: [5] is not a duration"),
        ("transforms = [", "transforms = 5\nspare = [", "transforms: a list is needed, not 5"),
        ("transforms = [", 'transforms = "limits"\nspare = [', "transforms: a list is needed, not 'limits'"),
        ('name = "supply"', 'name = ["supply"]', "signals[0].name: a text is needed, not ['supply']"),
        ('"plant:#supply"', "5", "signals.supply.address: a text is needed, not 5"),
        ('"plant:#supply"', '"plant"', "signals.supply.address: 'plant' does not say where: "),
        ('unit = "degC"', 'every = "5 parsecs"', "signals.supply.every: '5 parsecs' is not a duration"),
        ('unit = "degC"', 'states = "off"', "signals.supply.states: a list of texts is needed, not 'off'"),
        ("high = 110", "high = true", "signals.supply.high: a number is needed, not True"),
        ('id = "boiler"', 'id = "boiler", attributes = 5', "assets.boiler.attributes: a table is needed, not 5"),
        ('report = ["supply"]', "report = 5", "forecaster.report: a list of texts is needed, not 5"),
        ('report = ["supply"]', 'report = "supply"', "forecaster.report: a list of texts is needed, not 'supply'"),
        ('report = ["supply"]', "view = 5", "forecaster.view: a list is needed, not 5"),
        ("seed = 7", "seed = true", "seed: a whole number is needed, not True"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_place(old: str, new: str, problem: str):
    assert HARBOUR.count(old) == 1
    assert any(line.startswith(problem) for line in problems(HARBOUR.replace(old, new)))


def test_signals_that_are_no_list():
    assert problems('name = "x"\nsignals = 5') == ["signals: a list is needed, not 5"]


def test_names_with_spaces_and_numbers_of_numpy_can_be_written():
    text = HARBOUR.replace("connectors.plant", 'connectors."boiler 1"').replace('"plant:#', '"boiler 1:#')
    twin = load(text)
    twin.transforms[1].window = np.int64(11)
    twin.forecaster.budget = np.float64(1.5)
    signals = [gemel.Signal("x", low=np.float64(1.5), high=np.float32(2.5))]
    small = gemel.Twin(name="small", signals=signals, store=gemel.load(HARBOUR).store)
    assert load(gemel.dump(twin)).transforms[1].window == 11
    assert load(gemel.dump(small)).signals.named("x").high == 2.5


def test_what_the_environment_says_is_not_written_to_a_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "xyzzy")
    twin = load(HARBOUR.replace('"rows.csv"', '"${SECRET}/rows.csv"'))
    assert twin.connectors["plant"].path == "xyzzy/rows.csv"
    text = gemel.dump(twin)
    assert "xyzzy" not in text
    assert 'path = "${SECRET}/rows.csv"' in text
    assert gemel.dump(load(text)) == text
