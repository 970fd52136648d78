"""The window says why: bars, raw signals, the like of it before, and what a person says it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Line, Served, served

from gemel import Asset, Signal, Twin
from gemel.core.clock import Wall
from gemel.core.explain import Sight
from gemel.core.values import Batch, Finding, Floats
from gemel.loop.decide import Situation
from gemel.stores.duckdb import Duckdb
from serve.browser import tab

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(180)]
MINUTE = 60 * 10**9


class Judge:
    """A detector that finds a bearing at once, and can judge windows by the mean vibration in them."""

    def __init__(self) -> None:
        self._told = False

    def inspect(self, situation: Situation) -> list[Finding]:
        now, told, self._told = situation.now, self._told, True
        evidence = {"P(mill bearing: damaged)": 0.8, "P(mill tool: broken)": 0.15, "mill_vibration": 0.9}
        found = Finding(
            "new", "mill bearing: damaged", "mill", now - 90 * MINUTE, now, 0.7, 0.8, "it shakes", True, evidence
        )
        return [] if told else [found]

    def sight(self, finding: Finding) -> Sight | None:
        return Sight(("mill_power", "mill_vibration"), MINUTE, 30, 2.0)

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        return np.asarray(np.nanmean(windows[:, :, 1], axis=1))


def shop(folder: Path, line: Line, name: str) -> Twin:
    """A mill that has been shaking for the last hour and a half."""
    twin = Twin(
        name=name, assets=[Asset("mill"), Asset("drill")], every="1s", store=Duckdb(str(folder / f"{name}.gemel")),
        signals=[
            Signal("air", address="line:air"),
            *(Signal(f"{m}_{q}", asset=m) for m in ("mill", "drill") for q in ("power", "vibration")),
        ],
        connectors={"line": line}, detectors=[Judge()],
    )  # fmt: skip
    store = twin.open().store
    now, rng = Wall().now() // MINUTE * MINUTE, np.random.default_rng(0)
    time = now - np.arange(600)[::-1] * MINUTE
    for place in range(1, 5):
        values = 1 + 0.1 * rng.standard_normal(600) + 3.0 * (place == 2) * (np.arange(600) >= 510)
        store.append(Batch.of(np.full(600, place), time, values))
    start = now - 390 * MINUTE
    store.record(
        Finding(
            "old", "drill bearing: damaged", "drill", start, start + 10 * MINUTE, 0.5, 0.8, "", False,
            {"drill_vibration": 0.9}, "diagnosis",
        )
    )  # fmt: skip
    twin.verdict("old", "drill bearing: damaged", by="ann")
    twin.close()
    return twin


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("why"), names=("shop",), make=shop) as held:
        yield held


def asked(page: Any, url: str, button: str = "Why?") -> Any:
    page.goto(f"{url}/twins/shop")
    page.get_by_role("button", name=button).first.click()
    box = page.get_by_role("dialog")
    box.locator(".ranked").first.wait_for()
    return box


def test_why_shows_causes_shares_signals_cases_and_takes_a_verdict(chromium: Any, one: Served) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with tab(chromium, one.url) as page:
        box = asked(page, one.url)
        causes = box.locator("section[aria-label='Which component, what is wrong'] .ranked")
        assert "mill bearing: damaged" in causes.first.inner_text()
        assert "80" in causes.first.inner_text()
        shares = box.locator("section[aria-label='What each signal has to do with it'] .ranked")
        assert "mill_vibration" in shares.first.inner_text()
        assert box.locator("canvas").count() >= 2
        like = box.locator("section[aria-label='Like it before']")
        assert "It was: drill bearing: damaged" in like.inner_text()
        box.get_by_role("button", name="As a rule").click()
        box.get_by_text("mill_vibration is above").wait_for()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        box.get_by_label("Component and cause, or “false alarm”").fill("mill bearing: damaged")
        box.get_by_role("button", name="Save").click()
        box.get_by_text("It was: mill bearing: damaged").wait_for()
        with one.client() as client:
            answer = client.get("/v1/twins/shop/findings/new/why").json()
        assert [a["note"] for a in answer["verdicts"]] == ["mill bearing: damaged"]
        box.get_by_role("button", name="Close").click()
        assert not box.is_visible()


def test_why_in_chinese_on_a_phone(chromium: Any, one: Served) -> None:
    with tab(chromium, one.url, language="zh", width=390, theme="light") as page:
        box = asked(page, one.url, "为什么？")
        assert "mill_vibration" in box.locator("p").nth(1).inner_text()
        assert "哪个部件，什么问题" in box.inner_text()
        assert page.evaluate(
            "document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth"
        )
