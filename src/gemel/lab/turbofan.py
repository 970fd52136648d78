"""C-MAPSS text files as their readme says: 26 columns, unit, cycle, three settings of operation, 21 sensors.

Data: Saxena, Goebel, Simon and Eklund 2008, "Damage propagation modeling for aircraft engine run-to-failure
simulation", PHM08. What a training engine has left is counted back from its last cycle; of a test engine it stands in
the file `RUL_...` beside it.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gemel.core.errors import InputError
from gemel.core.values import Floats, Ints

Turbofan = tuple[tuple[str, ...], Ints, Floats, Floats, tuple[str, ...], Floats, npt.NDArray[np.str_]]
"""Units, unit [n], cycle [n], sensors [n, 21], their names, cycles left [n], condition [n]."""


def is_turbofan(path: Path) -> bool:
    """Whether a file is named as these are."""
    return re.fullmatch(r"(train|test)_\w+\.txt(\.gz)?", path.name) is not None


def beside(path: Path) -> Path | None:
    """The test file that belongs to a training file, if it is there."""
    other = path.with_name(path.name.replace("train_", "test_", 1))
    return other if other != path and other.exists() and is_turbofan(path) else None


def turbofan(path: Path) -> Turbofan:
    """One file. Raises `InputError` for a file of another shape, and for a test file without its lives."""
    rows = _numbers(path)
    if rows.ndim != 2 or rows.shape[1] != 26:
        raise InputError(f"{path} has {rows.shape[-1]} columns, not 26", "give a file of C-MAPSS, or a CSV")
    known, unit = np.unique(rows[:, 0].astype(int), return_inverse=True)
    last = np.zeros(len(known))
    np.maximum.at(last, unit, rows[:, 1])
    if path.name.startswith("test_"):
        lives = path.with_name(path.name.replace("test_", "RUL_", 1))
        if not lives.exists():
            raise InputError(f"there is no {lives.name} beside {path.name}", "it says what each test engine had left")
        left = np.atleast_1d(_numbers(lives))
        if len(left) != len(known):
            raise InputError(f"{lives.name} has {len(left)} lives for {len(known)} engines", "take both of one set")
        last = last + left
    settings = rows[:, [2, 4]].round(0) + 0.0  # -0 is 0; the second setting goes with these two
    condition = np.array(["/".join(f"{x:g}" for x in row) for row in settings])
    return (
        tuple(str(u) for u in known), unit.astype(np.int32), rows[:, 1], rows[:, 5:],
        tuple(f"s{i}" for i in range(1, 22)), last[unit] - rows[:, 1], condition,
    )  # fmt: skip


def _numbers(path: Path) -> Floats:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            return np.loadtxt(file)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}", "a text file of numbers, spaces between them") from None
