"""Functions of single numbers that numba can run on a machine's vectors; imported only where numba is.

`exp` and `tanh` of the standard library are calls, and one call in a loop keeps the whole loop from being vectorised.
These are arithmetic only: 1 ulp or so for `exp`, and an absolute error of 3e-16 for `tanh`.
"""

from __future__ import annotations

import math
from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

VERSION = numba.__version__


@intrinsic  # type: ignore[untyped-decorator]
def _power_of_two(context: Any, shifted: Any) -> Any:
    """2^k of `k + 1.5 * 2^52`, which has k in its low bits: they are moved to where a float has its exponent."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = ir.IntType(64)
        bits = builder.shl(builder.bitcast(arguments[0], whole), whole(52))
        return builder.bitcast(builder.add(bits, whole(1023 << 52)), ir.DoubleType())

    return types.float64(types.float64), generate


@numba.njit(forceinline=True, fastmath={"contract"}, error_model="numpy")  # type: ignore[untyped-decorator]
def _exp(x: float) -> float:
    x = -708.0 if x < -708.0 else (709.0 if x > 709.0 else x)
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    k = shifted - 6755399441055744.0
    # k ln 2 in two parts, so that what is left of x is exact; then the series of exp
    r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10
    s = 1.0 / 6227020800.0
    s = s * r + 1.0 / 479001600.0
    s = s * r + 1.0 / 39916800.0
    s = s * r + 1.0 / 3628800.0
    s = s * r + 1.0 / 362880.0
    s = s * r + 1.0 / 40320.0
    s = s * r + 1.0 / 5040.0
    s = s * r + 1.0 / 720.0
    s = s * r + 1.0 / 120.0
    s = s * r + 1.0 / 24.0
    s = s * r + 1.0 / 6.0
    s = s * r + 0.5
    s = s * r + 1.0
    return (s * r + 1.0) * _power_of_two(shifted)


@numba.njit(forceinline=True, fastmath={"contract"}, error_model="numpy")  # type: ignore[untyped-decorator]
def _tanh(x: float) -> float:
    x = -20.0 if x < -20.0 else (20.0 if x > 20.0 else x)
    e = _exp(2.0 * x)
    return (e - 1.0) / (e + 1.0)


def functions(keep: bool) -> dict[str, Any]:
    """The names that a kernel's text uses; `keep` what is compiled for the next start."""
    plain = ("log", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "atan", "asin", "acos", "floor", "ceil")
    fast = numba.njit(fastmath={"contract"}, error_model="numpy", nogil=True, cache=keep)
    return {**{n: getattr(math, n) for n in plain}, "exp": _exp, "tanh": _tanh, "abs": abs, "pow": pow, "njit": fast}
