"""Gemel: a living virtual copy of a physical thing, in one wheel and one process.

`gemel.open("plant.toml")` gives a `Twin`; `gemel.forecast(df, horizon=96)` needs no twin at all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gemel.config import dump as dump
    from gemel.config import load as load
    from gemel.config import open as open
    from gemel.core.setting import Stage as Stage
    from gemel.core.values import Asset as Asset
    from gemel.core.values import Belief as Belief
    from gemel.core.values import Decision as Decision
    from gemel.core.values import Finding as Finding
    from gemel.core.values import Forecast as Forecast
    from gemel.core.values import Frame as Frame
    from gemel.core.values import Signal as Signal
    from gemel.frames import forecast as forecast
    from gemel.twin import Twin as Twin

__version__ = "0.1.0"

# name -> module: nothing heavy is imported before it is used
_FACE = {
    "Asset": "gemel.core.values",
    "Belief": "gemel.core.values",
    "Decision": "gemel.core.values",
    "Finding": "gemel.core.values",
    "Forecast": "gemel.core.values",
    "Frame": "gemel.core.values",
    "Signal": "gemel.core.values",
    "Stage": "gemel.core.setting",
    "Twin": "gemel.twin",
    "dump": "gemel.config",
    "forecast": "gemel.frames",
    "load": "gemel.config",
    "open": "gemel.config",
}
__all__ = sorted(_FACE)


def __getattr__(name: str) -> Any:
    if name in _FACE:
        return getattr(import_module(_FACE[name]), name)
    raise AttributeError(f"module 'gemel' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*sorted(_FACE), "__version__"]
