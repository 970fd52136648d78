"""Cases that people have told: kept beside the store, every version, and added to what is known.

A case makes its cause likelier wherever an asset sees the like of it; a cause that was not known before is known from
then on. A false alarm makes all causes less likely where it looks so.
"""

from __future__ import annotations

import io

import numpy as np

from gemel.core.artifact import Shelf
from gemel.core.errors import PartError
from gemel.core.values import Floats
from gemel.detectors.diagnosis.classifier import Known, Told
from gemel.detectors.diagnosis.features import FEATURES, Stretches

NAME = "diagnosis-cases"


class Taught:
    """What is known: `base`, and the cases of a twin's own shelf."""

    def __init__(self, base: Known | None, shelf: Shelf | None = None) -> None:
        self._base, self._shelf = base, shelf
        self.told: list[Told] = []
        version = shelf.promoted(NAME) if shelf is not None else ""
        if shelf is not None and version and base is not None:
            held = shelf.version(NAME, version)
            self.told = [one for one in _read(held.files["cases.npz"].read_bytes()) if len(one.seen) == len(base.scale)]
        self.known = base.with_told(self.told) if base is not None and self.told else base

    def add(self, seen: Floats, asset: int, cause: str, wide: bool) -> None:
        """One case more of what the assets see, [a, k, f]; asset -1: nothing was wrong anywhere. It counts at once.
        Raises `PartError` when it cannot be kept."""
        if self._base is None:
            raise PartError("a case cannot be added to nothing", "give the detector known cases: blank(...) is a start")
        flat = self._base.scaled(seen)
        if asset >= 0:
            made = [Told(flat[asset], cause, wide)]
        else:  # whichever asset looked ill is well
            made = [Told(flat[int(np.argmax((flat**2).sum(axis=1)))], "", wide)]
        self.told = [*self.told, *made]
        self.known = self._base.with_told(self.told)
        if self._shelf is None:
            return
        try:
            card = {"cases": len(self.told), "known": self._base.version, "causes": [one.cause for one in self.told]}
            version = self._shelf.add(NAME, {"cases.npz": _written(self.told)}, card).version
            self._shelf.promote(NAME, version)
        except OSError as error:
            raise PartError(f"the case could not be kept: {error}", "is there room beside the store?") from None


def blank(slots: tuple[str, ...], spans: Stretches, step: int) -> Known:
    """Nothing known yet, to which cases can be added."""
    size = len(slots) * len(FEATURES)
    nothing = np.empty((0, size))
    return Known(
        slots, (), frozenset(), spans, step, np.empty((2 * size, 0)), np.empty(0), np.ones(size), nothing, nothing,
        np.empty(0),
    )  # fmt: skip


def _written(told: list[Told]) -> bytes:
    held = io.BytesIO()
    np.savez_compressed(
        held, seen=np.array([one.seen for one in told], np.float32), cause=np.array([one.cause for one in told]),
        wide=np.array([one.wide for one in told]),
    )  # fmt: skip
    return held.getvalue()


def _read(written: bytes) -> list[Told]:
    with np.load(io.BytesIO(written), allow_pickle=False) as held:
        rows = zip(held["seen"], held["cause"], held["wide"], strict=True)
        return [Told(np.asarray(seen, float), str(cause), bool(wide)) for seen, cause, wide in rows]
