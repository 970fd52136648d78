"""How fast a file is told: plant time against the wall clock."""

from __future__ import annotations

import math

from gemel.core.clock import Wall
from gemel.core.errors import ConfigError


def speed_of(speed: str | float) -> float:
    """Times real time: 600, "600" or "600x"; 0 for "max". Raises `ConfigError`."""
    if speed == "max":
        return 0.0
    try:
        times = float(speed.removesuffix("x")) if isinstance(speed, str) else float(speed)
    except ValueError:
        times = 0.0
    if not 0 < times < math.inf:
        raise ConfigError([f"speed {speed!r} is not a speed"], 'write "max", or times real time: 600 or "600x"')
    return times


class Pace:
    """Plant time runs at `speed` from the first stamp asked about, which is due at once."""

    def __init__(self, speed: float) -> None:
        self.clock = Wall()
        self._speed = speed
        self._start, self._first = 0, 0

    def due(self, when: int) -> int:
        """The wall time, ns, at which the stamp `when` is due."""
        if not self._start:
            self._start, self._first = self.clock.now(), when
        return self._start + round((when - self._first) / self._speed) if self._speed else self._start

    def reached(self) -> int:
        """The stamp that is due now."""
        return self._first + round((self.clock.now() - self._start) * self._speed)
