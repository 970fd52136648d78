"""The example of the line runs, and servicing by what the vibration says costs less than running to failure."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "line.py"


@pytest.mark.slow
def test_the_line_costs_less_after_than_before() -> None:
    pytest.importorskip("ortools")
    ran = subprocess.run([sys.executable, str(EXAMPLE), "10"], capture_output=True, text=True, check=True)
    total = re.search(r"total, EUR\s+([\d,]+)\s+([\d,]+)", ran.stdout)
    assert total, ran.stdout
    before, after = (int(number.replace(",", "")) for number in total.groups())
    assert after < before / 2


@pytest.mark.slow
def test_the_notebook_runs_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ortools")
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    cells = json.loads(EXAMPLE.with_suffix(".ipynb").read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    for text in code:
        if "matplotlib" not in text:  # drawn where it is installed
            exec(compile(text, "line.ipynb", "exec"), names)
    assert names["after"].costs["total"] < names["before"].costs["total"] / 2
    shown = "".join(
        "".join(out["data"]["text/plain"]) for cell in cells for out in cell.get("outputs", []) if "data" in out
    )
    assert f"{names['before'].costs['total']:.0f}" in shown, "run the notebook again: its numbers are old"
