"""The example files load, and the two transformer twins are one twin behind two doors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gemel

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.toml")), ids=lambda p: p.name)
def test_an_example_loads(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEMEL_DATA", "somewhere")
    twin = gemel.load(file)
    assert gemel.dump(gemel.load(gemel.dump(twin))) == gemel.dump(twin)


def test_the_transformer_is_the_same_twin_through_a_file_and_through_a_broker(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEMEL_DATA", "somewhere")
    texts = []
    for name in ("transformer.toml", "transformer-mqtt.toml"):
        text = gemel.dump(gemel.load(EXAMPLES / name))
        text = re.sub(r'"(file:|plant:ETTm1/row#)', '"', text)
        texts.append([line for line in text.splitlines() if not line.startswith(("connectors.", "store"))])
    assert texts[0] == texts[1]
