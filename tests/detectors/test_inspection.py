"""Visual inspection in a twin: what it rejects, when it speaks, what it does with pictures that are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.core import png
from gemel.core.blobs import Blobs
from gemel.core.clock import Virtual
from gemel.core.codec import decode, encode
from gemel.core.errors import ConfigError, PartError
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.values import Batch, Codes, Finding, Signal, Signals
from gemel.detectors.inspection import Inspection
from gemel.detectors.statistics.parts import SHIPPED, Limit, Network, heat, strange
from gemel.lab.defects import part
from gemel.loop.decide import Situation
from gemel.stores.memory import Memory
from gemel.testing import check_detector

MINUTE, DAY = 60 * 10**9, 86_400 * 10**9
START = 1_700_000_000 * 10**9 // DAY * DAY
SIGNALS = Signals([Signal("camera", type="blob", asset="line"), Signal("gauge")])


def parts(plan: str, seed: int = 0) -> list[Codes]:
    """A picture a letter: `.` a good part, s d t x one with a plain scratch, dent, stain, other texture."""
    rng = np.random.default_rng(seed)
    kinds = {"s": "scratch", "d": "dent", "t": "stain", "x": "texture"}
    return [part(rng, kinds.get(letter, ""), 6.0 if letter != "." else 0.0)[0] for letter in plan]


def course(seen: Sequence[Codes | bytes], gauge: str = "") -> tuple[Setting, list[Situation]]:
    """Pictures 5 minutes apart from START on, a turn after each, and what the gauge said a minute after each."""
    blobs, store = Blobs(None), Memory()
    store.open(SIGNALS)
    time = START + 5 * MINUTE * np.arange(len(seen))
    codes = np.array([blobs.put(one if isinstance(one, bytes) else png.encode(one)) for one in seen])
    store.append(Batch.of(np.zeros(len(seen), np.int32), time, codes))
    told = [i for i, letter in enumerate(gauge) if letter in "01"]
    if told:
        store.append(Batch.of(np.ones(len(told), np.int32), time[told] + MINUTE, [float(gauge[i]) for i in told]))
    where = Setting("t", "", SIGNALS, Virtual(), 5 * MINUTE, DAY, 0, Path(), history=store.window, blobs=blobs)
    turns = [Situation(int(t) + 2 * MINUTE, 5 * MINUTE, DAY, SIGNALS, {"camera": float(c)})
             for t, c in zip(time, codes, strict=True)]  # fmt: skip
    return where, turns


def asked(seen: Sequence[Codes | bytes], gauge: str = "", **more: Any) -> tuple[Inspection, list[Finding], Setting]:
    where, turns = course(seen, gauge)
    detector: Inspection = build("detectors", {"kind": "inspection", "learn": 20, **more})
    detector.bind(where)
    return detector, [f for turn in turns for f in detector.inspect(turn)], where


def test_it_keeps_the_contract_and_the_finding_carries_the_picture() -> None:
    where, turns = course(parts("." * 24 + "sd.tx.s" + "." * 14, seed=9))

    def make() -> Inspection:
        detector: Inspection = build("detectors", {"kind": "inspection", "learn": 20, "rejects": 0.003})
        detector.bind(where)
        return detector

    news = check_detector(make, turns)
    first, last = news[0], news[-1]
    assert (first.name, first.subject, first.by) == ("defects on parts", "line", "inspection")
    assert START + 24 * 5 * MINUTE <= first.start <= first.time <= START + 29 * 5 * MINUTE
    assert not last.open
    assert last.id == first.id
    assert len({f.id for f in news}) == 1, "one finding for all of them"
    assert where.blobs is not None
    picture = png.decode(where.blobs.get(first.evidence["picture"]))
    drawn = png.decode(where.blobs.get(first.evidence["heat"]))
    assert picture.shape == (64, 64)
    assert drawn.shape == (64, 64, 3)
    row, column = int(first.evidence["row"]), int(first.evidence["column"])
    assert drawn[max(row - 4, 0) : row + 4, max(column - 4, 0) : column + 4, 0].max() > 200, "hot where it points"
    assert np.median(drawn[..., 0]) < 30, "and cold elsewhere"


def test_good_parts_and_one_reject_are_no_finding() -> None:
    _, news, _ = asked(parts("." * 30 + "s" + "." * 10, seed=1))
    assert not news


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (b"no picture at all", "no PNG"),
        (png.encode(parts(".")[0])[:900], "cut short"),
        (png.encode(np.zeros((48, 64), np.uint8)), "64 x 48"),
        (png.encode(parts(".")[0]).replace(b"IDAT", b"IDAX"), "damaged"),
    ],
)
def test_a_picture_that_is_none_is_named_and_the_next_ones_are_judged(wrong: bytes, said: str) -> None:
    _, news, _ = asked([*parts("." * 5), wrong, *parts("." * 5, seed=2)])
    assert [f.name for f in news] == ["pictures unreadable"] * 2
    assert said in news[0].text
    assert news[0].open
    assert not news[-1].open


def test_a_blob_that_is_gone_is_named() -> None:
    where, turns = course(parts("." * 3))
    assert where.blobs is not None
    detector = Inspection(learn=20)
    detector.bind(replace(where, blobs=Blobs(None)))
    assert "there is no blob" in detector.inspect(turns[0])[0].text


def test_larger_pictures_and_colour_are_brought_to_its_size() -> None:
    (grey,) = parts("s")
    large = np.repeat(np.repeat(grey, 4, 0), 4, 1)
    colour = np.repeat(large[..., None], 3, 2)
    network = Network(SHIPPED, exact=True)
    assert abs(network.judge(network.fitted(colour)).score - network.judge(grey).score) < 0.3


def dim(picture: Codes) -> Codes:
    return np.rint(picture * 0.35).astype(np.uint8)


def dirty(picture: Codes) -> Codes:
    spot = picture.astype(float)
    spot[10:26, 34:50] *= 0.55
    return np.rint(spot).astype(np.uint8)


def blurred(picture: Codes) -> Codes:
    soft = picture.astype(float)
    for _ in range(6):
        soft = (np.roll(soft, 1, 0) + np.roll(soft, -1, 0) + np.roll(soft, 1, 1) + np.roll(soft, -1, 1) + soft) / 5
    return np.rint(soft).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "said"), [(dim, "contrast is lower"), (dirty, "darker"), (blurred, "sharpness is lower")]
)
def test_light_focus_and_dirt_are_findings_of_their_own_and_no_rejects(change: Any, said: str) -> None:
    seen = parts("." * 60, seed=3)
    _, news, _ = asked([*seen[:30], *map(change, seen[30:40]), *seen[40:]])
    assert {f.name for f in news} == {"pictures changed"}, [f.text for f in news]
    assert said in news[0].text
    assert news[0].time <= START + 39 * 5 * MINUTE
    assert not news[-1].open, "clean again"


def test_a_person_may_say_that_the_new_look_is_the_usual_one() -> None:
    seen = parts("." * 70, seed=4)
    where, turns = course([*seen[:30], *map(dim, seen[30:])])
    detector = Inspection(learn=20)
    detector.bind(where)
    news = [f for turn in turns[:40] for f in detector.inspect(turn)]
    detector.teach(news[-1], "", "")
    news += [f for turn in turns[40:] for f in detector.inspect(turn)]
    assert [f.open for f in news] == [True, False]


def test_parts_confirmed_as_good_set_the_threshold() -> None:
    detector, _, _ = asked(parts("." * 60, seed=5), gauge="1" * 60, rejects=0.05, confirmed="gauge")
    own = list(detector._limit.own)
    assert len(own) == 60
    share = np.mean(np.array(own) > detector._limit.value())
    assert 0.01 <= share <= 0.05
    bad, _, _ = asked(parts("." * 20, seed=5), gauge="10" * 10, confirmed="gauge")
    assert len(bad._limit.own) == 10, "what was found bad teaches nothing"


def test_a_false_alarm_makes_these_parts_good_ones() -> None:
    detector, news, _ = asked(parts("." * 22 + "sdtxs", seed=6))
    before = detector._limit.value()
    detector.teach(news[-1], "", "")
    assert len(detector._limit.own) >= 3
    assert detector._limit.value() > before


def test_memory_survives_a_restart_in_the_middle_of_a_finding() -> None:
    where, turns = course(parts("." * 22 + "sdtx" + "." * 12, seed=7))
    detector, other = Inspection(learn=20), Inspection(learn=20)
    detector.bind(where)
    other.bind(where)
    for turn in turns[:25]:
        detector.inspect(turn)
    other.restore(decode(encode(detector.snapshot())))
    left = [[f for turn in turns[25:] for f in one.inspect(turn)] for one in (detector, other)]
    assert left[0] == left[1]
    assert not left[0][-1].open


def test_the_threshold_is_conformal() -> None:
    rng = np.random.default_rng(0)
    limit = Limit([0.0], 0.1)
    shares = []
    for _ in range(200):
        limit.restore(list(rng.standard_normal(50)))
        shares.append((rng.standard_normal(400) > limit.value()).mean())
    assert 0.08 < np.mean(shares) < 0.105


def test_rejects_that_chance_explains_are_not_strange() -> None:
    assert not strange(1, 20, 0.01, 1e-3)
    assert not strange(2, 20, 0.01, 5e-4)
    assert strange(3, 20, 0.01, 5e-4)
    assert not strange(5, 20, 0.2, 5e-4), "where every fifth part is scrap"


def test_the_heat_map_is_as_large_as_the_picture_and_hot_in_the_right_corner() -> None:
    cells = np.full((16, 16), -8.0)
    cells[2, 13] = 6.0
    drawn = heat(cells, 0.0, 64)
    assert drawn.shape == (64, 64, 3)
    row, column = divmod(int(drawn[..., 0].argmax()), 64)
    assert abs(row - 9.5) <= 1
    assert abs(column - 53.5) <= 1
    assert drawn[40:, :40].max() < 10


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"rejects": 0.0}, "rejects 0.0"),
        ({"window": 2}, "window must be"),
        ({"alarms_per_week": 0.0}, "alarms_per_week"),
    ],
)
def test_what_makes_no_sense_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Inspection(**more)


def test_a_signal_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    where, _ = course(parts("."))
    with pytest.raises(ConfigError, match="'gauge' is no blob signal"):
        Inspection(signal="gauge").bind(where)
    with pytest.raises(ConfigError, match="is a picture; it must be 1 or 0"):
        Inspection(confirmed="camera").bind(where)
    with pytest.raises(ConfigError, match="which of the 0 blob signals"):
        Inspection().bind(replace(where, signals=Signals([Signal("gauge")])))
    with pytest.raises(PartError, match=r"inspection\.json"):
        Inspection(network=str(tmp_path)).bind(where)
