"""Messages people read."""

from __future__ import annotations

import pytest

from gemel.core import errors
from gemel.core.errors import ConfigError, GemelError, StoreBusy, StoreError, nearest


def test_a_message_carries_its_hint() -> None:
    error = GemelError("the disk is full", "make space")
    assert str(error) == "the disk is full (make space)"
    assert (error.message, error.hint) == ("the disk is full", "make space")
    assert str(GemelError("gone")) == "gone"


def test_problems_of_a_file_are_told_together_with_its_place() -> None:
    one = ConfigError(["every: not a duration"], "see docs", where="plant.toml")
    assert str(one) == "plant.toml: every: not a duration (see docs)"
    two = ConfigError(["a: x", "b: y"])
    assert str(two) == "2 problems\n  a: x\n  b: y"
    assert two.problems == ["a: x", "b: y"]


def test_one_tree() -> None:
    found = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert all(issubclass(c, GemelError) for c in found)
    assert issubclass(StoreBusy, StoreError)
    assert all(c.__name__ in (errors.__doc__ or "") for c in found)


@pytest.mark.parametrize(("word", "said"), [("suply", ", did you mean 'supply'?"), ("xyz", "")])
def test_nearest(word: str, said: str) -> None:
    assert nearest(word, ["supply", "burner"]) == said
