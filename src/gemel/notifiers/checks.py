"""What the constructors of notifiers check alike."""

from __future__ import annotations

import os

from gemel.core.errors import ConfigError, InputError
from gemel.core.units import duration

PATIENCE = 10.0
"""Seconds the other side may take."""


def common(least: float, gather: str) -> list[str]:
    """What is wrong with the keys that all notifiers have."""
    problems = []
    if not 0 <= least <= 1:
        problems.append(f"least {least:g} is not within 0 .. 1")
    try:
        duration(gather)
    except InputError as error:
        problems.append(f"gather: {error.message}")
    return problems


def secret(key: str, variable: str) -> str:
    """The value of an environment variable; raises `ConfigError` for one that is not set."""
    if variable not in os.environ:
        raise ConfigError([f"{key}: the environment variable {variable} is not set"], f"export {variable}=...")
    return os.environ[variable]
