"""Arithmetic from a twin file: right, and nothing but arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gemel.core.errors import InputError
from gemel.core.expression import Expression, compare


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.08 * fan + 40 * age", 0.08 * 2 + 40 * 0.5),
        ("-fan ** 2", -4.0),
        ("max(fan, age, 3) - min(fan, age)", 2.5),
        ("where(fan > 1, 10, 20)", 10),
        ("sqrt(abs(-16)) / exp(log(2))", 2.0),
        ("fan > 1 and not age > 1", True),
        ("0 < age < 1", True),
    ],
)
def test_arithmetic(text: str, expected: float) -> None:
    assert Expression(text)({"fan": 2.0, "age": 0.5}) == pytest.approx(expected)


def test_arrays_are_taken_element_by_element() -> None:
    found = Expression("max(a, 2) * b")({"a": np.array([1.0, 3.0]), "b": np.array([[1.0], [10.0]])})
    assert found.tolist() == [[2.0, 3.0], [20.0, 30.0]]
    assert Expression("a + log(b)").names == ("a", "b")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__",
        "a.real",
        "a[0]",
        "[x for x in a]",
        "(lambda: 1)()",
        "print(1)",
        "eval(a)",
        "f'{a}'",
        "'text'",
        "a := 3",
        "open",
        "a if b else c",
        "{1: 2}",
        "*a",
        "9 ** 9 ** 9 ** 9; 1",
        "a +",
        "",
        "True.__class__",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Expression(text)({"a": 1.0, "b": 1.0, "c": 1.0})


def test_an_unknown_name_is_told_with_its_neighbour() -> None:
    with pytest.raises(InputError, match="unknown name 'oill', did you mean 'oil'"):
        Expression("oill + 1")({"oil": 1.0})


def test_a_condition_on_what_is_missing_does_not_hold() -> None:
    assert compare("oil < 95", {"oil": 80.0})
    assert not compare("oil < 95", {"oil": 96.0})
    assert not compare("oil < 95", {"oil": math.nan})
    assert not compare("oil < 95", {})
