"""What a person waits for: a first page, and a year of one signal beside the same canvas with its points at hand.

    python3 dev.py bench window [--json]

Needs Chromium. The year is 525 600 points, a minute apart; each round opens the history page anew. Timed is from the
click to the frame that shows it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Bench

ROUNDS = 5
YEAR = 525_600
START, MINUTE = 1_735_689_600_000_000_000, 60 * 10**9
TWIN = """
name = "year"
every = "1h"
clock = "data"
signals = [{ name = "load", unit = "kW", address = "file:load" }]
connectors.file = { kind = "replay", path = "none.csv" }
store = { kind = "duckdb", path = "year.gemel" }
"""
HELD = """async (n) => {
  const { Chart } = await import("/ui/lib/chart.js");
  const time = new Float64Array(n), value = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    time[i] = 1735689600000 + i * 60000;
    value[i] = 200 + 60 * Math.sin(i / 229) + 8 * Math.random();
  }
  const chart = new Chart({ label: "held", height: 360 });
  document.querySelector("main").prepend(chart.element);
  const shown = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await shown();
  const began = performance.now();
  chart.set({ lines: [{ name: "load", time, value, colour: "accent" }], unit: "kW" });
  await shown();
  return performance.now() - began;
}"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    from serve.browser import CHROMIUM

    if not CHROMIUM:
        sys.exit("error: there is no Chromium\nhint: apt-get install chromium")
    with Bench("window") as bench, tempfile.TemporaryDirectory() as folder:
        twin, url = serve(Path(folder))
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                measured = [visit(browser, url) for _ in range(ROUNDS + 1)][1:]
                browser.close()
        finally:
            twin.terminate()
            twin.communicate(timeout=20)
        opened, year, held = (statistics.median(column) for column in zip(*measured, strict=True))
        bench.figure("year of one signal", year, "ms", goal="<= 2x", peer=("points in the browser", held))
        bench.figure("year of one signal, aim", year, "ms", goal="<= 300")
        bench.figure("first page, aim", opened, "ms", goal="<= 1500")


def serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A server of a twin that has heard a year."""
    from gemel import Signal
    from gemel.core.values import Batch, Signals
    from gemel.stores.duckdb import Duckdb

    store = Duckdb(str(folder / "year.gemel"))
    store.open(Signals([Signal("load", unit="kW")]))
    minutes = np.arange(YEAR)
    values = 200 + 60 * np.sin(minutes / 229) + np.random.default_rng(1).normal(0, 8, YEAR)
    for i in np.split(minutes, 12):
        store.append(Batch.of(np.zeros(len(i)), START + i * MINUTE, values[i]))
    store.close()
    (folder / "year.toml").write_text(TWIN)
    (folder / "none.csv").write_text("time,load\n")
    command = [sys.executable, "-m", "gemel.cli", "serve", "year.toml", "--port", "0", "--json"]
    twin = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert twin.stdout
    return twin, json.loads(twin.stdout.readline())["url"]


def visit(browser: Any, url: str) -> tuple[float, float, float]:
    """Milliseconds: the first page to be there, a year to be drawn, the same drawn from points in the browser."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="UTC")
    page = context.new_page()
    page.goto(f"{url}/twins/year/history")
    page.locator("main .chart canvas").first.wait_for()
    opened = page.evaluate("performance.now()")
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Month", exact=True).click()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Year", exact=True).click()
    page.wait_for_timeout(1000)
    year = page.evaluate("performance.getEntriesByName('year').at(-1)?.duration ?? NaN")
    held = page.evaluate(HELD, YEAR)
    context.close()
    return opened, year, held


if __name__ == "__main__":
    sys.path.insert(0, "tests")
    main()
