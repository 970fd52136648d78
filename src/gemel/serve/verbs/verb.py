"""A verb, and who may use it: scopes and audit are those of the HTTP API, whichever door a model comes through."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gemel.core.errors import GemelError, InputError, NotFound, nearest
from gemel.serve.noted import Book, noted, write
from gemel.serve.verbs.plain import clean, tidy
from gemel.trust.access import Caller
from gemel.twin import Twin

log = logging.getLogger("gemel")


class Denied(InputError):
    """The caller may not do that."""


class One(Protocol):
    """A twin that can be asked, wherever it lives."""

    @property
    def twin(self) -> Twin:
        """What its file says of it."""

    @property
    def trouble(self) -> str:
        """Why it ended, if it did not end well."""

    async def ask(self, method: str, **arguments: Any) -> Any:
        """A question of `gemel.desk.OPEN`."""


class Twins(Protocol):
    """Several of them, by name."""

    def __iter__(self) -> Iterator[One]:
        """All of them."""

    def __getitem__(self, name: str) -> One:
        """Raises `NotFound`."""


class Arguments(BaseModel):
    """What a verb is told; a key nobody knows is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class OfTwin(Arguments):
    """The arguments of a verb about one twin."""

    twin: str = Field(description="Name of the twin, as list_twins gives it.", max_length=200)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a verb works with. `one` is the twin that was named; only `list_twins` has none."""

    twins: Twins
    caller: Caller
    named: str = ""

    @property
    def one(self) -> One:
        """Raises `NotFound`."""
        names = {clean(o.twin.name): o.twin.name for o in self.twins if self.caller.sees(o.twin.name)}
        return self.twins[names.get(self.named, self.named)]


@dataclass(frozen=True, slots=True)
class Verb:
    """`text` tells a model what it is for. It holds nothing that came from a twin. `confirmed`: a person has to say yes
    to each use."""

    name: str
    scope: str
    text: str
    arguments: type[Arguments]
    work: Callable[[Asked, Any], Awaitable[dict[str, Any]]]
    confirmed: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is different afterwards."""
        return self.scope not in ("read", "simulate")

    def schema(self, without: str = "") -> dict[str, Any]:
        """JSON schema of its arguments, perhaps without one that somebody else fills in."""
        schema: dict[str, Any] = _untitled(self.arguments.model_json_schema())
        schema.setdefault("properties", {}).pop(without, None)
        if without in schema.get("required", []):
            schema["required"] = [name for name in schema["required"] if name != without]
        return schema


class Verbs:
    """The table `table`, for the twins `twins`. What is done or denied is written to `audit`."""

    def __init__(self, twins: Twins, audit: Book, table: Mapping[str, Verb]) -> None:
        self.twins, self.table = twins, table
        self._audit = audit

    def of(self, caller: Caller, twin: str = "") -> list[Verb]:
        """Those a caller may use."""
        return [verb for verb in self.table.values() if caller.may(verb.scope, twin)]

    async def call(
        self, name: str, arguments: Mapping[str, Any], caller: Caller, door: str, address: str = "", confirmed: str = ""
    ) -> dict[str, Any]:
        """What the verb answers, as small plain JSON with `cites`. `door`: where the model came in; `confirmed`: how a
        person said yes. Raises `Denied`, or whatever `GemelError` the twin raises."""
        verb, given = await self.allow(name, arguments, caller, door, address)
        line = {"action": f"{door} {name}", "twin": _twin(arguments), "address": address, "caller": caller.name}
        if verb.confirmed and not confirmed:
            await write(self._audit, **line, verdict="denied", why="no person has confirmed it")
            raise Denied(f"{name} takes a person's yes, and nobody has given it", "approve it in the window")
        if not verb.changes:
            return await self._done(verb, caller, given)
        asked = given.model_dump_json()[:2000]
        async with noted(self._audit, **line, asked=asked, **({"confirmed": confirmed} if confirmed else {})):
            return await self._done(verb, caller, given)

    async def allow(
        self, name: str, arguments: Mapping[str, Any], caller: Caller, door: str, address: str = ""
    ) -> tuple[Verb, Arguments]:
        """The verb, if this caller may use it with this twin, and its arguments. A denial is in the audit."""
        verb = self.table.get(name)
        if verb is None:
            raise NotFound(f"there is no tool '{clean(name, 60)}'{nearest(name, self.table)}", "see the list of tools")
        twin = _twin(arguments)
        if not caller.may(verb.scope, twin):
            action = {"action": f"{door} {name}", "twin": twin, "address": address}
            await write(self._audit, **action, caller=caller.name, verdict="denied", why=f"scope {verb.scope}")
            raise Denied(
                f"'{clean(caller.name)}' is not good for {name}", f"it takes the scope {verb.scope} for this twin"
            )
        try:
            return verb, verb.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the arguments"
            raise InputError(f"{clean(place)}: {clean(first['msg'])}", f"see the schema of {name}") from None

    async def _done(self, verb: Verb, caller: Caller, given: Arguments) -> dict[str, Any]:
        named = str(getattr(given, "twin", ""))
        try:
            answer: dict[str, Any] = tidy(await verb.work(Asked(self.twins, caller, named), given))
            return answer
        except GemelError:
            raise
        except Exception as error:
            log.error("%s failed", verb.name, exc_info=error)
            raise GemelError("something went wrong inside Gemel", "the log has the details; please report it") from None


def told(error: GemelError) -> dict[str, str]:
    """An error as a model reads it."""
    return {"error": clean(error.message, 500), "hint": clean(error.hint, 500)}


def _twin(arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("twin", ""))[:200]


def _untitled(schema: Any) -> Any:
    """Without the titles that say a name again."""
    if isinstance(schema, dict):
        return {k: _untitled(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
    return [_untitled(v) for v in schema] if isinstance(schema, list) else schema
