"""C-MAPSS text files as their readme says: 26 columns, unit, cycle, three settings of operation, 21 sensors.

Data: Saxena, Goebel, Simon and Eklund 2008, "Damage propagation modeling for aircraft engine run-to-failure
simulation", PHM08. What a training engine has left is counted back from its last cycle; of a test engine it stands in
the file `RUL_...` beside it.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Floats, Ints

SENSORS = tuple(f"s{i}" for i in range(1, 22))


@dataclass(frozen=True)
class Engines:
    """A file's rows, those of an engine together."""

    names: tuple[str, ...]  # [u]
    unit: Ints  # [n], places in `names`
    cycle: Floats  # [n]
    settings: Floats  # [n, 3]
    sensors: Floats  # [n, 21], s1 to s21
    left: Floats  # [n], cycles


def is_turbofan(path: Path) -> bool:
    """Whether a file is named as these are."""
    return re.fullmatch(r"(train|test)_\w+\.txt(\.gz)?", path.name) is not None


def beside(path: Path) -> Path | None:
    """The test file that belongs to a training file, if it is there."""
    other = path.with_name(path.name.replace("train_", "test_", 1))
    return other if other != path and other.exists() and is_turbofan(path) else None


def turbofan(path: Path) -> Engines:
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
    names = tuple(str(u) for u in known)
    return Engines(names, unit.astype(np.int32), rows[:, 1], rows[:, 2:5], rows[:, 5:], last[unit] - rows[:, 1])


def _numbers(path: Path) -> Floats:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            return np.loadtxt(file)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}", "a text file of numbers, spaces between them") from None
