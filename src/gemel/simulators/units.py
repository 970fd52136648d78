"""Whether a twin's signals are in the units that a simulator counts in."""

from __future__ import annotations

from collections.abc import Mapping

from gemel.core.errors import ConfigError, GemelError
from gemel.core.units import conversion
from gemel.core.values import Signals


def agree(by: str, signals: Signals, wanted: Mapping[str, str], says: str, lenient: bool = False) -> None:
    """Raise `ConfigError` where signals named like a simulator's inputs and outputs have other units than it.

    `wanted`: name -> unit ("": any). `says`: who wants them, as in "the equations say". `lenient`: a unit that nobody
    knows is no problem.
    """
    problems = []
    for name, want in wanted.items():
        have = signals.named(name).unit if name in signals else ""
        if not have or not want or have == want or (lenient and not (_known(have) and _known(want))):
            continue
        try:
            conversion(have, want)
            text = "differs"
        except GemelError as error:
            text = error.message
        problems.append(f"{by}: signal '{name}' is in {have}, {says} {want}: {text}")
    if problems:
        raise ConfigError(problems, "convert the signal: transforms = [{ kind = 'units', ... }]")


def _known(unit: str) -> bool:
    """Whether a unit is one that can be converted at all."""
    try:
        conversion(unit, "1" if unit != "1" else "%")
    except GemelError as error:
        return "cannot be converted" not in error.message
    return True
