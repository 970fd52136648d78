"""A fork of a living twin, over HTTP and from a script beside it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from gemel.core.values import LEVELS
from serve.cooler import Plant, cooler, settled
from serve.served import Served, served

FORK = "/v1/twins/tx/fork"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("fork"), names=["tx"], make=cooler, line=Plant) as one:
        yield one


@pytest.fixture(scope="module")
def api(held: Served) -> Iterator[httpx.Client]:
    with held.client() as client:
        settled(client)
        yield client


def test_now(api: httpx.Client) -> None:
    body = {"set": {"fan": {"0h": 0, "20min": 2}}, "horizon": "40min", "every": "1min", "objective": "fan_power"}
    found = api.post(FORK, json=body).json()
    assert found["asis"]["issued"] == found["time"]
    for name in ("asis", "whatif", "difference"):
        assert np.shape(found[name]["values"]) == (4, len(LEVELS), 40)
    power = np.array(found["whatif"]["values"][found["whatif"]["signals"].index("fan_power")])
    assert (power[:, :20] == 0).all()
    assert (power[:, 20:] > 2).all()
    assert found["score"]["objective"] == "fan_power"
    assert found["score"]["low"] <= found["score"]["mean"] <= found["score"]["high"]
    assert set(found["score"]["saving"]) == {"mean", "low", "high"}
    plain = api.post(FORK, json={}).json()
    assert plain["score"] is None
    assert np.ptp(plain["difference"]["values"]) == 0


def test_then(api: httpx.Client) -> None:
    first = api.get("/v1/twins/tx/journal/belief?last=1000").json()[0]["time"]
    inputs = {"load": 45, "ambient": {"0h": 30, "10min": 20}}
    found = api.post(FORK, json={"at": str(first), "set": inputs, "horizon": "20min", "every": "1min"})
    assert found.status_code == 409, "it had not foreseen anything yet"
    assert found.json()["error"].startswith("no forecast of 'load' was in force at 20")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"set": {"fna": 1}}, 400, "'fna' is not an input of the simulator, did you mean 'fan'?"),
        ({"set": {"fan": {}}}, 400, "'fan' is set to what is not a number"),
        ({"set": {"fan": {"": 1}}}, 400, "'' is not a time"),
        ({"set": {"fan": {"99999999999999999999": 1}}}, 400, "'99999999999999999999' is not a time"),
        ({"set": {"fan": {"9999-12-31": 1}}}, 400, "'9999-12-31' is out of range"),
        ({"at": "1999-01-01"}, 400, "twin 'tx' had no belief yet at 1999-01-01 00:00"),
        ({"at": "2100-01-01"}, 400, "2100-01-01 00:00 has not come yet"),
        ({"horizon": "30d", "every": "1s"}, 400, "2,592,000 steps ahead are too many"),
        ({"objective": "9 ** 9 ** 9 ** 9"}, 400, "'9 ** 9 ** 9 ** 9' cannot be worked out"),
        ({"objective": "oli"}, 400, "'oli': unknown name 'oli', did you mean 'oil'?"),
        ({"members": 0}, 422, "members"),
        ({"set": {"fan": "2"}}, 422, "set.fan"),
        ({"sett": {}}, 422, "sett"),
    ],
)
def test_what_does_not_fit(api: httpx.Client, body: dict[str, object], status: int, said: str) -> None:
    answer = api.post(FORK, json=body)
    assert (answer.status_code, answer.json()["error"][: len(said)]) == (status, said)


def test_an_absurd_input_has_an_absurd_answer(api: httpx.Client) -> None:
    found = api.post(FORK, json={"set": {"load": 1e300}, "horizon": "1min", "every": "1min"})
    assert found.status_code == 200


def test_a_script_beside_it_forks_in_its_own_process(api: httpx.Client, held: Served) -> None:
    beside = cooler(held.folder, Plant())
    turns = api.get("/v1/twins/tx").json()["turns"]
    fork = beside.fork(members=32)
    assert beside._desk is None, "the store was not opened twice"
    runs = fork.runs([{"fan": stage} for stage in (0, 1, 2)], "1h", "1min")
    oil = [run.forecast.median("oil")[-1] for run in runs]
    assert oil[0] > oil[1] > oil[2]
    assert api.get("/v1/twins/tx").json()["turns"] >= turns
