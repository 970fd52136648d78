"""Conformance checks for transforms and views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from gemel.core import codec
from gemel.core.values import BAD, IMPUTED, Batch, Frame
from gemel.loop.process import Stateful, Transform, View

_STEP = 60_000_000_000


def awkward(signals: int, rows: int = 120, seed: int = 0) -> Batch:
    """Telemetry as it may come: noise, steps, spikes, standstills, NaN and infinities, late points, copies."""
    rng = np.random.default_rng(seed)
    time = 1_600_000_000_000_000_000 + _STEP * np.arange(rows)
    value = 20 + rng.normal(0, 1, (rows, signals)).round(1)
    value[rows // 2 :] += 15
    value[rows // 3 : rows // 2, 0] = value[rows // 3, 0]
    wild = rng.random(value.shape)
    value[wild < 0.03] = 1e6
    for share, mark in ((0.97, np.nan), (0.98, np.inf), (0.99, -np.inf)):
        value[wild > share] = mark
    place = np.arange(rows * signals)
    place = np.sort(np.where(rng.random(len(place)) < 0.05, place + rng.integers(0, 400, len(place)), place))
    place = place[place < rows * signals]  # some points twice, some not at all
    late = np.argsort(place + np.where(rng.random(len(place)) < 0.05, 50, 0), kind="stable")
    place = place[late]
    return Batch.of(place % signals, time[place // signals], value.reshape(-1)[place])


def check_transform(
    make: Callable[[], Transform], *, signals: int, batch: Batch | None = None, drops: bool = False, seed: int = 0
) -> Batch:
    """Checks what `Transform` promises; raises `AssertionError`. Returns what the transform makes of `batch`.

    `make` gives a fresh transform, bound to `signals` signals. `batch` is telemetry in arrival order, `awkward` when
    None. `drops` says that exact copies may be removed (a part that adds points is not for this check).
    """
    batch = awkward(signals, seed=seed) if batch is None else batch
    given = tuple(column.copy() for column in _columns(batch))
    whole = make().apply(batch)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(given, _columns(batch), strict=True)), (
        "a transform leaves the batch it is given as it is"
    )
    _check_points(batch, whole, drops)
    empty = make().apply(batch.take(np.zeros(0, np.intp)))
    assert len(empty) == 0, "nothing comes of nothing"
    rng = np.random.default_rng(seed)
    n = len(batch)
    for cuts in (range(n + 1), [0, *sorted(rng.integers(0, n + 1, 7).tolist()), n], [0, n // 2, n // 2, n]):
        _same(whole, _chopped(make, batch, cuts, restart=False), "the answer depends on how the stream is cut")
        if isinstance(make(), Stateful) and len(cuts) < n:
            _same(whole, _chopped(make, batch, cuts, restart=True), "a restart from a snapshot changes the answer")
    marked = replace(batch, sequence=7, events=())
    assert make().apply(marked).sequence == 7, "the batch's sequence is the source's: it goes through"
    return whole


def check_view(make: Callable[[], View], frame: Frame | None = None, *, regrids: bool = False) -> Frame:
    """Checks what `View` promises; raises `AssertionError`. Returns what the view makes of `frame`.

    `regrids` says that rows may be other ones. A view is causal: what it makes of the first rows alone is what it
    makes of them in the whole frame.
    """
    frame = _frame() if frame is None else frame
    values, quality = frame.values.copy(), frame.quality.copy()
    whole = make().view(frame)
    assert np.array_equal(values, frame.values, equal_nan=True), "a view leaves the frame it is given as it is"
    assert np.array_equal(quality, frame.quality), "a view leaves the frame it is given as it is"
    assert whole.signals == frame.signals, "the signals stay"
    assert whole.values.shape == whole.quality.shape == (len(whole), len(whole.signals)), "a value and a quality a cell"
    assert np.isfinite(whole.values[(whole.quality != BAD)]).all(), "a cell that is not bad has a value"
    if not regrids:
        assert np.array_equal(whole.time, frame.time), "the rows stay"
        assert np.array_equal(np.isnan(whole.values) | (whole.quality == BAD), np.isnan(values) | (quality == BAD)), (
            "missing stays missing, and what is there stays there"
        )
    for rows in (0, 1, len(frame) // 3, len(frame) - 1):
        part = make().view(frame.rows(0, rows))
        same = np.searchsorted(whole.time, part.time)
        sure = len(part) - 1 if regrids else len(part)  # the last cell of another grid may still be filling
        np.testing.assert_allclose(
            part.values[:sure], whole.values[same[:sure]], rtol=1e-7, atol=1e-9, err_msg="a row sees a later row"
        )
    return whole


def _columns(batch: Batch) -> tuple[np.ndarray[Any, Any], ...]:
    return batch.signal, batch.time, batch.received, batch.value, batch.quality


def _check_points(batch: Batch, out: Batch, drops: bool) -> None:
    keys = [list(zip(b.signal.tolist(), b.time.tolist(), strict=True)) for b in (batch, out)]
    if drops:
        assert set(keys[0]) == set(keys[1]), "a point was lost: only copies may be removed"
    else:
        assert keys[0] == keys[1], "every point comes out, in its order"
        rank = np.array([0, 2, 3, 1])
        assert (rank[out.quality] >= rank[batch.quality]).all(), "quality never becomes better"
    assert out.quality.max(initial=0) <= IMPUTED, "quality is one of the four codes"
    for name, dtype in (("signal", np.int32), ("time", np.int64), ("value", np.float64), ("quality", np.uint8)):
        assert getattr(out, name).dtype == dtype, f"{name} is {np.dtype(dtype)}, not {getattr(out, name).dtype}"


def _chopped(make: Callable[[], Transform], batch: Batch, cuts: Sequence[int], restart: bool) -> Batch:
    transform, parts = make(), []
    for a, b in pairwise(cuts):
        parts.append(transform.apply(batch.take(np.arange(a, b))))
        if restart and isinstance(transform, Stateful):
            state = codec.decode(codec.encode(transform.snapshot()))
            transform = make()
            assert isinstance(transform, Stateful)
            transform.restore(state)
    columns: list[Any] = [np.concatenate(pieces) for pieces in zip(*map(_columns, parts), strict=True)]
    return Batch(*columns)


def _same(a: Batch, b: Batch, text: str) -> None:
    for one, other in zip(_columns(a), _columns(b), strict=True):
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f"), text


def _frame(rows: int = 300) -> Frame:
    rng = np.random.default_rng(1)
    time = 1_600_000_000_000_000_000 // _STEP * _STEP + _STEP * np.arange(rows, dtype=np.int64)
    values = np.column_stack(
        (np.sin(np.arange(rows) / 20) + rng.normal(0, 0.1, rows), 1e4 + rng.normal(0, 1, rows), np.full(rows, 5.0))
    )
    values[rng.random(values.shape) < 0.1] = np.nan
    values[100:160, 0] = np.nan
    values[:5, 1] = np.nan
    quality = np.where(np.isnan(values), BAD, 0).astype(np.uint8)
    values[200, 2], quality[200, 2] = 999.0, BAD  # a bad value that is still there
    return Frame(time, values, quality, ("a", "b", "c"))
