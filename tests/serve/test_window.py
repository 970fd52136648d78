"""The window in a real browser before a living demo: what a person sees, presses and gets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.browser import tab

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(240)]

PAGES = {
    "overview": "/",
    "twin": "/twins/transformer",
    "history": "/twins/transformer/history",
    "replay": "/twins/transformer/replay",
    "forecaster": "/twins/transformer/forecaster",
    "simulator": "/twins/transformer/simulator",
    "shadow": "/twins/transformer/shadow",
    "connect": "/new",
}
PICTURES = os.environ.get("GEMEL_PICTURES")
"""A folder that takes a picture of every page; else none are kept."""


TANK = """
name = "tank"
every = "1h"
horizon = "12h"
clock = "data"
signals = [{ name = "level", unit = "m", address = "file:level" }]
connectors.file = { kind = "replay", path = "tank.csv" }
"""


def settled(page: Any, url: str) -> None:
    """Open a page and wait until it shows what it asked for."""
    page.goto(url)
    page.wait_for_selector("main .card, main .empty")
    page.locator("main > .empty[role=status]").wait_for(state="detached")
    page.wait_for_timeout(700)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_reads_well_in_both_themes(chromium: Any, demo: str, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    looks = [("dark", 1440), ("light", 390), *([("light", 1440), ("dark", 390)] if PICTURES else [])]
    for theme, width in looks:
        with tab(chromium, demo, theme=theme, width=width) as page:
            settled(page, demo + PAGES[name])
            assert not page.query_selector("main .trouble"), page.inner_text("main .trouble")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the screen"
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            if PICTURES:
                size = "desktop" if width > 500 else "phone"
                picture = Path(PICTURES) / f"{name}-{theme}-{size}.jpg"
                page.screenshot(path=picture, type="jpeg", quality=72, full_page=True)


def test_a_person_tries_proposes_approves_and_sees_the_ack(chromium: Any, demo: str) -> None:
    with tab(chromium, demo, width=1680) as page:
        settled(page, f"{demo}/twins/transformer")
        page.get_by_role("button", name=re.compile("^winding")).first.click()
        assert "winding" in page.inner_text("section[aria-label='Live and forecast']").lower()
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
        page.locator(".chart .hidden-text", has_text="measured").first.wait_for(state="attached")


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
        oil = page.locator(".plan [data-val=oil]")  # Playwright looks into the plan's shadow
        oil.filter(has_text=re.compile(r"\d")).wait_for()


def test_a_stopped_twin_is_said_and_found_again(chromium: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gemel.cli", "serve", "tank.toml", "--json", "--port"]
    (tmp_path / "tank.csv").write_text("time,level\n" + "".join(f"2024-01-01T{h:02}:00Z,{h}\n" for h in range(24)))
    (tmp_path / "tank.toml").write_text(TANK)

    def serve(port: int) -> tuple[subprocess.Popen[str], str]:
        twin = subprocess.Popen([*command, str(port)], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert twin.stdout
        return twin, json.loads(twin.stdout.readline())["url"]

    def stop(twin: subprocess.Popen[str]) -> None:
        twin.terminate()
        twin.communicate(timeout=20)

    twin, url = serve(0)
    context = chromium.new_context()
    try:
        page = context.new_page()
        settled(page, f"{url}/twins/tank")
        stop(twin)
        page.get_by_text("Connection lost, trying again …").wait_for()
        twin, _ = serve(int(url.rpartition(":")[2]))
        page.get_by_text(re.compile("^Live · ")).wait_for()
    finally:
        context.close()
        stop(twin)
