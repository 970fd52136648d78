"""Values: what they refuse, and their views."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gemel.core.errors import ConfigError, InputError
from gemel.core.values import Batch, Belief, Forecast, Frame, Signal, Signals


def test_a_signal_names_everything_that_is_wrong_with_it() -> None:
    with pytest.raises(ConfigError) as caught:
        Signal("oil", type="numbr", role="sensed", low=5, high=1, slew=0)
    assert len(caught.value.problems) == 4
    assert all("'oil'" in line for line in caught.value.problems)
    with pytest.raises(ConfigError, match="safe 99 is outside its own limits"):
        Signal("fan", low=0, high=2, safe=99)


def test_limits_include_their_ends_and_never_nan() -> None:
    fan = Signal("fan", low=0, high=2)
    assert [fan.within(v) for v in (0, 2, -0.1, 2.1, math.nan)] == [True, True, False, False, False]
    assert Signal("free").within(-1e9)


def test_signals_are_found_by_name_place_and_address() -> None:
    signals = Signals(
        [
            Signal("oil", address="plant:tx1/row#oil"),
            Signal("load", address="plant:tx1/row#load"),
            Signal("fan", address="plant:tx1/fan"),
            Signal("price", address="market:da"),
        ]
    )
    assert signals.place("fan") == 2
    assert signals.at("plant") == {"tx1/row": [(0, "oil"), (1, "load")], "tx1/fan": [(2, "")]}
    with pytest.raises(InputError, match="unknown signal 'lod', did you mean 'load'"):
        signals.place("lod")
    with pytest.raises(ConfigError, match="signal 'oil' is declared twice"):
        Signals([Signal("oil"), Signal("oil")])


def test_a_batch_defaults_and_takes() -> None:
    batch = Batch.of([0, 1, 0], [1, 2, 3], [5, 6, 7], sequence=9)
    assert batch.received.tolist() == [1, 2, 3]
    part = batch.take(batch.signal == 0)
    assert (part.value.tolist(), part.sequence, len(part)) == ([5.0, 7.0], 9, 2)


def test_views_of_frames_beliefs_and_forecasts() -> None:
    frame = Frame(np.arange(4), np.arange(8.0).reshape(4, 2), np.zeros((4, 2), np.uint8), ("a", "b"))
    assert frame.only(["b"]).last(2).column("b").tolist() == [5.0, 7.0]
    table = frame.to_arrow()
    assert table.column_names == ["time", "a", "b"]
    belief = Belief(("x",), np.array([[1.0, 3.0]]), 0)
    assert (belief.mean(), belief.row("x").tolist()) == ({"x": 2.0}, [1.0, 3.0])
    assert belief.spread()["x"] == pytest.approx(math.sqrt(2))
    forecast = Forecast(np.arange(1), (0.1, 0.9), np.array([[[0.0, 8.0]]], np.float32), ("a",), 0)
    assert forecast.median("a").tolist() == [4.0]
    with pytest.raises(InputError, match="no forecast of 'z'"):
        forecast.of("z")
