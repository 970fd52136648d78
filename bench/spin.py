"""How fast this machine is right now: a fixed integer loop in one process and in two at once.

Shared machines drift, and their steal time does not show it; a benchmark spins before and after.
"""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

_LOOP = """
import time
n, end = 0, time.perf_counter() + 0.5
began = time.perf_counter()
while time.perf_counter() < end:
    for _ in range(100_000):
        pass
    n += 100_000
print(n / (time.perf_counter() - began) / 1e6)
"""


class Spin(NamedTuple):
    """Million loops a second: of one process, and of two together."""

    one: float
    two: float

    def __str__(self) -> str:
        return f"1 process {self.one:.0f} M/s, 2 processes {self.two:.0f} M/s"


def spin() -> Spin:
    """Measure; takes about a second."""
    return Spin(_speed(1), _speed(2))


def _speed(processes: int) -> float:
    held = [
        subprocess.Popen([sys.executable, "-c", _LOOP], stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return sum(float(p.communicate()[0]) for p in held)


if __name__ == "__main__":
    print(spin())
