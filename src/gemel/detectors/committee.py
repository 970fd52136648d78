"""Several detectors as one, with one rate of false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from gemel.core.errors import ConfigError, nearest
from gemel.core.explain import Sight
from gemel.core.registry import build, declared
from gemel.core.setting import Bound, Setting
from gemel.core.values import Finding, Floats
from gemel.detectors.statistics.judge import COMBINE, Statistics
from gemel.detectors.watch import Watch, Watching
from gemel.loop.decide import Situation

MEMBERS: tuple[Mapping[str, Any], ...] = (
    {"kind": "drift"},
    {"kind": "drift", "way": "fixed"},
    {"kind": "subspace"},
)


@runtime_checkable
class Member(Protocol):
    """A detector that can sit in a committee."""

    def statistics(self) -> Sequence[Statistics]:
        """Its numerics, fresh ones at every call."""


@declared
class Committee:
    """Asks several detectors about the same rows and tells it once.

    Every statistic of every member is ranked among its own scores of a normal time that it was not fitted on, which
    makes them comparable whatever they measure; the p-values are combined, and the rate of false alarms holds for
    the committee as a whole. Rows that are no alarm join the normal time.

    - `members`: detectors (`[{ kind = "drift", window = 20 }, { kind = "matrix" }]`); of each only its own keys
      count, not its rate, signals or rows. By default `drift` with a wandering and with a fixed level, and `subspace`.
    - `combine`: `cauchy`, for members that may be right about the same thing, or `fisher`, for independent ones.
    - `signals`: those to watch, by default every measured or derived number.
    - `alarms_per_week`: false ones, in all. `learn`: the normal time it begins with, read from the history if there is
      one, else waited for. `step`: spacing of the rows, by default the twin's `every`.
    - `raise_after`, `clear_after`: rows in a row that are strange before a finding opens, and usual before it closes.
    """

    def __init__(
        self,
        members: Sequence[Member | Mapping[str, Any]] = MEMBERS,
        combine: str = "cauchy",
        signals: Sequence[str] = (),
        alarms_per_week: float = 1.0,
        learn: str = "1d",
        step: str = "",
        raise_after: int = 3,
        clear_after: int = 10,
    ) -> None:
        problems = [] if members else ["committee: members is empty"]
        if combine not in COMBINE:
            problems.append(f"committee: combine '{combine}' is none{nearest(combine, COMBINE)}")
        self.members: list[Member] = []
        for i, one in enumerate(members):
            try:
                made = build("detectors", one) if isinstance(one, Mapping) else one
            except ConfigError as error:
                problems += [f"committee.members[{i}]: {line}" for line in error.problems]
                continue
            if not isinstance(made, Member):
                problems.append(f"committee.members[{i}]: '{type(made).__name__.lower()}' cannot sit in a committee")
                continue
            self.members.append(made)
        if problems:
            raise ConfigError(problems, 'members = [{ kind = "drift" }, { kind = "subspace" }]')
        self._watch = Watch(
            Watching(
                "committee", "unusual", self.statistics, signals, alarms_per_week, learn, step, raise_after,
                clear_after, False, combine,
            )
        )  # fmt: skip

    def statistics(self) -> Sequence[Statistics]:
        """The numerics of all members."""
        return [one for member in self.members for one in member.statistics()]

    def bind(self, setting: Setting) -> None:
        for member in self.members:
            if isinstance(member, Bound):
                member.bind(setting)
        self._watch.bind(setting)

    def inspect(self, situation: Situation) -> list[Finding]:
        return self._watch.inspect(situation)

    def sight(self, finding: Finding) -> Sight | None:
        return self._watch.sight(finding)

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        return self._watch.scored(finding, windows)

    def snapshot(self) -> Mapping[str, Any]:
        return self._watch.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._watch.restore(state)
