"""TimesFM 2.5 of Google, through the package `timesfm`. Needs the extra `gemel[timesfm]`.

Source: Das, Kong, Sen and Zhou 2024, ICML (arXiv:2310.10688).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gemel.core.errors import InputError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import DECILES, Floats, Forecast, Frame
from gemel.forecasters.guests.guest import fetched, foresee, needs, place

IN, OUT, SPREAD, MOST = 32, 128, 1024, 16_384
"""Rows of an input and of an output patch, steps its quantile head reaches, rows of context and horizon together."""


@declared
class Timesfm:
    """TimesFM 2.5 (200M parameters) of Google, loaded by its own package when first asked.

    - `model`: a name on the Hugging Face hub, or a folder with its `model.safetensors`.

    Needs the extra `gemel[timesfm]`. It sees the last 15360 rows. The package takes a GPU by itself where there is one.
    Settings are those its publisher recommends, but that an answer may fall below zero: a temperature may. Horizons
    beyond 1024 steps go on without its quantile head; about 16000 steps are the end. Licence: package and weights of
    2.5 Apache-2.0.
    """

    def __init__(self, model: str = "google/timesfm-2.5-200m-pytorch") -> None:
        needs("timesfm", "timesfm")
        self.model = model
        self._network: Any = None

    def bind(self, setting: Setting) -> None:
        """A folder is looked for beside the twin file first."""
        self.model = place(self.model, setting)

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        if horizon > MOST - OUT:
            raise InputError(f"timesfm reaches {MOST - OUT} steps, not {horizon}", "ask for fewer, longer steps")
        if self._network is None:
            self._network = fetched(self._load, self.model, "timesfm")
        return foresee(self._ask, DECILES, context, horizon, known, levels, "timesfm", MOST - SPREAD)

    def _load(self) -> Any:
        import timesfm

        # compiling its graph needs a C++ compiler on the machine
        return timesfm.TimesFM_2p5_200M_torch.from_pretrained(self.model, torch_compile=False)

    def _ask(self, values: Floats, horizon: int) -> Floats:
        import timesfm

        ahead = -(-horizon // OUT) * OUT
        self._network.compile(  # despite its name this only notes the settings
            timesfm.ForecastConfig(
                max_context=min(-(-len(values) // IN) * IN, MOST - ahead),
                max_horizon=ahead,
                per_core_batch_size=values.shape[1],
                use_continuous_quantile_head=ahead <= SPREAD,
                force_flip_invariance=True,
                infer_is_positive=False,
                fix_quantile_crossing=True,
            )
        )
        _, fan = self._network.forecast(horizon, list(values.T))  # [s, h, 1 + p], the mean first
        deciles: Floats = fan[..., 1:]
        return deciles
