"""The window where people do something: findings, actuators, a twin of their own, a talk. A real browser and server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chatter import calls, chatter, forever, says
from served import Served, served

from serve.browser import tab

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def shed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("shed")) as held:
        yield held


def opened(page: Any, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("main .card")


def accessible(page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def life(one: Served) -> dict[str, Any]:
    with one.client() as client:
        found: dict[str, Any] = client.get("/v1/twins/shed/findings?all=true").json()[-1]["life"]
    return found


def test_a_finding_is_acknowledged_shelved_brought_back_and_closed(chromium: Any, shed: Served) -> None:
    with tab(chromium, shed.url) as page:
        opened(page, f"{shed.url}/twins/shed")
        shed.line.say(9.0)
        card = page.locator("section[aria-label='Findings']")
        card.get_by_role("button", name="Acknowledge").click()
        card.locator(".pill", has_text="Acknowledged").wait_for()
        assert life(shed)["state"] == "acknowledged"

        card.get_by_role("button", name="Shelve").click()
        box = page.get_by_role("dialog")
        accessible(page)
        box.get_by_role("button", name="Shelve").click()  # no reason: the browser asks for it, and nothing is sent
        assert life(shed)["state"] == "acknowledged"
        box.get_by_label("Why").fill("the door stands open until noon")
        box.get_by_role("button", name="Shelve").click()
        card.get_by_text("1 shelved", exact=True).click()
        assert life(shed)["note"] == "the door stands open until noon"
        card.get_by_role("button", name="Bring it back").click()
        card.locator(".pill", has_text="New").wait_for()

        card.get_by_text("What was done").click()
        assert "the door stands open until noon" in card.locator("ol.past").inner_text()
        accessible(page)
        card.get_by_role("button", name="Close").click()
        box.get_by_label("Why").fill("seen to")
        box.get_by_role("button", name="Close").click()
        card.get_by_text("Nothing is wrong.").wait_for()
        assert life(shed)["state"] == "closed"


def test_an_actuator_is_taken_moved_and_given_back(chromium: Any, shed: Served) -> None:
    with tab(chromium, shed.url, theme="light") as page:
        opened(page, f"{shed.url}/twins/shed")
        fan = page.locator("article[aria-label='fan']")
        fan.locator(".pill", has_text="By approval").wait_for()
        fan.get_by_role("button", name="Take").click()
        box = page.get_by_role("dialog")
        box.get_by_label("For how long").select_option("1h")
        box.get_by_label("Why").fill("a new filter")
        box.get_by_role("button", name="Take").click()
        fan.locator(".pill", has_text="In your hand").wait_for()
        assert "a new filter" in fan.inner_text()
        assert "left" in fan.inner_text()
        fan.get_by_role("spinbutton").fill("1")
        assert fan.get_by_role("slider").input_value() == "1"
        accessible(page)
        fan.get_by_role("button", name="Set").click()
        fan.get_by_text("Sent.").wait_for()
        assert [c.value for c in shed.line.sent if c.signal == "fan"][-1] == 1
        fan.get_by_role("button", name="Give back").click()
        fan.locator(".pill", has_text="By approval").wait_for()
        assert not fan.get_by_role("spinbutton").is_visible()


def test_a_file_becomes_a_twin_that_lives(chromium: Any, shed: Served, tmp_path: Path) -> None:
    table = tmp_path / "boiler house.csv"
    rows = [f"2024-05-{1 + h // 24:02} {h % 24:02}:00:00,{50 + h % 24},{h % 7 / 7:.2f}" for h in range(240)]
    table.write_text("\n".join(["time,supply_temp,x17", *rows]) + "\n")
    with tab(chromium, shed.url) as page:
        page.goto(f"{shed.url}/new")
        page.set_input_files("#file", table)
        page.get_by_role("region", name="Signals that were found").wait_for()
        assert page.locator("canvas").count() >= 1  # the first forecast
        accessible(page)
        text, said = page.get_by_role("textbox", name="The twin file"), page.locator("main [role=status]")
        start = page.get_by_role("button", name="Start this twin")

        page.get_by_label("Low: x17").fill("9")
        page.get_by_label("High: x17").fill("5")
        page.get_by_label("High: x17").press("Tab")
        said.get_by_text("low 9 is above high 5").wait_for()
        assert start.is_disabled()
        page.get_by_label("Unit: x17").fill("bar")
        page.get_by_label("High: x17").fill("15")
        page.get_by_label("They were written in").fill("Europe/Berlin")
        page.get_by_label("In use: x17").uncheck()
        said.get_by_text("This twin file holds").wait_for()
        line = next(one for one in text.input_value().split("\n") if "x17" in one)
        assert line.strip().startswith("# {")
        assert 'unit = "bar", low = 9, high = 15' in line
        assert 'zone = "Europe/Berlin"' in text.input_value()
        text.fill(text.input_value().replace('name = "boiler_house"', 'name = "boiler"'))
        said.get_by_text("It will be called boiler.").wait_for()
        start.click()
        page.wait_for_url("**/twins/boiler")
        page.wait_for_selector("main .card")
    assert (shed.folder / "boiler.toml").exists()
    assert (shed.folder / "boiler_house.csv").exists()


def test_what_is_no_table_says_so(chromium: Any, shed: Served, tmp_path: Path) -> None:
    wrong = tmp_path / "notes.txt"
    wrong.write_text("hello")
    with tab(chromium, shed.url, width=390) as page:
        page.goto(f"{shed.url}/new")
        page.set_input_files("#file", wrong)
        page.get_by_role("alert").get_by_text("notes.txt is not a table").wait_for()
        accessible(page)


def test_a_talk_shows_its_calls_its_picture_and_what_it_used(
    chromium: Any, shed: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [("query", {"signals": ["air"], "last": "1h"}), ("picture", {"signals": ["air"], "last": "1h"})]
    answer = says("It is ", "<b>warm</b>.")
    with (
        chatter([calls(*wanted, before="I look."), answer, forever(20, 0.05)]) as model,
        tab(chromium, shed.url) as page,
    ):
        monkeypatch.setenv("GEMEL_CHAT_URL", model.url)
        monkeypatch.setenv("GEMEL_CHAT_MODEL", "stub")
        opened(page, f"{shed.url}/twins/shed")
        door = page.get_by_role("button", name="Ask the twin")
        door.click()
        drawer = page.locator("aside.drawer")
        page.locator("#question:focus").wait_for()
        page.keyboard.type("How is it?")
        page.keyboard.press("Enter")
        drawer.get_by_text("It is <b>warm</b>.").wait_for()  # what a model says is text, never markup
        assert drawer.locator("summary").count() == 2
        assert drawer.locator("canvas").count() == 1
        link = drawer.get_by_role("link", name="air")
        assert link.get_attribute("href") == "/twins/shed/history?signals=air"
        accessible(page)

        page.keyboard.type("And then?")
        page.keyboard.press("Enter")
        drawer.get_by_text("xxxx").wait_for()
        drawer.get_by_role("button", name="Stop").click()
        drawer.get_by_text("Stopped.").wait_for()
        assert model.left.wait(5)
        assert model.asked[-1]["messages"][1]["content"] == "How is it?"  # it knows what was said before
        page.keyboard.press("Escape")
        assert not drawer.count()
        assert page.evaluate("document.activeElement.ariaLabel") == "Ask the twin"
        door.click()
        drawer.get_by_text("It is <b>warm</b>.").wait_for()  # the talk is still there


def test_without_a_model_it_says_how_to_add_one(chromium: Any, shed: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMEL_CHAT_URL", raising=False)
    with tab(chromium, shed.url) as page:
        opened(page, f"{shed.url}/twins/shed")
        page.get_by_role("button", name="Ask the twin").click()
        page.locator("aside.drawer").get_by_text("GEMEL_CHAT_URL").first.wait_for()
        accessible(page)


def test_who_asks(shed: Served) -> None:
    with shed.client() as client:
        me = client.get("/v1/me").json()
    assert me["name"] == "local"
    assert "approve" in me["scopes"]
    assert me["twins"] == []


def test_the_screen_keeps_what_has_the_focus(chromium: Any, shed: Served) -> None:
    """What is told while a person is about to press a button does not take it away."""
    with tab(chromium, shed.url) as page:
        opened(page, f"{shed.url}/twins/shed")
        shed.line.say(1.0)
        time.sleep(1)
        shed.line.say(9.5)
        button = page.locator("section[aria-label='Findings']").get_by_role("button", name="Acknowledge")
        button.focus()
        shed.line.say(9.6)
        time.sleep(1)
        assert page.evaluate("document.activeElement.textContent") == "Acknowledge"


def test_a_thing_under_repair_does_not_ring(chromium: Any, shed: Served) -> None:
    with tab(chromium, shed.url, width=390) as page:
        opened(page, f"{shed.url}/twins/shed")
        shed.line.say(9.7)
        card = page.locator("section[aria-label='Findings']")
        card.get_by_role("button", name="Maintenance").click()
        page.get_by_role("dialog").get_by_label("Why").fill("a new door")
        page.get_by_role("dialog").get_by_role("button", name="Begin").click()
        card.get_by_text("1 under maintenance").wait_for()
        assert "a new door" in card.inner_text()
        accessible(page)
        card.get_by_role("button", name="End it now").click()
        card.locator(".pill", has_text="New").wait_for()
        assert "a new door" not in card.inner_text().split("What was done")[0]
