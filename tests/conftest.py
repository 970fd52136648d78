"""What all tests share: the markers of those that are slow or start a server."""

from __future__ import annotations

import pytest

from servers import mosquitto, mosquitto_installed

__all__ = ["mosquitto", "mosquitto_installed"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds (`dev.py test` leaves these out, CI does not)")
    config.addinivalue_line("markers", "server: starts a server of its own (`dev.py check` leaves these out)")
