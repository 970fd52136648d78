"""The example of the line runs, and servicing by what the vibration says costs less than running to failure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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
