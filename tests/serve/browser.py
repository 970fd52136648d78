"""A real browser before a real demo: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; a machine without one skips, CI fails. It ends with the module: while it lives its driver's event
    loop runs in this thread, and no test could run one of its own."""
    if not CHROMIUM and not os.environ.get("CI"):
        pytest.skip("there is no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "CI has no Chromium"
    with sync_playwright() as driver:
        held = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield held
        held.close()


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a demo whose decisions wait for a person, two plant hours after its fan has failed."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "gemel.cli", "demo", "--mode", "advise", "--speed", "600"]
    log = (folder / "log").open("w+")
    twin = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        yield _address(folder / "log", twin)
    finally:
        twin.terminate()
        twin.wait(20)
        log.close()


def _address(log: Path, twin: subprocess.Popen[bytes]) -> str:
    import time

    end = time.monotonic() + 90
    while time.monotonic() < end and twin.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"the demo did not open its window:\n{log.read_text()}")


class Heard:
    """What a page has said and asked for; `quiet()` fails for what it should not have."""

    def __init__(self, page: Any, home: str) -> None:
        self.home, self.errors, self.foreign = home, [], []
        page.on("console", lambda m: m.type in ("error", "warning") and self.errors.append(m.text))
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.on("request", lambda r: self._ours(r.url) or self.foreign.append(r.url))
        page.on("websocket", lambda s: self._ours(s.url.replace("ws", "http", 1)) or self.foreign.append(s.url))

    def _ours(self, url: str) -> bool:
        return url.startswith((self.home, "data:", "blob:"))

    def quiet(self) -> None:
        assert not self.errors, self.errors
        assert not self.foreign, self.foreign


@contextmanager
def tab(browser: Any, home: str, *, theme: str = "dark", width: int = 1440, language: str = "en") -> Iterator[Any]:
    """A page in a context of its own, with what it `heard`."""
    size = {"width": width, "height": 900 if width > 500 else 844}
    context = browser.new_context(
        viewport=size, timezone_id="UTC", locale="en-GB", color_scheme=theme, reduced_motion="reduce"
    )
    context.add_init_script(f"localStorage.theme ??= '{theme}'; localStorage.language ??= '{language}'")
    context.set_default_timeout(15_000)
    page = context.new_page()
    heard = Heard(page, home)
    try:
        yield page
        heard.quiet()
    finally:
        context.close()
