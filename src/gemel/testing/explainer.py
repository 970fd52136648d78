"""A conformance check for explainers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gemel.core.codec import decode, encode
from gemel.core.explain import Explainer, Explanation, Question


def check_explainer(make: Callable[[], Explainer], question: Question) -> Explanation:
    """Checks what `Explainer` promises, for a question that it can answer; raises `AssertionError`. Returns the answer.

    `make` gives a fresh explainer.
    """
    values, normal = question.values.copy(), question.background.copy()
    answer = make().explain(question)
    np.testing.assert_array_equal(question.values, values, "a question is left alone")
    np.testing.assert_array_equal(question.background, normal, "a question is left alone")
    assert answer.by, "an explanation says who gave it"
    assert answer.subject == question.finding.id, "an explanation is about the finding that was asked about"
    assert answer.kind in ("shares", "change", "rule"), "kind is shares, change or rule"
    _plain(answer, question)
    assert answer.shares or answer.changes or answer.rules, "it says something about a question it can answer"
    assert np.isfinite([answer.score, answer.baseline]).all(), "score and baseline are numbers"
    assert answer.evaluations > 0, "it counts what it asked"
    if answer.kind == "shares":
        _shares(answer, question)
    assert all(c.signal in answer.paths and c.start <= c.end for c in answer.changes), "a change has a course"
    assert answer.verified or not answer.changes, "a change is verified before it is said"
    again = make().explain(question)
    assert encode(again) == encode(answer), "the same question has the same answer"
    empty = replace(question, background=normal[:0], past=None)
    nothing = make().explain(empty)
    said = [*nothing.shares, *nothing.changes, *nothing.rules]
    assert not said, "without a normal time there is nothing to say"
    _plain(nothing, empty)
    return answer


def _plain(answer: Explanation, question: Question) -> None:
    for language in ("en", "zh"):
        assert answer.say(language).strip(), "it says so in words"
        assert "{" not in answer.say(language), "and puts the words in"
    back = decode(encode(answer))
    assert encode(back) == encode(answer), "it can be sent and kept"
    named = {*answer.shares, *(r.signal for r in answer.rules)}
    assert named <= set(question.signals), "it names signals of the question"


def _shares(answer: Explanation, question: Question) -> None:
    assert set(answer.shares) == set(question.signals), "every signal has a share"
    values = list(answer.shares.values())
    assert np.isfinite(values).all(), "shares are numbers"
    assert values == sorted(values, reverse=True), "the largest share comes first"
    assert set(answer.errors) <= set(answer.shares), "errors belong to shares"
    assert all(e >= 0 for e in answer.errors.values()), "errors are not negative"
    if answer.segments.size:
        assert answer.segments.shape == (len(values), len(answer.edges) - 1), "segments [s, n], edges [n + 1]"
        assert (np.diff(answer.edges) > 0).all(), "segments follow each other"
        np.testing.assert_allclose(
            answer.segments.sum(axis=1), values, rtol=1e-6, atol=1e-9 + 1e-9 * max(map(abs, values))
        )
