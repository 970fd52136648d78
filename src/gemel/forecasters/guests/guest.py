"""What is asked of every guest: a history it can read, quantiles at any level, errors that say what to fetch.

Letters in shapes: t rows, s signals, h steps ahead, p levels of the guest's own.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, PartError
from gemel.core.setting import Setting
from gemel.core.values import Bools, Floats, Forecast, Frame
from gemel.forecasters.context import answer, check
from gemel.forecasters.foundation.ask import CHUNK, FEWEST, relevel
from gemel.forecasters.naive import Naive

Ask = Callable[[Floats, int], Floats]
"""`ask(values [t, s], horizon)`: quantiles [s, h, p]. Signals have mean 0 and deviation 1; missing values are NaN."""


def needs(package: str, extra: str, why: str = "") -> None:
    """Raises `ConfigError` when a guest's package is not installed."""
    missing = [name for name in (package, "torch") if find_spec(name) is None]
    if missing:
        problem = f"forecaster '{extra}' needs what is not installed: {', '.join(missing)}"
        raise ConfigError([problem], f"pip install 'gemel[{extra}]'{why}")


def place(model: str, setting: Setting) -> str:
    """A folder beside the twin file, or `model` as it is: a folder elsewhere, or a name on the hub."""
    beside = setting.folder / model
    return str(beside) if beside.is_dir() else model


def fetched(load: Callable[[], Any], model: str, extra: str) -> Any:
    """What `load` loads. Raises `PartError` that says how to get the weights without a network."""
    try:
        return load()
    except PartError:
        raise
    except Exception as error:  # the hub, its client and the checkpoint readers share no class of errors
        said = str(error).strip().splitlines() or [type(error).__name__]
        problem = f"{extra}: the weights '{model}' cannot be loaded: {said[0]}"
        if Path(model).is_dir():
            hint = "the folder must hold config.json and model.safetensors as their publisher wrote them"
        else:
            hint = f'where there is a network: `hf download {model} --local-dir weights`; then write model = "weights"'
        raise PartError(problem, hint) from error


def foresee(
    ask: Ask,
    own: Sequence[float],
    context: Frame,
    horizon: int,
    known: Frame | None,
    levels: Sequence[float],
    by: str,
    rows: int,
) -> Forecast:
    """The guest's answer from the last `rows` rows, at the levels asked for; `own` are its own levels. A signal that is
    constant or has hardly any values gets the naive answer."""
    check(context, horizon, levels)
    values = Naive().forecast(context, horizon, known=known, levels=levels).values.astype(np.float64)
    seen = np.where(np.isfinite(context.values), context.values, np.nan)[-rows:]
    able = np.flatnonzero(_able(seen))
    for i in range(0, len(able), CHUNK):
        signals = able[i : i + CHUNK]
        values[signals] = relevel(_asked(ask, seen[:, signals], horizon, by), own, levels)
    return answer(values, context, levels, by, known)


def _able(values: Floats) -> Bools:
    held = np.isfinite(values)
    low = np.where(held, values, np.inf).min(axis=0)
    high = np.where(held, values, -np.inf).max(axis=0)
    moved: Bools = high - low > 1e-12 * np.maximum(np.abs(low), np.abs(high))
    return moved & (held.sum(axis=0) >= FEWEST)


def _asked(ask: Ask, values: Floats, horizon: int, by: str) -> Floats:
    """The guest's quantiles [s, h, p], in order. It gets each signal with mean 0 and deviation 1, which its own scaling
    makes the same question: that is done in float32, overflows for large values and has a floor for small ones."""
    values = values[np.argmax(np.isfinite(values).any(axis=1)) :]
    size = np.nanmax(np.abs(values), axis=0)  # the square of a very large value does not fit
    scaled = values / size
    mean, deviation = np.nanmean(scaled, axis=0), np.nanstd(scaled, axis=0)
    with _calm():
        fan = np.sort(ask((scaled - mean) / deviation, horizon).astype(np.float64), axis=2)
    if not np.isfinite(fan).all():
        raise PartError(f"{by} answered with values that are not finite", "are the weights complete?")
    found: Floats = (fan * deviation[:, None, None] + mean[:, None, None]) * size[:, None, None]
    return found


@contextmanager
def _calm() -> Iterator[None]:
    """One thread, no gradients, no advice on long horizons; the host's own number of threads comes back."""
    torch = tensors()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)


def tensors() -> Any:
    """The tensor library, which the guest's package has imported: on site Gemel has none of its own."""
    return sys.modules["torch"]
