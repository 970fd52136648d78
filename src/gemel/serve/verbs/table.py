"""The table of verbs. Scopes are those of the HTTP API's routes for the same questions."""

from __future__ import annotations

from gemel.serve.verbs import deciding, looking, thinking
from gemel.serve.verbs.verb import OfTwin, Verb

VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "list_twins", "read",
            "The digital twins there are: whether each runs, when it last heard its plant, how many findings are open.",
            looking.Nothing, looking.list_twins,
        ),
        Verb(
            "describe", "read",
            "One twin: its signals with units, limits and newest values, what it believes, its open findings, its "
            "newest decisions. Ask this first. Times are UTC.",
            looking.Describe, looking.describe,
        ),
        Verb(
            "query", "read",
            "What was measured, as a small table: mean, lowest and highest value of each cell of time. `whole` is the "
            "route of all points in the HTTP API.",
            looking.Query, looking.query,
        ),
        Verb(
            "explain", "read",
            "A finding: why it says what it says, ranked causes, the signals behind it, what had been foreseen when it "
            "began, the decisions made because of it, similar findings of the past and what came of them.",
            looking.Explain, looking.explain,
        ),
        Verb(
            "forecast", "simulate",
            "What comes next, with its uncertainty: a middle line and the range in which the value lies with the "
            "probability `between` tells.",
            thinking.Ahead, thinking.forecast,
        ),
        Verb(
            "what_if", "simulate",
            "What the simulator expects as things stand, and with some inputs held at other values. Nothing is sent.",
            thinking.WhatIf, thinking.what_if,
        ),
        Verb(
            "recommend", "simulate",
            "What the twin's own policy would do now, what it expects of that, and why. Nothing is kept or sent.",
            OfTwin, thinking.recommend,
        ),
        Verb(
            "propose", "propose",
            "Propose setpoints, for a person to approve. The first call only shows what would change; the second, with "
            "`seen`, keeps the proposal. Nothing is sent to the plant.",
            deciding.Propose, deciding.propose,
        ),
        Verb(
            "apply", "approve",
            "Send a proposed decision to the plant. A person is asked first, and nothing is sent without a yes.",
            deciding.Apply, deciding.apply, confirmed=True,
        ),
    )
}  # fmt: skip
"""Name -> verb."""
