"""What a user's class of equations declares, read and checked once, and its methods, whose mistakes get a place.

Shapes: t [m], x [k, m], u [u, m], p [p, m]; k states, u inputs, p parameters, m members, always last.
"""

from __future__ import annotations

import importlib.util
import math
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, GemelError, PartError, nearest
from gemel.core.units import duration
from gemel.core.values import Floats

HINT = "t, x, u and p are arrays with the members last: unpack their rows, use NumPy functions, return a row each"
KEYS = {
    "states": ("unit", "mean", "sd", "low", "high", "noise"),
    "inputs": ("unit", "mean", "sd", "low", "high", "memory"),
    "outputs": ("unit",),
    "parameters": ("unit", "mean", "sd", "low", "high", "memory"),
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """One declared name. `memory` in seconds, infinite for what never drifts; `noise` per square root of an hour; an
    input without a `mean` (NaN) is only heard, never believed."""

    name: str
    unit: str = ""
    mean: float = math.nan
    sd: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    memory: float = math.inf
    noise: float = 0.0


class Equations:
    """A user's class, made once without arguments, or a thing made already that has what such a class has. Raises
    `ConfigError` with all that is wrong with it."""

    def __init__(self, source: str | type[Any] | object, priors: Mapping[str, Any]) -> None:
        made = located(source) if isinstance(source, str) else source
        cls = made if isinstance(made, type) else type(made)
        self.name = cls.__name__
        try:
            self._user = made() if isinstance(made, type) else made
        except Exception as error:
            raise ConfigError([f"{_place(error)}: {self.name}() raised {type(error).__name__}: {error}"]) from error
        problems: list[str] = []
        asked = {n: _given(v) for n, v in priors.items()}
        self.states = _read(self._user, "states", asked, problems)
        self.inputs = _read(self._user, "inputs", asked, problems)
        self.outputs = _read(self._user, "outputs", {}, problems)
        self.parameters = _read(self._user, "parameters", asked, problems)
        believed = [q.name for q in (*self.states, *self.latent, *self.parameters)]
        problems += [f"the name '{n}' stands twice" for n in sorted({n for n in believed if believed.count(n) > 1})]
        problems += [f"priors: unknown name '{n}'{nearest(n, believed)}" for n in asked if n not in believed]
        if not callable(getattr(cls, "derivative", None)):
            problems.append("it has no method derivative(self, t, x, u, p)")
        self._shown = [i for o in self.outputs for i, s in enumerate(self.states) if s.name == o.name]
        self._own_output = callable(getattr(cls, "output", None))
        if not self._own_output:
            names = [s.name for s in self.states]
            problems += [
                f"without a method output, every output is a state, and '{o.name}' is none{nearest(o.name, names)}"
                for o in self.outputs
                if o.name not in names
            ]
        self.has_events = callable(getattr(cls, "events", None))
        if self.has_events and not callable(getattr(cls, "reset", None)):
            problems.append("it has events, but no method reset(self, event, t, x, u, p)")
        if problems:
            raise ConfigError([f"{self.name}: {p}" for p in problems], "see docs/simulate.md")
        self._try()

    @property
    def latent(self) -> tuple[Quantity, ...]:
        """Inputs with a prior: believed while they are not heard."""
        return tuple(q for q in self.inputs if not math.isnan(q.mean))

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Floats:
        """dx/dt per second, [k, m]."""
        return self._call("derivative", len(self.states), t, x, u, p)

    def output(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Floats:
        """The outputs [y, m]; those of a class without `output` are its states."""
        return self._call("output", len(self.outputs), t, x, u, p) if self._own_output else x[self._shown]

    def events(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Floats:
        """What rises through zero when something happens, [e, m]."""
        return self._call("events", None, t, x, u, p)

    def reset(self, event: int, t: Floats, x: Floats, u: Floats, p: Floats) -> Floats:
        """The states after an event, [k, m]."""
        return self._call("reset", len(self.states), event, t, x, u, p)

    def raw(self, method: str) -> Any:
        """The user's own bound method, or None: for a kernel to read."""
        return getattr(self._user, method, None)

    def _call(self, method: str, rows: int | None, *arguments: Any) -> Floats:
        m = arguments[-3].shape[1]
        try:
            with np.errstate(all="ignore"):
                found = getattr(self._user, method)(*map(_sealed, arguments))
                if isinstance(found, np.ndarray) and found.shape == (rows, m) and found.dtype == np.float64:
                    return found
                made = np.array([np.broadcast_to(row, (m,)) for row in found], np.float64).reshape(-1, m)
        except Exception as error:
            place = _place(error, *self._line(method))
            text = f"{place}: {self.name}.{method} raised {type(error).__name__}: {error}"
            raise PartError(text, HINT) from error
        if rows is not None and len(made) != rows:
            path, line = self._line(method)
            where = f"{Path(path).name}:{line}"
            raise PartError(f"{where}: {self.name}.{method} gave {len(made)} rows, {rows} are needed", HINT)
        return made

    def _line(self, method: str) -> tuple[str, int]:
        """The file and the first line of a method."""
        code = getattr(getattr(type(self._user), method), "__code__", None)
        return (code.co_filename, code.co_firstlineno) if code else (self.name, 0)

    def _try(self) -> None:
        """One call of each method with three members, so that a mistake is found when the file is read."""
        rows = [
            np.array([[0.0 if math.isnan(q.mean) else q.mean] * 3 for q in qs]).reshape(-1, 3)
            for qs in (self.states, self.inputs, self.parameters)
        ]
        t = np.zeros(3)
        try:
            self.derivative(t, rows[0], rows[1], rows[2])
            self.output(t, rows[0], rows[1], rows[2])
            if self.has_events:
                for i in range(len(self.events(t, rows[0], rows[1], rows[2]))):
                    self.reset(i, t, rows[0], rows[1], rows[2])
        except GemelError as error:
            raise ConfigError([error.message], error.hint) from error


def located(text: str) -> type[Any]:
    """The class that `folder/boiler.py:Boiler` names; the file is run as any Python."""
    path_text, _, name = text.rpartition(":")
    path = Path(path_text)
    if not path_text or not name.isidentifier():
        raise ConfigError(
            [f"ode: equations '{text}' must name a file and a class"], 'write equations = "boiler.py:Boiler"'
        )
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise ConfigError(
            [f"ode: there is no file {path}{nearest(path.name, beside)}"], "it stands beside the twin file"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError([f"ode: {path.name} is not a Python file"], 'write equations = "boiler.py:Boiler"')
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError([f"{path.name}:{error.lineno}: {error.msg}"], "mend the file") from error
    except Exception as error:
        raise ConfigError([f"{_place(error, str(path))}: {type(error).__name__}: {error}"], "mend the file") from error
    classes = [n for n, v in vars(module).items() if isinstance(v, type)]
    if name not in classes:
        raise ConfigError(
            [f"{path.name} has no class '{name}'{nearest(name, classes)}"], f"it has {', '.join(classes) or 'none'}"
        )
    found: type[Any] = getattr(module, name)
    return found


def _place(error: BaseException, path: str = "", line: int = 0) -> str:
    """`boiler.py:12`: the last line that an error went through, of the file at `path` where one is given; `line` if it
    went through none of its."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f.lineno for f in frames if f.filename == path]
    if path:
        return f"{Path(path).name}:{own[-1] if own else line}"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"


def _sealed(value: Any) -> Any:
    """An array as one that cannot be written to: `x *= 2` in a derivative would change the states themselves."""
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


def _given(value: Any) -> dict[str, Any]:
    """A declaration as a table: a text is a unit, a number a known value."""
    if isinstance(value, str):
        return {"unit": value}
    if isinstance(value, Mapping):
        return dict(value)
    return {"mean": value, "sd": 0.0}


def _read(user: Any, group: str, priors: Mapping[str, Mapping[str, Any]], problems: list[str]) -> tuple[Quantity, ...]:
    """The quantities of one group, in order, with the twin file's priors over the declared ones."""
    declared = getattr(user, group, None)
    if (declared is None or declared == {}) and group in ("inputs", "parameters"):
        return ()
    if isinstance(declared, str | bytes) or not isinstance(declared, Mapping | Sequence) or not declared:
        problems.append(f"{group} must be a table of names, such as {group} = {{'supply': 'degC'}}, not {declared!r}")
        return ()
    tables: Iterable[tuple[str, Any]] = (
        declared.items() if isinstance(declared, Mapping) else ((n, "") for n in declared)
    )
    found = []
    for name, value in tables:
        table = {**_given(value), **priors.get(name, {})}
        wrong = [k for k in table if k not in KEYS[group]]
        problems += [f"{group}: '{name}' has no key '{k}'{nearest(k, KEYS[group])}" for k in wrong]
        if not wrong:
            quantity = _quantity(group, str(name), table, problems)
            found += [quantity] if quantity else []
    return tuple(found)


def _quantity(group: str, name: str, table: Mapping[str, Any], problems: list[str]) -> Quantity | None:
    start = 0.0 if group == "states" else math.nan
    try:
        memory = table.get("memory", "never")
        q = Quantity(
            name,
            str(table.get("unit", "")),
            float(table.get("mean", start)),
            float(table.get("sd", 0.0)),
            float(table.get("low", -math.inf)),
            float(table.get("high", math.inf)),
            math.inf if memory == "never" else duration(memory) / 1e9,
            float(table.get("noise", 0.0)),
        )
    except (TypeError, ValueError, GemelError) as error:
        problems.append(f"{group}: '{name}': {getattr(error, 'message', error)}")
        return None
    if group == "parameters" and math.isnan(q.mean):
        problems.append(f"{group}: '{name}' needs a mean")
    if not q.low < q.high:
        problems.append(f"{group}: '{name}': low {q.low:g} must be below high {q.high:g}")
    elif not math.isnan(q.mean) and not q.low <= q.mean <= q.high:
        problems.append(f"{group}: '{name}': mean {q.mean:g} is outside its bounds {q.low:g} to {q.high:g}")
    if not (0 <= q.sd < math.inf and 0 <= q.noise < math.inf):
        problems.append(f"{group}: '{name}': sd and noise must be 0 or more")
    return q
