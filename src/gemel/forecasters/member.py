"""Forecasters inside forecasters: built from their dicts, bound, taught, and their memory kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from gemel.core.errors import ConfigError
from gemel.core.registry import build
from gemel.core.setting import Bound, Setting
from gemel.core.values import Frame
from gemel.loop.forecast import Forecaster, Learning
from gemel.loop.process import Stateful


def member(spec: Forecaster | Mapping[str, Any], where: str) -> Forecaster:
    """A forecaster as it is, or built from `{kind = "theta", ...}`; a `ConfigError` names `where`."""
    if not isinstance(spec, Mapping):
        return spec
    try:
        return cast(Forecaster, build("forecasters", spec))
    except ConfigError as error:
        raise ConfigError([f"{where}: {line}" for line in error.problems], error.hint) from None


def bind(members: Sequence[Forecaster], setting: Setting) -> None:
    """Tell the setting to each that wants to know."""
    for one in members:
        if isinstance(one, Bound):
            one.bind(setting)


def teach(members: Sequence[Forecaster], frame: Frame) -> None:
    """Show the truth to each that learns."""
    for one in members:
        if isinstance(one, Learning):
            one.learn(frame)


def memories(members: Sequence[Forecaster]) -> list[Mapping[str, Any]]:
    """A snapshot of each; empty for one without a memory."""
    return [one.snapshot() if isinstance(one, Stateful) else {} for one in members]


def remember(members: Sequence[Forecaster], states: Sequence[Mapping[str, Any]]) -> None:
    """Give each its memory back."""
    for one, state in zip(members, states, strict=True):
        if isinstance(one, Stateful):
            one.restore(state)
