"""The whole API asked at random, in and out of the form it describes: no answer that is not described, none of 5xx."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from served import served

SECONDS, MOST = 8.0, 30
"""How long all of it is asked, about, and how often each operation."""
NOT_HTTP = b"Invalid HTTP request received."
"""What the carrier says of a line of more than 64 kB."""
KNOWN = {"twin": "shed", "model": "foundation", "kind": "event"}
"""What there is; it takes the place of most of the names made up."""
LEFT_OUT = [schemathesis.checks.positive_data_acceptance]  # a date or a duration may have the form, and not exist


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with served(tmp_path_factory.mktemp("shed")) as held:
        with held.client() as client:
            while (
                client.get("/v2/health/ready").status_code == 503 or not client.get("/v1/twins/shed/forecasts").json()
            ):
                time.sleep(0.05)
        yield schemathesis.openapi.from_url(f"{held.url}/v1/openapi.json")


@pytest.mark.slow
@pytest.mark.server
def test_every_answer_is_described(api: Any) -> None:
    trouble: dict[str, str] = {}
    operations = [found.ok() for found in api.get_all_operations()]
    for operation in operations:
        try:
            _asked(operation, SECONDS / len(operations))
        except (FailureGroup, Exception) as error:
            trouble[operation.label] = str(error)
    assert not trouble, "\n\n".join(f"{label}: {text}" for label, text in trouble.items())
    assert len(operations) > 30


def _asked(operation: Any, share: float) -> None:
    end = time.monotonic() + share
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

    @given(case=cases, known=st.integers(0, 3))
    @settings(
        max_examples=MOST,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answered(case: Any, known: int) -> None:
        if time.monotonic() > end:
            return
        if known:
            given = case.path_parameters or {}
            case.path_parameters = {**given, **{word: KNOWN[word] for word in given if word in KNOWN}}
        answer = case.call()
        if answer.content != NOT_HTTP:
            case.validate_response(answer, excluded_checks=LEFT_OUT)

    answered()
