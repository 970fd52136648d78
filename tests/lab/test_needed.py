"""What the lab's commands load: nothing at first, a clear word where torch is missing, and little else to train."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest


def python(code: str, *without: str) -> subprocess.CompletedProcess[str]:
    """Run code where some packages are not installed."""
    head = f"import sys; sys.modules.update(dict.fromkeys({without!r}))\n"
    return subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words", [["pretrain", "--folder", "x", "--steps", "1"], ["export", "--folder", "x"], ["runs"], ["corpus"],
              ["evaluate", "x", "--bench"], ["amortise", "x.toml", "--into", "x"],
              ["train", "x.csv", "--folder", "y"]], ids=lambda w: w[0]
)  # fmt: skip
def test_without_torch_the_next_step_is_named(words: list[str]) -> None:
    ran = python(f"sys.argv = ['gemel', 'lab', *{words!r}]; from gemel.cli import main; main()", "torch")
    assert ran.returncode == 2
    said = r"error: the lab needs (torch|onnx|onnxruntime), which is not installed\nhint: pip install 'gemel\[lab\]'\n"
    assert re.fullmatch(said, ran.stderr)


def test_help_loads_nothing_of_the_lab() -> None:
    code = "from typer.testing import CliRunner; from gemel.cli import app; CliRunner().invoke(app, ['lab', '--help'])"
    said = python(code + "; print(*sys.modules)").stdout.split()
    assert "gemel.commands_lab" in said
    assert not {"torch", "numpy", "gemel.lab", "msgspec"} & set(said)


def test_a_machine_with_torch_and_little_else_trains(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch")
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        "[shape]\nwidth = 16\nheads = 2\nlayers = 1\n[mixture]\ntokens = 128\nlengths = [2]\nrows = 26\nrow = 256\n"
    )
    code = f"sys.argv = ['train', '--folder', {str(tmp_path / 'run')!r}, '--config', {str(recipe)!r}, '--steps', '2']"
    code += "\nfrom gemel.lab.train import main; main()"
    ran = python(code, "typer", "rich", "duckdb", "pyarrow", "narwhals", "onnx", "onnxruntime", "pandas", "paho")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "new run\n"
    assert (tmp_path / "run" / "checkpoint.pt").exists()
