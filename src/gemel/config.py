"""The twin file. The constructor is the schema: a key of a part is an argument of its class, by the same name.

`load` reads TOML into a `Twin`, and `dump` writes one back. All problems of a file are reported together, each with its
place. Secrets are named by environment variable only (`password_env`).
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.clock import CLOCKS
from gemel.core.errors import ConfigError, GemelError, InputError, nearest
from gemel.core.registry import build, kind_of
from gemel.core.setting import Stage
from gemel.core.units import duration
from gemel.core.values import Asset, Signal
from gemel.desk import plan
from gemel.fetch import home
from gemel.twin import Twin

# key of the file -> wing
PARTS = {
    "store": "stores",
    "simulator": "simulators",
    "estimator": "estimators",
    "forecaster": "forecasters",
    "policy": "policies",
}
STAGES = ("estimator", "forecaster", "policy")
# annotation of a signal's or an asset's key -> what its value must be
_NEEDED: dict[str, tuple[Any, str]] = {
    "str": (str, "a text"),
    "float | None": ((int, float), "a number"),
    "Sequence": ((list, tuple), "a list of texts"),
    "Mapping": (Mapping, "a table"),
}
# kind -> a key that names a file which the part's constructor reads: a relative one starts beside the twin file
BESIDE = {"ode": "equations", "fmu": "path"}
STAGE_KEYS = ("every", "step", "context", "budget", "neighbour", "view", "report")


def open(path: str | Path) -> Twin:
    """The twin of a file; asks the running one when there is one. Raises `ConfigError` or `InputError`."""
    return load(path)


def load(source: str | Path, folder: str | Path = ".") -> Twin:
    """A twin from a path, or from the text of a twin file (anything with a line break) that belongs in `folder`."""
    if isinstance(source, str) and "\n" in source:
        return from_spec(_parsed(source, "twin file"), Path(folder))
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"there is no file {path}", "write one, or start from an example: gemel demo") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    twin = from_spec(_parsed(text, str(path)), path.parent, str(path))
    if twin.plan:
        plan.read(twin.folder / twin.plan, twin.signals, twin.assets)
    return twin


def from_spec(spec: Mapping[str, Any], folder: Path, where: str = "twin file") -> Twin:
    """A twin from plain nested tables, as TOML gives them."""
    problems = _Problems(folder)
    known = [name for name in inspect.signature(Twin).parameters if name != "folder"]
    for key in spec:
        if key not in known:
            problems.add(key, f"unknown key{nearest(key, known)}")
    made: dict[str, Any] = {"folder": folder}
    for key in ("name", "every", "horizon", "mode", "plan"):
        if key in spec:
            made[key] = spec[key]
            if not isinstance(spec[key], str):
                problems.add(key, f"a text is needed, not {spec[key]!r}")
    if not isinstance(seed := spec.get("seed", 0), int) or isinstance(seed, bool):
        problems.add("seed", f"a whole number is needed, not {seed!r}")
    made["seed"] = seed
    made["signals"] = _rows(spec, "signals", Signal, problems)
    made["assets"] = _rows(spec, "assets", Asset, problems)
    made["clock"] = problems.tried("clock", lambda: _clock(spec.get("clock", "wall")))
    made["connectors"] = {
        name: problems.part(f"connectors.{name}", "connectors", table)
        for name, table in _table(spec, "connectors", problems).items()
    }
    for key in ("transforms", "detectors", "notifiers"):
        made[key] = [
            problems.part(f"{key}[{i}]", key, t) for i, t in enumerate(problems.listed(key, spec.get(key, ())))
        ]
    for key, wing in PARTS.items():
        if key in spec:
            made[key] = _stage(key, spec[key], problems) if key in STAGES else problems.part(key, wing, spec[key])
    for key in ("name", "signals"):
        if key not in spec:
            problems.add(key, "is missing")
    if problems.lines:
        raise ConfigError(problems.lines, problems.hint, where=where)
    try:
        return Twin(**made)
    except ConfigError as error:
        raise ConfigError(error.problems, error.hint, where=where) from None


def dump(twin: Twin) -> str:
    """The twin file of a twin."""
    out = [f"{key} = {_toml(getattr(twin, key))}" for key in ("name", "every", "horizon", "mode", "seed")]
    out.append(f"clock = {_toml(_clock_spec(twin.clock))}")
    if twin.plan:
        out.append(f"plan = {_toml(twin.plan)}")
    if twin.assets:
        out += ["assets = [", *(f"  {_toml(_row(a))}," for a in twin.assets), "]"]
    out += ["signals = [", *(f"  {_toml(_row(s))}," for s in twin.signals), "]"]
    for name, part in twin.connectors.items():
        out.append(f"connectors.{_key(name)} = {_toml(spec_of('connectors', part))}")
    for key in ("transforms", "detectors", "notifiers"):
        if parts := getattr(twin, key):
            out += [f"{key} = [", *(f"  {_toml(spec_of(key, p))}," for p in parts), "]"]
    for key, wing in PARTS.items():
        held = getattr(twin, key)
        if isinstance(held, Stage):
            out.append(f"{key} = {_toml(spec_of(wing, held.part) | _stage_spec(held))}")
        elif held is not None:
            out.append(f"{key} = {_toml(spec_of(wing, held))}")
    return "\n".join(out) + "\n"


def spec_of(wing: str, part: Any) -> dict[str, Any]:
    """`{kind = ..., key = value}` of a part: what its constructor was given."""
    given = getattr(part, "spec", None)
    if given is None:
        given = {n: getattr(part, n) for n in inspect.signature(type(part)).parameters if hasattr(part, n)}
    return {"kind": kind_of(wing, part), **{k: _nested(wing, v) for k, v in given.items() if v is not None}}


def _nested(wing: str, value: Any) -> Any:
    """A part inside a part (a member of a pool) is of the same wing."""
    if isinstance(value, list | tuple):
        return [_nested(wing, v) for v in value]
    if isinstance(value, Mapping):
        return {k: _nested(wing, v) for k, v in value.items()}
    return spec_of(wing, value) if hasattr(value, "spec") else value


class _Problems:
    """Collects what is wrong, so that a person mends a file once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.hint = ""

    def add(self, place: str, text: str) -> None:
        self.lines.append(f"{place}: {text}")

    def tried(self, place: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except ConfigError as error:
            for line in error.problems:
                self.add(place, line)
            self.hint = self.hint or error.hint
        except GemelError as error:
            self.add(place, error.message)
            self.hint = self.hint or error.hint
        return None

    def part(self, place: str, wing: str, table: Any) -> Any:
        if not isinstance(table, Mapping):
            self.add(place, f'a table such as {{ kind = "..." }} is needed, not {table!r}')
            return None
        full = _expanded(table, self.folder)
        made = self.tried(place, lambda: build(wing, full))
        if made is not None and full != table:  # `dump` writes `${NAME}` again, not what it stood for
            made.spec = {k: v for k, v in table.items() if k != "kind"}
        return made

    def listed(self, place: str, held: Any, of: type[Any] = object) -> Sequence[Any]:
        if isinstance(held, Sequence) and not isinstance(held, str) and all(isinstance(v, of) for v in held):
            return held
        self.add(place, f"a list{' of texts' if of is str else ''} is needed, not {held!r}")
        return ()


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            [f"not valid TOML: {error}"], "strings need quotes, tables need { } or [ ]", where=where
        ) from None


def _table(spec: Mapping[str, Any], key: str, problems: _Problems) -> Mapping[str, Any]:
    found = spec.get(key, {})
    if not isinstance(found, Mapping):
        problems.add(key, "a table of name = { kind = ... } is needed")
        return {}
    return found


def _rows(spec: Mapping[str, Any], key: str, cls: type[Any], problems: _Problems) -> list[Any]:
    made = []
    known = {f.name: str(f.type) for f in dataclasses.fields(cls)}
    for i, row in enumerate(problems.listed(key, spec.get(key, ()))):
        if not isinstance(row, Mapping):
            problems.add(f"{key}[{i}]", f"a table is needed, not {row!r}")
            continue
        name = row.get("name") or row.get("id")
        place = f"{key}.{name}" if isinstance(name, str) else f"{key}[{i}]"
        wrong = {k: text for k, value in row.items() if (text := _wrong(k, value, known))}
        for k, text in wrong.items():
            problems.add(f"{place}.{k}", text)
        if not wrong:
            made.append(problems.tried(place, lambda row=row: cls(**row)))  # type: ignore[misc]
    return [m for m in made if m is not None]


def _wrong(key: str, value: Any, known: Mapping[str, str]) -> str:
    """What is wrong with one cell of a row, if anything; `known` are the keys and their annotations."""
    if key not in known:
        return f"unknown key{nearest(key, known)}"
    types, name = _NEEDED.get(known[key].partition("[")[0], (object, ""))
    if not isinstance(value, types) or isinstance(value, bool):
        return f"{name} is needed, not {value!r}"
    if key == "states" and not all(isinstance(v, str) for v in value):
        return f"a list of texts is needed, not {value!r}"
    if key == "address" and value and not value.partition(":")[2]:
        return f"'{value}' does not say where: write connector:address, such as \"plant:boiler/1#supply\""
    if key == "every" and value:
        try:
            duration(value)
        except InputError as error:
            return error.message
    return ""


def _stage(key: str, table: Any, problems: _Problems) -> Any:
    if not isinstance(table, Mapping):
        problems.add(key, f'a table such as {{ kind = "..." }} is needed, not {table!r}')
        return None
    part = problems.part(key, PARTS[key], {k: v for k, v in table.items() if k not in STAGE_KEYS})
    given: dict[str, Any] = {
        name: problems.tried(f"{key}.{name}", lambda n=name: duration(table[n]))  # type: ignore[misc]
        for name in ("every", "step", "context")
        if name in table
    }
    if "budget" in table:
        budget = problems.tried(f"{key}.budget", lambda: duration(table["budget"]))
        given["budget"] = (budget or 0) / 1e9
    if "neighbour" in table:
        given["neighbour"] = problems.part(f"{key}.neighbour", "forecasters", table["neighbour"])
    views = problems.listed(f"{key}.view", table.get("view", ()))
    given["view"] = [problems.part(f"{key}.view[{i}]", "transforms", v) for i, v in enumerate(views)]
    given["report"] = tuple(problems.listed(f"{key}.report", table.get("report", ()), of=str))
    return Stage(part, **given)


def _stage_spec(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("every", "step", "context"):
        if value := getattr(stage, name):
            found[name] = f"{value / 1e9:.9g}s"
    if stage.budget:
        found["budget"] = f"{stage.budget:g}s"
    if stage.neighbour:
        found["neighbour"] = spec_of("forecasters", stage.neighbour)
    if stage.view:
        found["view"] = [spec_of("transforms", v) for v in stage.view]
    if stage.report:
        found["report"] = list(stage.report)
    return found


def _clock(spec: Any) -> Any:
    if not isinstance(spec, str | Mapping):
        raise ConfigError([f"a text or a table is needed, not {spec!r}"], f"known: {', '.join(CLOCKS)}")
    table = {"kind": spec} if isinstance(spec, str) else dict(spec)
    kind = table.pop("kind", "wall")
    if not isinstance(kind, str) or kind not in CLOCKS:
        raise ConfigError([f"unknown clock '{kind}'{nearest(str(kind), CLOCKS)}"], f"known: {', '.join(CLOCKS)}")
    known = inspect.signature(CLOCKS[kind]).parameters
    wrong = [f"unknown key '{k}'{nearest(k, known)}" for k in table if k not in known]
    if wrong:
        raise ConfigError(wrong, f"keys of the {kind} clock: {', '.join(known) or 'none'}")
    try:
        return CLOCKS[kind](**table)
    except (TypeError, ValueError, AttributeError) as error:  # a value of the wrong type
        raise ConfigError([f"{kind} clock: {error}"]) from error


def _clock_spec(clock: Any) -> dict[str, Any]:
    kind = next(k for k, cls in CLOCKS.items() if type(clock) is cls)
    return {"kind": kind, **getattr(clock, "spec", {})}


def _row(value: Any) -> dict[str, Any]:
    """The fields of a signal or asset that differ from their defaults."""
    found = {}
    for f in dataclasses.fields(value):
        held = getattr(value, f.name)
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if held != default:
            found[f.name] = held
    return found


def _expanded(thing: Any, folder: Path) -> Any:
    """`${NAME}` in any text becomes the environment variable's value; an unset one is left for the part to name. A file
    that a constructor reads becomes one from here (`BESIDE`)."""
    if isinstance(thing, str):
        return re.sub(r"\$\{(\w+)\}", _variable, thing)
    if isinstance(thing, Mapping):
        found = {k: _expanded(v, folder) for k, v in thing.items()}
        key = BESIDE.get(str(thing.get("kind")), "")
        return found | {key: str(folder / found[key])} if isinstance(found.get(key), str) else found
    if isinstance(thing, list):
        return [_expanded(v, folder) for v in thing]
    return thing


def _variable(found: re.Match[str]) -> str:
    if found[1] == "GEMEL_DATA" and home().is_dir():  # where `gemel fetch` puts things when it is unset
        return str(home())
    return os.environ.get(found[1], found[0])


def _toml(value: Any) -> str:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    raise ConfigError([f"a {type(value).__name__} cannot be written to a twin file"])


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
