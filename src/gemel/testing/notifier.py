"""A conformance check for notifiers."""

from __future__ import annotations

from collections.abc import Callable

from gemel.core.life import Action, Life
from gemel.core.notice import CHANGES, Notice, Notifier
from gemel.core.units import SECOND, duration
from gemel.core.values import Finding

START = 1_700_000_000 * SECOND


def check_notifier(make: Callable[[], Notifier], delivered: Callable[[], int], leave: Callable[[], None]) -> None:
    """Checks what `Notifier` promises; raises `AssertionError`.

    `make` gives a notifier, bound where it needs to be, of a server that takes messages; `delivered` says how many
    that server has taken; `leave` ends that server.
    """
    notifier = make()
    assert 0 <= notifier.least <= 1, "least is a severity"
    assert duration(notifier.gather) > 0, "gather is a duration"
    assert notifier.place, "it says whom it tells"
    for size in (1, 3, 1000):
        before = delivered()
        notifier.send(_notice(size))
        assert delivered() == before + 1, "a notice is one message, however long, and is taken when send returns"
    leave()
    trouble = ""
    try:
        notifier.send(_notice(1))
    except Exception as error:
        trouble = str(error)
    assert trouble, "send raises when the other side has not taken it, and says what went wrong"


def _notice(size: int) -> Notice:
    news = tuple((CHANGES[i % 3], _finding(i, CHANGES[i % 3])) for i in range(size))
    return Notice(f"notice-{size}", "plant", news, dropped=size // 500)


def _finding(i: int, change: str) -> Finding:
    opened = Action(START, "open", f"warm-{i}", "detector")
    life = Life("closed" if change == "closed" else "open", START, history=(opened,))
    text = "oil is 3 K above\nwhat the twin expects, 温度过高"
    name = f"unexpected oil\n{i}"  # a detector of somebody else may well say so
    return Finding(f"warm-{i}", name, "oil", START, START, 0.5, 0.9, text, change != "closed", {"size": 3.0}, life=life)
