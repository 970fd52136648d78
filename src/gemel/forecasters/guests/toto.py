"""Toto 2.0 of Datadog, through the package `toto-2`. Needs the extra `gemel[toto]` and Python 3.12.

Source: Khwaja et al. 2026, arXiv:2605.20119 (Toto 2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import DECILES, Floats, Forecast, Frame
from gemel.forecasters.context import filled
from gemel.forecasters.guests.guest import fetched, foresee, needs, place, tensors

ROWS, BLOCK = 4096, 768
"""Rows it was trained on, and steps it foresees in one pass, as its publisher advises."""


@declared
class Toto:
    """Toto 2.0 of Datadog, loaded by its own package when first asked.

    - `model`: a name on the Hugging Face hub (`Datadog/Toto-2.0-4m`, `-22m`, `-313m`, `-1B`, `-2.5B`), or a folder with
      the files of one.
    - `together`: the signals see each other, up to 64 of them. Else each is foreseen on its own.

    Needs the extra `gemel[toto]`, which needs Python 3.12 or newer. Runs on the CPU. It sees the last 4096 rows, as in
    its training. Horizons beyond 768 steps go on from its own median. Licence: package and weights Apache-2.0.
    """

    def __init__(self, model: str = "Datadog/Toto-2.0-22m", together: bool = False) -> None:
        needs("toto2", "toto", ", on Python 3.12 or newer")
        self.model, self.together = model, together
        self._network: Any = None

    def bind(self, setting: Setting) -> None:
        """A folder is looked for beside the twin file first."""
        self.model = place(self.model, setting)

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        if self._network is None:
            self._network = fetched(self._load, self.model, "toto")
        return foresee(self._ask, DECILES, context, horizon, known, levels, "toto", ROWS)

    def _load(self) -> Any:
        import toto2

        return toto2.Toto2Model.from_pretrained(self.model).eval()

    def _ask(self, values: Floats, horizon: int) -> Floats:
        patch = self._network.config.patch_size
        before = ((-len(values) % patch, 0), (0, 0))
        series = np.pad(filled(values), before).T.astype(np.float32)
        held = np.pad(np.isfinite(values), before).T
        torch, axis = tensors(), 0 if self.together else 1  # [batch, variates, t]
        question = {
            "target": torch.from_numpy(series).unsqueeze(axis),
            "target_mask": torch.from_numpy(held).unsqueeze(axis),
            "series_ids": torch.zeros(len(series), dtype=torch.long).unsqueeze(axis),
        }
        fan = self._network.forecast(  # settings of its publisher's own predictor
            question,
            horizon,
            decode_block_size=BLOCK,
            has_missing_values=not held.all(),
            scaler_fallback_min_obs=8,
            quantile_real_cap_k=1e4,
        )  # [p, batch, variates, h]
        found: Floats = fan.squeeze(axis + 1).numpy().transpose(1, 2, 0)
        return found
