"""Arithmetic that people write in a twin file: `"0.08 * fan_kw + 40 * ageing"`, `"hot_spot < 110"`.

Names, numbers, `+ - * / **`, comparisons, `and or not`, and `abs min max sqrt exp log where`. Nothing else is
evaluated, so a twin file cannot run code.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gemel.core.errors import InputError, nearest

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "min": lambda *a: _fold(np.minimum, a),
    "max": lambda *a: _fold(np.maximum, a),
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "where": np.where,
}
_ALLOWED = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.Call, ast.Name, ast.Constant, ast.Load,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or,
    ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq,
)  # fmt: skip


class Expression:
    """A parsed expression; `names` are the quantities it needs. Call it with a mapping of numbers or arrays."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except SyntaxError as error:
            raise InputError(f"'{text}' is not an expression: {error.msg}") from None
        names = set()
        for node in ast.walk(tree):
            if not isinstance(node, _ALLOWED):
                raise InputError(f"'{text}': {type(node).__name__} is not allowed in an expression")
            if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
                raise InputError(f"'{text}': {node.value!r} is not a number")
            if isinstance(node, ast.Constant):
                node.value = _float(text, node.value)  # whole numbers have no largest: 9**9**9 would never end
            if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS):
                raise InputError(f"'{text}': only {', '.join(_FUNCTIONS)} can be called")
            if isinstance(node, ast.Name) and node.id not in _FUNCTIONS:
                names.add(node.id)
        self.names = tuple(sorted(names))
        self._code = compile(tree, "<expression>", "eval")

    def __call__(self, values: Mapping[str, Any]) -> Any:
        missing = [n for n in self.names if n not in values]
        if missing:
            raise InputError(f"'{self.text}': unknown name '{missing[0]}'{nearest(missing[0], values)}")
        return eval(self._code, {"__builtins__": {}}, {**_FUNCTIONS, **{n: values[n] for n in self.names}})


def compare(text: str, values: Mapping[str, float]) -> bool:
    """Whether a condition holds; a missing or NaN quantity makes it false."""
    condition = Expression(text)
    if any(not np.isfinite(values.get(n, np.nan)) for n in condition.names):
        return False
    return bool(condition(values))


def _float(text: str, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"'{text[:40]}': a number in it is too large") from None


def _fold(function: Callable[[Any, Any], Any], values: tuple[Any, ...]) -> Any:
    result = values[0]
    for value in values[1:]:
        result = function(result, value)
    return result
