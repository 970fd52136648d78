"""What all explainers say and use alike."""

from __future__ import annotations

import numpy as np

from gemel.core.explain import Explanation, Question, Sentence
from gemel.core.values import Floats


def thinned(windows: Floats, most: int) -> Floats:
    """At most so many windows, evenly spaced."""
    if len(windows) <= most:
        return windows
    return windows[np.linspace(0, len(windows) - 1, most).round().astype(int)]


def nothing(
    by: str,
    kind: str,
    question: Question,
    why: str = "there is no normal time to hold it against",
    chinese: str = "没有可对照的正常时段",
    evaluations: int = 0,
) -> Explanation:
    """An explanation that says why there is none."""
    nan = float("nan")
    words = {"why": why, "chinese": chinese}
    said = (Sentence("It cannot be explained so: {why}.", "无法这样解释：{chinese}。", words),)
    return Explanation(by, question.finding.id, kind, nan, nan, said, evaluations=evaluations)
