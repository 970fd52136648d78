"""Parts that fail cost their answer, and are told of once."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gemel.core.attempt import Attempts


class Broken:
    """Remembers well and answers never."""

    def snapshot(self) -> dict[str, Any]:
        return {"held": 1}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take."""

    def update(self) -> None:
        raise ValueError("no")


def test_a_memory_that_is_told_is_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    attempts, part = Attempts(), Broken()
    with caplog.at_level(logging.WARNING, "gemel"):
        for _ in range(3):
            attempts.tried("estimator", part.update)
            assert attempts.snapshot({"estimator": part}) == {"estimator": {"held": 1}}
        attempts.tried("estimator", lambda: 1)
    assert caplog.messages == ["estimator raised ValueError: no", "estimator answers again"]
    assert len(attempts.trouble) == 3
