"""The window in a real browser before a living demo: what a person sees, presses and gets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.browser import chromium, demo, tab

__all__ = ["chromium", "demo"]
pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

PAGES = {
    "overview": "/",
    "twin": "/twins/transformer",
    "history": "/twins/transformer/history",
    "replay": "/twins/transformer/replay",
    "forecaster": "/twins/transformer/forecaster",
    "shadow": "/twins/transformer/shadow",
    "connect": "/new",
}
PICTURES = os.environ.get("GEMEL_PICTURES")
"""A folder that takes a picture of every page; else none are kept."""


def settled(page: Any, url: str) -> None:
    """Open a page and wait until it shows what it asked for."""
    page.goto(url)
    page.wait_for_selector("main .card, main .empty")
    page.wait_for_function("!document.querySelector('main > .empty[role=status]')")
    page.wait_for_timeout(700)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_reads_well_in_both_themes(chromium: Any, demo: str, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for theme in ("dark", "light"):
        for width in (1440, 390):
            with tab(chromium, demo, theme=theme, width=width) as page:
                settled(page, demo + PAGES[name])
                assert not page.query_selector("main .trouble"), page.inner_text("main .trouble")
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the screen"
                found = Axe().run(page)
                assert found.violations_count == 0, found.generate_report()
                if PICTURES:
                    size = "desktop" if width > 500 else "phone"
                    picture = Path(PICTURES) / f"{name}-{theme}-{size}.jpg"
                    page.screenshot(path=picture, type="jpeg", quality=80, full_page=True)


def test_a_person_tries_proposes_approves_and_sees_the_ack(chromium: Any, demo: str) -> None:
    with tab(chromium, demo, width=1680) as page:
        settled(page, f"{demo}/twins/transformer")
        page.get_by_role("button", name=re.compile("^winding")).first.click()
        assert "winding" in page.inner_text("section[aria-label='Live and forecast']").lower()
        before = page.inner_text("header")
        page.hover("section[aria-label='Live and forecast'] canvas", position={"x": 300, "y": 120})
        assert "measured" in page.inner_text("section[aria-label='Live and forecast'] .tip")

        tried = page.locator("section[aria-label='What if']")
        tried.get_by_role("slider", name="fan").fill("2")
        tried.get_by_text(re.compile("peaks at .* instead of")).wait_for()
        tried.get_by_role("button", name="Propose this").click()
        card = page.locator("section.decision")
        card.get_by_text("Tried out in the window").wait_for()
        assert "fan → 2" in card.inner_text()
        card.get_by_role("button", name="Approve").click()
        page.locator("section[aria-label='Command log'] td", has_text="done").first.wait_for()
        page.wait_for_function(f"document.querySelector('header').innerText !== {before!r}")
    sent = httpx.get(f"{demo}/v1/twins/transformer/commands?last=5", trust_env=False).json()
    assert any(c["command"]["signal"] == "fan" and c["ack"]["state"] == "done" for c in sent)


def test_the_keyboard_is_enough(chromium: Any, demo: str) -> None:
    with tab(chromium, demo) as page:
        settled(page, f"{demo}/twins/transformer")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.locator(".tree button", has_text="oil").focus()
        page.keyboard.press("Enter")
        assert page.locator(".tree button", has_text="oil").get_attribute("aria-pressed") == "true"
        page.locator("section[aria-label='Live and forecast'] canvas").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.querySelector('.chart .hidden-text').textContent.includes('measured')")


def test_replay_to_yesterday(chromium: Any, demo: str) -> None:
    with tab(chromium, demo) as page:
        settled(page, f"{demo}/twins/transformer/replay")
        page.get_by_role("button", name="Yesterday").click()
        page.wait_for_url(re.compile(r"time="))
        page.wait_for_timeout(1000)
        assert not page.query_selector("main .trouble")
        assert "winding" in page.inner_text("main")


def test_it_speaks_chinese_and_keeps_the_choice(chromium: Any, demo: str) -> None:
    with tab(chromium, demo) as page:
        settled(page, f"{demo}/twins/transformer")
        page.get_by_role("button", name="中").click()
        page.get_by_role("link", name="历史").wait_for()
        page.reload()
        page.get_by_role("link", name="历史").wait_for()
        assert page.get_attribute("html", "lang") == "zh"


def test_a_plan_shows_the_plant_as_it_is(chromium: Any, demo: str) -> None:
    with tab(chromium, demo) as page:
        settled(page, f"{demo}/twins/transformer")
        page.wait_for_function(
            "/\\d/.test(document.querySelector('.plan').shadowRoot.querySelector('[data-val=oil]').textContent)"
        )


def test_a_lost_connection_is_said_and_comes_back(chromium: Any, demo: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{demo}/twins/transformer")
    page.get_by_text(re.compile("Live · ")).wait_for()
    context.set_offline(True)
    page.evaluate("for (const s of performance.getEntriesByType('resource')) s")
    context.set_offline(False)
    page.get_by_text(re.compile("Live · ")).wait_for()
    context.close()
