"""Trying what may fail: a part that raises costs its answer, not the twin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gemel.core.errors import GemelError

log = logging.getLogger("gemel")
T = TypeVar("T")


class Attempts:
    """Calls parts; `trouble` holds what went wrong since it was last cleared. Logged once on loss, once on return."""

    def __init__(self) -> None:
        self.trouble: list[str] = []
        self._kept: dict[str, Any] = {}
        self._ill: set[str] = set()

    def tried(self, name: str, call: Callable[[], T]) -> T | None:
        """What `call` answers, or None when it raised."""
        try:
            answer = call()
        except Exception as error:
            self.trouble.append(told(name, error))
            if name not in self._ill:
                log.warning("%s", self.trouble[-1], exc_info=log.isEnabledFor(logging.DEBUG))
                self._ill.add(name)
            return None
        if name in self._ill:
            log.warning("%s answers again", name)
            self._ill.discard(name)
        return answer

    def snapshot(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """The memory of every stateful part, by name; of one that cannot tell it now, the last it told."""
        held = {name: self.tried(f"memory of {name}", part.snapshot) for name, part in parts.items()}
        self._kept |= {name: memory for name, memory in held.items() if memory is not None}
        return dict(self._kept)

    def restore(self, parts: Mapping[str, Any], held: Mapping[str, Any]) -> None:
        """Give every part its memory back; one that cannot take it, or was not there then, starts fresh."""
        for name, part in parts.items():
            if name in held:
                self._kept[name] = held[name]
                self.tried(f"memory of {name}", lambda p=part, n=name: p.restore(held[n]))  # type: ignore[misc]


def told(name: str, error: BaseException) -> str:
    """An error as one line: ours as they are, others with the part that raised them."""
    return error.message if isinstance(error, GemelError) else f"{name} raised {type(error).__name__}: {error}"
