"""A finding that carries a picture, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gemel import load
from serve.browser import tab
from serve.served import Line, served
from test_inspection_twin import factory

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = factory(tmp_path_factory.mktemp("press"), "." * 26 + "sss.ss")
    with load(file) as twin:
        twin.run()
    return file


def test_a_person_sees_the_picture_and_where_the_defect_is(ran: Path, chromium: Any) -> None:
    def made(folder: object, line: Line, name: str) -> object:
        twin = load(ran)
        twin.connectors = {"file": line}
        return twin

    with served(ran.parent, names=["press"], make=made) as held:  # type: ignore[arg-type]
        for width in (1440, 390):
            with tab(chromium, held.url, width=width) as page:
                page.goto(f"{held.url}/twins/press")
                picture = page.get_by_alt_text("Picture of the part; the defect is at row", exact=False)
                picture.wait_for()
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the screen"
                page.wait_for_function("document.querySelector('.picture .heat').naturalWidth === 64")
                page.get_by_label("Heat map").uncheck()
                assert not page.locator(".picture .heat").is_visible()
                assert picture.is_visible()
