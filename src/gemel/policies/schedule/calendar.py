"""Open and closed time of a machine."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from gemel.policies.schedule.problem import Window

FAR = 2**40


def merged(windows: Iterable[Window]) -> list[Window]:
    """Sorted, with those that touch or overlap made one, empty ones left out."""
    found: list[Window] = []
    for start, end in sorted(w for w in windows if w[0] < w[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def openings(closed: Sequence[Window], since: int = 0) -> list[Window]:
    """What is left between merged closures from `since` on; the last one has no end."""
    found, at = [], since
    for start, end in closed:
        if end <= at:
            continue
        if start > at:
            found.append((at, start))
        at = end
    return [*found, (at, FAR)]


def fit(closed: Sequence[Window], since: int, work: int, resumable: bool) -> Window:
    """The first start at or after `since`, and the end, of `work` ticks between merged closures."""
    i = bisect_right(closed, since, key=lambda w: w[1])  # the first closure that is not over
    at, left, begun = since, work, -1
    while True:
        ends = closed[i][0] if i < len(closed) else FAR
        if at < ends:
            if at + left <= ends:
                return (at if begun < 0 else begun), at + left
            if resumable:
                begun = at if begun < 0 else begun
                left -= ends - at
        elif not work and at == ends:
            return at, at
        at, i = closed[i][1], i + 1


def starts(closed: Sequence[Window], work: int, since: int, until: int, resumable: bool) -> list[tuple[int, int, int]]:
    """Every start in [since, until], as rows (first, last, pause): from first to last the operation is interrupted for
    the same number of ticks."""
    found = []
    free = openings(closed, since)
    for i, (opens, closes) in enumerate(free):
        if opens > until:
            break
        if not resumable or not work:
            if opens <= (last := min(closes - work, until)):
                found.append((opens, last, 0))
            continue
        pause = 0
        for j in range(i, len(free)):  # it ends in the opening j
            start, end = free[j]
            pause += start - free[j - 1][1] if j > i else 0
            first = opens if j == i else max(opens, start + 1 - work - pause)
            last = min(closes - 1, end - work - pause, until)
            if first <= last:
                found.append((first, last, pause))
            if end - work - pause >= closes - 1:
                break
    return found


def worked(closed: Sequence[Window], start: int, end: int) -> int:
    """Open ticks in [start, end)."""
    return end - start - sum(max(0, min(end, b) - max(start, a)) for a, b in closed)
