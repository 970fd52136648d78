"""A conformance check for detectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gemel.core.codec import decode, encode
from gemel.core.values import Finding
from gemel.loop.decide import Situation
from gemel.loop.detect import Detector
from gemel.loop.process import Stateful


def check_detector(make: Callable[[], Detector], situations: Sequence[Situation]) -> list[Finding]:
    """Checks what `Detector` promises over a course of situations with trouble in it; raises `AssertionError`.

    `make` gives a fresh detector, bound where it needs to be. Returns the news of the whole course.
    """
    detector: Any = make()
    news: list[Finding] = []
    opened: dict[str, Finding] = {}
    middle: Any = None
    for i, situation in enumerate(situations):
        found = detector.inspect(situation)
        for finding in found:
            assert finding.id, "a finding has an id, a name and a subject"
            assert finding.name, "a finding has an id, a name and a subject"
            assert finding.subject, "a finding has an id, a name and a subject"
            assert finding.start <= finding.time == situation.now, "it is dated now and began no later"
            assert 0 <= finding.severity <= 1, "severity and confidence are 0 .. 1"
            assert 0 <= finding.confidence <= 1, "severity and confidence are 0 .. 1"
            assert finding.text, "it says what is wrong"
            assert finding.open or finding.id in opened, "what is closed was open"
            assert finding != opened.get(finding.id), "a finding comes again only when it changed"
            opened[finding.id] = finding
        news += found
        if i == len(situations) // 2 and isinstance(detector, Stateful):
            middle = encode(detector.snapshot())
    other = make()
    assert [f for s in situations for f in other.inspect(s)] == news, "the same course gives the same findings"
    if middle is not None:
        resumed: Any = make()
        resumed.restore(decode(middle))
        rest = situations[len(situations) // 2 + 1 :]
        since = situations[len(situations) // 2].now
        late = [f for s in rest for f in resumed.inspect(s)]
        assert late == [f for f in news if f.time > since], "a restored detector goes on where it stopped"
    return news
