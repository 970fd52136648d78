"""What an FMU says about itself: its variables, its interfaces, and what of it can be driven, watched and saved.

FMI is the Functional Mock-up Interface of the Modelica Association, https://fmi-standard.org, 2.0.4 and 3.0.2.
"""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gemel.core.errors import ConfigError
from gemel.core.values import Floats

INTEGERS = ("Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")
NUMBERS = ("Real", "Float64", "Float32", "Integer", "Boolean", "Enumeration", *INTEGERS)
DESCRIPTION = "modelDescription.xml"
SERIOUS = ("logStatusWarning", "logStatusDiscard", "logStatusError", "logStatusFatal")
"""Categories of messages, as FMI names them, that are asked for."""
MOST_LOCALS = 200
"""Outputs of an FMU that declares neither outputs nor states: so many of its own variables."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable, an array in FMI 3 perhaps; `start` holds an element each, NaN where nothing is said."""

    name: str
    reference: int
    type: str
    shape: tuple[int, ...]
    start: tuple[float, ...]
    unit: str
    low: float
    high: float
    causality: str
    variability: str
    settable: bool  # before its initialisation
    exact: bool  # and is then what was set

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def numeric(self) -> bool:
        return self.type in NUMBERS

    @property
    def tunable(self) -> bool:
        """Whether it may be set while it runs."""
        return self.causality == "input" or (self.causality == "parameter" and self.variability == "tunable")

    @property
    def names(self) -> tuple[str, ...]:
        """One of each element: `level`, or `level[1]`, `level[2]`."""
        if not self.shape:
            return (self.name,)
        places = product(*(range(1, n + 1) for n in self.shape))
        return tuple(f"{self.name}[{','.join(map(str, place))}]" for place in places)


Element = tuple[Variable, int]
"""A number: an element of a variable by its place, 0 for a scalar."""


@dataclass(frozen=True, slots=True)
class Description:
    """An FMU, seen through one of its interfaces: `cs` is co-simulation, `me` model exchange."""

    name: str  # of the file
    version: int
    interface: str
    identifier: str
    token: str
    elements: Mapping[str, Element]
    texts: Mapping[str, Variable]
    skipped: tuple[str, ...]  # inputs and outputs that are no numbers
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]  # continuous ones
    saves: bool  # its state can be had as bytes
    alone: bool  # one instance a process
    any_step: bool  # communication steps may differ in length
    step: float  # seconds of the only step that it should be asked for; 0 if it does not say
    start: float  # its own time at the beginning
    tolerance: float | None
    indicators: int  # of state events
    completes: bool  # wants to be told of every completed step of the solver
    categories: tuple[str, ...]  # of messages about errors

    @property
    def complete(self) -> bool:
        """Whether its continuous states, set at a beginning, are all that it goes on from as far as it says."""
        if self.interface == "me":
            return True
        return bool(self.states) and all(n in self.elements and self.elements[n][0].exact for n in self.states)

    def start_of(self, name: str) -> float:
        """The start value of an element, NaN if there is none."""
        variable, place = self.elements[name]
        return variable.start[place]

    def first(self, state: str, given: Mapping[str, float]) -> float:
        """What a state is at the beginning, `given` some start values; NaN if only the FMU can tell."""
        if state not in self.elements or not self.elements[state][0].exact:
            return math.nan
        return given.get(state, self.start_of(state))


@dataclass(frozen=True, slots=True)
class Wiring:
    """What is asked of every instance: the names fed, watched and taught, and start values of numbers and texts."""

    fmu: Description
    folder: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    start: Mapping[str, float]
    texts: Mapping[str, str]
    step: float  # the longest communication step, seconds; 0 for none
    rtol: float


@dataclass(frozen=True, slots=True)
class Saved:
    """All that an instance is at a time: its state as the FMU writes it, and what FMI leaves to its caller."""

    state: bytes
    time: float
    target: float
    step: float
    event: float
    over: bool
    inputs: Floats


def read(path: Path, interface: str) -> Description:
    """The description of an FMU (a file, or the folder of an unpacked one); `interface` "" takes what it has."""
    name = path.name
    if not path.exists():
        raise ConfigError([f"fmu: there is no file {path}"], "path is relative to the twin file")
    try:
        from fmpy import platform, platform_tuple
        from fmpy.model_description import read_model_description
    except ImportError:
        raise ConfigError([f"fmu: {name} needs the package fmpy"], "pip install gemel[fmu]") from None
    files, said = _files(path)
    try:
        ElementTree.fromstring(said)  # FMPy leaves the file open where it is no XML
        found = read_model_description(str(path), validate=False)
        version = int(found.fmiVersion.partition(".")[0])
        has = {"cs": found.coSimulation, "me": found.modelExchange}
    except Exception as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError([f"fmu: the description of {name} cannot be read: {why}"], "export it again") from None
    chosen = interface or ("cs" if has["cs"] is not None else "me")
    side = has[chosen]
    if side is None:
        known = [kind for kind, one in has.items() if one is not None]
        text = f"only {known[0]}" if known else "neither co-simulation nor model exchange"
        raise ConfigError([f"fmu: {name} offers {text}, not interface '{chosen}'"], "leave interface out")
    here = platform_tuple if version == 3 else platform
    _runs_here(name, files, f"binaries/{here}/{side.modelIdentifier}")
    return _described(name, version, chosen, side, found)


def missing(text: str) -> str:
    """The shared library that the loader did not find, if that is what an error says."""
    found = re.search(r"([\w.+-]+\.so[\w.]*): cannot open shared object", text)
    return found[1] if found else ""


def _files(path: Path) -> tuple[set[str], bytes]:
    """The names of what is inside, and the description."""
    try:
        if path.is_dir():
            names = {p.relative_to(path).as_posix() for p in path.rglob("*")}
            return names, (path / DESCRIPTION).read_bytes()
        with zipfile.ZipFile(path) as pack:
            names = {n.replace("\\", "/") for n in pack.namelist()}  # some tools of Windows write these
            if DESCRIPTION not in names and any(n.partition("/")[2] == DESCRIPTION for n in names):
                raise ConfigError(
                    [f"fmu: {path.name} holds its {DESCRIPTION} in a folder"],
                    "zip what is in the folder, not the folder",
                )
            return names, pack.read(DESCRIPTION)
    except (KeyError, FileNotFoundError):
        raise ConfigError([f"fmu: {path.name} holds no {DESCRIPTION}: it is not an FMU"], "export it again") from None
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError) as error:
        raise ConfigError([f"fmu: {path.name} is not a readable FMU: {error}"], "an FMU is a zip file") from None


def _runs_here(name: str, files: set[str], wanted: str) -> None:
    if any(f.rpartition(".")[0] == wanted for f in files):
        return
    there = sorted({f.split("/")[1] for f in files if f.startswith("binaries/") and f.count("/") >= 2})
    source = any(f.startswith("sources/") and f.endswith(".c") for f in files)
    raise ConfigError(
        [f"fmu: {name} has no binary {wanted}; it has {', '.join(there) or 'none'}"],
        f"it brings its C sources: python -m fmpy compile {name}" if source else "export it for this platform",
    )


def _described(name: str, version: int, chosen: str, side: Any, found: Any) -> Description:
    numbers, texts, skipped = list[Variable](), dict[str, Variable](), list[str]()
    for raw in found.modelVariables:
        one = _variable(raw)
        if one.numeric and one.causality != "independent":
            numbers.append(one)
        elif one.causality in ("input", "output"):
            skipped.append(f"{one.name} ({one.type})")
        if one.type == "String":
            texts[one.name] = one
    elements = {n: (v, i) for v in numbers for i, n in enumerate(v.names)}

    def names(causality: str) -> tuple[str, ...]:
        return tuple(n for n, (v, _) in elements.items() if v.causality == causality)

    states = _states(found, version, chosen, elements)
    locals_ = [
        n for n, (v, _) in elements.items() if v.causality == "local" and v.variability in ("continuous", "discrete")
    ]
    outputs = names("output") or tuple(n for n in states if n in elements) or tuple(locals_[:MOST_LOCALS])
    experiment = found.defaultExperiment
    fixed = _number(getattr(side, "fixedInternalStepSize", None), 0.0)
    any_step = chosen == "me" or bool(side.canHandleVariableCommunicationStepSize)
    hint = _number(experiment.stepSize, 0.0) if experiment and not any_step else 0.0
    tolerance = _number(experiment.tolerance, math.nan) if experiment else math.nan
    return Description(
        name=name,
        version=version,
        interface=chosen,
        identifier=side.modelIdentifier,
        token=found.guid or "",
        elements=elements,
        texts=texts,
        skipped=tuple(skipped),
        inputs=names("input"),
        outputs=outputs,
        states=states,
        saves=bool(version > 1 and side.canGetAndSetFMUstate and side.canSerializeFMUstate),
        alone=bool(side.canBeInstantiatedOnlyOncePerProcess),
        any_step=any_step,
        step=fixed if fixed > 0 and not any_step else hint,
        start=_number(experiment.startTime, 0.0) if experiment else 0.0,
        tolerance=tolerance if tolerance > 0 else None,
        indicators=found.numberOfEventIndicators,
        completes=bool(getattr(side, "needsCompletedIntegratorStep", False)) or version == 1,
        categories=tuple(c.name for c in found.logCategories if c.name in SERIOUS) if version > 1 else (),
    )


def _states(found: Any, version: int, chosen: str, elements: Mapping[str, Element]) -> tuple[str, ...]:
    """Names of the continuous states, in their order; one whose name is not said is `state[1]`, by its place."""
    names: list[str] = []
    for unknown in found.derivatives:
        state = unknown.variable.derivative if unknown.variable is not None else None
        known = [n for n in _variable(state).names if n in elements] if state is not None else []
        names += known or [f"state[{len(names) + 1}]"]
    if version == 1 and chosen == "me":
        names = [f"state[{i + 1}]" for i in range(found.numberOfContinuousStates)]
    return tuple(names)


def _variable(raw: Any) -> Variable:
    shape = tuple(int(n) for n in raw.shape or ())
    kind = raw.declaredType
    old = raw.initial is None and raw.start is not None and raw.causality != "output"  # FMI 1.0 says no more
    may = raw.variability != "constant"
    return Variable(
        name=raw.name,
        reference=raw.valueReference,
        type=raw.type,
        shape=shape,
        start=_start(raw, math.prod(shape)),
        unit=raw.unit or (kind.unit if kind else "") or "",
        low=_number(raw.min if raw.min is not None else kind and kind.min, -math.inf),
        high=_number(raw.max if raw.max is not None else kind and kind.max, math.inf),
        causality=raw.causality,
        variability=raw.variability or "",
        settable=may and (raw.initial in ("exact", "approx") or raw.causality == "input" or old),
        exact=may and (raw.initial == "exact" or old),
    )


def _start(raw: Any, size: int) -> tuple[float, ...]:
    words = str(raw.start).split() if raw.start is not None and raw.type in NUMBERS else []
    values = [{"true": 1.0, "false": 0.0}.get(w, math.nan) if w in ("true", "false") else _number(w, math.nan)
              for w in words]  # fmt: skip
    if len(values) == 1:
        values *= size
    return tuple(values) if len(values) == size else (math.nan,) * size


def _number(text: Any, otherwise: float) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return otherwise
