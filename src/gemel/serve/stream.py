"""The stream: what a running twin hears and thinks, to everybody who watches, without ever making it wait.

A message is made once, as text, however many read it. Each reader has a queue of its own; when it is full the oldest
message falls out and the reader is told how many did. The newest messages are kept for a while, so that a reader who
comes back asks for those since the last number it saw.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.clock import Wall
from gemel.core.errors import GemelError
from gemel.core.life import Action
from gemel.core.values import BAD, Batch, Belief, Decision, Finding, Forecast, Signals
from gemel.desk.estimates import estimate
from gemel.loop.run import Loop
from gemel.serve.shapes import encoded, shaped

TOPICS = ("values", "belief", "forecasts", "findings", "decisions", "acks", "hands")
PAUSE = 0.1
"""Seconds in which what is new is gathered: a signal's newest point is told so many times a second, not more."""
KEPT, KEPT_BYTES = 2000, 16 << 20
WAITING = 256
"""Messages a reader may be behind."""

Message = tuple[int, str, str]  # sequence, topic, text


class Reader:
    """Somebody who watches some topics. Iterate it: texts, without end."""

    def __init__(self, topics: Iterable[str], before: Iterable[Message] = (), most: int = WAITING) -> None:
        self.topics = frozenset(topics)
        self.dropped = 0  # in all
        self._untold = 0
        self._waiting: deque[str] = deque(text for _, topic, text in before if topic in self.topics)
        self._most = max(most, len(self._waiting))
        self._news = asyncio.Event()
        self._news.set()

    def put(self, topic: str, text: str) -> None:
        """Never waits."""
        if topic not in self.topics:
            return
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.dropped += 1
            self._untold += 1
        self._waiting.append(text)
        self._news.set()

    async def next(self) -> str:
        """The oldest message that waits; after a loss first how much was lost."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        if self._untold:
            lost, self._untold = self._untold, 0
            return encoded({"topic": "dropped", "count": lost}).decode()
        return self._waiting.popleft()


class Hub:
    """What is new of one twin. Lives in the event loop of that twin; nothing here waits."""

    def __init__(self, signals: Signals) -> None:
        self.names = signals.names
        self.readers: set[Reader] = set()
        self.dropped = 0  # by readers that are gone
        # numbers go on from the time of day, so that those of an earlier process are known to be from before
        self.sequence = Wall().now() // 1_000_000
        self._kept: deque[Message] = deque()
        self._bytes = 0
        self._values = _Newest(len(signals))
        self.living: Callable[[Iterable[Finding]], Iterable[Finding]] = lambda findings: findings
        """Gives findings their lives."""
        self._loop: Loop | None = None
        self._due: asyncio.TimerHandle | None = None
        self._reading: asyncio.Future[None] | None = None
        self._seen = _Seen()

    # -- what comes in ---------------------------------------------------------------------------------------------

    def watch(self, loop: Loop) -> None:
        """For `Twin.live`: after every batch and turn. Only notes that there is something."""
        if self._loop is not loop:
            self._loop, self._seen = loop, _Seen()
        if loop.batch is not None and loop.batch is not self._seen.batch:
            self._seen.batch = loop.batch
            self._values.add(loop.batch)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(PAUSE, self._flush)

    def told(self, value: Any) -> None:
        """For `Desk.told`: a person has changed a decision, or done something about a finding or an actuator."""
        if isinstance(value, Decision):
            self._publish("decisions", value)
        elif self._loop is not None:
            self.watch(self._loop)

    def _flush(self) -> None:
        self._due = None
        if self._values.fresh:
            self._publish("values", self._values.taken())
        if self._loop is not None:
            with suppress(GemelError):  # the store may have been closed meanwhile
                for topic, value in self._seen.news(self._loop, self.living):
                    self._publish(topic, value)
            if fresh := self._seen.acks(self._loop):
                self._reading = asyncio.ensure_future(self._acks(self._loop, fresh))

    async def _acks(self, loop: Loop, fresh: int) -> None:
        with suppress(GemelError):
            for ack in await asyncio.to_thread(loop.store.read, "ack", last=fresh):
                self._publish("acks", ack)

    def _publish(self, topic: str, value: Any) -> None:
        self.sequence += 1
        body = encoded(shaped(value)).decode()
        text = f'{{"sequence":{self.sequence},"topic":"{topic}","body":{body}}}'
        self._kept.append((self.sequence, topic, text))
        self._bytes += len(text)
        while self._kept and (len(self._kept) > KEPT or self._bytes > KEPT_BYTES):
            self._bytes -= len(self._kept.popleft()[2])
        for reader in self.readers:
            reader.put(topic, text)

    # -- who watches -----------------------------------------------------------------------------------------------

    def join(self, topics: Iterable[str] = TOPICS, since: int | None = None) -> Reader:
        """A new reader; with `since` it first gets what came after that number and is still kept."""
        first = self._kept[0][0] if self._kept else self.sequence + 1
        before = [m for m in self._kept if since is not None and m[0] > since]
        reader = Reader(topics, before)
        self.readers.add(reader)
        gap = since is not None and not first - 1 <= since <= self.sequence
        hello = {"topic": "hello", "sequence": self.sequence, "signals": self.names, "gap": gap}
        reader._waiting.appendleft(encoded(hello).decode())
        return reader

    def leave(self, reader: Reader) -> None:
        """It watches no longer."""
        self.readers.discard(reader)
        self.dropped += reader.dropped


class _Newest:
    """The newest point of each signal since it was last taken, in columns."""

    def __init__(self, signals: int) -> None:
        self._time = np.zeros(signals, np.int64)
        self._value = np.full(signals, np.nan)
        self._quality = np.full(signals, BAD, np.uint8)
        self._new = np.zeros(signals, bool)
        self.fresh = False

    def add(self, batch: Batch) -> None:
        order: Any = slice(None)
        if np.any(batch.time[1:] < batch.time[:-1]):
            order = np.argsort(batch.time, kind="stable")
        signal, time = batch.signal[order], batch.time[order]
        place = np.full(len(self._time), -1)
        place[signal] = np.arange(len(signal))  # of a signal's points the last is written last
        heard = np.flatnonzero(place >= 0)
        heard = heard[time[place[heard]] >= self._time[heard]]
        row = place[heard]
        self._time[heard], self._value[heard] = time[row], batch.value[order][row]
        self._quality[heard] = batch.quality[order][row]
        self._new[heard] = True
        self.fresh = self.fresh or bool(len(heard))

    def taken(self) -> dict[str, Any]:
        i = np.flatnonzero(self._new)
        self._new[i], self.fresh = False, False
        return {
            "signal": i.tolist(),
            "time": self._time[i].tolist(),
            "value": self._value[i].tolist(),
            "quality": self._quality[i].tolist(),
        }


class _Seen:
    """What of a loop's state has been told."""

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self._belief: Belief | None = None
        self._forecasts: Sequence[Forecast] = ()
        self._findings: dict[str, Finding] = {}
        self._decision: Decision | None = None
        self._hands: dict[str, Action] = {}
        self._acks = -1  # not counted yet

    def news(self, loop: Loop, living: Callable[[Iterable[Finding]], Iterable[Finding]]) -> Iterator[tuple[str, Any]]:
        state = loop.state
        if state.belief is not None and state.belief is not self._belief:
            self._belief = state.belief
            latest = loop.situation(state.belief.time).latest
            yield (
                "belief",
                {
                    "time": state.belief.time,
                    "mean": state.belief.mean(),
                    "spread": state.belief.spread(),
                    "estimate": estimate(loop.setting.simulator, state.belief, latest),
                },
            )
        if state.forecasts is not self._forecasts:
            self._forecasts = state.forecasts
            yield from (("forecasts", forecast) for forecast in state.forecasts)
        found = {finding.id: finding for finding in living(state.findings)}
        gone = [replace(f, open=False, time=state.now) for id, f in self._findings.items() if id not in found]
        changed = [f for id, f in found.items() if self._findings.get(id) != f]
        self._findings = found
        yield from (("findings", finding) for finding in (*living(gone), *changed))
        if state.decision is not None and state.decision is not self._decision:
            self._decision = state.decision
            yield "decisions", state.decision
        held, before = state.held(max(loop.setting.clock.now(), state.now)), self._hands
        self._hands = held
        for signal in {**before, **held}:
            if held.get(signal) != before.get(signal):
                yield "hands", {"signal": signal, "hand": held.get(signal)}

    def acks(self, loop: Loop) -> int:
        """How many acks came since it was last asked."""
        before, self._acks = self._acks, sum(loop.state.acks.values())
        return self._acks - before if before >= 0 else 0
