"""A network of lumped thermal and hydraulic elements, declared in the twin file, as a simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gemel.core.errors import ConfigError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import Belief, Floats
from gemel.simulators.network.balance import Balance
from gemel.simulators.network.layout import read
from gemel.simulators.network.pace import SHORTEST, fastest, pace
from gemel.simulators.ode.simulator import Memory, Ode


@declared
class Network:
    """Nodes that hold heat or water, links through which it flows, and sources of it: a building, a heating circuit,
    tanks with pumps and valves, without a line of code.

    Every value is a number in the unit named below, a text with a unit of its own (`"2 MJ/K"`), an input (`{ input =
    "name", unit = "m3/h" }`), or a prior: `{ mean, sd, low, high, memory }`. What has an `sd` is a parameter, called
    `element.key`, which an estimator can teach; without `low` and `high` it stays between a tenth of its mean and ten
    times that. `memory` is a duration over which it forgets a deviation from its mean; without one it is constant.

    - `nodes`: name -> one of
      `{ capacity }` (J/K): its temperature is a state;
      `{}`: a temperature without a capacity, settled with its neighbours at every instant;
      `{ temperature }` (degC): a boundary, a number or the name of an input;
      `{ area, bottom, height }` (m2, m, m): a tank, whose level above its bottom is a state; what comes in above
      `height` is lost;
      `{ head }` (m): a reservoir, a number or the name of an input.
      States have `start` (a value or a prior; 20 degC, or half the height) and `noise`, what the equations miss, per
      square root of an hour.
    - `links`: name -> `{ between = [first, second], ... }`; what flows from first to second is positive. Heat:
      `conductance` (W/K) or `resistance` (K/W); `flow` (m3/s: a value, the name of an input, or that of a hydraulic
      link) of `fluid` (`water`, `air` or J/(m3 K)), which carries heat whichever way it flows. Water: `orifice` (m2)
      and `discharge`; a valve's `kv` (m3/h at 1 bar); a turbulent pipe's `length`, `diameter` (m), `friction` (Darcy's)
      and `losses`; a laminar one's `length`, `diameter`, `viscosity` (m2/s); a pump's `head` (m, when nothing flows),
      `flow` (m3/s, against nothing) and `speed`, which lets nothing back. All but flows and pumps have an `opening`, 0
      to 1. Openings and speeds may name inputs.
    - `sources`: name -> `{ into = node, input, unit, gain }`: heat in W or water in m3/s into a node, `gain` times the
      input, which has the source's name unless it says otherwise. `unit` is the input's: of power (or flow), W/m2 (the
      gain is then an area), or any other (the gain is then in W, or m3/s, for one of it). With `from` (a node) and
      `efficiency` (a share of Carnot's) it is a heat pump, and the input what drives it.
    - `outputs`: name -> the node, link or source that it shows, or `{ of, unit }`; of a tank in m the level, in bar the
      pressure at its bottom, in m3 the volume. Without the key, all nodes and links under their own names.
    - `smooth` (m): a head difference below which flows fade linearly, and a depth below which what leaves a tank does.
    - `step`: the longest step of the solution; without one, a step that is stable for all declared values. `kernel` as
      of kind `ode`.
    """

    def __init__(
        self,
        nodes: Mapping[str, Any],
        links: Mapping[str, Any] | None = None,
        sources: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        smooth: float | str = 0.01,
        step: str = "",
        kernel: str = "auto",
    ) -> None:
        self._given = (nodes, links, sources, outputs, smooth, step, kernel)
        balance = Balance(read(nodes, links or {}, sources or {}, outputs or {}, smooth))
        length = 0.0 if step else pace(balance)
        if not step and length < SHORTEST:
            raise ConfigError(
                [f"network: '{fastest(balance)}' settles within {length:.1g} s: too fast to be followed"],
                "leave out its capacity (it is then settled at every instant), enlarge its area, or give a step",
            )
        self._ode = ode = Ode(balance, step=step or f"{length * 1e9:.0f}ns", kernel=kernel)
        self.inputs, self.outputs, self.states = ode.inputs, ode.outputs, ode.states
        self.parameters, self.units, self.bounds = ode.parameters, ode.units, ode.bounds

    def __reduce__(self) -> Any:
        return Network, self._given

    @property
    def kernel(self) -> str:
        """What runs the equations: `compiled`, or `numpy` and why."""
        return self._ode.kernel

    def bind(self, setting: Setting) -> None:
        self._ode.bind(setting)

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        return self._ode.init(belief, seed, members)

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        return self._ode.step(memory, inputs, dt)

    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        return self._ode.run(memory, inputs, dt)

    def select(self, memory: Memory, index: Sequence[int]) -> Memory:
        return self._ode.select(memory, index)

    def assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        return self._ode.assign(memory, states, time)

    def extract(self, memory: Memory) -> Floats:
        return self._ode.extract(memory)

    def observe(self, memory: Memory, inputs: Floats) -> Floats:
        return self._ode.observe(memory, inputs)

    def quiet(self, memory: Memory) -> Memory:
        return self._ode.quiet(memory)

    def noise(self, memory: Memory, inputs: Floats, dt: float) -> Floats:
        return self._ode.noise(memory, inputs, dt)
