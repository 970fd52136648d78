"""The report of a calibration as one HTML file: nothing is fetched, nothing runs, light or dark as the reader likes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from gemel.core.units import spell, stamp
from gemel.core.values import Floats, Times

WIDTH, LEFT, RIGHT = 860, 56, 12
POINTS = 430
"""Points of a curve: two pixels each."""
LAGS = 48
DAY = 86_400 * 10**9
BINS = 41
STYLE = """
:root{color-scheme:light dark;--ink:#1b2430;--dim:#667085;--line:#e4e7ec;--card:#fff;--back:#f6f7f9;--band:#3b6fd4;
--seen:#1b2430;--held:#f2ead9;--prior:#b3bac6;--good:#0b7a55;--bad:#b54708}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#98a2b3;--line:#2b3443;--card:#161c27;--back:#0d1219;
--band:#7aa5ff;--seen:#e6e9ef;--held:#2a2a22;--prior:#56607080;--good:#47c98f;--bad:#f0a35e}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.6rem 1.2rem 4rem}h1{font-size:1.7rem;line-height:1.2;margin:0}
h2{font-size:1.06rem;margin:0 0 .2rem}p{margin:.25rem 0 0;color:var(--dim);max-width:47rem}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.15rem 1.3rem;margin-top:1.1rem}
.verdict{font-size:1.05rem;color:var(--ink);margin-top:.8rem}.good{color:var(--good)}.bad{color:var(--bad)}
.chips{display:flex;flex-wrap:wrap;gap:.4rem .55rem;margin-top:1rem}
.chips span{border:1px solid var(--line);background:var(--card);border-radius:99px;padding:.1rem .7rem;font-size:13px;
color:var(--dim)}.chips b{color:var(--ink);font-weight:600}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums;margin-top:.7rem}
th{font-weight:600;color:var(--dim);font-size:13px}th,td{text-align:right;padding:.34rem .5rem;
border-bottom:1px solid var(--line)}th:first-child,td:first-child,.l{text-align:left!important}
tr:last-child td{border-bottom:0}tr.own td{font-weight:650}tr.top td{border-top:2px solid var(--line)}
td.says{color:var(--dim);text-align:left;font-size:13.5px;min-width:15rem}.wide{overflow-x:auto}
svg{width:100%;height:auto;display:block;margin-top:.5rem}svg text{font:11.5px system-ui,sans-serif;fill:var(--dim)}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:13px;color:var(--dim);margin-top:.35rem}
.key i{display:inline-block;width:18px;height:0;border-top:2.5px solid;margin-right:.4rem;vertical-align:middle}
.grid{stroke:var(--line)}.band{fill:var(--band);opacity:.22}.mean{stroke:var(--band);fill:none;stroke-width:1.6}
.seen{stroke:var(--seen);fill:none;stroke-width:1;opacity:.8}.held{fill:var(--held)}.bar{fill:var(--band)}
.prior{fill:var(--prior)}.rule{stroke:var(--dim);fill:none;stroke-dasharray:4 3}.two{display:grid;gap:1.2rem;
grid-template-columns:1fr 1fr}@media(max-width:640px){.two{grid-template-columns:1fr}}
@media print{body{background:none}section{break-inside:avoid}}
"""
METRICS = (("rmse", "RMSE"), ("mae", "MAE"), ("crps", "CRPS"), ("coverage", "in the 90 % band"))


def page(
    card: Mapping[str, Any], curves: Sequence[Mapping[str, Any]], draws: Mapping[str, tuple[Floats, Floats]]
) -> str:
    """The whole file: `curves` of every measured output, `draws` of every parameter before and after."""
    title = f"Calibration of {escape(card['twin'])}"
    return "".join([
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{title}</title><style>{STYLE}</style><main><h1>{title}</h1>",
        *_head(card),
        *_scores(card),
        *(part for one in curves for part in _output(one)),
        *_parameters(card, draws),
        *_region(card),
        "</main></html>\n",
    ])  # fmt: skip


def _head(card: Mapping[str, Any]) -> Iterator[str]:
    mark, (word, _, text) = "good" if card["passed"] else "bad", card["verdict"].partition(": ")
    yield f'<p class="verdict"><b class="{mark}">{escape(word.capitalize())}:</b> {escape(text)}.</p>'
    told = {
        "simulator": card["simulator"],
        "from": stamp(card["start"]),
        "to": stamp(card["end"]),
        "rows": f"{card['rows']:,} of {spell(card['step'])}",
        "method": f"{card['method']}, {card['members']} members",
        "good until": stamp(card["expires"])[:10],
        "telemetry": card["data"][:12],
        "seed": str(card["seed"]),
    }
    chips = "".join(f"<span>{escape(k)} <b>{escape(v)}</b></span>" for k, v in told.items())
    yield f'<div class="chips">{chips}</div>'


def _scores(card: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "<section><h2>How well it foresees what was held back</h2>"
        f"<p>Nothing was fitted to the last {card['rows'] - card['trained']:,} rows. From {card['starts']} starts in "
        f"them each simulator ran {spell(card['horizon'])} ahead under the inputs that came, from states that a filter "
        "with its own parameters had found by then. The naive forecasts hear no inputs and are as uncertain as they "
        'have been before.</p><div class="wide"><table>'
    )
    heads = "".join(f"<th>{name}</th>" for _, name in METRICS)
    yield f'<tr><th>output</th><th class="l">forecast</th>{heads}</tr>'
    for output, by in card["scores"].items():
        for i, (who, score) in enumerate(sorted(by.items(), key=lambda row: _order(row[0]))):
            cells = "".join(f"<td>{_number(score[key], key == 'coverage')}</td>" for key, _ in METRICS)
            kind = " ".join((["own"] if who == "calibrated" else []) + (["top"] if not i else []))
            name = f"<td>{escape(output) if not i else ''}</td>"
            yield f'<tr class="{kind}">{name}<td class="l">{escape(who)}</td>{cells}</tr>'
    yield "</table></div></section>"


def _order(who: str) -> int:
    known = ("calibrated", "physics alone", "in use", "uncalibrated", "last value", "a day before")
    return known.index(who) if who in known else len(known)


def _output(one: Mapping[str, Any]) -> Iterator[str]:
    unit = f", {escape(one['unit'])}" if one["unit"] else ""
    yield f"<section><h2>{escape(one['name'])}{unit}</h2><p>{_sentence(one)}</p>"
    yield (
        '<div class="key"><span><i style="color:var(--seen)"></i>measured</span>'
        '<span><i style="color:var(--band)"></i>calibrated, with its 90 % band</span>'
        '<span><i style="border-top-width:9px;color:var(--held)"></i>held back</span></div>'
    )
    yield _course(one)
    yield f'<h2 style="margin-top:1rem">Residuals</h2>{_residuals(one)}'
    step = int(one["time"][1] - one["time"][0])
    pair = (_histogram(one["residual"]), _autocorrelation(one["residual"], DAY // step))
    yield f'<div class="two"><div>{pair[0]}</div><div>{pair[1]}</div></div>'
    yield "</section>"


def _sentence(one: Mapping[str, Any]) -> str:
    r, white = one["residual"], one["white"]
    r = r[np.isfinite(r)]
    if not len(r):
        return "Nothing was measured."
    text = f"One run that hears only the inputs. Residuals: mean {r.mean():.3g}, standard deviation {r.std():.3g}. "
    if math.isfinite(white) and white < 0.01:
        return text + f"They resemble those before them (whiteness p {_p(white)}): the simulator lacks something slow."
    return text + (f"They are white (p {_p(white)})." if math.isfinite(white) else "")


def _parameters(card: Mapping[str, Any], draws: Mapping[str, tuple[Floats, Floats]]) -> Iterator[str]:
    yield (
        "<section><h2>Parameters</h2><p>What was believed before (grey), and what telemetry left of it (blue).</p>"
        '<div class="wide"><table><tr><th>parameter</th><th>before</th><th>after</th>'
        '<th class="l">both</th><th class="l">what the telemetry told</th></tr>'
    )
    for row in card["posterior"]:
        name = f"{escape(row['name'])}{' [' + escape(row['unit']) + ']' if row['unit'] else ''}"
        before, after = (f"{_number(m)} ± {_number(s)}" for m, s in (row["prior"], row["posterior"]))
        yield f"<tr><td>{name}</td><td>{before}</td><td>{after}</td>"
        yield f'<td class="l" style="width:190px">{_humps(*draws[row["name"]])}</td>'
        yield f'<td class="says">{escape(row["says"])}</td></tr>'
    yield "</table></div></section>"


def _region(card: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "<section><h2>Where it holds</h2><p>What each signal spanned, and a margin. Outside of it, this calibration "
        'decides nothing.</p><div class="wide"><table><tr><th>signal</th><th>from</th><th>to</th></tr>'
    )
    for name, (low, high) in card["region"].items():
        yield f"<tr><td>{escape(name)}</td><td>{_number(low)}</td><td>{_number(high)}</td></tr>"
    yield "</table></div></section>"


# -- pictures --------------------------------------------------------------------------------------------------------


def _course(one: Mapping[str, Any]) -> str:
    """Measured and calibrated over time."""
    mean, spread, tall = one["mean"], one["spread"], 230
    keep = _kept(len(mean))
    low, high = _reach([one["measured"], mean - spread, mean + spread])
    x, y = _across(len(mean)), _down(low, high, tall)
    up, down = (_path(x[keep], y((mean + s * spread)[keep])) for s in (1, -1))
    back = down.split("L")[::-1]
    band = f"{up}L{'L'.join(back).replace('M', '')}Z"
    held = x[min(one["first"], len(x) - 1)]
    body = [
        f'<rect class="held" x="{held:.1f}" y="8" width="{x[-1] - held:.1f}" height="{tall}"/>',
        *_axes(low, high, y, one["unit"]),
        *_dates(one["time"], x, tall + 26),
        f'<path class="band" d="{band}"/>',
        f'<path class="seen" d="{_path(x[keep], y(one["measured"][keep]))}"/>',
        f'<path class="mean" d="{_path(x[keep], y(mean[keep]))}"/>',
    ]
    return _svg(WIDTH, tall + 34, body, f"{one['name']} measured and calibrated")


def _residuals(one: Mapping[str, Any]) -> str:
    r, tall = one["residual"], 96
    keep = _kept(len(r))
    reach = max(_reach([np.abs(r)])[1], 1e-9)
    x, y = _across(len(r)), _down(-reach, reach, tall)
    held = x[min(one["first"], len(x) - 1)]
    body = [
        f'<rect class="held" x="{held:.1f}" y="8" width="{x[-1] - held:.1f}" height="{tall}"/>',
        *_axes(-reach, reach, y, one["unit"], 4),
        f'<path class="mean" d="{_path(x[keep], y(r[keep]))}"/>',
    ]
    return _svg(WIDTH, tall + 14, body, f"residuals of {one['name']} over time")


def _histogram(residual: Floats) -> str:
    r, tall, width = residual[np.isfinite(residual)], 120, 410
    if not len(r):
        return ""
    far = max(float(np.quantile(np.abs(r), 0.995)), 1e-12) * 1.15
    count, edges = np.histogram(np.clip(r, -far, far), BINS, (-far, far))
    size = (width - 20) / BINS
    top = float(max(count.max(), 1))
    bars = [
        f'<rect class="bar" x="{10 + i * size:.1f}" y="{8 + tall * (1 - n / top):.1f}" width="{size - 1:.1f}" '
        f'height="{tall * n / top:.1f}" rx="1"/>'
        for i, n in enumerate(count.tolist())
    ]
    at = np.linspace(-far, far, 80)
    bell = np.exp(-0.5 * ((at - r.mean()) / max(r.std(), 1e-12)) ** 2) / max(r.std(), 1e-12) / math.sqrt(2 * math.pi)
    y = 8 + tall * (1 - np.minimum(bell * len(r) * (edges[1] - edges[0]) / top, 1.0))
    line = f'<path class="rule" d="{_path(10 + (at + far) / (2 * far) * (width - 20), y)}"/>'
    ends = _ends(width, tall + 24, f"{-far:.3g}", "how often; dashed: normal", f"{far:.3g}")
    return _svg(width, tall + 30, [*bars, line, *ends], "how often a residual has a size")


def _autocorrelation(residual: Floats, day: int) -> str:
    tall, width = 120, 410
    there = np.isfinite(residual)
    if there.sum() < 3 * LAGS:
        return ""
    x = np.where(there, residual - residual[there].mean(), 0.0)
    power = float(x @ x) or 1.0
    apart = max(min(len(x) // 4, day) // LAGS, 1)
    r = [float(x[k:] @ x[:-k]) / power for k in range(apart, apart * LAGS + 1, apart)]
    zero, size = 8 + tall * 0.6, (width - 20) / LAGS
    sure = 1.96 / math.sqrt(there.sum())
    body = []
    for i, value in enumerate(r):
        high = max(min(value, 1.0), -0.66) * tall * 0.6
        body.append(
            f'<rect class="bar" x="{10 + i * size:.1f}" y="{zero - max(high, 0):.1f}" width="{size - 1.5:.1f}" '
            f'height="{max(abs(high), 0.5):.1f}"/>'
        )
    body += [f'<path class="rule" d="M10 {zero - s * tall * 0.6:.1f}H{width - 10}"/>' for s in (sure, -sure)]
    ends = _ends(width, tall + 24, _lag(apart), "autocorrelation; dashed: of white noise", _lag(apart * LAGS))
    return _svg(width, tall + 30, [*body, *ends], "autocorrelation of the residuals")


def _lag(rows: int) -> str:
    return f"{rows} row{'s' if rows > 1 else ''}"


def _humps(before: Floats, after: Floats) -> str:
    """Two histograms over the same range, smoothed, each as high as the other."""
    width, tall = 180, 34
    both = np.concatenate([before, after])
    low, high = float(both.min()), float(both.max())
    if not high > low:
        return ""
    parts = []
    for values, kind in ((before, "prior"), (after, "band")):
        at = np.linspace(low, high, 90)
        wide = max(1.06 * float(values.std()) * len(values) ** -0.2, 0.004 * (high - low))  # Silverman's rule
        hump = np.exp(-0.5 * ((at[:, None] - values) / wide) ** 2).sum(axis=1)
        y = 2 + tall * (1 - hump / hump.max())
        shape = f"{_path((at - low) / (high - low) * width, y)}L{width} {tall + 2}L0 {tall + 2}Z"
        more = ' style="opacity:.75"' if kind == "band" else ""
        parts.append(f'<path class="{kind}"{more} d="{shape}"/>')
    return _svg(width, tall + 4, parts, "before and after")


def _svg(width: float, height: float, body: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">{"".join(body)}</svg>'


def _kept(count: int) -> Any:
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int))


def _across(count: int) -> Floats:
    return LEFT + (WIDTH - LEFT - RIGHT) * np.arange(count) / max(count - 1, 1)


def _down(low: float, high: float, tall: float) -> Callable[[Any], Any]:
    """Value -> how far down it stands."""
    return lambda v: 8 + tall * (1 - (np.clip(v, low, high) - low) / (high - low))


def _reach(parts: Sequence[Floats]) -> tuple[float, float]:
    whole = np.concatenate(parts)
    whole = whole[np.isfinite(whole)]
    if not len(whole):
        return 0.0, 1.0
    low, high = np.quantile(whole, (0.001, 0.999)).tolist()
    more = 0.06 * (high - low) or 1.0
    return low - more, high + more


def _path(x: Floats, y: Floats) -> str:
    """A line with gaps where y is not finite."""
    parts, pen = [], "M"
    for a, b in zip(x.tolist(), np.asarray(y).tolist(), strict=True):
        if math.isfinite(b):
            parts.append(f"{pen}{a:.1f} {b:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _axes(low: float, high: float, y: Any, unit: str, count: int = 5) -> Iterator[str]:
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(k for k in (1, 2, 5, 10) if (high - low) / (k * step) <= count)
    for i in range(math.ceil(low / step), math.floor(high / step) + 1):
        row = float(y(i * step))
        yield f'<path class="grid" d="M{LEFT} {row:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 8}" y="{row + 4:.1f}" text-anchor="end">{i * step:.6g}</text>'


def _dates(time: Times, x: Floats, row: float) -> Iterator[str]:
    for i in np.linspace(0.06 * len(time), 0.94 * len(time), 6).astype(int).tolist():
        yield f'<text x="{x[i]:.1f}" y="{row}" text-anchor="middle">{stamp(int(time[i]))[:10]}</text>'


def _ends(width: float, row: float, left: str, middle: str, right: str) -> list[str]:
    return [
        f'<text x="10" y="{row}">{left}</text><text x="{width / 2}" y="{row}" text-anchor="middle">{middle}</text>',
        f'<text x="{width - 10}" y="{row}" text-anchor="end">{right}</text>',
    ]


def _number(value: float, share: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.0%}" if share else f"{value:.4g}"


def _p(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else "below 0.01"
