"""The life of findings: who has seen one, who has put it aside and until when, what is under repair.

What people do is kept in the journal as actions, and a life is worked out from them for the moment it is asked at, so
nothing has to run when a shelf or a window ends, and a restart changes nothing. The states are those of ISA-18.2 and
IEC 62682; what comes back from a shelf or a window is open again, for people to see anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from getpass import getuser
from secrets import token_hex
from threading import RLock
from typing import Any, Protocol

from gemel.core.clock import FOREVER
from gemel.core.errors import Conflict, InputError, NotFound, nearest
from gemel.core.life import Action, Life
from gemel.core.units import SECOND, duration, instant, instant_id
from gemel.core.values import Finding

STATES = {
    "open": "open",
    "return": "open",
    "reopen": "open",
    "acknowledge": "acknowledged",
    "shelve": "shelved",
    "resolve": "closed",
}
"""The last thing that was done -> how the finding stands, outside maintenance."""
YEAR = 366 * 86_400 * SECOND
MOST = 10_000
"""Lives that are remembered."""


class Reading(Protocol):
    """What is needed of a desk."""

    twin: Any

    def now(self) -> int:
        """The time it is for the twin."""

    def noticed(self) -> list[Finding]:
        """What the detectors see now."""


class Alarms:
    """What people do about findings. `count` goes up with every action."""

    def __init__(self, desk: Reading) -> None:
        self._desk = desk
        self._lock = RLock()
        self._said: dict[str, list[Action]] | None = None  # finding -> what was done, oldest first
        self._windows: dict[str, Action] = {}
        self.count = 0
        # a life changes when something is done, or runs out: until then it is worked out once a finding
        self._lives: dict[str, tuple[Finding, Finding]] = {}
        self._known, self._since, self._next = -1, 0, 0

    # -- asking ------------------------------------------------------------------------------------------------------

    def living(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings with their lives as of now."""
        held = list(findings)
        if not held:
            return []
        now = self._desk.now()
        with self._lock:
            if self.count != self._known or not self._since <= now < self._next or len(self._lives) > MOST:
                self._begin(now)
            return [self._living(finding, now) for finding in held]

    def maintenance(self, all: bool = False) -> list[Action]:
        """Maintenance windows that are or will be; `all` also those that were."""
        self._actions()
        windows = list(self._windows.values())
        now = self._desk.now() if windows else 0
        return sorted((w for w in windows if all or _end(w) > now), key=_start)

    # -- doing -------------------------------------------------------------------------------------------------------

    def acknowledge(self, findings: str | Sequence[str], note: str = "", by: str = "") -> list[Finding]:
        """Somebody has seen them and will act."""
        return self._done("acknowledge", findings, note, by)

    def shelve(self, findings: str | Sequence[str], span: str, note: str, by: str = "") -> list[Finding]:
        """Put them aside for a time, with the reason; afterwards they are open again."""
        return self._done("shelve", findings, _reason(note, "shelved"), by, span)

    def resolve(self, findings: str | Sequence[str], note: str, again: str = "1h", by: str = "") -> list[Finding]:
        """Close them, with a note. What the detector still sees after `again` is open again."""
        return self._done("resolve", findings, _reason(note, "closed"), by, again)

    def reopen(self, findings: str | Sequence[str], note: str = "", by: str = "") -> list[Finding]:
        """Take back an acknowledgement, a shelf or a close."""
        return self._done("reopen", findings, note, by)

    def maintain(
        self, subject: str, span: str, note: str, start: str | int | None = None, by: str = ""
    ) -> list[Action]:
        """A window from `start` (default: now) in which what is found about an asset or a signal does not ring."""
        assets = {a.id for a in self._desk.twin.assets} | {s.asset for s in self._desk.twin.signals if s.asset}
        known = [*self._desk.twin.signals.names, *sorted(assets)]
        if subject not in known:
            raise InputError(f"there is no asset or signal '{subject}'{nearest(subject, known)}")
        note, now = _reason(note, "maintained"), self._desk.now()
        begin = now if start is None else instant(start)
        until = begin + bounded(span)
        if until <= now:
            raise InputError("this window is over already", "say when it starts, and for how long")
        id = f"window-{instant_id(now)}-{token_hex(4)}"
        return self._window(Action(now, "maintain", subject, by or user(), note, begin, until, id))

    def end_maintenance(self, id: str, by: str = "") -> list[Action]:
        """End a window now."""
        self._actions()
        if id not in self._windows:
            raise NotFound(f"there is no maintenance window '{id}'", "see twin.maintenance()")
        window, now = self._windows[id], self._desk.now()
        if _end(window) <= now:
            raise Conflict(f"the window '{id}' is over already")
        note = f"{window.note}; ended by {by or user()}"
        return self._window(replace(window, start=min(_start(window), now), until=now, note=note))

    # -- keeping -----------------------------------------------------------------------------------------------------

    def _done(self, what: str, ids: str | Sequence[str], note: str, by: str, span: str = "") -> list[Finding]:
        wanted = dict.fromkeys([ids] if isinstance(ids, str) else ids)
        with self._lock:
            found = {f.id: f for f in self.living(self._desk.noticed())}
            now = self._desk.now()
            until = now + bounded(span) if span else None
            chosen = [_held(id, found, what) for id in wanted]
            actions = [Action(now, what, f.id, by or user(), note, None, until) for f in chosen if _new(f, what)]
            self._keep(*actions)
            for action in actions:
                self._actions().setdefault(action.subject, []).append(action)
            return self.living(chosen)

    def _window(self, window: Action) -> list[Action]:
        with self._lock:
            self._actions()
            self._keep(window)
            self._windows[window.id] = window
        return self.maintenance()

    def _keep(self, *actions: Action) -> None:
        if actions:
            self._desk.twin.store.record(*actions)
            self.count += 1

    def _begin(self, now: int) -> None:
        """Forget the lives of before; they hold until the next time that anybody has named."""
        actions = [a for said in self._actions().values() for a in said] + list(self._windows.values())
        times = [t for a in actions for t in (a.start, a.until) if t is not None and t > now]
        self._lives = {}
        self._known, self._since, self._next = self.count, now, min(times, default=FOREVER)

    def _living(self, finding: Finding, now: int) -> Finding:
        given, life = self._lives.get(finding.id, (None, finding))
        if given is not finding:
            above = self._above(finding) if self._windows else ()
            windows = [w for w in self._windows.values() if w.subject in above]
            life = lived(finding, self._actions().get(finding.id, ()), windows, now)
            self._lives[finding.id] = (finding, life)
        return life

    def _actions(self) -> dict[str, list[Action]]:
        with self._lock:
            if self._said is None:
                said: dict[str, list[Action]] = {}
                for action in self._desk.twin.store.read("action"):
                    if action.what == "maintain":
                        self._windows[action.id] = action
                    elif action.what in STATES:
                        said.setdefault(action.subject, []).append(action)
                self._said = said
            return self._said

    def _above(self, finding: Finding) -> set[str]:
        """What a finding is about: its subject, the asset that is or has it, and those above."""
        twin, names = self._desk.twin, {finding.subject}
        parents = {a.id: a.parent for a in twin.assets}
        name = twin.signals.named(finding.subject).asset if finding.subject in twin.signals else finding.subject
        while name:
            names.add(name)
            name = "" if parents.get(name, "") in names else parents.get(name, "")
        return names


def lived(finding: Finding, said: Sequence[Action], windows: Sequence[Action], now: int) -> Finding:
    """The finding with its life at `now`, from what was done to it and the windows that are about it."""
    over = now if finding.open else min(now, finding.time)
    held = Action(finding.start, "open", finding.id, finding.by)
    aside: list[Action] = []
    history = [held]
    for time, action, ends in _moments(finding.start, over, said, windows):
        if ends and action in aside:
            aside.remove(action)
            comes = not aside and held.what not in ("shelve", "resolve")
        elif ends:
            comes = action is held
        else:
            comes = False
            history.append(replace(action, time=time))  # a window may have been said long before
            if action.what == "maintain":
                aside.append(action)
            else:
                held = action
        if comes:
            held = Action(time, "return", finding.id)
            history.append(held)
    if not finding.open:
        held = Action(finding.time, "close", finding.id, finding.by)
        history.append(held)
    state = STATES.get(held.what, "closed")
    if aside and state != "closed":
        held, state = max(aside, key=_end), "maintenance"
    since = max(_start(held), finding.start)
    life = Life(state, since, held.by, held.note, held.until, tuple(history))
    return replace(finding, life=life)


def _moments(
    first: int, last: int, said: Sequence[Action], windows: Sequence[Action]
) -> list[tuple[int, Action, bool]]:
    """(time, action, whether it ends then) from `first` to `last`; what was done before `first` was about an earlier
    finding of the same id."""
    begins = [(a.time, a, False) for a in said if first <= a.time]
    begins += [(max(_start(w), first), w, False) for w in windows if _end(w) > first]
    ends = [(a.until, a, True) for _, a, _ in begins if a.until is not None]
    return sorted((m for m in [*begins, *ends] if m[0] <= last), key=lambda m: m[0])


def bounded(span: str) -> int:
    """A duration after which things come back by themselves; nobody remembers it for longer than a year."""
    found = duration(span)
    if found > YEAR:
        raise InputError(f"'{span}' is longer than a year", "what comes back by itself comes back within a year")
    return found


def user() -> str:
    """Who runs this process; a script where that is nobody."""
    try:
        return getuser()
    except (KeyError, OSError):
        return "script"


def _held(id: str, found: Mapping[str, Finding], what: str) -> Finding:
    if id not in found:
        raise NotFound(f"there is no open finding '{id}'{nearest(id, found)}", "see them with twin.findings()")
    finding = found[id]
    assert finding.life
    if finding.life.state == "closed" and what != "reopen":
        raise Conflict(f"finding '{id}' is closed", "reopen it first")
    return finding


def _new(finding: Finding, what: str) -> bool:
    """Whether the action would change anything: of many findings some may be acknowledged already."""
    done = finding.life.history[-1].what if finding.life else ""
    return not (what == "acknowledge" and done == "acknowledge") and not (
        what == "reopen" and STATES.get(done) == "open"
    )


def _reason(note: str, done: str) -> str:
    if not note.strip():
        raise InputError(f"nothing is {done} without a reason", "say why in the note")
    return note


def _start(action: Action) -> int:
    return action.time if action.start is None else action.start


def _end(action: Action) -> int:
    assert action.until is not None
    return action.until
