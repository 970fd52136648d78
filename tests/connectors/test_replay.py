"""A file as a plant: what a row becomes, in every form a file comes in, and when it comes."""

from __future__ import annotations

import asyncio
import gzip
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from gemel.connectors.replay import Replay
from gemel.core.clock import Clock, Data, Virtual, Wall
from gemel.core.errors import ConfigError, ConnectorError
from gemel.core.setting import Setting
from gemel.core.units import SECOND, instant
from gemel.core.values import BAD, GOOD, Batch, Event, Signal, Signals
from gemel.testing.source import check_source

OIL, LOAD = Signal("oil", address="plant:OT"), Signal("load", address="plant:#HUFL")
PLAIN = "date,HUFL,OT\n2016-07-01 00:00:00,5.827,30.531\n2016-07-01 00:15:00,5.76,30.46\n"


def replay(folder: Path, signals: tuple[Signal, ...], clock: Clock | None = None, **keys: Any) -> Replay:
    made = Replay(**keys)
    clock = clock or Data(SECOND, SECOND)
    made.bind(Setting("t", "plant", Signals(signals), clock, SECOND, SECOND, 0, folder))
    return made


async def all_of(source: Replay) -> list[Batch]:
    return [batch async for batch in source.stream()]


def heard(source: Replay) -> tuple[list[tuple[int, str, float]], list[Event]]:
    """(place, time, value) of every point, and the events."""
    points, events = [], []
    for batch in asyncio.run(all_of(source)):
        times = np.datetime_as_string(batch.time.view("datetime64[ns]"), "s").tolist()
        points += list(zip(batch.signal.tolist(), times, batch.value.tolist(), strict=True))
        events += batch.events
    return points, events


def text_of(
    folder: Path, text: str | bytes, signals: tuple[Signal, ...] = (OIL,), name: str = "a.csv", **keys: Any
) -> Any:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return heard(replay(folder, signals, path=name, **keys))


def test_a_wide_file_is_heard_row_by_row(tmp_path: Path) -> None:
    points, events = text_of(tmp_path, PLAIN, (OIL, LOAD))
    assert [(p, v) for p, _, v in points] == [(0, 30.531), (1, 5.827), (0, 30.46), (1, 5.76)]
    assert points[0][1] == "2016-07-01T00:00:00"
    assert not events


@pytest.mark.parametrize("form", ["gz", "parquet", "semicolon", "bom", "crlf", "epoch", "iso"])
def test_every_form_of_a_file_says_the_same(tmp_path: Path, form: str) -> None:
    expected = text_of(tmp_path, PLAIN, (OIL, LOAD))
    name = "b.csv"
    if form == "gz":
        name = "b.csv.gz"
        (tmp_path / name).write_bytes(gzip.compress(PLAIN.encode()))
    elif form == "parquet":
        name = "b.parquet"
        stamps = pa.array([instant("2016-07-01"), instant("2016-07-01T00:15")], pa.timestamp("ns"))
        parquet.write_table(pa.table({"date": stamps, "OT": [30.531, 30.46], "HUFL": [5.827, 5.76]}), tmp_path / name)
    else:
        text = {
            "semicolon": PLAIN.replace(",", ";"),
            "bom": "\ufeff" + PLAIN,
            "crlf": PLAIN.replace("\n", "\r\n"),
            "epoch": PLAIN.replace("2016-07-01 00:00:00", "1467331200").replace("2016-07-01 00:15:00", "1467332100"),
            "iso": PLAIN.replace("2016-07-01 00:00:00", "2016-07-01T02:00:00+02:00").replace("15:00,", "15:00Z,"),
        }[form]
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert heard(replay(tmp_path, (OIL, LOAD), path=name)) == expected


def test_a_long_file_is_heard_point_by_point(tmp_path: Path) -> None:
    text = "unique_id,ds,y\nOT,2016-07-01,1\nxx,2016-07-01,7\nHUFL,2016-07-01,2\nOT,2016-07-02,\nHUFL,2016-07-02,bad\n"
    points, events = text_of(tmp_path, text, (OIL, LOAD))
    assert [(p, v) for p, _, v in points[:2]] == [(0, 1.0), (1, 2.0)]
    assert (points[2][0], np.isnan(points[2][2]), len(points)) == (1, True, 3)
    assert [e.text for e in events] == ["'bad' is not a number"]


def test_a_long_parquet_file_with_coded_names_and_zoned_or_whole_number_stamps(tmp_path: Path) -> None:
    first = instant("2016-07-01") + 123
    names = pa.array(["OT", "HUFL", "OT"]).dictionary_encode()
    for stamps in (
        pa.array([first, first, None], pa.timestamp("ns", "Asia/Shanghai")),
        pa.array([first, first, None], pa.int64()),
    ):
        parquet.write_table(pa.table({"tag": names, "ts": stamps, "value": [1, 2, 3]}), tmp_path / "a.parquet")
        (batch,) = asyncio.run(all_of(replay(tmp_path, (OIL, LOAD), path="a.parquet")))
        assert (batch.time.tolist(), batch.value.tolist()) == ([first, first], [1.0, 2.0])
        assert "1 rows without a time left out" in batch.events[-1].text


def test_cells_that_say_nothing_and_cells_that_say_nonsense(tmp_path: Path) -> None:
    text = "time,OT\n" + "".join(
        f"2016-07-01 0{i}:00,{v}\n" for i, v in enumerate(["", "NA", "nan", "-inf", "12,", "x"])
    )
    text = text.replace("12,", '"12,"')
    (tmp_path / "a.csv").write_text(text)
    (batch,) = asyncio.run(all_of(replay(tmp_path, (OIL,), path="a.csv")))
    assert np.isnan(batch.value).tolist() == [True] * 4
    assert (batch.quality == BAD).all()
    assert [e.text for e in batch.events] == ["'12,' is not a number, nor are 1 more"]


def test_rows_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    text = "time,OT\n2016-07-01,1\nyesterday,2\n2016-07-02,3,4\n2016-07-03,5\n2016-07-02,6\n"
    points, events = text_of(tmp_path, text)
    assert [v for _, _, v in points] == [1.0, 5.0, 6.0]
    said = " | ".join(e.text for e in events)
    assert "'yesterday' is not a time" in said
    assert "1 rows without 2 cells left out" in said
    assert "1 rows are older than the row before them" in said


def test_states_and_texts(tmp_path: Path) -> None:
    fan = Signal("fan", type="state", states=("off", "on"), address="plant:fan")
    note = Signal("note", type="text", address="plant:note")
    text = "time,fan,note\n2016-07-01,on,hello\n2016-07-02,0,\n2016-07-03,maybe,42\n"
    points, events = text_of(tmp_path, text, (fan, note))
    assert [v for _, _, v in points[:2]] == [1.0, 0.0]
    assert np.isnan(points[2][2])
    assert [(e.kind, e.subject, e.text) for e in events] == [
        ("file", "fan", "'maybe' is not one of off, on"),
        ("text", "note", "hello"),
        ("text", "note", "42"),
    ]


def test_stamps_keep_their_nanoseconds(tmp_path: Path) -> None:
    text = "time,OT\n2016-07-01 00:00:00.123456789,1\n2016-07-01T00:00:00.5Z,2\n"
    (tmp_path / "a.csv").write_text(text)
    (batch,) = asyncio.run(all_of(replay(tmp_path, (OIL,), path="a.csv")))
    assert (batch.time - instant("2016-07-01")).tolist() == [123_456_789, 500_000_000]
    (tmp_path / "b.csv").write_text("ts,OT\n1467331200.25,1\n")
    (batch,) = asyncio.run(all_of(replay(tmp_path, (OIL,), path="b.csv")))
    assert batch.time.tolist() == [instant("2016-07-01") + SECOND // 4]


def test_the_hour_that_comes_twice_is_told_apart_by_its_order(tmp_path: Path) -> None:
    hours = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    text = "time,OT\n" + "".join(f"2017-10-29 {h},1\n" for h in hours)
    points, events = text_of(tmp_path, text, zone="Europe/Berlin")
    assert [t[11:16] for _, t, _ in points] == ["23:30", "00:00", "00:30", "01:00", "01:30", "02:00"]
    assert not events


def test_the_hour_that_is_missing_is_read_and_told(tmp_path: Path) -> None:
    text = "time,OT\n2017-03-26 01:45,1\n2017-03-26 02:15,1\n2017-03-26 03:30,1\n"
    points, events = text_of(tmp_path, text, zone="Europe/Berlin")
    assert [t[11:16] for _, t, _ in points] == ["00:45", "01:15", "01:30"]
    assert "2017-03-26 02:15 does not exist in Europe/Berlin" in events[0].text


def test_a_zone_of_whole_years_agrees_with_the_standard_library(tmp_path: Path) -> None:
    zone = ZoneInfo("Australia/Lord_Howe")  # half an hour of summer time
    naive = [datetime.fromisoformat("2017-01-01") + timedelta(hours=7 * i) for i in range(1251)]
    text = "time,OT\n" + "".join(f"{d:%Y-%m-%d %H:%M:%S},1\n" for d in naive)
    points, _ = text_of(tmp_path, text, zone=zone.key)
    offset = [np.datetime64(t) - np.datetime64(d.isoformat()) for (_, t, _), d in zip(points, naive, strict=True)]
    assert offset == [-np.timedelta64(d.replace(tzinfo=zone).utcoffset()) for d in naive]


def test_columns_and_names_without_addresses(tmp_path: Path) -> None:
    points, _ = text_of(tmp_path, PLAIN, (Signal("oil"), Signal("load")), columns={"OT": "oil"})
    assert [(p, v) for p, _, v in points] == [(0, 30.531), (0, 30.46)]
    points, _ = text_of(tmp_path, PLAIN, (Signal("OT"), Signal("HUFL")))
    assert len(points) == 4


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"path": "b.csv"}, "there is no file"),
        ({"path": "${GEMEL_NOWHERE}/b.csv"}, "the environment variable GEMEL_NOWHERE is not set"),
        ({"path": "empty.csv"}, "empty.csv is empty"),
        ({"path": "a.csv", "time": "data"}, "'data' is not a column, did you mean 'date'"),
        ({"path": "a.csv", "zone": "Europe/Berlni"}, "unknown time zone 'Europe/Berlni'"),
        ({"path": "a.csv", "speed": "fast"}, "speed 'fast' is not a speed"),
        ({"path": "a.csv", "layout": "tall"}, "layout 'tall' is not wide or long"),
        ({"path": "a.csv", "layout": "long"}, "a long file needs a column of names"),
        ({"path": "a.csv", "columns": {"OT": "oill"}}, "unknown signal 'oill', did you mean 'oil'"),
        ({"path": "a.csv", "columns": {"HUFI": "oil"}}, "has no column 'HUFI', did you mean 'HUFL'"),
        ({"path": "twice.csv"}, "column 'OT' is there twice"),
        ({"path": "bad.parquet"}, "bad.parquet cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, keys: dict[str, Any], text: str) -> None:
    (tmp_path / "a.csv").write_text(PLAIN)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "twice.csv").write_text("time,OT,OT\n")
    (tmp_path / "bad.parquet").write_text("PAR2")
    with pytest.raises(ConfigError, match=text):
        replay(tmp_path, (OIL,), **keys)


def test_an_unset_variable_says_how_to_get_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMEL_DATA", raising=False)
    with pytest.raises(ConfigError, match="gemel fetch ett"):
        replay(tmp_path, (OIL,), path="${GEMEL_DATA}/ett/ETTm1.csv.gz")


def test_a_file_that_breaks_off_is_told_after_what_it_held(tmp_path: Path) -> None:
    rows = "".join(f"2016-07-01 00:00:{i % 60:02d},{i}\n" for i in np.random.default_rng(0).permutation(150_000))
    whole = gzip.compress(("time,OT\n" + rows).encode())
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    source = replay(tmp_path, (OIL,), path="a.csv.gz")
    with pytest.raises(ConnectorError, match=r"a\.csv\.gz cannot be read on"):
        asyncio.run(all_of(source))


def test_a_file_without_rows_says_so(tmp_path: Path) -> None:
    points, events = text_of(tmp_path, "time,OT\n")
    assert not points
    assert "there are no rows" in events[0].text


def test_batches_hold_whole_rows_and_at_most_fifty_thousand_points(tmp_path: Path) -> None:
    stamps = pa.array(instant("2016-07-01") + SECOND * np.arange(30_000), pa.timestamp("ns"))
    columns = {name: np.arange(30_000.0) for name in ("a", "b", "c")}
    parquet.write_table(pa.table({"time": stamps, **columns}), tmp_path / "a.parquet")
    batches = asyncio.run(all_of(replay(tmp_path, tuple(map(Signal, columns)), path="a.parquet")))
    assert [len(b) for b in batches] == [49_998, 40_002]
    assert all(np.array_equal(b.received, b.time) and (b.quality == GOOD).all() for b in batches)


def test_the_virtual_clock_waits_for_each_stamp(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(PLAIN)
    clock = Virtual(instant("2016-06-30"))

    async def scene() -> list[tuple[int, int, int]]:
        seen = []
        with clock.task():
            async for batch in replay(tmp_path, (OIL, LOAD), clock, path="a.csv").stream():
                seen.append((clock.now(), int(batch.time[0]), len(batch)))  # noqa: PERF401
        return seen

    first, second = instant("2016-07-01"), instant("2016-07-01T00:15")
    assert asyncio.run(scene()) == [(first, first, 2), (second, second, 2)]


@pytest.mark.parametrize("live", [True, False])
def test_a_speed_waits_on_the_wall(tmp_path: Path, live: bool) -> None:
    (tmp_path / "a.csv").write_text(PLAIN)
    clock: Clock = Wall() if live else Data(SECOND, SECOND)
    start = Wall().now()
    batches = asyncio.run(all_of(replay(tmp_path, (OIL,), clock, path="a.csv", speed="9000x")))
    assert 0.1e9 <= Wall().now() - start < 2e9  # a quarter of an hour at 9000x
    assert [len(b) for b in batches] == [1, 1]
    assert all((b.received >= start).all() if live else np.array_equal(b.received, b.time) for b in batches)


def test_it_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(PLAIN)
    asyncio.run(check_source(lambda: replay(tmp_path, (OIL, LOAD), path="a.csv"), signals=2))


@pytest.mark.skipif("GEMEL_DATA" not in os.environ, reason="GEMEL_DATA is not set")
def test_two_years_of_a_transformer() -> None:
    names = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    path = "${GEMEL_DATA}/ett/ETTm1.csv.gz"
    batches = asyncio.run(all_of(replay(Path(), tuple(map(Signal, names)), path=path)))
    assert sum(map(len, batches)) == 487_760
    assert not any(b.events for b in batches)
    assert batches[0].value[6] == 30.5310001373291
    assert batches[-1].time[-1] == instant("2018-06-26T19:45")
