"""What is physically possible for a signal. Never narrower than what was seen, but for stray points."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.discover.guess import Guess
from gemel.discover.quantities import AIR, Quantity
from gemel.discover.shape import Shape

_NOTHING = Guess(None, 0.0, "")
_NOT_BELOW_ZERO = frozenset(("energy", "flow", "current", "voltage", "pressure", "speed", "wind speed", "rain"))
_TOPS = (150, 400, 1200, 2000)  # degC, of processes


def limits_of(
    unit: str, quantity: Quantity | None, words: Sequence[str], shape: Shape
) -> tuple[Guess, Guess, tuple[str, ...]]:
    """(low, high, notes): the notes name stray points beyond a limit, which the twin will mark bad."""
    if not shape.count:
        return _NOTHING, _NOTHING, ()
    low, high = _possible(unit, quantity, words, shape)
    why = f"{quantity.name if quantity else 'this'} in {unit or 'no unit'}"
    notes = []
    if low is not None and shape.least < low:
        low = low if shape.p01 >= low else None  # too many to be stray: the limit is wrong
        notes += [] if low is None else [f"{shape.least:.4g} was seen, below low: bad"]
    if high is not None and shape.most > high:
        high = high if shape.p99 <= high else None
        notes += [] if high is None else [f"{shape.most:.4g} was seen, above high: bad"]
    return (
        _NOTHING if low is None else Guess(low, 0.8, why),
        _NOTHING if high is None else Guess(high, 0.8, why),
        tuple(notes),
    )


def _possible(
    unit: str, quantity: Quantity | None, words: Sequence[str], shape: Shape
) -> tuple[float | None, float | None]:
    if quantity is None:
        return (0, 100) if unit == "%" and shape.p99 > 1 else (None, None)
    if quantity.name == "temperature" and unit == "degC":
        if AIR & set(words) and shape.p99 < 60:
            return -60, 60
        top = next((top for top in _TOPS if top >= 1.2 * shape.p99), None)
        return -50 if shape.p01 > -40 else -273, top
    readings = [r for r in quantity.readings if r.unit == unit]
    fitting = next((r for r in readings if r.least <= shape.p01 and shape.p99 <= r.most), None)
    reading = fitting or next(iter(readings), None)
    low, high = (reading.low, reading.high) if reading else (None, None)
    if low is None and quantity.name in _NOT_BELOW_ZERO and shape.least >= 0:
        low = 0
    return low, high
