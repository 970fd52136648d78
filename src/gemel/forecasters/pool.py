"""Several forecasters as one: each counts as much as it has lately been right, a signal and a step at a time.

Letters in shapes: k members, s signals, h steps, q levels, r rows of truth.
Sources: combination by inverse loss, Bates and Granger 1969, Operational Research Quarterly 20; averaging quantiles
rather than probabilities, Lichtendahl, Grushka-Cockayne and Winkler 2013, Management Science 59.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import DECILES, Bools, Float32s, Floats, Forecast, Frame
from gemel.forecasters.context import answer, check, spacing
from gemel.forecasters.member import bind, member, memories, remember, teach
from gemel.forecasters.pending import Pending, Steps, practise, smooth
from gemel.forecasters.score import pinball
from gemel.loop.forecast import Forecaster

MEMBERS: tuple[Mapping[str, Any], ...] = (
    {"kind": "naive"},
    {"kind": "seasonal_naive"},
    {"kind": "theta"},
    {"kind": "linear"},
    {"kind": "foundation", "way": "fast"},
)


@declared
class Pool:
    """The weighted mean of its members' quantiles.

    - `members`: forecasters (`[{ kind = "theta" }, { kind = "linear", refit = "1d" }]`); by default four classical
      ones (naive, seasonal_naive, theta, linear) and the pre-trained network.
    - `backtest`: forecasts practised within the context at the very first call, which weigh the members before anything
      came true; from then on the weights follow what was issued and came true.
    - `sharpness`: a member with twice the pinball loss of the best one weighs 2 ** -sharpness of it; 0: all alike.
    - `memory`: comparisons with the truth after which an old one counts half.

    `last` holds each member's own answer to the latest call, by name.
    """

    def __init__(
        self,
        members: Sequence[Forecaster | Mapping[str, Any]] = MEMBERS,
        backtest: int = 8,
        sharpness: float = 8.0,
        memory: float = 200.0,
    ) -> None:
        problems = [
            f"pool: {name} {value} must be {low} or more"
            for name, value, low in (("backtest", backtest, 0), ("sharpness", sharpness, 0), ("memory", memory, 1))
            if value < low
        ]
        if not members:
            problems.append("pool: members is empty")
        if problems:
            raise ConfigError(problems, 'name at least one: members = [{ kind = "theta" }]')
        self.members = [member(m, f"pool.members[{i}]") for i, m in enumerate(members)]
        self.backtest, self.sharpness, self.memory = backtest, sharpness, memory
        self.last: dict[str, Forecast] = {}
        self._signals: tuple[str, ...] = ()
        self._levels: tuple[float, ...] = ()
        self._loss: Floats = np.zeros((len(self.members), 0, 0))  # [k, s, h] decayed sums
        self._pending = Pending()

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        check(context, horizon, levels)
        if context.signals != self._signals:
            self._begin(context.signals, levels)
            practise(context, horizon, self.backtest, self._practise)
        values = self._issue(context, horizon, known, tuple(levels))
        there: Bools = np.asarray(np.isfinite(values).all(axis=3))
        weights = self.weights(horizon) * there
        weights /= np.maximum(weights.sum(axis=0), 1e-300)
        mixed = np.einsum("ksh,kshq->shq", weights, np.where(there[..., None], values, 0.0))
        mixed[~there.any(axis=0)] = np.nan
        return answer(mixed, context, levels, "pool", known)

    def weights(self, horizon: int) -> Floats:
        """How much each member counts now, [k, s, h]; they sum to 1 over k."""
        self._reach(horizon)
        loss = smooth(self._loss)[:, :, :horizon]
        best = loss.min(axis=0)
        share = np.where(best > 0, best / np.where(loss > 0, loss, 1.0), loss <= best)
        power = share**self.sharpness
        weights: Floats = power / power.sum(axis=0)
        return weights

    def learn(self, frame: Frame) -> None:
        """Score every member on what came true."""
        teach(self.members, frame)
        for values, steps, truth in self._pending.due(frame.only(self._signals) if self._signals else frame):
            self._score(values, steps, truth)

    def bind(self, setting: Setting) -> None:
        """For the members."""
        bind(self.members, setting)

    def snapshot(self) -> Mapping[str, Any]:
        return {
            "levels": self._levels,
            "signals": self._signals,
            "loss": self._loss.copy(),
            "pending": self._pending.snapshot(),
            "members": memories(self.members),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._levels, self._signals = tuple(state["levels"]), tuple(state["signals"])
        self._loss = np.array(state["loss"])
        self._pending.restore(state["pending"])
        remember(self.members, state["members"])

    def _begin(self, signals: tuple[str, ...], levels: Sequence[float]) -> None:
        self._signals, self._levels = signals, tuple(levels)
        self._loss = np.zeros((len(self.members), len(signals), 0))
        self._pending = Pending()

    def _practise(self, past: Frame, horizon: int, rest: Frame) -> None:
        self._issue(past, horizon, None, self._levels)
        self.learn(rest)

    def _issue(self, context: Frame, horizon: int, known: Frame | None, levels: tuple[float, ...]) -> Float32s:
        """Every member's quantiles, [k, s, h, q]. Scores are kept at the levels of the first call."""
        every = tuple(sorted({*levels, *self._levels}))
        answers = [m.forecast(context, horizon, known=known, levels=every) for m in self.members]
        self.last = {}
        for a in answers:
            name, n = a.by, 1
            while name in self.last:  # two of a kind: theta, theta_2
                name, n = f"{a.by}_{n + 1}", n + 1
            self.last[name] = a
        values = np.stack([a.values for a in answers])
        scored = values[..., [every.index(p) for p in self._levels]]
        self._pending.add(int(context.time[-1]), spacing(context, known), scored)
        return values[..., [every.index(p) for p in levels]]

    def _reach(self, horizon: int) -> None:
        """Steps beyond those known so far start with the scores of the last known one."""
        more = horizon - self._loss.shape[2]
        if more > 0:
            mode: Any = "edge" if self._loss.shape[2] else "constant"
            self._loss = np.pad(self._loss, ((0, 0), (0, 0), (0, more)), mode)

    def _score(self, values: Float32s, steps: Steps, truth: Floats) -> None:
        """values [k, s, h, q], steps [r], truth [r, s]."""
        self._reach(values.shape[2])
        loss = pinball(truth.T, values[:, :, steps].astype(np.float64), self._levels).mean(axis=3)  # [k, s, r]
        there = np.isfinite(loss).all(axis=0)
        keep = np.where(there, 0.5 ** (1.0 / self.memory), 1.0)
        self._loss[:, :, steps] = self._loss[:, :, steps] * keep + np.where(there, loss, 0.0)
