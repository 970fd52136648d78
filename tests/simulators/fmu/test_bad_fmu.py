"""FMUs that crash, hang, eat memory, lie or are no FMUs at all: the engine survives, and says which one and why."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmus import fmu
from gemel.config import load
from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError, PartError
from gemel.core.setting import Setting
from gemel.core.values import Signal, Signals
from gemel.simulators.fmu.simulator import Fmu

LIMITS = {"timeout": "1s", "memory": "256MiB", "processes": 1}


def until_bad(simulator: Fmu) -> str:
    """What it says when it goes wrong, after five good seconds."""
    memory, good = simulator.run(simulator.init(None, 0), np.zeros((5, 2, 1)), 1.0)
    assert np.isfinite(good).all()
    children = [c.process for c in simulator._pool._children]
    with pytest.raises(PartError) as error:
        simulator.run(memory, np.zeros((3, 2, 1)), 1.0)
    assert all(c.poll() is not None for c in children)  # ended, and waited for
    return error.value.message


SAID = {
    "SEGV": "segv.fmu crashed (SIGSEGV) at t = 5 s",
    "LOOP": "loop.fmu did not answer within 1 s at t = 5 s",
    "GREEDY": "greedy.fmu wanted more than 0.25 GiB at t = 5 s",
    "EMPTY": "empty.fmu wanted more than 0.25 GiB at t = 5 s",
    "QUIT": "quit.fmu ended its process (exit code 3) at t = 5 s",
    "END": "end.fmu at t = 6 s: it ended its simulation",
}


@pytest.mark.parametrize(("version", "bad"), [*((2, bad) for bad in SAID), (3, "SEGV"), (3, "END")])
def test_what_goes_wrong_is_said_with_its_name_and_limit(version: int, bad: str) -> None:
    assert until_bad(Fmu(fmu("tank", version=version, bad=bad), **LIMITS)) == SAID[bad]


@pytest.mark.parametrize("bad", ["LOOP", "GREEDY"])
def test_model_exchange_is_watched_alike(bad: str) -> None:
    simulator = Fmu(fmu("tank", bad=bad, saves=False), interface="me", **LIMITS)
    with pytest.raises(PartError, match=SAID[bad].split(" at ")[0].replace("(", r"\(").replace(")", r"\)")):
        simulator.run(simulator.init(None, 0), np.zeros((8, 2, 1)), 1.0)


@pytest.mark.parametrize("version", [2, 3])
def test_its_own_words_are_passed_on(version: int) -> None:
    said = until_bad(Fmu(fmu("tank", version=version, bad="FAIL"), **LIMITS))
    assert said.startswith(f"fail.fmu at t = 5 s: fmi{version}DoStep failed with status 3 (error)")
    assert said.endswith("it says: the tank is empty")


@pytest.mark.parametrize("version", [2, 3])
def test_one_that_stops_short_is_asked_for_the_rest(version: int) -> None:
    half = Fmu(fmu("tank", version=version, bad="HALF"), processes=1)
    _, outputs = half.run(half.init(None, 0), np.zeros((2, 2, 1)), 8.0)
    np.testing.assert_allclose(outputs[:, 0, 0], np.exp([-2.0, -4.0]))


def test_what_it_prints_reaches_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    chatter = Fmu(fmu("tank", bad="CHATTER"), processes=1)
    chatter.run(chatter.init(None, 0), np.zeros((8, 2, 1)), 1.0)
    assert capfd.readouterr() == ("", "")


def test_other_members_are_not_lost_with_one_that_dies() -> None:
    simulator = Fmu(fmu("tank", bad="SEGV", saves=False), **LIMITS)
    memory, _ = simulator.run(simulator.init(None, 0, 2), np.zeros((4, 2, 2)), 1.0)
    with pytest.raises(PartError, match="SIGSEGV"):
        simulator.run(memory, np.zeros((3, 2, 2)), 1.0)
    _, outputs = simulator.step(memory, np.zeros((2, 2)), 1.0)  # in a new process, replayed from the beginning
    np.testing.assert_allclose(outputs[0], np.exp(-5 / 4))


def test_a_child_that_somebody_killed_is_replaced() -> None:
    simulator = Fmu(fmu("tank"), processes=1)
    memory = simulator.init(None, 0)
    simulator._pool._children[0].process.kill()
    with pytest.raises(PartError, match=r"tank.fmu crashed \(SIGKILL\)"):
        simulator.step(memory, np.zeros((2, 1)), 1.0)
    assert np.isfinite(simulator.step(memory, np.zeros((2, 1)), 1.0)[1]).all()


def test_a_saved_state_that_holds_addresses_is_not_carried_to_another_process() -> None:
    simulator = Fmu(fmu("tank", bad="POINTS"), processes=2)
    memory, _ = simulator.run(simulator.init(None, 0, 2), np.ones((4, 2, 2)) * [[1.0], [0.0]], 1.0)
    swapped = simulator.step(simulator.select(memory, [1, 0, 1, 0]), np.zeros((2, 4)), 1.0)[1]
    simulator.close()
    after = simulator.step(simulator.select(memory, [1, 0, 1, 0]), np.zeros((2, 4)), 1.0)[1]
    np.testing.assert_array_equal(after, swapped)


def test_what_has_run_too_long_is_no_longer_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemel.simulators.fmu.pool.LONGEST", 3)
    still = np.zeros((2, 1))
    for saves in (True, False):
        simulator = Fmu(fmu("tank", saves=saves), processes=1)
        memory = simulator.init(None, 0)
        for _ in range(5):
            memory, _ = simulator.step(memory, still, 1.0)
        assert memory.points[0].past is None
        simulator.close()
        if saves:
            assert simulator.step(memory, still, 1.0)[1][0, 0] == pytest.approx(np.exp(-6 / 4))
        else:
            with pytest.raises(PartError, match="cannot be replayed any more"):
                simulator.step(memory, still, 1.0)


def leftovers() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("gemel-fmu-*"))


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    simulator = Fmu(fmu("tank"), processes=2)
    simulator.step(simulator.init(None, 0, 4), np.zeros((2, 4)), 1.0)
    numbers = [c.process.pid for c in simulator._pool._children]
    assert len(leftovers()) == 1
    del simulator
    gc.collect()
    assert leftovers() == []
    assert not any(os.path.exists(f"/proc/{n}") for n in numbers)
    code = "from gemel.simulators.fmu.simulator import Fmu; import os, sys; s = Fmu(sys.argv[1]); s.init(None, 0)"
    for end in ("", "; os._exit(0)"):  # as it should, and without any leave-taking
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", code + end, fmu("tank")], check=True, env=environment)
        for _ in range(100):
            if not leftovers():
                break
            time.sleep(0.05)
        assert leftovers() == []


# -- what is no good from the start -----------------------------------------------------------------------------------


def refused(path: str | Path, **more: Any) -> str:
    with pytest.raises(ConfigError) as error:
        Fmu(str(path), **more)
    return str(error.value)


def without(path: str, tmp_path: Path, drop: str, **new: str) -> Path:
    """A copy of an FMU in which files that start with `drop` are missing, or called otherwise."""
    made = tmp_path / "copy.fmu"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as copy:
        for name in old.namelist():
            if not name.startswith(drop):
                copy.writestr(name, old.read(name))
            elif new:
                copy.writestr(name.replace(*next(iter(new.items()))), old.read(name))
    return made


def test_files_that_are_no_fmus(tmp_path: Path) -> None:
    assert "there is no file" in refused(tmp_path / "none.fmu")
    (tmp_path / "text.fmu").write_text("hello", encoding="utf-8")
    assert "text.fmu is not a readable FMU" in refused(tmp_path / "text.fmu")
    assert "copy.fmu holds no modelDescription.xml" in refused(without(fmu("tank"), tmp_path, "modelDescription"))
    with zipfile.ZipFile(tmp_path / "odd.fmu", "w") as pack:
        pack.writestr("modelDescription.xml", "<fmiModelDescription")
    assert "the description of odd.fmu cannot be read" in refused(tmp_path / "odd.fmu")
    whole = Path(fmu("tank")).read_bytes()
    (tmp_path / "short.fmu").write_bytes(whole[: len(whole) // 2])
    assert "short.fmu is not a readable FMU" in refused(tmp_path / "short.fmu")
    assert "holds no modelDescription.xml" in refused(tmp_path)


def test_a_file_with_a_broken_inside_is_refused_when_it_is_unpacked(tmp_path: Path) -> None:
    broken = bytearray(Path(fmu("tank")).read_bytes())
    place = broken.index(b"\x7fELF") + 5000
    broken[place : place + 100] = b"x" * 100
    (tmp_path / "broken.fmu").write_bytes(bytes(broken))
    with pytest.raises(PartError, match=r"broken\.fmu cannot be unpacked"):
        Fmu(str(tmp_path / "broken.fmu")).init(None, 0)


def test_binaries_of_other_platforms_are_named(tmp_path: Path) -> None:
    said = refused(without(fmu("tank"), tmp_path, "binaries", linux64="win64"))
    assert "copy.fmu has no binary binaries/linux64/tank; it has win64" in said
    with zipfile.ZipFile(tmp_path / "copy.fmu", "a") as pack:
        pack.writestr("sources/all.c", "")
    assert "fmpy compile copy.fmu" in refused(tmp_path / "copy.fmu")


def test_a_library_that_is_missing_is_named() -> None:
    simulator = Fmu(fmu("tank", needs="libgone.so.4"))
    with pytest.raises(PartError, match=r"tank.fmu needs libgone.so.4, which this machine does not have"):
        simulator.init(None, 0)


def test_an_unpacked_folder_runs_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(fmu("tank")) as pack:
        pack.extractall(tmp_path / "tank")
    shutil.rmtree(tmp_path / "tank" / "resources", ignore_errors=True)
    simulator = Fmu(str(tmp_path / "tank"))
    assert simulator.step(simulator.init(None, 0), np.zeros((2, 1)), 1.0)[1].shape == (3, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"inputs": ["inflw"]},
            "inputs names 'inflw', which tank.fmu does not have as a number, did you mean 'inflow'?",
        ),
        ({"inputs": ["level"]}, "'level' of tank.fmu is no input: it is a continuous output"),
        ({"outputs": {"x": "nowhere at all"}}, "outputs names 'nowhere at all'"),
        ({"start": {"aera": 1}}, "start names 'aera', which tank.fmu does not have, did you mean 'area'?"),
        ({"start": {"flow": 1}}, "start of 'flow' cannot be set: tank.fmu says it is a continuous output"),
        ({"start": {"area": 50}}, "'area' is 50, tank.fmu wants 0.1 to 10"),
        ({"start": {"area": "wide"}}, "a number is needed"),
        ({"priors": {"outlow": {"sd": 1}}}, "did you mean 'outflow'?"),
        ({"priors": {"area": {"mean": 20, "sd": 1}}}, "'area' has mean 20 outside 0.1 to 10"),
        ({"priors": {"area": {"sd": -1}}}, "'area' needs sd of 0 or more"),
        ({"priors": {"area": {"deviation": 1}}}, "'area' has no key 'deviation'"),
        ({"priors": {"flow": {"sd": 1}}}, "only parameters and continuous states can be estimated"),
        ({"interface": "es"}, "interface 'es' is neither cs nor me"),
        ({"timeout": "soon"}, "'soon' is not a duration"),
        ({"memory": "much"}, "memory 'much' is no amount of memory"),
        ({"processes": -1}, "processes -1 must be 0 or more"),
    ],
)
def test_a_wrong_key_is_said_with_what_there_is(given: dict[str, Any], said: str) -> None:
    assert said in refused(fmu("tank"), **given)


def test_an_interface_that_it_does_not_have() -> None:
    assert "tank.fmu offers only me, not interface 'cs'" in refused(fmu("tank", interfaces="me"), interface="cs")


def test_units_that_do_not_fit_are_refused() -> None:
    def bind(**units: str) -> None:
        signals = Signals([Signal(name, unit=unit) for name, unit in units.items()])
        setting = Setting("t", "", signals, Virtual(), 10**9, 10**9, 0, Path())
        Fmu(fmu("tank")).bind(setting)

    bind(level="m", inflow="m3/s", flow="", shut="%")
    bind(level="of no table")
    with pytest.raises(ConfigError) as error:
        bind(level="degC", inflow="m3/h")
    assert "signal 'level' is in degC, tank.fmu says m: 'degC' is a temperature and 'm' a length" in str(error.value)
    assert "signal 'inflow' is in m3/h, tank.fmu says m3/s: differs" in str(error.value)


def test_a_filter_is_refused_where_a_belief_cannot_hold_the_state() -> None:
    text = f"""
name = "tank"
signals = [{{ name = "level" }}, {{ name = "inflow" }}]
store = {{ kind = "memory" }}
simulator = {{ kind = "fmu", path = "{fmu("tank", states=False)}" }}
estimator = {{ kind = "enkf", noise = {{ level = 0.1 }} }}
"""
    with pytest.raises(ConfigError, match="cannot be read and overwritten"):
        load(text).forecast("1h")
