"""The servers that connectors are tested against."""

from __future__ import annotations

from servers import mosquitto, mosquitto_installed

__all__ = ["mosquitto", "mosquitto_installed"]
