"""A plan shows what its attributes say, and does nothing else."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from gemel.config import load
from gemel.core.errors import ConfigError
from gemel.core.values import Asset, Signal, Signals
from gemel.desk import plan
from serve.served import served

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'
SIGNALS = Signals([Signal("oil", low=0, high=100), Signal("fan"), Signal("fan power", low=0, high=9)])
ASSETS = [Asset("tx1")]


def drawn(folder: Path, body: str) -> Path:
    file = folder / "plan.svg"
    file.write_text(body if body.startswith(("<svg", "<!D")) else f"{HEAD}{body}</svg>", "utf-8")
    return file


def problems(folder: Path, body: str) -> str:
    with pytest.raises(ConfigError) as caught:
        plan.read(drawn(folder, body), SIGNALS, ASSETS)
    return "\n".join(caught.value.problems)


def test_what_draws_and_binds_is_taken_as_it_is(tmp_path: Path) -> None:
    body = """<style>.a { fill: url(#g); stroke: var(--line) }</style><defs><linearGradient id="g"/></defs>
      <g data-subject="tx1 oil"><rect data-level="oil" class="a" style="fill: url('#g')"/></g>
      <rect data-level="fan" data-low="0" data-high="2.5"/><use href="#g"/><use xlink:href="#g"/>
      <text data-val="fan power" data-zh="风扇">x</text><circle data-state="fan:off|half-on|on"/>
      <image href="data:image/png;base64,AAAA"/><x:view xmlns:x="http://inkscape.example/" x:zoom="2"/>"""
    assert plan.read(drawn(tmp_path, f"<!-- drawn by hand -->{body}"), SIGNALS, ASSETS) == f"{HEAD}{body}</svg>"


@pytest.mark.parametrize(
    "body",
    [
        "<script>alert(1)</script>",
        '<rect onclick="alert(1)"/>',
        '<x:view xmlns:x="http://inkscape.example/" onload="alert(1)"/>',
        "<foreignObject/>",
        '<p xmlns="http://www.w3.org/1999/xhtml"/>',
        '<p xmlns=""/>',
        '<a href="#x"/>',
        '<use href="https://elsewhere.example/x.svg#a"/>',
        '<use xlink:href="//elsewhere.example/x.svg#a"/>',
        '<image href="data:image/svg+xml;base64,AAAA"/>',
        '<image href=" javascript:alert(1)"/>',
        '<animate attributeName="href" to="javascript:alert(1)"/>',
        "<set/>",
        "<style>@import 'x.css';</style>",
        "<style>.a { fill: url(http://elsewhere.example) }</style>",
        "<style>.a { background: image-set('//elsewhere.example/a') }</style>",
        r"<style>.a { fill: u\72l(elsewhere) }</style>",
        '<rect style="fill: URL( elsewhere )"/>',
        '<rect fill="url(https://elsewhere.example)"/>',
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg">&a;</svg>',
        "<title><![CDATA[x><img src=x onerror=alert(1)>]]></title>",
        '<?xml-stylesheet href="x.css"?>',
        "<rect>",
        '<svg xmlns="http://www.w3.org/2001/other"/>',
        " " * plan.MOST,
    ],
)
def test_what_runs_or_leads_out_is_refused(tmp_path: Path, body: str) -> None:
    assert problems(tmp_path, body).startswith("plan: ")


def test_a_comment_that_html_reads_otherwise_does_not_get_through(tmp_path: Path) -> None:
    body = "<!--> <img src=x onerror=alert(1)> --><rect/>"
    assert plan.read(drawn(tmp_path, body), SIGNALS, ASSETS) == f"{HEAD}<rect/></svg>"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<text data-val="oi"/>', "data-val='oi': there is no 'oi', did you mean 'oil'?"),
        ('<g data-subject="oil tx2"/>', "there is no 'tx2', did you mean 'tx1'?"),
        ('<g data-state="fan"/>', "write the words of its codes 0, 1, ... so: fan:off|slow|fast"),
        ('<g data-state="fun:a|b"/>', "there is no 'fun', did you mean 'fan'?"),
        ('<rect data-level="fan" data-low="0"/>', "the signal has no such limit, so data-high must be a number"),
        ('<circle data-level="oil"/>', "only a rect can be filled"),
    ],
)
def test_a_binding_that_says_too_little_is_named(tmp_path: Path, body: str, problem: str) -> None:
    assert problem in problems(tmp_path, body)


def test_a_twin_file_whose_plan_is_missing_or_wrong_says_so(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('name = "a"\nplan = "a.svg"\nsignals = [{ name = "oil" }]\n')
    with pytest.raises(ConfigError, match=r"plan: there is no file .*a\.svg"):
        load(file)
    (tmp_path / "a.svg").write_text(f'{HEAD}<text data-val="oil"/></svg>')
    assert load(file).plan == "a.svg"


def test_the_plan_of_the_demo_is_good_and_shows_all_its_signals() -> None:
    with resources.as_file(resources.files("gemel.packs.energy")) as folder:
        twin = load(folder / "transformer.toml")
        text = plan.read(folder / twin.plan, twin.signals, twin.assets)
    for signal in twin.signals:
        assert f'data-val="{signal.name}"' in text
    assert "#" not in "".join(part.split(")")[0] for part in text.split("stroke:")[1:] if "var(" not in part)


@pytest.mark.slow
def test_it_is_served_as_it_is_drawn_now(tmp_path: Path) -> None:
    with served(tmp_path) as here, here.client() as client:
        assert client.get("/v1/twins/shed").json()["plan"] is False
        none = client.get("/v1/twins/shed/plan")
        assert (none.status_code, none.json()["error"]) == (404, "twin 'shed' has no plan")
        here.host["shed"].twin.plan = str(drawn(tmp_path, '<text data-val="air"/>'))
        found = client.get("/v1/twins/shed/plan")
        assert (found.status_code, found.headers["content-type"]) == (200, "image/svg+xml; charset=utf-8")
        assert found.text == f'{HEAD}<text data-val="air"/></svg>'
        assert client.get("/v1/twins/shed").json()["plan"] is True
        drawn(tmp_path, "<script/>")
        assert client.get("/v1/twins/shed/plan").status_code == 409
