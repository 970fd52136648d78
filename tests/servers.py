"""Real servers on free ports of this machine, for tests. A conftest imports the fixtures it wants."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.mosquitto import BINARY, Mosquitto

__all__ = ["Mosquitto", "mosquitto", "mosquitto_installed"]


@pytest.fixture(scope="session")
def mosquitto_installed() -> None:
    if BINARY is None:
        assert not os.environ.get("CI"), "CI needs the package mosquitto"
        pytest.skip("mosquitto is not installed")


@pytest.fixture
def mosquitto(tmp_path: Path, mosquitto_installed: None) -> Iterator[Mosquitto]:
    server = Mosquitto(tmp_path).start()
    yield server
    server.stop()
