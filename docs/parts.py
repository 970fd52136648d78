"""Prints the reference of all parts, from their docstrings; `python3 dev.py docs` keeps it in docs/parts.md."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from gemel.core.registry import WINGS, part, rows

HEAD = """# Parts

Every `kind` there is, with its keys and their defaults, as each class documents itself. Parts of
[your own](extend.md) stand beside them. Written by `docs/parts.py`; do not edit.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for wing in WINGS for line in section(wing))]).rstrip() + "\n"


def section(wing: str) -> Iterator[str]:
    """The lines of one wing; none when it has no parts of ours."""
    ours = {kind for kind, row in rows(wing).items() if row.startswith("gemel.")}
    if ours:
        yield f"## {wing.capitalize()}\n"
    for kind in sorted(ours):
        cls = part(wing, kind)
        keys = [f'kind = "{kind}"', *(entry(p) for p in inspect.signature(cls).parameters.values())]
        yield f"### {kind}\n\n`{{ {', '.join(keys)} }}`\n\n{inspect.getdoc(cls)}\n"


def entry(key: inspect.Parameter) -> str:
    """A key with its default in the words of TOML; one without a default must be given."""
    return f"{key.name} = {'...' if key.default is key.empty else toml(key.default)}"


def toml(value: Any) -> str:
    """A default as it would stand in a twin file."""
    if value is None:
        return "{}"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


if __name__ == "__main__":
    print(page(), end="")
