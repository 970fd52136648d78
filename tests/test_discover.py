"""`gemel new`: from telemetry to a twin file that loads, with what is unsure in plain sight."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel import load
from gemel.cli import main
from gemel.connectors.broker import Broker
from gemel.connectors.listen import spot
from gemel.core.errors import ConfigError, InputError
from gemel.discover.propose import Proposal, propose
from gemel.discover.series import Series, Source, read
from gemel.discover.words import clean, unit_in, unit_of, words
from gemel.discover.write import twin_file
from servers import Mosquitto

START = np.datetime64("2024-03-04T00:00", "ns").astype(np.int64)
HOUR = 3600 * 10**9


def series(label: str, value: Sequence[float] | np.ndarray, **more: object) -> Series:
    held = np.asarray(value, float)
    return Series(label, f"file:{label}", START + HOUR * np.arange(len(held)), held, **more)  # type: ignore[arg-type]


def one(label: str, low: float = 10.0, high: float = 20.0) -> Proposal:
    """The proposal for a lively series within low..high."""
    noise = np.random.default_rng(1).uniform(low, high, 500)
    return propose([series(label, noise)])[0]


def gemel(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *said: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["gemel", *said])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.parametrize(
    ("label", "low", "high", "unit", "role"),
    [
        ("Supply temperature [°C]", 40, 70, "degC", "measured"),
        ("oil_temp_degC", 40, 70, "degC", "measured"),
        ("OutdoorTemp", -10, 25, "degC", "measured"),
        ("room_temperature", 66, 75, "degF", "measured"),
        ("Vorlauftemperatur", 40, 70, "degC", "measured"),
        ("Außentemperatur", -10, 25, "degC", "measured"),
        ("供水温度", 40, 70, "degC", "measured"),
        ("chushui_wendu", 40, 70, "degC", "measured"),
        ("TT-101", 20, 80, "degC", "measured"),
        ("relative humidity", 30, 70, "%", "measured"),
        ("Feuchte", 30, 70, "%", "measured"),
        ("damper", 0, 100, "%", "measured"),
        ("Ventilstellung", 0, 1, "1", "measured"),
        ("FCV_12", 0, 100, "%", "measured"),
        ("U_L1", 225, 235, "V", "measured"),
        ("电压", 225, 235, "V", "measured"),
        ("grid freq", 49.9, 50.1, "Hz", "measured"),
        ("cos_phi", 0.8, 1, "1", "measured"),
        ("Drehzahl Pumpe", 1400, 1500, "rpm", "measured"),
        ("motor speed", 1400, 1500, "rpm", "measured"),
        ("CO2", 400, 1500, "ppm", "measured"),
        ("wind_direction", 0, 360, "deg", "measured"),
        ("GHI", 0, 900, "W/m2", "measured"),
        ("barometer", 990, 1020, "hPa", "measured"),
        ("Durchfluss (m³/h)", 1, 9, "m3/h", "measured"),
        ("gas flow Nm, l/min", 1, 9, "l/min", "measured"),
        ("active_power_kW", 1, 9, "kW", "measured"),
        ("total energy kWh", 1, 9, "kWh", "measured"),
        ("heat_MWh", 1, 9, "MWh", "measured"),
        ("supply_temp_setpoint", 40, 60, "degC", "controlled"),
        ("Sollwert Druck bar", 1, 4, "bar", "controlled"),
        ("温度设定", 40, 60, "degC", "controlled"),
        ("load forecast MW", 10, 90, "MW", "known"),
        ("电价", 0.3, 0.9, "EUR/kWh", "known"),
        ("price_EUR_MWh", 10, 90, "EUR/MWh", "known"),
        ("boiler efficiency", 80, 95, "%", "derived"),
        ("CO2 emissions kg", 1, 9, "kg", "derived"),
    ],
)
def test_units_and_roles_by_names_and_values(label: str, low: float, high: float, unit: str, role: str) -> None:
    found = one(label, low, high)
    assert (found.signal.unit, found.signal.role) == (unit, role), found.guesses


def test_topics_give_assets_and_context() -> None:
    noise = np.random.default_rng(1).uniform(40, 60, 100)
    fan, valve, temp = propose(
        [
            series("speed", noise, levels=("site", "ahu1", "fan")),
            series("set", noise, levels=("site", "ahu1", "valve")),
            series("temp", noise, levels=("site", "ahu1")),
        ]
    )
    assert (fan.signal.asset, fan.signal.unit, temp.signal.asset) == ("ahu1_fan", "%", "ahu1")
    assert (valve.signal.name, valve.signal.unit, valve.signal.role) == ("ahu1_valve_set", "%", "controlled")


def test_what_says_nothing_is_unsure_and_says_so() -> None:
    found = one("x7")
    assert found.signal.unit == ""
    assert "unit" in found.unsure
    assert found.signal.low is None


def test_dynamics_tell_states_counters_setpoints_and_calendars() -> None:
    t = np.arange(1000)
    rng = np.random.default_rng(2)
    states, counter, steps, hours, text = propose(
        [
            series("fan", (t // 50) % 2),
            series("zaehler_a", np.cumsum(rng.uniform(0, 2, 1000))),
            series("a", np.array([18.0, 20.0, 22.0])[t // 90 % 3]),
            series("b", t % 24),
            series("c", np.full(1000, np.nan), texts={"auto": 700, "hand": 300}),
        ]
    )
    assert (states.signal.type, states.signal.states) == ("state", ("off", "on"))
    assert "a counter: it only rises" in counter.notes
    assert steps.signal.role == "controlled"
    assert "role" in steps.unsure
    assert hours.signal.role == "known"
    assert (text.signal.type, text.signal.states) == ("state", ("auto", "hand"))


def test_limits_hold_what_was_seen_and_stray_points_are_told() -> None:
    value = np.random.default_rng(3).uniform(20, 80, 1000)
    value[500] = -999
    stray, often = propose([series("humidity", value), series("humidity b", np.where(np.arange(1000) % 9, value, 130))])
    assert (stray.signal.low, stray.signal.high) == (0, 100)
    assert stray.notes == ("-999 was seen, below low: bad",)
    assert often.signal.high is None  # one in nine beyond is no stray: the limit is not the sensor's


def test_assets_by_beginnings() -> None:
    labels = [
        "boiler1.supply",
        "boiler1.return",
        "hall/temp",
        "hall/rh",
        "yard/temp",
        "yard/rh",
        "oil_temp",
        "oil_level",
    ]
    found = propose([series(label, np.random.default_rng(4).normal(50, 1, 100)) for label in labels])
    assert [p.signal.asset for p in found] == ["boiler1", "boiler1", "hall", "hall", "yard", "yard", "", ""]


@pytest.mark.parametrize(
    ("text", "unit"),
    [("°C", "degC"), ("m³/h", "m3/h"), ("µg/m³", "ug/m3"), ("KW", "kW"), ("kVArh", "kvarh"), ("kWh/m2", "kWh/m2"),
     ("U/min", "rpm"), ("€/MWh", "EUR/MWh"), ("m^3/s", "m3/s"), ("bananas", None), ("", None), ("/", None)],
)  # fmt: skip
def test_spellings_of_units(text: str, unit: str | None) -> None:
    found = unit_of(text)
    assert (found and found[0]) == unit


def test_words_of_names() -> None:
    assert words("OilTemp_1") == ("oil", "temp", "1")
    assert words("PM2.5 in Zürich") == ("pm25", "in", "zuerich")
    assert clean("Lagging_Current_Reactive.Power (kVarh)") == "lagging_current_reactive_power_k_varh"
    assert unit_in("flow_m3_h") == ("m3/h", "m3_h", "flow", True)
    assert unit_in("plain name") is None


# -- files -------------------------------------------------------------------------------------------------------------


def columns(rows: int = 400) -> dict[str, pa.Array]:
    rng = np.random.default_rng(5)
    t = np.arange(rows)
    return {
        "Zeitstempel": pa.array(np.datetime64("2024-01-01T00:00", "s") + t * np.timedelta64(15, "m")),
        "boiler 1/supply_degC": pa.array(60 + 5 * np.sin(t / 96 * 6.28) + rng.normal(0, 0.2, rows)),
        "boiler 1/power kW": pa.array(rng.uniform(3, 9, rows)),
        "mode": pa.array(["auto" if k % 7 else "manual" for k in t]),
        "on": pa.array(t % 5 > 2),
        "a#b": pa.array(rng.normal(0, 1, rows)),
        "leer": pa.nulls(rows, pa.float64()),
        "nan": pa.array(np.full(rows, np.nan)),
        "温度": pa.array(rng.uniform(10, 20, rows)),
        "ids": pa.array([[1, 2]] * rows),
        '"; \\ \n\x7f': pa.array(rng.normal(0, 1, rows)),
    }


@pytest.mark.slow
def test_a_file_becomes_a_twin_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twins").mkdir()
    parquet.write_table(pa.table(columns()), "history.parquet")
    code, out, err = gemel(capsys, monkeypatch, "new", "--from", "history.parquet", "--into", "twins/hut.toml")
    assert code == 0, err
    assert "supply" in out
    assert "now" in out  # the chart of the first forecast
    assert out.rstrip().endswith("next: gemel run twins/hut.toml")
    text = Path("twins/hut.toml").read_text()
    assert "not sure of these: please look" in text
    assert "holds list" in text
    assert 'time = "Zeitstempel", zone = "UTC"' in text
    twin = load(Path("twins/hut.toml"))
    names = twin.signals.names
    assert twin.signals.named("boiler_1_supply").unit == "degC"
    assert list(twin.signals.named("mode").states) == ["auto", "manual"]
    assert "leer" not in names
    twin.run(until="2024-01-02T00:00")
    assert twin.status()["latest"]["boiler_1_supply"] == pytest.approx(60, abs=8)
    twin.close()
    code, _, err = gemel(capsys, monkeypatch, "new", "--from", "history.parquet", "--into", "twins/hut.toml")
    assert code == 2
    assert "is there already" in err


def test_a_long_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"2024-01-01T{h:02}:00Z,{tag},{h + k}" for h in range(24) for k, tag in enumerate(("TT101", "FT 7"))]
    Path("log.csv").write_text("timestamp,tag,value\n" + "\n".join(rows) + "\n")
    code, out, err = gemel(capsys, monkeypatch, "new", "--from", "log.csv", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [s["signal"]["name"] for s in found["signals"]] == ["tt101", "ft_7"]
    assert [s["signal"]["unit"] for s in found["signals"]] == ["degC", "m3/h"]
    assert found["signals"][0]["guesses"]["every"]["value"] == "1h"
    assert set(found["forecast"]["signals"]) == {"tt101", "ft_7"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "has no column of times"),
        ("time,a\n", "has no rows with a time"),
        ("time,a\n31/12/2024 08:00,1\n", "has no rows with a time"),
        ("time,a,a\n2024-01-01,1,2\n", "is there twice"),
    ],
)
def test_files_that_are_no_telemetry(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises((ConfigError, InputError), match=message):
        read(tmp_path / "x.csv")


@pytest.mark.parametrize(
    "text",
    [
        "time,a\n2024-01-01,1\n",
        "time,a,b\n2024-01-01,,x\n2024-01-02,,y\n",
        "time;Wert (°C);ü\n2024-01-01;1,5;2\n2024-01-02;1,6;3\n",
        "Date Time," + ",".join(f"c{i}" for i in range(500)) + "\n2024-01-01" + ",1" * 500 + "\n",
        "time,,a\n2024-01-01,1,2\n",
    ],
)
def test_odd_files_still_give_a_file_that_loads(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.csv").write_text(text)
    code, _, err = gemel(capsys, monkeypatch, "new", "--from", "odd.csv")
    assert code == 0, err
    load(Path("odd.toml")).stages()


labels = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
cells = st.lists(st.floats(allow_nan=True, allow_infinity=False, width=32), max_size=40)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(labels, cells, st.dictionaries(labels, st.integers(1, 50), max_size=3)), min_size=1, max_size=5)
)
def test_whatever_is_heard_the_file_loads(things: list[tuple[str, list[float], dict[str, int]]]) -> None:
    """Names are unique and clean, and the text is a twin file, whatever a source calls its things."""
    held = [
        Series(label, f"file:#{label}", START + HOUR * np.arange(len(v)), np.array(v, float), t)
        for label, v, t in things
    ]
    found = propose(held)
    names = [p.signal.name for p in found]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "a").isalnum() for name in names)
    source = Source("x", "file", {"kind": "replay", "path": "x.csv"}, held, "data", ("note\nmore",))
    twin = load(twin_file(source, found, "x.csv", "x"))
    assert all(s.role != "controlled" for s in twin.signals)


# -- brokers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "broker", "filter"),
    [
        ("mqtt://h", "mqtt://h:1883", "#"),
        ("mqtt://me@h:99/plant/a", "mqtt://h:99", "plant/a/#"),
        ("mqtts://h/plant/+/row", "mqtts://h:8883", "plant/+/row"),
        ("mqtt://[::1]/#", "mqtt://[::1]:1883", "#"),
    ],
)
def test_addresses_of_brokers(address: str, broker: str, filter: str) -> None:
    found = spot(address)
    assert (found.broker, found.filter) == (broker, filter)


@pytest.mark.parametrize("address", ["mqtt://", "mqtt://h:port/x", "mqtt://me:secret@h/x"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError):
        spot(address)


@pytest.mark.server
def test_a_broker_becomes_a_twin(
    tmp_path: Path, mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(6)

    def speak() -> None:
        for k in range(60):
            row = {
                "time": f"2024-05-01T12:{k:02}:00Z",
                "supply_degC": 60 + rng.normal(),
                "burner": {"power_kW": 8 + k % 3},
            }
            mosquitto.publish("plant/boiler1/row", json.dumps(row))
            mosquitto.publish(
                "plant/pump2/speed", json.dumps({"value": 1450 + k % 5, "unit": "rpm", "time": row["time"]})
            )
            mosquitto.publish("plant/pump2/mode", "auto" if k % 2 else "hand")
            mosquitto.publish("plant/odd", b"\xff\xfe")

    speaker = threading.Thread(target=speak)
    speaker.start()
    code, out, err = gemel(capsys, monkeypatch, "new", "--from", f"{mosquitto.url}/plant/#", "--for", "2s", "--json")
    speaker.join()
    assert code == 0, err
    found = {s["signal"]["name"]: s["signal"] for s in json.loads(out)["signals"]}
    assert set(found) == {"supply", "power", "speed", "mode"}
    assert (
        found["supply"] | {"unit": "degC", "asset": "boiler1", "address": "plant:plant/boiler1/row#supply_degC"}
        == (found["supply"])
    )
    assert found["power"]["address"] == "plant:plant/boiler1/row#burner.power_kW"
    assert (found["speed"]["unit"], found["mode"]["type"]) == ("rpm", "state")
    assert "says what is not text" in Path("plant.toml").read_text()
    twin = load(Path("plant.toml"))
    twin.stages()
    assert twin.signals.names == tuple(n for n in twin.signals.names if n in found)


@pytest.mark.server
def test_a_broker_that_speaks_only_the_old_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    monkeypatch.chdir(tmp_path)

    async def asked() -> tuple[int, str, str]:
        async with Broker() as broker:
            return await asyncio.to_thread(
                gemel, capsys, monkeypatch, "new", "--from", f"{broker.url}/x", "--for", "300ms"
            )

    code, _, err = asyncio.run(asked())
    assert code == 2
    assert "nothing heard on 'x/#'" in err
    assert "hint: listen longer" in err


def test_a_file_without_a_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none.csv").write_text("time,a,b\n2024-01-01,nan,\n2024-01-02,inf,\n")
    code, _, err = gemel(capsys, monkeypatch, "new", "--from", "none.csv")
    assert code == 2
    assert "none.csv holds no values" in err
    assert not Path("none.toml").exists()


def test_no_broker_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = gemel(capsys, monkeypatch, "new", "--from", "mqtt://127.0.0.1:1/x")
    assert code == 1
    assert "no broker answers" in err
    code, _, err = gemel(capsys, monkeypatch, "new", "--from", "opc.tcp://x")
    assert code == 2
    assert "cannot connect to" in err
