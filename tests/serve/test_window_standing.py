"""The pages about trust in a real browser: how good the forecasts were, and what the twin would have been worth."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import beside
from gemel import Twin, load
from gemel.core.values import Batch
from serve.browser import tab
from serve.served import Line, Served, served

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(240)]
TWIN = "/twins/transformer"


class Quiet(Line):
    """A plant that says nothing more."""

    async def stream(self) -> AsyncIterator[Batch]:
        await asyncio.Event().wait()
        yield Batch.of((), (), ())


def watched(folder: Path, line: Line, name: str) -> Twin:
    twin = load(shutil.copytree(beside.watched().parent, folder / name) / beside.watched().name)
    twin.connectors = {"plant": line}
    return twin


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A twin that has observed a week beside another controller."""
    with ThreadPoolExecutor(1) as aside:
        aside.submit(beside.watched).result()  # it runs a loop of its own, and so does the browser's driver here
    with served(tmp_path_factory.mktemp("site"), names=("transformer",), make=watched, line=Quiet) as held:
        yield held


def test_who_forecasts_best(chromium: Any, site: Served) -> None:
    with site.client() as client, tab(chromium, site.url) as page:
        said = client.get(f"/v1{TWIN}/standing?signal=load").json()
        page.goto(f"{site.url}{TWIN}/forecaster")
        page.select_option("#signal", "load")
        page.wait_for_url("**/forecaster?signal=load")
        page.get_by_text("forecasts of 1 d").wait_for()
        rows = page.locator("section[aria-label=Leaderboard] tbody tr")
        shown = rows.locator("th").all_inner_texts()
        assert [text.split("\n")[0].split(" in use")[0] for text in shown] == [
            row["forecaster"] for row in said["leaderboard"]
        ]
        best = rows.first.inner_text()
        assert f"{said['leaderboard'][0]['crps']:.3f}" in best
        assert f"{said['leaderboard'][0]['coverage']:.0%}".replace("%", "") in best
        assert page.locator("section[aria-label=Calibration] svg").count() == 2


def test_what_the_simulator_has_learned(chromium: Any, site: Served) -> None:
    with site.client() as client, tab(chromium, site.url) as page:
        said = client.get(f"/v1{TWIN}/standing").json()
        page.goto(f"{site.url}{TWIN}/simulator")
        page.get_by_text("it runs on its priors").wait_for()
        names = page.locator("section[aria-label='What the twin believes'] h3").all_inner_texts()
        assert names == said["posteriors"]["names"]
        held = page.locator("section[aria-label=Calibrations]")
        held.get_by_text("Not calibrated yet").wait_for()
        held.get_by_role("button", name="Calibrate").click()
        held.locator(".warn", has_text="has no file").wait_for()


def test_why_it_cannot_be_adapted_is_said(chromium: Any, site: Served) -> None:
    with tab(chromium, site.url) as page:
        page.goto(f"{site.url}{TWIN}/forecaster")
        challengers = page.locator("section[aria-label=Challengers]")
        challengers.get_by_role("button", name="Adapt").click()
        challengers.locator(".warn", has_text="has no file").wait_for()
        assert challengers.get_by_role("button", name="Adapt").is_enabled()


def test_what_it_would_have_been_worth(chromium: Any, site: Served) -> None:
    with site.client() as client, tab(chromium, site.url) as page:
        page.goto(f"{site.url}{TWIN}/shadow")
        page.get_by_role("button", name="1 day").click()
        page.wait_for_url("**/shadow?days=1")
        page.get_by_text("Judged: 1 of").wait_for()
        said = client.get(f"/v1{TWIN}/shadow?last=2879min").json()  # the last day, and the horizon before
        assert said["windows"] == 1
        worth = page.inner_text("section[aria-label=Saving] .worth").replace("−", "-")
        amount, currency = worth.split()
        assert float(amount) == pytest.approx(said["saving"]["total"], rel=0.01)
        assert currency == "EUR"
        assert all(doubt in page.inner_text("main") for doubt in said["doubts"])
        assert page.locator("section[aria-label='Setpoint fan'] canvas").is_visible()


def test_on_paper_it_is_one_white_page(chromium: Any, site: Served) -> None:
    with tab(chromium, site.url) as page:
        page.goto(f"{site.url}{TWIN}/shadow")
        page.wait_for_selector(".worth")
        page.wait_for_timeout(300)
        paper = page.pdf(format="A4", prefer_css_page_size=True)
        assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page /") == 1
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.get_attribute("html", "data-theme") == "light"
        page.emulate_media(media="print")
        assert not page.locator("header.top").is_visible()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.get_attribute("html", "data-theme") == "dark"


def test_where_there_is_nothing_to_judge_it_says_so(chromium: Any, tmp_path: Path) -> None:
    with served(tmp_path) as held:
        page = chromium.new_page()
        page.goto(f"{held.url}/twins/shed/shadow")
        page.get_by_text("has no simulator").wait_for()
        page.get_by_text("This twin does not only observe").wait_for()
        page.goto(f"{held.url}/twins/shed/simulator")
        page.get_by_text("No simulator, so no state to estimate.").wait_for()
        page.close()
