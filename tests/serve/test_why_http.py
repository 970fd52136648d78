"""Why, and what it really was, over HTTP: who may ask and say, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from served import Served, served

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def shed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("shed")) as held:
        yield held


def test_why_is_answered_and_a_verdict_is_kept(shed: Served) -> None:
    with shed.client() as client:
        end = time.monotonic() + 20
        while not client.get("/v1/twins/shed").json()["newest"] and time.monotonic() < end:
            time.sleep(0.05)
        shed.line.say(9.0)
        while not client.get("/v1/twins/shed/findings").json() and time.monotonic() < end:
            time.sleep(0.05)
        answer = client.get("/v1/twins/shed/findings/warm/why").json()
        assert answer["finding"]["id"] == "warm"
        assert answer["shares"] == [{"signal": "air", "share": 1.0, "error": None}]
        assert not answer["scored"]
        assert set(answer["sentence"]) == {"en", "zh"}
        assert answer["series"]["series"][0]["signal"] == "air"

        said = client.post("/v1/twins/shed/findings/warm/verdict", json={"was": "false alarm"})
        assert (said.status_code, said.json()[0]["id"]) == (200, "warm")
        again = client.get("/v1/twins/shed/findings/warm/why", params={"by": "evidence"}).json()
        assert [(a["note"], a["what"]) for a in again["verdicts"]] == [("false alarm", "verdict")]

        assert client.get("/v1/twins/shed/findings/cold/why").status_code == 404
        wrong = client.get("/v1/twins/shed/findings/warm/why", params={"by": "guess"})
        assert (wrong.status_code, "there is no explainer 'guess'" in wrong.json()["error"]) == (400, True)
        refused = client.post("/v1/twins/shed/findings/warm/verdict", json={"was": "pump: worn"})
        assert (refused.status_code, "no asset 'pump'" in refused.json()["error"]) == (400, True)
