"""Finds a part by wing and kind: `part("connectors", "mqtt")`.

A wing's own rows stand in `PARTS` of its `__init__`; another package adds rows by the entry-point group
`gemel.<wing>`. A row is `"package.module:Class"` and is imported when it is named, not before.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from gemel.core.errors import ConfigError, nearest

WINGS = (
    "connectors",
    "transforms",
    "stores",
    "estimators",
    "forecasters",
    "detectors",
    "explainers",
    "simulators",
    "policies",
    "notifiers",
)


C = TypeVar("C", bound=type[Any])


def declared(cls: C) -> C:
    """Class decorator: an instance remembers what its constructor was given, as `spec`, so that a twin can be
    written to a file again."""
    build: Callable[..., None] = cls.__init__

    @functools.wraps(build)
    def init(self: Any, *given: Any, **named: Any) -> None:
        bound = inspect.signature(build).bind(self, *given, **named)
        self.spec = {k: v for k, v in bound.arguments.items() if v is not self}
        build(self, *given, **named)

    cls.__init__ = init
    return cls


def build(wing: str, spec: Mapping[str, Any]) -> Any:
    """The part that `{kind = ..., key = value}` describes; raises `ConfigError` for an unknown kind or key."""
    rest = dict(spec)
    kind = rest.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError([f"a part of {wing} needs a kind"], f"known: {', '.join(sorted(rows(wing)))}")
    cls = part(wing, kind)
    known = inspect.signature(cls).parameters
    problems = [
        f"unknown key '{key}' for {wing} kind '{kind}'{nearest(key, known)}" for key in rest if key not in known
    ]
    needed = [n for n, p in known.items() if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    problems += [f"{wing} kind '{kind}' needs the key '{name}'" for name in needed if name not in rest]
    if problems and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        raise ConfigError(problems, f"keys of '{kind}': {', '.join(known)}")
    hints = _hints(cls)
    problems = [
        f"{kind}.{key}: {hints[key]} is needed, not {value!r}"
        for key, value in rest.items()
        if key in hints and not _fits(value, hints[key])
    ]
    if problems:
        raise ConfigError(problems)
    try:
        return cls(**rest)
    except (
        TypeError,
        ValueError,
        AttributeError,
    ) as error:  # a value of the wrong type, met by the constructor's own arithmetic
        raise ConfigError([f"{wing} kind '{kind}': {error}"]) from error


_PLAIN = {"str": str, "int": int, "float": (int, float), "bool": bool, "None": type(None)}


def _hints(cls: type[Any]) -> dict[str, str]:
    """Argument -> its annotation, for those that name plain types only."""
    found = {n: p.annotation for n, p in inspect.signature(cls).parameters.items()}
    return {n: a for n, a in found.items() if isinstance(a, str) and set(a.split(" | ")) <= set(_PLAIN)}


def _fits(value: Any, hint: str) -> bool:
    names = hint.split(" | ")
    if isinstance(value, bool):
        return "bool" in names
    return any(isinstance(value, _PLAIN[n]) for n in names)  # type: ignore[arg-type]


def rows(wing: str) -> dict[str, str]:
    """kind -> "module:Class" for one wing; a row of ours wins over a foreign one of the same name."""
    foreign = {point.name: point.value for point in entry_points(group=f"gemel.{wing}")}
    own: dict[str, str] = import_module(f"gemel.{wing}").PARTS
    return foreign | own


def part(wing: str, kind: str) -> type[Any]:
    """The class behind a row; raises `ConfigError` naming the nearest kind, or the package that is missing."""
    table = rows(wing)
    if kind not in table:
        raise ConfigError(
            [f"unknown kind '{kind}' in {wing}{nearest(kind, table)}"], f"known: {', '.join(sorted(table))}"
        )
    module, _, name = table[kind].partition(":")
    try:
        found: type[Any] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            [f"{wing} kind '{kind}' needs a package that is not installed: {error.name}"],
            f"install it, or choose another kind: {', '.join(sorted(table))}",
        ) from error
    return found


def kind_of(wing: str, thing: object) -> str:
    """The kind under which the class of `thing` is registered."""
    cls = type(thing)
    for kind, row in rows(wing).items():
        if row == f"{cls.__module__}:{cls.__qualname__}":
            return kind
    raise ConfigError(
        [f"{cls.__qualname__} is not a row of {wing}"],
        f'add an entry point in the group gemel.{wing}: name = "{cls.__module__}:{cls.__qualname__}"',
    )
