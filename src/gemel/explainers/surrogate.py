"""What a score depends on near what came: a linear stand-in for the detector.

Letters: n draws, s signals, t rows.
Source: locally weighted linear stand-ins, Ribeiro, Singh and Guestrin 2016, KDD.
"""

from __future__ import annotations

import zlib

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.explain import Explanation, Question, Sentence
from gemel.core.registry import declared
from gemel.core.values import Floats
from gemel.explainers.answer import nothing, thinned


@declared
class Surrogate:
    """Moves every signal a part of the way from what came to what is normal, judges that, and fits a line.

    A share is by how much the score would fall if the signal went all the way and the line still held; `fit` is the R2
    of the line, on draws that it was not fitted on. Unlike `attribution` it speaks of the neighbourhood only: of two
    signals that are each strange enough for an alarm, neither has a share.

    - `draws`: windows judged. `width`: of the neighbourhood, as a part of the way to normal.
    - `windows`: normal windows that the way leads to, at most.
    """

    def __init__(self, draws: int = 1000, width: float = 0.3, windows: int = 32) -> None:
        if draws < 20 or width <= 0 or windows < 1:
            raise ConfigError(
                ["surrogate: draws must be 20 or more, width above 0, windows 1 or more"], "draws = 1000, width = 0.3"
            )
        self.draws, self.width, self.windows = draws, width, windows

    def explain(self, question: Question) -> Explanation:
        normal = thinned(question.background, self.windows)
        if not len(normal) or not len(question.values):
            return nothing("surrogate", "shares", question)
        rng = np.random.default_rng(zlib.crc32(question.finding.id.encode()))
        s = len(question.signals)
        part = rng.random((self.draws, s)) * rng.random((self.draws, 1))
        goal = normal[rng.permutation(np.arange(self.draws) % len(normal))]
        score = question.score(question.values + part[:, None, :] * (goal - question.values))
        here = float(question.score(question.values[None])[0])
        baseline = float(question.score(normal).mean())
        weight = np.exp(-0.5 * (part**2).mean(axis=1) / self.width**2)
        used = np.arange(self.draws) % 5 > 0
        slopes, errors, fit = _line(part, score, weight, used)
        order = np.argsort(slopes, kind="stable")
        names = [question.signals[i] for i in order]
        return Explanation(
            "surrogate", question.finding.id, "shares", here, baseline, _sentence(names, -slopes[order], fit),
            dict(zip(names, (-slopes[order]).tolist(), strict=True)),
            dict(zip(names, errors[order].tolist(), strict=True)),
            fit=fit, measure="R2", evaluations=self.draws + 1 + len(normal),
        )  # fmt: skip


def _line(
    x: Floats, y: Floats, weight: Floats, used: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[Floats, Floats, float]:
    """Slopes [s] and their standard errors by weighted ridge regression on the used draws, and R2 on the others."""
    root = np.sqrt(weight[used])[:, None]
    a = np.column_stack([np.ones(len(x)), x])
    w, v = a[used] * root, y[used] * root[:, 0]
    gram = w.T @ w
    ridge = np.diag([0.0, *np.full(x.shape[1], 1e-6 * np.trace(gram) / len(gram))])
    inverse = np.linalg.pinv(gram + ridge)
    line = inverse @ (w.T @ v)
    noise = float(((v - w @ line) ** 2).sum()) / max(int(used.sum()) - len(line), 1)
    errors = np.sqrt(np.maximum(np.diag(inverse @ (w.T * weight[used]) @ w @ inverse) * noise, 0.0))
    held, kernel = ~used, weight[~used]
    left = float((kernel * (y[held] - a[held] @ line) ** 2).sum())
    whole = float((kernel * (y[held] - np.average(y[held], weights=kernel)) ** 2).sum())
    return line[1:], errors[1:], 1.0 - left / whole if whole > 0 else 1.0


def _sentence(names: list[str], falls: Floats, fit: float) -> tuple[Sentence, ...]:
    words: dict[str, str | float] = {"name": names[0], "fall": float(falls[0]) / 10, "fit": f"{fit:.2f}"}
    if falls[0] <= 0:
        return (
            Sentence(
                "Near what came, no signal lowers the score by going back to normal.",
                "在所见情况附近，没有哪个信号恢复正常会使异常得分下降。",
            ),
        )
    told = [
        Sentence(
            "Near what came, {name} counts most: a tenth of the way to normal lowers the score by {fall} (R2 {fit}).",
            "在所见情况附近，{name}影响最大：向正常恢复十分之一可使异常得分降低{fall}（R2 {fit}）。",
            words,
        )
    ]
    if fit < 0.5:
        told.append(
            Sentence(
                "The detector is not nearly linear there; do not rely on this.",
                "检测器在此处远非线性，不宜依赖此解释。",
            )
        )
    return tuple(told)
