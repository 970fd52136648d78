"""Forecasters inside forecasters: built from their dicts, bound, taught, and their memory kept."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

from gemel.core.errors import ConfigError, nearest
from gemel.core.registry import part
from gemel.core.values import Frame
from gemel.loop.acquire import Bound, Setting
from gemel.loop.forecast import Forecaster, Learning
from gemel.loop.process import Stateful


def member(spec: Forecaster | Mapping[str, Any], where: str) -> Forecaster:
    """A forecaster as it is, or built from `{kind = "theta", ...}`; raises `ConfigError` naming the place."""
    if not isinstance(spec, Mapping):
        return spec
    keys = {str(k): v for k, v in spec.items() if k != "kind"}
    if "kind" not in spec:
        raise ConfigError([f"{where}: a forecaster needs a kind"], '{ kind = "theta" }')
    cls = part("forecasters", str(spec["kind"]))
    known = [name for name in inspect.signature(cls).parameters if name != "self"]
    unknown = [f"{where}: unknown key '{k}' of {spec['kind']}{nearest(k, known)}" for k in keys if k not in known]
    if unknown:
        raise ConfigError(unknown, f"known: {', '.join(known) or 'none'}")
    return cast(Forecaster, cls(**keys))


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
