"""FMUs as other tools make them: strict ones, sparse ones, odd names and folders, and what they say and start."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmus import fmu
from gemel.core.errors import PartError
from gemel.core.values import Floats
from gemel.simulators.fmu.simulator import Fmu
from gemel.testing.simulator import check_simulator

KINDS = [(2, "cs"), (2, "me"), (3, "cs"), (3, "me")]


def levels(simulator: Fmu, steps: int = 3, dt: float = 1.0, inputs: float = 0.0) -> Floats:
    u = np.full((steps, len(simulator.inputs), 1), inputs)
    _, outputs = simulator.run(simulator.init(None, 0), u, dt)
    return outputs[:, simulator.outputs.index("level"), 0]


EMPTYING = np.exp(-np.arange(1, 4) / 4)


def copied(path: str, to: Path, change: Callable[[bytes], bytes] = bytes, name: Callable[[str], str] = str) -> str:
    """A copy of an FMU with another description, or other names of its files."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for n in old.namelist():
            said = old.read(n)
            new.writestr(name(n), change(said) if n.endswith(".xml") else said)
    return str(to)


@pytest.mark.parametrize(("version", "interface"), KINDS)
@pytest.mark.parametrize("saves", [True, False])
def test_one_that_allows_nothing_but_what_the_standard_does(version: int, interface: str, saves: bool) -> None:
    priors = {"outflow": {"mean": 0.5, "sd": 0.1}, "area": {"mean": 2.0, "sd": 0.1}}

    def make() -> Fmu:
        path = fmu("tank", version=version, bad="STRICT", saves=saves)
        return Fmu(path, interface=interface, processes=1, priors=priors)

    check_simulator(make, np.array([[1.0, 0], [1.2, 0], [0.8, 1], [0.2, 0], [0.0, 0]]), 3.0)


@pytest.mark.parametrize(("version", "interface"), KINDS)
def test_functions_that_are_not_needed_may_be_left_out(version: int, interface: str) -> None:
    simulator = Fmu(fmu("tank", version=version, sparse=True), interface=interface, processes=1)
    np.testing.assert_allclose(levels(simulator), EMPTYING, rtol=1e-5)


def test_one_that_is_needed_is_named() -> None:
    more = (("note", 20, "String", 'causality="parameter" variability="fixed" start=""'),)
    simulator = Fmu(fmu("tank", version=3, sparse=True, more=more), start={"note": "4"}, processes=1)
    with pytest.raises(PartError, match="it has no function fmi3SetString"):
        simulator.init(None, 0)


def test_a_library_that_it_brings_is_found_beside_its_own() -> None:
    simulator = Fmu(fmu("tank", needs="libbrought.so.2", brings=True), processes=1)
    np.testing.assert_allclose(levels(simulator), EMPTYING)


def test_a_step_that_is_computed_beside_its_caller_is_waited_for() -> None:
    np.testing.assert_allclose(levels(Fmu(fmu("tank", bad="PENDING"), processes=1)), EMPTYING)


@pytest.mark.parametrize("version", [2, 3])
def test_a_step_that_is_refused_is_made_in_parts(version: int) -> None:
    simulator = Fmu(fmu("tank", version=version, bad="REFUSE"), processes=1)
    np.testing.assert_allclose(levels(simulator, dt=8.0), EMPTYING**8)
    fixed = Fmu(fmu("tank", version=version, bad="REFUSE", any_step=False), processes=1)
    with pytest.raises(PartError, match="it does not get through a step of 8 s"):
        levels(fixed, dt=8.0)


def test_why_it_does_not_begin_is_heard() -> None:
    with pytest.raises(PartError, match="it says: No module named 'licence'") as error:
        Fmu(fmu("tank", bad="MUTE"), processes=1).init(None, 0)
    assert "install licence" in error.value.hint


def test_it_is_taken_leave_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMEL_TEST_FMU", str(tmp_path / "said"))
    simulator = Fmu(fmu("tank", bad="LEAVE"), processes=1)
    levels(simulator)
    simulator.close()
    assert (tmp_path / "said").read_text("ascii") == "left 3\n"


@pytest.mark.parametrize("killed", [True, False])
def test_what_it_starts_ends_with_it(killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMEL_TEST_FMU", str(tmp_path / "said"))
    simulator = Fmu(fmu("tank", bad="SPAWN"), processes=1)
    levels(simulator)
    started = int((tmp_path / "said").read_text("ascii"))
    assert alive(started)
    if killed:
        simulator._pool._children[0].process.kill()
        with pytest.raises(PartError, match="SIGKILL"):
            levels(simulator)
    simulator.close()
    for _ in range(100):
        if not alive(started):
            break
        time.sleep(0.02)
    assert not alive(started)


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text("ascii").split()[2] != "Z"
    except OSError:
        return False


NOTED = b'<Annotations><Annotation type="a"><b/></Annotation></Annotations><ModelVariables>'


@pytest.mark.parametrize(
    "change",
    [
        lambda said: b"\xef\xbb\xbf" + said,
        lambda said: said.replace(b"UTF-8", b"ISO-8859-1").replace(b"modelName=", b'author="J\xfcrgen" modelName='),
        lambda said: said.decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        lambda said: said.replace(b'fmiVersion="3.0"', b'fmiVersion="3.0.2"'),
        lambda said: said.replace(b"<ModelVariables>", NOTED),
    ],
)
def test_descriptions_as_others_write_them(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    simulator = Fmu(copied(fmu("tank", version=3), tmp_path / "tank.fmu", change), processes=1)
    np.testing.assert_allclose(levels(simulator), EMPTYING)


def test_folders_and_files_of_any_name(tmp_path: Path) -> None:
    odd = tmp_path / "ein Kessel äö 锅"
    odd.mkdir()
    np.testing.assert_allclose(levels(Fmu(copied(fmu("tank"), odd / "a b.fmu"), processes=1)), EMPTYING)
    with zipfile.ZipFile(fmu("tank")) as pack:
        pack.extractall(odd / "unpacked")
    os.chmod(odd / "unpacked", 0o555)
    simulator = Fmu(str(odd / "unpacked"), processes=1)
    np.testing.assert_allclose(levels(simulator), EMPTYING)
    assert simulator._pool._wiring.folder.isascii()
    simulator._pool._end()  # type: ignore[misc]
    assert (odd / "unpacked" / "modelDescription.xml").exists()


def test_a_zip_with_the_separators_of_windows(tmp_path: Path) -> None:
    path = copied(fmu("tank"), tmp_path / "tank.fmu", name=lambda n: n.replace("/", "\\"))
    np.testing.assert_allclose(levels(Fmu(path, processes=1)), EMPTYING)


def test_a_zip_of_a_folder_is_told_from_one_of_what_is_in_it(tmp_path: Path) -> None:
    path = copied(fmu("tank"), tmp_path / "tank.fmu", name=lambda n: f"some/{n}")
    with pytest.raises(Exception, match="zip what is in the folder"):
        Fmu(path)


def test_what_can_be_run_in_the_file_can_be_run(tmp_path: Path) -> None:
    path = copied(fmu("tank"), tmp_path / "tank.fmu")
    with zipfile.ZipFile(path, "a") as pack:
        tool = zipfile.ZipInfo("resources/tool")
        tool.external_attr = 0o755 << 16
        pack.writestr(tool, "#!/bin/sh\n")
    simulator = Fmu(path, processes=1)
    simulator.init(None, 0)
    assert os.access(Path(simulator._pool._wiring.folder) / "resources" / "tool", os.X_OK)


def test_whole_numbers_take_the_nearest_and_the_last() -> None:
    more = (("i", 7, "Int32", 'causality="input" variability="discrete" start="0"'),)
    simulator = Fmu(fmu("tank", more=more), inputs=["i"], outputs=["level", "i"], processes=1)
    for given, taken in ((0.9999, 1), (-0.4, 0), (np.inf, 2**31 - 1)):
        _, outputs = simulator.step(simulator.init(None, 0), np.array([[given]]), 1.0)
        assert outputs[1, 0] == taken


def test_very_many_outputs() -> None:
    more = tuple((f"zone[{i}].T", 1000 + i, "Float64", 'causality="output"') for i in range(10_000))
    simulator = Fmu(fmu("tank", version=3, more=more), processes=1)
    begun = time.perf_counter()
    assert np.isfinite(levels(simulator)).all()
    assert time.perf_counter() - begun < 5
