"""What the service counts, as Prometheus text.

Labels hold the names of models that exist, never a caller's words, so there are as many series as models.
Source: Prometheus text exposition format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

BOUNDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: upper ends of the histogram's buckets."""

_Key = tuple[tuple[str, str], ...]
"""Labels, by name and value."""
_COUNTERS = {
    "requests": "Answers to callers.",
    "calls": "Calls of a model; callers who waited at the same moment share one.",
    "callers": "Callers answered by these calls.",
    "rows": "Series answered by these calls.",
    "call_seconds": "Time spent in these calls.",
}


class Metrics:
    """Counters and one histogram; used from the event loop only."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[_Key, float]] = {name: {} for name in _COUNTERS}
        self._buckets: dict[_Key, list[int]] = {}
        self._seconds: dict[_Key, float] = {}

    def count(self, name: str, labels: Mapping[str, str], by: float = 1) -> None:
        """Add to a counter; a label is `model`."""
        key = tuple(labels.items())
        self._counts[name][key] = self._counts[name].get(key, 0) + by

    def took(self, labels: Mapping[str, str], seconds: float) -> None:
        """Add the time of one request, from its first byte to its answer."""
        key = tuple(labels.items())
        bucket = sum(seconds > bound for bound in BOUNDS)
        self._buckets.setdefault(key, [0] * (len(BOUNDS) + 1))[bucket] += 1
        self._seconds[key] = self._seconds.get(key, 0.0) + seconds

    def text(self, waiting: int, seen: Callable[[str], bool] = lambda _: True) -> str:
        """Those of the models for which `seen(name)`; `waiting` is how many callers wait right now."""
        return "\n".join(self._lines(waiting, seen)) + "\n"

    def _lines(self, waiting: int, seen: Callable[[str], bool]) -> Iterator[str]:
        for name, what in _COUNTERS.items():
            whole = f"gemel_inference_{name}_total"
            yield from (f"# HELP {whole} {what}", f"# TYPE {whole} counter")
            yield from (
                f"{whole}{{{_labels(key)}}} {n:.10g}" for key, n in self._counts[name].items() if _of(key, seen)
            )
        whole = "gemel_inference_request_seconds"
        yield from (f"# HELP {whole} From a request to its answer.", f"# TYPE {whole} histogram")
        for held, buckets in self._buckets.items():
            if not _of(held, seen):
                continue
            key = _labels(held)
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), accumulate(buckets), strict=True):
                yield f'{whole}_bucket{{{key},le="{bound}"}} {count}'
            yield f"{whole}_sum{{{key}}} {self._seconds[held]:.10g}"
            yield f"{whole}_count{{{key}}} {sum(buckets)}"
        whole = "gemel_inference_waiting"
        yield from (f"# HELP {whole} Callers who wait.", f"# TYPE {whole} gauge", f"{whole} {waiting}")


def _of(key: _Key, seen: Callable[[str], bool]) -> bool:
    return seen(dict(key)["model"])


def _labels(key: _Key) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in key)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
