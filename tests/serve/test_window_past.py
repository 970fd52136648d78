"""The pages of the past in a real browser: zoom until a second, take the values along, go to any instant."""

from __future__ import annotations

import csv
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from serve.browser import tab

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(240)]
TWIN = "/v1/twins/transformer"


def span(page: Any) -> tuple[datetime, datetime]:
    """From when to when it is."""
    said = asked(page)
    return datetime.fromisoformat(said["start"]), datetime.fromisoformat(said["end"])


def drawn(page: Any, name: str) -> None:
    """Wait until the page has measured such a drawing."""
    for _ in range(150):
        if page.evaluate("name => performance.getEntriesByName(name, 'measure').length", name):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{name} was not drawn")


def asked(page: Any) -> dict[str, str]:
    """What the address of the page says."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def opened(page: Any, demo: str, query: str = "") -> None:
    page.goto(f"{demo}/twins/transformer/history{query}")
    drawn(page, "open")


def drag(page: Any, start: float, end: float) -> None:
    """Over a part of the chart, in shares of its width."""
    box = page.locator("section[aria-label=History] canvas").bounding_box()
    page.mouse.move(box["x"] + start * box["width"], box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], box["y"] + 95, steps=3)
    page.mouse.up()


def test_zoom_until_a_second_and_back(chromium: Any, demo: str) -> None:
    newest = httpx.get(demo + TWIN).json()["newest"]
    with tab(chromium, demo) as page:
        opened(page, demo, f"?signals=load&start={newest - 3600 * 10**9}&end={newest - 3592 * 10**9}")
        before = span(page)
        for _ in range(4):
            page.get_by_role("button", name="Closer").click()
        page.get_by_text(re.compile(r"^1 s$")).wait_for()
        for _ in range(4):
            page.get_by_role("button", name="Zoom out").click()
        assert span(page) == before
        drag(page, 0.4, 0.6)
        drawn(page, "zoom")
        start, end = span(page)
        assert before[0] < start < end < before[1]
        page.locator("section[aria-label=History] canvas").dblclick()
        page.wait_for_timeout(200)
        assert span(page) == before


def test_an_address_shows_the_same_to_somebody_else(chromium: Any, demo: str) -> None:
    with tab(chromium, demo) as page:
        opened(page, demo, "?signals=oil,winding,load")
        page.get_by_role("button", name="Day", exact=True).click()
        drawn(page, "day")
        shown, charts = asked(page), page.locator("section[aria-label=History] canvas").count()
        with tab(chromium, demo) as other:
            opened(other, demo, f"?{urlsplit(page.url).query}")
            assert asked(other) == shown
            assert other.locator("section[aria-label=History] canvas").count() == charts == 2  # one a unit


def test_what_is_shown_can_be_taken_along(chromium: Any, demo: str, tmp_path: Path) -> None:
    newest = httpx.get(demo + TWIN).json()["newest"]
    start, end = newest - 3 * 3600 * 10**9, newest - 3600 * 10**9
    with tab(chromium, demo) as page:
        opened(page, demo, f"?signals=oil,load&start={start}&end={end}")
        with page.expect_download() as taken:
            page.get_by_role("link", name="CSV").click()
        file = tmp_path / taken.value.suggested_filename
        taken.value.save_as(file)
    rows = list(csv.reader(file.read_text().splitlines()))
    held = httpx.get(f"{demo}{TWIN}/history?signals=oil,load&start={start}&end={end}").json()
    assert rows[0] == ["time", "oil", "load"]
    assert len(rows) - 1 == len(held["time"]) > 100


def test_any_instant_again(chromium: Any, demo: str) -> None:
    moments = httpx.get(f"{demo}{TWIN}/moments").json()
    found = moments["findings"]["time"][moments["findings"]["name"].index("fan failed")]
    with tab(chromium, demo) as page:
        page.goto(f"{demo}/twins/transformer/replay?time={found}&signal=winding")
        page.get_by_role("heading", name="fan failed").wait_for()
        page.get_by_role("button", name="The decision or finding before").click()
        page.get_by_text("Nothing was wrong then.").wait_for()
        before = asked(page)["time"]
        page.get_by_role("slider").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_url(lambda url: parse_qs(urlsplit(url).query)["time"][0] > before)
        page.get_by_role("button", name="Play").click()
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Play").wait_for()
