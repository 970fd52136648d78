"""FMUs of our own for the tests: small models in C, built by gcc when a test first asks for them.

tank   one state, two parameters, inputs of three types; exact in co-simulation
ball   falls and bounces (model exchange: state events)
stair  counts every second (model exchange: time events, no states)
pol    van der Pol's oscillator (model exchange)
stateless  y = 2 u
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "simulators" / "fmu"

BAD = ["", "SEGV", "LOOP", "GREEDY", "EMPTY", "QUIT", "CHATTER", "FAIL", "END", "HALF", "POINTS",
       "STRICT", "PENDING", "REFUSE", "MUTE", "SPAWN", "LEAVE"]  # fmt: skip  # as in model.h

# name, value reference, type, attributes; types are those of FMI 3.0
Row = tuple[str, int, str, str]
PARAMETER = 'causality="parameter"'
MODELS: dict[str, list[Row]] = {
    "tank": [
        ("level", 1, "Float64", 'causality="output" initial="exact" start="1" unit="m"'),
        ("der(level)", 3, "Float64", 'causality="local" derivative="level"'),
        ("area", 5, "Float64", f'{PARAMETER} variability="fixed" start="2" min="0.1" max="10"'),
        ("outflow", 6, "Float64", f'{PARAMETER} variability="tunable" start="0.5" min="0"'),
        ("inflow", 7, "Float64", 'causality="input" start="0" unit="m3/s"'),
        ("shut", 8, "Boolean", 'causality="input" variability="discrete" start="false"'),
        ("flow", 9, "Float64", 'causality="output" unit="m3/s"'),
        ("steps", 13, "Int32", 'causality="output" variability="discrete"'),
    ],
    "ball": [
        ("h", 1, "Float64", 'causality="output" initial="exact" start="1"'),
        ("v", 2, "Float64", 'causality="local" initial="exact" start="0"'),
        ("der(h)", 3, "Float64", 'causality="local" derivative="h"'),
        ("der(v)", 4, "Float64", 'causality="local" derivative="v"'),
        ("g", 5, "Float64", f'{PARAMETER} variability="fixed" start="9.81"'),
        ("e", 6, "Float64", f'{PARAMETER} variability="tunable" start="0.7"'),
        ("bounces", 10, "Int32", 'causality="output" variability="discrete"'),
    ],
    "stair": [("count", 10, "Int32", 'causality="output" variability="discrete"')],
    "pol": [
        ("x", 1, "Float64", 'causality="local" initial="exact" start="2"'),
        ("y", 2, "Float64", 'causality="local" initial="exact" start="0"'),
        ("der(x)", 3, "Float64", 'causality="local" derivative="x"'),
        ("der(y)", 4, "Float64", 'causality="local" derivative="y"'),
        ("mu", 5, "Float64", f'{PARAMETER} variability="fixed" start="1"'),
    ],
    "stateless": [
        ("u", 7, "Float64", 'causality="input" start="3"'),
        ("y", 9, "Float64", 'causality="output"'),
    ],
}
ARRAYS: list[Row] = [
    ("extra", 11, "Float64", 'causality="input" start="0 0"'),
    ("both", 12, "Float64", 'causality="output"'),
]
OLD = {"Float64": "Real", "Int32": "Integer", "Boolean": "Boolean", "String": "String"}


@cache
def fmu(
    model: str,
    version: int = 2,
    interfaces: str = "cs me",
    bad: str = "",
    saves: bool = True,
    states: bool = True,
    arrays: bool = False,
    any_step: bool = True,
    experiment: str = "",
    more: tuple[Row, ...] = (),
    once: bool = False,
    since: float = 5,
    needs: str = "",
    brings: bool = False,
    sparse: bool = False,
) -> str:
    """The path of an FMU. `bad`: see model.h; `states`: whether it tells of its own; `needs`: a library it links, which
    it `brings` or not; `sparse`: without functions that it has no use for."""
    folder = Path(tempfile.mkdtemp(prefix="gemel-test-fmu-"))
    name = model if not bad else bad.lower()
    rows = [*MODELS[model], *more, *(ARRAYS if arrays else [])]
    rows = rows if states else [r for r in rows if "derivative=" not in r[3]]
    token = f"{{{[*MODELS].index(model) + 1} {BAD.index(bad)} {since:g} {int(once)}}}"
    write = _fmi2 if version == 2 else _fmi3
    text = write(name, rows, interfaces, saves, any_step, experiment, once).replace("TOKEN", token)
    path = folder / f"{name}.fmu"
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr("modelDescription.xml", text)
        place = "linux64" if version == 2 else "x86_64-linux"
        library = _library(version, needs, sparse)
        pack.write(library, f"binaries/{place}/{name}.so")
        if brings:
            pack.write(library.parent / "other" / needs, f"binaries/{place}/{needs}")
    return str(path)


@cache
def old_tank(interface: str) -> str:
    """The tank as an FMU of FMI 1.0."""
    path = Path(tempfile.mkdtemp(prefix="gemel-test-fmu-")) / "tank.fmu"
    rows = [
        ("level", 1, 'causality="output"', "Real"),
        ("area", 5, 'variability="parameter"', 'Real start="2"'),
        ("inflow", 7, 'causality="input"', 'Real start="0"'),
        ("shut", 8, 'causality="input" variability="discrete"', 'Boolean start="false"'),
        ("closed", 8, 'causality="output" variability="discrete"', "Boolean"),
    ]
    variables = [f'<ScalarVariable name="{n}" valueReference="{r}" {a}><{t}/></ScalarVariable>' for n, r, a, t in rows]
    side = "<Implementation><CoSimulation_StandAlone><Capabilities/></CoSimulation_StandAlone></Implementation>"
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr(
            "modelDescription.xml",
            f"""<fmiModelDescription fmiVersion="1.0" modelName="tank" modelIdentifier="tank" guid="{{1 0 0 0}}"
numberOfContinuousStates="1" numberOfEventIndicators="0"><ModelVariables>{"".join(variables)}</ModelVariables>
{side if interface == "cs" else ""}</fmiModelDescription>""",
        )
        pack.write(_library(1, "", False), "binaries/linux64/tank.so")
    return str(path)


@cache
def _library(version: int, needs: str, sparse: bool) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    folder = Path(tempfile.mkdtemp(prefix="gemel-test-fmu-"))
    other = [str(folder / "other" / needs)] if needs else []
    if needs:
        (folder / "other").mkdir()
        subprocess.run(["gcc", "-shared", f"-Wl,-soname,{needs}", "-o", *other, "-x", "c", "/dev/null"], check=True)
    library, source = folder / "fmu.so", str(SOURCES / f"fmi{version}.c")
    command = ["gcc", "-shared", "-fPIC", source, "-o", str(library), "-Wl,--no-as-needed", *other, "-lm"]
    subprocess.run([*command, *(["-DSPARSE"] if sparse else [])], check=True)
    return library


def _fmi2(name: str, rows: list[Row], interfaces: str, saves: bool, any_step: bool, experiment: str, once: bool) -> str:
    places = {row[0]: i for i, row in enumerate(rows, start=1)}
    out, derivatives, outputs, units = [], [], [], set()
    for row in rows:
        outer, inner, derivative = _split(row)
        if derivative:
            inner += f' derivative="{places[derivative]}"'
            derivatives.append(places[row[0]])
        if 'causality="output"' in outer:
            outputs.append(places[row[0]])
        units |= {word.split('"')[1] for word in inner.split(" ") if word.startswith("unit=")}
        out.append(f'<ScalarVariable name="{row[0]}" valueReference="{row[1]}" {outer}><{OLD[row[2]]} {inner}/>'
                   "</ScalarVariable>")  # fmt: skip
    flags = f'modelIdentifier="{name}" canGetAndSetFMUstate="{_is(saves)}" canSerializeFMUstate="{_is(saves)}"'
    flags += f' canBeInstantiatedOnlyOncePerProcess="{_is(once)}"'
    sides = {"me": f"<ModelExchange {flags}/>",
             "cs": f'<CoSimulation {flags} canHandleVariableCommunicationStepSize="{_is(any_step)}"/>'}  # fmt: skip
    indicators = 1 if name == "ball" else 0
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<fmiModelDescription fmiVersion="2.0" modelName="{name}" guid="TOKEN" numberOfEventIndicators="{indicators}">
{"".join(sides[s] for s in ("me", "cs") if s in interfaces)}
<UnitDefinitions>{"".join(f'<Unit name="{u}"/>' for u in sorted(units))}</UnitDefinitions>
{f"<DefaultExperiment {experiment}/>" if experiment else ""}
<ModelVariables>{"".join(out)}</ModelVariables>
<ModelStructure><Outputs>{_unknowns(outputs)}</Outputs><Derivatives>{_unknowns(derivatives)}</Derivatives>
</ModelStructure></fmiModelDescription>"""


def _fmi3(name: str, rows: list[Row], interfaces: str, saves: bool, any_step: bool, experiment: str, once: bool) -> str:
    references = {row[0]: row[1] for row in rows}
    out, structure, units = [], [], set()
    for row in rows:
        outer, inner, derivative = _split(row)
        if derivative:
            inner += f' derivative="{references[derivative]}"'
            structure.append(f'<ContinuousStateDerivative valueReference="{row[1]}"/>')
        if 'causality="output"' in outer:
            structure.insert(0, f'<Output valueReference="{row[1]}"/>')
        units |= {word.split('"')[1] for word in inner.split(" ") if word.startswith("unit=")}
        inside = '<Dimension start="2"/>' if row[1] in (11, 12) else ""
        out.append(f'<{row[2]} name="{row[0]}" valueReference="{row[1]}" {outer} {inner}>{inside}</{row[2]}>')
    structure += ['<EventIndicator valueReference="1"/>'] if name == "ball" else []
    flags = f'modelIdentifier="{name}" canGetAndSetFMUState="{_is(saves)}" canSerializeFMUState="{_is(saves)}"'
    flags += f' canBeInstantiatedOnlyOncePerProcess="{_is(once)}"'
    sides = {"me": f"<ModelExchange {flags}/>",
             "cs": f'<CoSimulation {flags} canHandleVariableCommunicationStepSize="{_is(any_step)}"/>'}  # fmt: skip
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<fmiModelDescription fmiVersion="3.0" modelName="{name}" instantiationToken="TOKEN">
{"".join(sides[s] for s in ("me", "cs") if s in interfaces)}
<UnitDefinitions>{"".join(f'<Unit name="{u}"/>' for u in sorted(units))}</UnitDefinitions>
{f"<DefaultExperiment {experiment}/>" if experiment else ""}
<ModelVariables>{"".join(out)}</ModelVariables>
<ModelStructure>{"".join(structure)}</ModelStructure></fmiModelDescription>"""


def _split(row: Row) -> tuple[str, str, str]:
    """Attributes of the variable, those of its value, and the state it is the derivative of."""
    outer, inner, derivative = [], [], ""
    for word in _words(row[3]):
        key = word.split("=")[0]
        if key == "derivative":
            derivative = word.split('"')[1]
        else:
            (outer if key in ("causality", "variability", "initial") else inner).append(word)
    return " ".join(outer), " ".join(inner), derivative


def _words(text: str) -> list[str]:
    return re.findall(r'\w+="[^"]*"', text)


def _unknowns(places: list[int]) -> str:
    return "".join(f'<Unknown index="{i}"/>' for i in places)


def _is(value: bool) -> str:
    return "true" if value else "false"
