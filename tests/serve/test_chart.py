"""Charts of forecasts: what is drawn where."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.cli import main
from gemel.core.units import SECOND, instant
from gemel.core.values import Forecast, Frame
from gemel.serve.chart import chart, extent, legend
from gemel.serve.scale import instants, numbers
from gemel.serve.terminal import print_charts, print_forecast

NOW = instant("2024-03-01T06:00")
STEP = 900 * SECOND
HEIGHT = 12


def past(values: Any, *, now: int = NOW, step: int = STEP) -> Frame:
    held = np.asarray(values, float)[:, None]
    time = now + step * np.arange(1 - len(held), 1)
    return Frame(time, held, np.zeros(held.shape, np.uint8), ("x",))


def ahead(middle: Any, spread: float = 1.0, *, now: int = NOW, step: int = STEP) -> Forecast:
    curve = np.asarray(middle, float)
    values = np.stack([curve - spread, curve, curve + spread], axis=1)[None].astype(np.float32)
    return Forecast(now + step * np.arange(1, len(curve) + 1), (0.1, 0.5, 0.9), values, ("x",), now, "theta")


def drawn(frame: Frame, forecast: Forecast, **named: Any) -> list[str]:
    return chart(frame, forecast, "x", **{"width": 80, "colour": False, **named}).plain.split("\n")


def picture(lines: list[str]) -> list[str]:
    """The rows between title and time axis, without what stands left of them."""
    return [line[max(line.find("┤"), line.find("│")) + 1 :].ljust(80) for line in lines[1 : 1 + HEIGHT]]


def dots(text: str) -> bool:
    return any(0x2800 < ord(glyph) < 0x2900 for glyph in text)


def test_the_highest_and_the_lowest_stand_in_the_first_and_the_last_row():
    curve = np.zeros(192)
    curve[50], curve[120] = 10.0, -10.0  # one step in four that share a character
    rows = picture(drawn(past(curve), ahead(np.zeros(96))))
    assert dots(rows[0])
    assert dots(rows[-1])
    assert not dots(rows[0].replace("⡇", "").replace("⢸", ""))  # a peak, not a plateau
    assert rows[0].index("⢸" if "⢸" in rows[0] else "⡇") < 20


def test_peaks_stay_however_long_the_history():
    curve = np.zeros(20_000)
    curve[15_001] = 5.0
    rows = picture(drawn(past(curve), ahead(np.zeros(10_000), 0.1)))
    assert dots(rows[0])


def test_the_band_holds_the_median_and_opens_after_now():
    rows = picture(drawn(past(np.sin(np.arange(192) / 15)), ahead(np.sin(np.arange(192, 288) / 15), 0.5)))
    now = rows[0].index("╎")
    assert all(row[now] == "╎" for row in rows)
    assert not any("░" in row[:now] for row in rows)
    for column in range(now + 6, len(rows[0].rstrip())):
        band = [r for r in range(HEIGHT) if rows[r][column] == "░"]
        median = [r for r in range(HEIGHT) if dots(rows[r][column])]
        assert min(band) - 1 <= min(median) <= max(median) <= max(band) + 1


def test_the_band_in_colour_covers_what_the_shade_covers():
    frame, forecast = past(np.zeros(192)), ahead(np.linspace(0, 4, 96), 1.5)
    text = chart(frame, forecast, "x", width=80)
    plain = chart(frame, forecast, "x", width=80, colour=False).plain
    shaded = sum(glyph == "░" or dots(glyph) for line in plain.split("\n")[1:] for glyph in line.partition("╎")[2])
    blue = sum(len(text.plain[s.start : s.end]) for s in text.spans if "#24507f" in str(s.style))
    assert blue == pytest.approx(shaded, rel=0.2)
    assert all(line.cell_len == 80 for line in text.split("\n")[1:13])  # to the last column


def test_a_gap_is_blank():
    curve = np.sin(np.arange(192) / 15)
    curve[60:120] = np.nan
    rows = picture(drawn(past(curve), ahead(np.zeros(96), 0.2)))
    columns = ["".join(row[c] for row in rows) for c in range(rows[0].index("╎"))]
    assert not any(dots(c) for c in columns[18:30])
    assert all(dots(c) for c in columns[:15] + columns[34:])


def test_a_signal_slower_than_the_grid_has_no_gaps():
    curve = np.full(192, np.nan)
    curve[::4] = np.arange(48)
    rows = picture(drawn(past(curve), ahead(np.full(96, 47.0))))
    columns = ["".join(row[c] for row in rows) for c in range(rows[0].index("╎") - 2)]
    assert all(dots(c) for c in columns)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("width", [40, 80, 133])
@pytest.mark.parametrize(
    ("frame", "forecast"),
    [
        (past(np.full(192, 7.0)), ahead(np.full(96, 7.0), 0.0)),  # constant
        (past(np.zeros(192)), ahead(np.zeros(96), 0.0)),
        (past(np.full(192, np.nan)), ahead(np.arange(96))),  # nothing measured
        (past([3.0]), ahead(np.arange(96))),  # one row
        (past(np.arange(30)), ahead([30.0])),  # one step
        (past([1.0]), ahead([2.0])),
        (past(-np.arange(192.0)), ahead(-np.arange(192.0, 288))),
        (past(np.arange(192) * 1e12), ahead(np.arange(192, 288) * 1e12, 1e12)),
        (past(np.arange(192) * 1e-12), ahead(np.arange(192, 288) * 1e-12, 1e-12)),
        (past(1e6 + np.arange(192) / 100), ahead(np.full(96, 1e6), 0.0)),
        (past(np.arange(50), now=49, step=1), ahead(np.arange(50, 60), now=49, step=1)),  # counted
        (past(np.arange(300), step=365 * 86_400 * SECOND // 12), ahead(np.arange(24), step=31 * 86_400 * SECOND)),
        (past(np.arange(300), step=1000), ahead(np.arange(24), step=1000)),
        (Frame(past([1.0]).time, np.ones((1, 1)), np.zeros((1, 1), np.uint8), ("other",)), ahead(np.arange(5))),
    ],
)
def test_every_shape_of_signal_fits(frame: Frame, forecast: Forecast, width: int, colour: bool):
    lines = drawn(frame, forecast, width=width, colour=colour, unit="degC")
    assert len(lines) == HEIGHT + 3
    assert max(map(len, lines)) <= width
    assert "now" in lines[-1]
    assert 3 <= sum("┤" in line for line in lines) <= 5
    assert dots("".join(lines))


def test_the_title_says_where_it_goes():
    title = drawn(past([1.0, 2.5]), ahead(np.full(96, 12.3), 2.0), unit="kW", width=100)[0]
    assert title == "x [kW]   now 2.5   in 24 h: 12.3 (10.3 .. 14.3)   by theta"
    narrow = drawn(past([1.0, 2.5]), ahead(np.full(96, 12.3), 2.0), unit="kW", width=40)[0]
    assert narrow == "x [kW]   in 24 h: 12.3 (10.3 .. 14.3)"


def test_times_are_round():
    day = 86_400 * SECOND
    assert [text for _, text in instants(NOW - 2 * day, NOW + day, NOW, 75)] == [
        "12:00", "Feb 29", "12:00", "Mar 01", "12:00", "Mar 02",
    ]  # fmt: skip
    assert [text for _, text in instants(NOW, NOW + 900 * day, NOW, 60)][:2] == ["Jul 2024", "Jan 2025"]
    assert instants(0, 96, 64, 60)[1] == (20, "20")
    assert "2024-03-01 06:00 UTC" in legend(NOW).plain
    assert "step 64" in legend(64).plain


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9))
def test_three_to_five_round_numbers_of_any_range(low: float, reach: float):
    found = numbers(low, low + reach)
    assert 3 <= len(found) <= 5
    assert len({text for _, text in found}) == len(found)
    for value, text in found:
        assert low - reach * 1e-6 <= value <= low + reach * (1 + 1e-6)
        assert float(text) == pytest.approx(value, abs=reach * 1e-3)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=300), st.integers(1, 60))
def test_no_column_loses_its_extremes(curve: list[float], n: int):
    least, most = extent(np.linspace(0, n - 0.01, len(curve)), np.array(curve), n)
    assert np.nanmin(least) == min(curve)
    assert np.nanmax(most) == max(curve)
    assert len(curve) == 1 or np.isfinite(most).all()


def test_of_many_signals_the_first_eight_are_drawn(capsys: pytest.CaptureFixture[str]):
    names = tuple(f"pump{i}" for i in range(20))
    values = np.repeat(ahead(np.arange(8.0)).values, 20, axis=0)
    forecast = Forecast(NOW + STEP * np.arange(1, 9), (0.1, 0.5, 0.9), values, names, NOW, "theta")
    print_charts(past([1.0]), forecast, None, {})
    out = capsys.readouterr().out
    assert out.count("80 % band") == 1
    assert "pump7 " in out
    assert "pump8   " not in out
    assert "the first 8 of 20 signals; name others: --signal pump8" in out
    print_charts(past([1.0]), forecast, names[5:15], {})
    assert sum(f"{name}   in 2 h" in capsys.readouterr().out for name in names[14:15]) == 1


def test_the_table_s_title_stays_on_one_line(capsys: pytest.CaptureFixture[str]):
    print_forecast(ahead(np.arange(96.0)), ["x"])
    first = capsys.readouterr().out.split("\n")[0]
    assert first.endswith("by theta")
    assert len(first) <= 80


TWIN = """
name = "shed"
every = "15min"
clock = "data"
signals = [{ name = "oil", unit = "degC", address = "file:#oil" }]
connectors.file = { kind = "replay", path = "rows.csv" }
store = { kind = "duckdb", path = "shed.gemel" }
forecaster = { kind = "seasonal_naive", season = "24h", every = "6h" }
"""


def test_plot_of_a_twin(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    stamps = np.datetime64("2024-01-01T00:00") + np.arange(480) * np.timedelta64(15, "m")
    oil = 40 + 5 * np.sin(np.arange(480) / 96 * 2 * np.pi)
    rows = "\n".join(f"{t},{v:.3f}" for t, v in zip(stamps, oil, strict=True))
    Path("rows.csv").write_text(f"date,oil\n{rows}\n")
    Path("shed.toml").write_text(TWIN)

    def gemel(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["gemel", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert not ended.value.code, err
        return out

    gemel("run", "shed.toml", "--json")
    plain = gemel("forecast", "shed.toml", "--horizon", "12h", "--json")
    assert gemel("forecast", "shed.toml", "--horizon", "12h", "--json", "--plot") == plain
    monkeypatch.setenv("COLUMNS", "72")
    lines = gemel("forecast", "shed.toml", "--horizon", "12h", "--plot").split("\n")
    assert json.loads(plain)["signals"] == ["oil"]
    assert lines[0].startswith("oil [degC]   now 39.67   in 12 h: ")
    assert max(map(len, lines)) <= 72
    assert all(dots(row[:48]) or "┤" in row or "│" in row for row in picture(lines))
    assert "now, 2024-01-05 23:45 UTC" in "\n".join(lines)
    assert lines[-2] == "next: gemel history shed.toml --last 1d"
