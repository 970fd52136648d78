"""Rows of the wings, ours and those of other packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gemel.core.errors import ConfigError
from gemel.core.registry import WINGS, build, kind_of, part, rows

MODULE = """
from __future__ import annotations


class Echo:
    def __init__(self, gain: float = 1.0, *, name: str) -> None:
        if gain < 0:
            raise ValueError("gain is below zero")
        self.gain, self.name = gain, name

    def view(self, frame):
        return frame
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is not ours: a module and the entry points of its installation."""
    (tmp_path / "outside_echo.py").write_text(MODULE)
    info = tmp_path / "outside_echo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-echo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gemel.transforms]\necho = outside_echo:Echo\nbroken = outside_echo_missing:Echo\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "outside_echo", raising=False)
    return tmp_path


@pytest.mark.parametrize("wing", WINGS)
def test_every_wing_has_a_table(wing: str) -> None:
    assert all(":" in row for row in rows(wing).values())


@pytest.mark.usefixtures("outside")
def test_a_foreign_part_is_found_by_entry_point() -> None:
    assert "outside_echo" not in sys.modules  # a row is text until it is named
    echo = build("transforms", {"kind": "echo", "gain": 2, "name": "x"})
    assert (echo.gain, echo.name) == (2, "x")
    assert kind_of("transforms", echo) == "echo"


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"kind": "ecko", "name": "x"}, "unknown kind 'ecko' in transforms, did you mean 'echo'"),
        (
            {"kind": "echo", "name": "x", "gian": 1},
            "unknown key 'gian' for transforms kind 'echo', did you mean 'gain'",
        ),
        ({"kind": "echo"}, "'echo' needs the key 'name'"),
        ({"kind": "echo", "name": 3}, "echo.name: str is needed, not 3"),
        ({"kind": "echo", "name": "x", "gain": -1}, "'echo': gain is below zero"),
        ({"kind": "broken"}, "needs a package that is not installed: outside_echo_missing"),
        ({"name": "x"}, "a part of transforms needs a kind"),
    ],
)
def test_what_is_wrong_is_named(spec: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("transforms", spec)
    assert said in str(caught.value)


def test_a_class_without_a_row_is_told_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match=r"add an entry point in the group gemel\.transforms"):
        kind_of("transforms", object())


def test_part_gives_the_class(outside: Path) -> None:
    assert part("transforms", "echo").__name__ == "Echo"
