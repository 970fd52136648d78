"""Estimate: what the states and parameters of the plant are, given what was heard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from gemel.core.values import BAD, Belief, Finding, Frame


@runtime_checkable
class Estimator(Protocol):
    """Moves a belief forward in time and makes it learn from what was measured meanwhile.

    `belief` is None at the very first call: the estimator draws its prior then. `frame` holds the grid times after
    `belief.time`; a value that is missing, imputed or bad teaches nothing, it is stepped over. The result's time is
    the frame's last, and its `innovation` says what the last row taught. Same belief and frame, same result: an
    estimator takes its randomness from its seed and the time.
    """

    def update(self, belief: Belief | None, frame: Frame) -> Belief:
        """The belief at the end of the frame."""


def estimate(estimator: Estimator, belief: Belief | None, frame: Frame, findings: Iterable[Finding]) -> Belief | None:
    """The belief after `frame`. A signal with an open finding is not listened to: a drifting sensor must not teach."""
    if not len(frame):
        return belief
    suspect = {f.subject for f in findings if f.open and f.evidence.get("distrust")}
    if doubted := [i for i, name in enumerate(frame.signals) if name in suspect]:
        quality = frame.quality.copy()
        quality[:, doubted] = BAD
        frame = Frame(frame.time, frame.values, quality, frame.signals)
    return estimator.update(belief, frame)
