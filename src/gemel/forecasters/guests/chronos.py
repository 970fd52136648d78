"""Chronos-Bolt and Chronos-2 of Amazon, through the package `chronos-forecasting`. Needs the extra `gemel[chronos]`.

Sources: Ansari et al. 2024, TMLR (Chronos; Bolt is its patched, direct successor); Ansari et al. 2025,
arXiv:2510.15821 (Chronos-2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gemel.core.errors import PartError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import DECILES, Floats, Forecast, Frame
from gemel.forecasters.guests.guest import fetched, foresee, needs, place, tensors


@declared
class Chronos:
    """Chronos-Bolt or Chronos-2 of Amazon, loaded by its own package when first asked.

    - `model`: a name on the Hugging Face hub (`amazon/chronos-bolt-tiny`, `-mini`, `-small`, `-base`,
      `amazon/chronos-2`), or a folder with the files of one.
    - `together`: Chronos-2 only: the signals see each other, up to 64 of them. Else each is foreseen on its own.

    Needs the extra `gemel[chronos]`. Runs on the CPU. Bolt sees the last 2048 rows, Chronos-2 the last 8192. Horizons
    beyond the network's own reach (64 steps for Bolt, 1024 for Chronos-2) are unrolled as the package does it. Licence:
    package and weights Apache-2.0.
    """

    def __init__(self, model: str = "amazon/chronos-bolt-small", together: bool = False) -> None:
        needs("chronos", "chronos")
        self.model, self.together = model, together
        self._pipeline: Any = None

    def bind(self, setting: Setting) -> None:
        """A folder is looked for beside the twin file first."""
        self.model = place(self.model, setting)

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        if self._pipeline is None:
            self._pipeline = fetched(self._load, self.model, "chronos")
        own, rows = self._pipeline.quantiles, self._pipeline.model_context_length
        return foresee(self._ask, own, context, horizon, known, levels, "chronos", rows)

    def _load(self) -> Any:
        import chronos

        pipeline = chronos.BaseChronosPipeline.from_pretrained(self.model, dtype="float32")
        bolt = isinstance(pipeline, chronos.ChronosBoltPipeline)
        if bolt and self.together:
            raise PartError(
                f"chronos: '{self.model}' is a Chronos-Bolt, which sees no signals together", "take Chronos-2"
            )
        if not bolt and not isinstance(pipeline, chronos.Chronos2Pipeline):
            raise PartError(f"chronos: '{self.model}' is neither Chronos-Bolt nor Chronos-2", "take one of those")
        return pipeline

    def _ask(self, values: Floats, horizon: int) -> Floats:
        import chronos

        series = values.T.astype(np.float32)
        if isinstance(self._pipeline, chronos.Chronos2Pipeline):
            question = series[None] if self.together else series[:, None]  # [batch, variates, t]
            fan = np.concatenate([one.numpy() for one in self._pipeline.predict(question, horizon)])
        else:
            fan = self._pipeline.predict(tensors().from_numpy(series), horizon).numpy()
        found: Floats = fan.transpose(0, 2, 1)
        return found
