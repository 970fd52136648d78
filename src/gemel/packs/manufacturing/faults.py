"""What can go wrong on the line: kinds of faults, what each changes, and when one comes.

Every kind names its component and its cause, so that a diagnosis can be marked. What it changes are the `effects` that
`machines.py` and `line.py` work with: a name there and by how much at full size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.units import duration

MACHINES = ("saw", "mill", "drill", "grind", "wash")
CUTTING = MACHINES[:4]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `component`: what is ill, a part of a machine or of the line; `machines`: where it can be,
    none for the line as a whole; `ramp`: how long until it is at full size; `lasts`: how long it stays when nobody
    says otherwise, "" until the machine is serviced; `shows`: how it is seen, for people."""

    component: str
    cause: str
    machines: tuple[str, ...]
    effects: Mapping[str, float]
    ramp: str = ""
    lasts: str = ""
    shows: str = ""


FAULTS: dict[str, Kind] = {
    "tool wear": Kind(
        "tool", "wears fast", CUTTING, {"wearing": 4.0}, "", "", "power, vibration and size rise within hours"
    ),
    "tool breakage": Kind(
        "tool", "broken", CUTTING, {"broken": 1.0}, "", "", "power falls, vibration and kurtosis jump, scrap"
    ),
    "bearing damage": Kind(
        "bearing", "damaged", MACHINES, {"bearing": 0.06}, "", "", "kurtosis first, vibration and warmth later"
    ),
    "unbalance": Kind("spindle", "out of balance", MACHINES, {"unbalance": 1.0}, "10min", "", "vibration alone"),
    "coolant loss": Kind(
        "coolant", "lost", CUTTING, {"coolant": -0.9}, "20min", "", "hot while cutting, the tool wears faster"
    ),
    "lubrication loss": Kind(
        "lubrication", "lost", MACHINES, {"friction": 0.9}, "3h", "", "power and temperature rise slowly, idle too"
    ),
    "fan clogged": Kind("motor fan", "clogged", MACHINES, {"airflow": -0.6}, "2h", "", "hot, idle too, at usual power"),
    "fixture loose": Kind(
        "fixture", "loose", CUTTING, {"play": 1.0}, "10min", "", "size scatters, vibration unsteady, knocks"
    ),
    "belt slip": Kind("belt", "slips", MACHINES, {"slip": 0.22}, "30min", "", "cycles longer at less power"),
    "conveyor jam": Kind(
        "conveyor", "jammed", CUTTING, {"jam": 1.0}, "", "", "blocked, though there is room in the buffer behind it"
    ),
    "vibration sensor drift": Kind(
        "vibration sensor", "drifts", MACHINES, {"vibration_bias": 2.0}, "6h", "", "vibration rises, standing still too"
    ),
    "temperature sensor stuck": Kind(
        "temperature sensor", "stuck", MACHINES, {"stuck": 1.0}, "", "", "a temperature that does not move at all"
    ),
    "voltage sag": Kind("supply", "sags", (), {"voltage": -0.14}, "", "6h", "all machines slower, at less power"),
    "hard material": Kind(
        "material", "too hard", (), {"hardness": 0.35}, "", "10h", "power and vibration of saw, mill and drill"
    ),
    "operator missing": Kind("crew", "one missing", (), {"missing": 1.0}, "", "8h", "set-ups take twice as long"),
    "camera dirty": Kind(
        "camera", "dirty", (), {"dirt": 1.0}, "30min", "", "scrap, though sizes and machines are as usual"
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its `kind` (see `FAULTS`), where (`machine`, "" for the line), when it comes (`at`, after the plant's
    start), how long it stays (`lasts`, "" for what is usual of its kind) and its `size`, 1 for what is usual.

    Raises `ConfigError` for a kind or a machine that there is not.
    """

    kind: str
    machine: str = ""
    at: str = "1d"
    lasts: str = ""
    size: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ConfigError([f"there is no fault '{self.kind}'{nearest(self.kind, FAULTS)}"], where="fault")
        places = FAULTS[self.kind].machines
        if self.machine not in (places or ("", "line")):
            there = f"at {', '.join(places)}" if places else "of the whole line"
            raise ConfigError([f"fault '{self.kind}' is one {there}, not at '{self.machine}'"], where="fault")
        try:
            for text in filter(None, (self.at, self.lasts)):
                duration(text)
        except InputError as error:
            raise ConfigError([error.message], error.hint, f"fault '{self.kind}'") from None
        if not 0 < self.size <= 3:
            raise ConfigError([f"size {self.size} of '{self.kind}' must be above 0, at most 3"], where="fault")

    @property
    def asset(self) -> str:
        """The asset it is about: the machine, or `line`."""
        return self.machine or "line"

    @property
    def component(self) -> str:
        """What is ill there."""
        return FAULTS[self.kind].component

    @property
    def cause(self) -> str:
        """What is wrong with it."""
        return FAULTS[self.kind].cause

    def level(self, since: int) -> float:
        """How far it has come, 0 to `size`, that many ns after it began."""
        ramp = FAULTS[self.kind].ramp
        return self.size * min(since / duration(ramp), 1.0) if ramp else self.size
