"""What a pack says of its demo: a frozen value; `gemel demo NAME` does the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from gemel.core.errors import InputError, nearest
from gemel.packs.doors import Ticking

DEMOS = {
    "transformer": "gemel.packs.energy",
    "line": "gemel.packs.manufacturing",
}
"""Demo -> the package that holds its twin file `NAME.toml`, its `plan.svg`, and a `Demo` called `DEMO` in `demo.py`."""


@dataclass(frozen=True)
class Demo:
    """`name`; `plant`: makes the emulated plant, with a past; `past`: how long that is, for people; `topic` it is heard
    on; `headline`: the signal drawn large; `folder` for its files; `next`: what to try afterwards, `{file}` stands for
    the twin file; `board`: signals on the screen of the terminal, none: all; `beside`: files that the twin file names.
    """

    name: str
    plant: Callable[[], Ticking]
    past: str
    topic: str
    headline: str
    folder: str
    next: tuple[str, ...]
    board: tuple[str, ...] = ()
    beside: tuple[str, ...] = ("plan.svg",)

    @property
    def package(self) -> str:
        """Where its files are."""
        return DEMOS[self.name]


def demo(name: str) -> Demo:
    """The demo of that name; raises `InputError` naming those there are."""
    if name not in DEMOS:
        raise InputError(f"there is no demo '{name}'{nearest(name, DEMOS)}", f"there are: {', '.join(DEMOS)}")
    found: Demo = import_module(f"{DEMOS[name]}.demo").DEMO
    return found
