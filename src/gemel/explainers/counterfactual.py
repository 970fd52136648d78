"""What would have had to be otherwise for all to be well."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.explain import Change, Explanation, Past, Question, Sentence, listed
from gemel.core.registry import declared
from gemel.core.units import stamp
from gemel.core.values import Floats
from gemel.explainers.answer import nothing, thinned
from gemel.explainers.elsewise import Elsewise, Found


@declared
class Counterfactual:
    """The least change that would have kept it healthy, or what would have to read otherwise.

    Where the twin has a simulator and inputs that could have been set otherwise, it looks for the smallest change of as
    few of them as possible, within their limits and no faster than their slew: a search on a few members of the belief.
    What the simulator could not explain of that time is kept, so that only the inputs differ. What is found is then
    run again, apart from the search, with all members and noise of its own, and only said if it keeps `probability` of
    them healthy.

    Otherwise it looks for the fewest signals which, had they been as in a normal time (of which the nearest is
    taken), would not have raised the alarm: not what to do, but what it hangs on.

    - `blocks`: steps that an input's course may have. `samples`, `iterations`: of the search for each set of inputs.
    - `members`: of the belief, in the search. `probability`: of staying healthy, asked for.
    - `most`: inputs or signals in a change. `windows`: normal windows to choose from.
    """

    def __init__(
        self,
        blocks: int = 4,
        samples: int = 60,
        iterations: int = 8,
        members: int = 8,
        probability: float = 0.9,
        most: int = 3,
        windows: int = 64,
    ) -> None:
        if min(blocks, iterations, members, most, windows) < 1 or samples < 8 or not 0 < probability <= 1:
            raise ConfigError(
                ["counterfactual: samples must be 8 or more, all other numbers 1 or more, probability up to 1"],
                "blocks = 4, samples = 60, iterations = 8, probability = 0.9",
            )
        self.blocks, self.samples, self.iterations, self.members = blocks, samples, iterations, members
        self.probability, self.most, self.windows = probability, most, windows

    def explain(self, question: Question) -> Explanation:
        if not len(question.values):
            return nothing("counterfactual", "change", question)
        past = question.past
        if past is not None and past.controls:
            return self._controls(question, past)
        return self._signals(question)

    # -- by what could have been done ----------------------------------------------------------------------------------

    def _controls(self, question: Question, past: Past) -> Explanation:
        limit = question.limit
        if past.healthy is None and not np.isfinite(limit):
            limit = float(question.score(question.background).max()) if len(question.background) else np.nan
        if past.healthy is None and not np.isfinite(limit):
            return nothing("counterfactual", "change", question)
        rng = np.random.default_rng((past.seed, zlib.crc32(question.finding.id.encode())))
        try:
            trial = Elsewise(question, past, limit, self.members, self.probability)
            if trial.already():
                why = ("the simulator expects it to stay healthy as it is", "仿真认为维持原样也会保持正常")
                return nothing("counterfactual", "change", question, *why, trial.runs)
            found = trial.search(self.blocks, self.samples, self.iterations, self.most, rng)
        except ValueError as error:  # the simulator's inputs or outputs do not fit the question
            return nothing("counterfactual", "change", question, str(error), "仿真器与该问题不匹配")
        if found is None:
            why = (
                "no change of the inputs within their limits is found that keeps it healthy",
                "在限值内未找到能保持正常的输入变化",
            )
            return nothing("counterfactual", "change", question, *why, trial.runs)
        changes = _changes(question, past, found)
        return Explanation(
            "counterfactual", question.finding.id, "change", float(question.score(question.values[None])[0]),
            float(question.score(found.window[None])[0]), _said(question, changes, found),
            changes=changes, time=question.time, paths=found.paths, fit=found.share, measure="members", verified=True,
            evaluations=trial.runs,
        )  # fmt: skip

    # -- by what it hangs on -------------------------------------------------------------------------------------------

    def _signals(self, question: Question) -> Explanation:
        normal = thinned(question.background, self.windows)
        if not len(normal):
            return nothing("counterfactual", "change", question)
        here, usual = float(question.score(question.values[None])[0]), question.score(normal)
        limit = question.limit if np.isfinite(question.limit) else float(usual.max())
        count, chosen = 1 + len(normal), list[int]()
        if here <= limit:
            why = ("the detector would not call it strange by itself", "检测器单独看并不认为异常")
            return nothing("counterfactual", "change", question, *why, count)
        best, goal = here, normal[int(usual.argmin())]
        while best > limit and len(chosen) < min(self.most, len(question.signals)):
            left = [i for i in range(len(question.signals)) if i not in chosen]
            tried = np.stack([_put(question.values, normal, [*chosen, i]) for i in left])  # [l, b, t, s]
            scores = question.score(tried.reshape(-1, *question.values.shape)).reshape(len(left), -1)
            count += scores.size
            signal, window = np.unravel_index(int(scores.argmin()), scores.shape)
            if scores[signal, window] >= best:
                break
            best, goal = float(scores[signal, window]), normal[int(window)]
            chosen.append(left[int(signal)])
        if best > limit:
            why = (
                f"not even with {self.most} signals as in a normal time would it be usual",
                f"即使{self.most}个信号恢复正常仍属异常",
            )
            return nothing("counterfactual", "change", question, *why, count)
        part = np.linspace(0.05, 1.0, 20)
        way = np.repeat(question.values[None], len(part), axis=0)
        way[:, :, chosen] += part[:, None, None] * (goal - question.values)[:, chosen]
        good = question.score(way) <= limit
        last = int(np.flatnonzero(~good)[-1]) + 1 if not good.all() else 0  # from there on it is usual all the way
        window = way[min(last, len(part) - 1)]
        again = float(question.score(window[None])[0])
        paths = {question.signals[i]: window[:, i] for i in chosen}
        changes = tuple(
            Change(
                question.signals[i], int(question.time[0]), int(question.time[-1]),
                float(np.nanmean(question.values[:, i])), float(np.nanmean(window[:, i])),
            )
            for i in chosen
        )  # fmt: skip
        return Explanation(
            "counterfactual", question.finding.id, "change", here, again, _hangs(question, changes),
            changes=changes, time=question.time, paths=paths, fit=float(again <= limit), measure="usual",
            verified=again <= limit, evaluations=count + len(part) + 1,
        )  # fmt: skip


def _put(values: Floats, normal: Floats, columns: list[int]) -> Floats:
    """The window before every normal one, whose columns it takes: [b, t, s]."""
    out = np.repeat(values[None], len(normal), axis=0)
    out[:, :, columns] = normal[:, :, columns]
    return out


def _changes(question: Question, past: Past, found: Found) -> tuple[Change, ...]:
    """Each stretch in which a control differs; a switch has one for every position."""
    starts = np.concatenate([[past.belief.time], question.time[:-1]])
    changes = []
    for control in past.controls:
        if control.name not in found.paths:
            continue
        was = past.inputs[:, list(past.simulator.inputs).index(control.name)]
        path = found.paths[control.name]
        differs = np.abs(path - was) > 1e-9 * max(float(np.abs(was).max()), 1.0)
        turns = np.diff(differs.astype(int), prepend=0) != 0
        if control.states or control.type == "state":
            turns |= np.diff(path, prepend=path[0]) != 0
        for held in np.split(np.arange(len(path)), np.flatnonzero(turns)):
            if len(held) and differs[held[0]]:
                mean = float(was[held].mean()), float(path[held].mean())
                changes.append(Change(control.name, int(starts[held[0]]), int(question.time[held[-1]]), *mean))
    return tuple(sorted(changes, key=lambda c: c.start))


def _said(question: Question, changes: tuple[Change, ...], found: Found) -> tuple[Sentence, ...]:
    english, chinese = [], []
    past = question.past
    states = {c.name: c.states for c in past.controls} if past is not None else {}
    for one in changes:
        needed, actual = _named(one, question, states)
        since, until = stamp(one.start), stamp(one.end)
        english.append(f"{one.signal} at {needed} instead of {actual} from {since} to {until} UTC")
        chinese.append(f"{one.signal}在UTC {since}至{until}为{needed}而非{actual}")
    words: dict[str, str | float] = {
        "changes": listed(english), "chinese": "，".join(chinese), "share": f"{100 * found.share:.0f}",
    }  # fmt: skip
    return (
        Sentence(
            "It would have stayed healthy with {changes}: so say {share} % of the simulated courses.",
            "若{chinese}，则会保持正常：{share}%的仿真结果如此。",
            words,
        ),
    )


def _named(change: Change, question: Question, states: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """What was needed and what there was, with the unit or by the names of states, in digits enough to tell them
    apart."""
    names, unit = states.get(change.signal) or (), question.units.get(change.signal, "")
    both = change.needed, change.actual
    digits = next((d for d in range(3, 9) if f"{both[0]:.{d}g}" != f"{both[1]:.{d}g}"), 3)
    needed, actual = (
        names[round(v)] if names and v == round(v) and 0 <= v < len(names) else f"{v:.{digits}g} {unit}".rstrip()
        for v in both
    )
    return needed, actual


def _hangs(question: Question, changes: tuple[Change, ...]) -> tuple[Sentence, ...]:
    english, chinese = [], []
    for one in changes:
        needed, actual = _named(one, question, {})
        english.append(f"{one.signal} at {needed} instead of {actual}")
        chinese.append(f"{one.signal}平均为{needed}而非{actual}")
    words: dict[str, str | float] = {"changes": listed(english), "chinese": "，".join(chinese)}
    return (
        Sentence(
            "With {changes} on average, the rest as it came, there would have been no alarm.",
            "若{chinese}，其余不变，则不会报警。",
            words,
        ),
    )
