"""Synthetic series of our own: one function a family, `(draw, rows, length) -> [rows, length]` in any scale.

Everything is drawn in columns on the device of `draw`, so the same code fills a bank on two CPU cores or on a GPU.
The ideas are common property of the field: kernel sums (KernelSynth, arXiv 2403.07815), trend x season x noise
(ForecastPFN, arXiv 2311.01933), random causal graphs (CauKer, arXiv 2508.02879), many small streams (TempoPFN,
arXiv 2510.25502). What a twin sees most, machines and plants answering to inputs, comes on top.

Letters: n rows, l length, k components, f frequency (cycles a step).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CALENDAR = (4, 7, 12, 12, 13, 24, 24, 24, 24, 30, 48, 48, 52, 60, 96, 96, 96, 144, 144, 168, 288, 336, 365, 672, 1440)
"""Steps a cycle has in the wild: hours, half hours, quarters and minutes of a day, days of a week or year, ..."""
GRID = 256  # phase steps of a cycle's template


class Draw:
    """Random numbers on a device from a seed below 2**32 (the CPU's generator reads no more bits): the same seed gives
    the same series."""

    def __init__(self, seed: int, device: str = "cpu") -> None:
        self.device = device
        self.source = torch.Generator(device).manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.source, device=self.device) * (high - low) + low

    def log(self, low: float, high: float, *shape: int) -> Tensor:
        """Log-uniform: every order of magnitude alike."""
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.source, device=self.device)

    def chance(self, p: float, *shape: int) -> Tensor:
        """1.0 with probability p, else 0.0."""
        return (torch.rand(shape, generator=self.source, device=self.device) < p).float()

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers low .. high - 1."""
        return torch.randint(low, high, shape, generator=self.source, device=self.device)

    def pick(self, values: Sequence[float], *shape: int) -> Tensor:
        return torch.tensor(values, device=self.device, dtype=torch.float32)[self.whole(0, len(values), *shape)]

    def heavy(self, *shape: int) -> Tensor:
        """Noise with tails: a normal over the root of a random scale."""
        return self.normal(*shape) / self.uniform(0.05, 1.0, *shape).sqrt()

    def time(self, length: int) -> Tensor:
        return torch.arange(length, device=self.device, dtype=torch.float32)


Family = Callable[[Draw, int, int], Tensor]


def mixture(draw: Draw, families: Sequence[Family], n: int, length: int) -> Tensor:
    """n rows, each of one of the families (equal parts, the rest by chance), at unit scale and in random order."""
    share = -(-n // len(families))
    rows = torch.cat([unit(family(draw, share, length)) for family in families])
    return rows[torch.randperm(len(rows), generator=draw.source, device=draw.device)[:n]]


def unit(x: Tensor) -> Tensor:
    """Rows of mean 0 and deviation 1; a constant row is 0."""
    x = torch.nan_to_num(x, 0.0, 0.0, 0.0).clamp(-1e12, 1e12)
    x = x - x.mean(-1, keepdim=True)
    return x / (x.std(-1, keepdim=True) + 1e-6 * x.abs().amax(-1, keepdim=True) + 1e-12)


def spectral(draw: Draw, density: Tensor, length: int) -> Tensor:
    """A stationary Gaussian process with the given spectral density [n, l + 1] at f = 0 .. 1/2; twice as long as
    needed and cut, so that its ends do not meet."""
    noise = torch.complex(draw.normal(*density.shape), draw.normal(*density.shape))
    return unit(torch.fft.irfft(noise * density.sqrt(), n=2 * length)[:, :length])


def filtered(x: Tensor, response: Callable[[Tensor], Tensor]) -> Tensor:
    """x [n, l] through a causal linear system given by its frequency response of z = exp(i 2 pi f) [2l + 1]."""
    length = x.shape[-1]
    f = torch.arange(2 * length + 1, device=x.device, dtype=torch.float32) / (4 * length)
    z = torch.exp(2j * math.pi * f)
    return torch.fft.irfft(torch.fft.rfft(x, n=4 * length) * response(z), n=4 * length)[:, :length]


def slow(draw: Draw, n: int, length: int, low: float = 30.0, high: float = 2000.0) -> Tensor:
    """Smooth wandering: a Gaussian process of random length scale."""
    f = draw.time(length + 1) / (2 * length)
    scale = draw.log(low, high, n, 1)
    return spectral(draw, torch.exp(-0.5 * (2 * math.pi * f * scale) ** 2) + 1e-12, length)


def coloured(draw: Draw, n: int, length: int) -> Tensor:
    """Noise between white and random walk, some of it with tails, some with changing strength."""
    reach = draw.log(0.3, 100.0, n, 1) * draw.chance(0.6, n, 1)
    f = draw.time(length + 1) / (2 * length)
    x = spectral(draw, 1.0 / (1.0 + (2 * math.pi * f * reach) ** 2), length)
    tails = draw.chance(0.25, n, 1)
    x = x * (1 + tails * (draw.uniform(0.05, 1.0, n, length).rsqrt() - 1))
    return x * torch.exp(draw.chance(0.3, n, 1) * draw.uniform(0.2, 1.0, n, 1) * slow(draw, n, length))


def template(draw: Draw, n: int) -> Tensor:
    """One cycle of random shape, [n, GRID], deviation 1: harmonics, bent into humps, blocks, ramps or needles."""
    k = torch.arange(1, 17, device=draw.device)
    size = draw.normal(n, 16) * k ** -draw.uniform(0.3, 3.0, n, 1) * (k <= draw.log(1.0, 17.0, n, 1))
    angle = draw.uniform(0, 2 * math.pi, n, 16)
    wave = torch.zeros(n, GRID // 2 + 1, dtype=torch.complex64, device=draw.device)
    wave[:, 1:17] = torch.polar(size.abs(), angle)
    x = unit(torch.fft.irfft(wave, n=GRID))
    sharp, place = draw.log(0.5, 10.0, n, 1), draw.uniform(-1.0, 1.0, n, 1)
    phase = (draw.time(GRID) / GRID + draw.uniform(0, 1, n, 1)) % 1.0
    rise = draw.uniform(0.02, 0.98, n, 1)
    bent = torch.stack(
        [
            x,
            x,
            x,
            torch.relu(x - place),  # daylight: nothing, then a hump
            torch.tanh(sharp * (x - place)),  # shifts: on and off
            torch.exp(0.3 * sharp.clamp(max=5.0) * x),  # peaks
            torch.where(phase < rise, phase / rise, (1 - phase) / (1 - rise)),  # ramps
            (phase < rise).float(),
        ]
    )
    return unit(bent[draw.whole(0, len(bent), n), torch.arange(n, device=draw.device)])


def cycle(draw: Draw, n: int, length: int, period: Tensor) -> Tensor:
    """A template repeated with `period` [n, 1]; cycles differ in height, may drift, may follow a week of seven."""
    phase = draw.time(length) / period + draw.uniform(0, 7, n, 1)
    phase = phase + draw.chance(0.15, n, 1) * draw.log(0.02, 1.0, n, 1) * slow(draw, n, length, 100.0)
    count = phase.floor().clamp(min=0).long()
    at = (phase - phase.floor()) * GRID
    left = at.long().clamp(0, GRID - 1)
    shape = template(draw, n)
    x = torch.lerp(shape.gather(1, left), shape.gather(1, (left + 1) % GRID), at - left)
    height = 1 + draw.chance(0.5, n, 1) * draw.log(0.02, 0.7, n, 1) * draw.normal(n, int(count.max()) + 1)
    week = torch.where(draw.chance(0.5, n, 7) > 0, draw.uniform(-0.2, 1.5, n, 7), torch.ones(1, device=draw.device))
    five = torch.tensor([0.0, 0, 0, 0, 0, 1, 1], device=draw.device)
    rest = 1 - five * draw.uniform(0.1, 1.1, n, 1)
    kind = draw.uniform(0, 1, n, 1)
    week = torch.where(kind < 0.3, rest, torch.where(kind < 0.45, week, 1.0))
    return (x + draw.uniform(0, 2, n, 1)) * height.gather(1, count) * week.gather(1, count % 7)


def periods(draw: Draw, n: int) -> Tensor:
    """A calendar's period or any other, [n, 1]."""
    other = draw.log(3.0, 1500.0, n, 1)
    return torch.where(draw.chance(0.7, n, 1) > 0, draw.pick(CALENDAR, n, 1), other)


def trend(draw: Draw, n: int, length: int) -> Tensor:
    """Straight, bent, saturating, broken or wandering."""
    t = draw.time(length) / length
    knee, slope = draw.uniform(0, 1, n, 1), draw.normal(n, 2)
    kinds = torch.stack(
        [
            t * slope[:, :1],
            torch.exp(t * slope[:, :1].clamp(-2, 2) * 2),
            torch.sigmoid((t - knee) * draw.log(3.0, 50.0, n, 1)),
            t * slope[:, :1] + torch.relu(t - knee) * slope[:, 1:] * 3,
            slow(draw, n, length, 300.0, 4000.0),
            draw.normal(n, length).cumsum(-1) / math.sqrt(length),
        ]
    )
    return unit(kinds[draw.whole(0, len(kinds), n), torch.arange(n, device=draw.device)])


def seasons(draw: Draw, n: int, length: int) -> Tensor:
    """The workhorse: trend, one to three cycles (a longer one may scale a shorter one), coloured noise."""
    first = periods(draw, n)
    second = first * draw.pick((7, 7, 7, 2, 3.5, 12, 30, 365 / 7), n, 1)
    x = unit(cycle(draw, n, length, first))
    x = x + draw.chance(0.5, n, 1) * draw.log(0.1, 2.0, n, 1) * unit(cycle(draw, n, length, second))
    x = x + draw.chance(0.2, n, 1) * draw.log(0.1, 1.0, n, 1) * unit(cycle(draw, n, length, periods(draw, n)))
    x = x * (1 + draw.chance(0.3, n, 1) * draw.uniform(0.1, 0.8, n, 1) * slow(draw, n, length))
    x = x + draw.chance(0.7, n, 1) * draw.log(0.1, 5.0, n, 1) * trend(draw, n, length)
    noise = draw.log(0.01, 1.5, n, 1) * coloured(draw, n, length)
    return x + noise * torch.where(draw.chance(0.3, n, 1) > 0, torch.sigmoid(2 * unit(x)), 1.0)


def structural(draw: Draw, n: int, length: int) -> Tensor:
    """Economic and demand series: level and slope that wander, a slowly changing season, all multiplied or added."""
    pull = draw.log(0.003, 0.3, n, 1)
    slope = filtered(draw.normal(n, length), lambda z: 1 / (1 - (1 - pull) / z)) * pull.sqrt()
    level = (draw.log(0.003, 0.5, n, 1) * slope + draw.log(0.003, 0.3, n, 1) * draw.normal(n, length)).cumsum(-1)
    period = draw.pick((4, 7, 12, 12, 12, 13, 24, 24, 52, 52), n, 1)
    season = unit(cycle(draw, n, length, period)) * (1 + 0.3 * slow(draw, n, length))
    season = season * draw.log(0.02, 1.0, n, 1) * draw.chance(0.75, n, 1)
    x = level + season + draw.log(0.005, 0.5, n, 1) * draw.heavy(n, length).clamp(-8, 8)
    grown = torch.exp(unit(x) * draw.uniform(0.1, 1.3, n, 1))
    return torch.where(draw.chance(0.5, n, 1) > 0, unit(grown), unit(x))


def processes(draw: Draw, n: int, length: int) -> Tensor:
    """Gaussian processes: sums and products of smooth, rough, fractal, resonant and periodic kernels, some bent."""
    f = (draw.time(length + 1) / (2 * length)).clamp(min=0.25 / length)

    def one() -> Tensor:
        scale = draw.log(1.0, 1000.0, n, 1)
        w = 2 * math.pi * f * scale
        middle = 1 / draw.log(3.0, 1500.0, n, 1)
        comb = (1 + torch.cos(2 * math.pi * f / middle)) ** 20 * torch.exp(-f * draw.log(3.0, 100.0, n, 1))
        kinds = torch.stack(
            [
                torch.exp(-0.5 * w**2) + 1e-12,
                (1 + w**2) ** -draw.pick((1.0, 2.0, 3.0), n, 1),
                f ** -draw.uniform(0.0, 3.0, n, 1),
                1 / (1 + ((f - middle) / (middle * draw.log(0.003, 0.3, n, 1))) ** 2),
                comb + 1e-9,
            ]
        )
        chosen = kinds[draw.whole(0, len(kinds), n), torch.arange(n, device=draw.device)]
        return spectral(draw, chosen / chosen.mean(-1, keepdim=True), length)

    a, b = one(), one()
    kind = draw.uniform(0, 1, n, 1)
    x = torch.where(kind < 0.3, a, torch.where(kind < 0.7, a + draw.log(0.1, 3.0, n, 1) * b, a * (b + 1)))
    bend = draw.uniform(0, 1, n, 1)
    x = torch.where(bend < 0.1, torch.exp(x.clamp(max=4)), torch.where(bend < 0.2, torch.relu(x), x))
    return x + draw.chance(0.5, n, 1) * draw.log(0.005, 0.3, n, 1) * draw.normal(n, length)


def walks(draw: Draw, n: int, length: int) -> Tensor:
    """Random walks and mean-reverting ones, with tails, changing volatility, drift, jumps; some exponentiated."""
    calm = torch.exp(draw.chance(0.6, n, 1) * draw.uniform(0.2, 1.2, n, 1) * slow(draw, n, length, 5.0, 500.0))
    step = torch.where(draw.chance(0.4, n, 1) > 0, draw.heavy(n, length), draw.normal(n, length)) * calm
    step = step + draw.chance(0.3, n, 1) * draw.chance(0.003, n, length) * 15 * draw.normal(n, length)
    pull = draw.log(5e-4, 0.5, n, 1) * draw.chance(0.6, n, 1)
    step = step + draw.chance(0.3, n, 1) * 0.05 * draw.normal(n, 1)
    back = filtered(step, lambda z: 1 / (1 - (1 - pull.clamp(min=5e-4)) / z))
    x = torch.where(pull > 0, back, step.cumsum(-1))
    return torch.where(draw.chance(0.25, n, 1) > 0, torch.exp(unit(x) * draw.uniform(0.2, 1.0, n, 1)), x)


def regimes(draw: Draw, n: int, length: int) -> Tensor:
    """Levels, slopes and noise that change at random instants; some only know two to four states."""
    rate = 1 / draw.log(8.0, 1000.0, n, 1)
    change = (draw.uniform(0, 1, n, length) < rate).long().cumsum(-1).clamp(max=511)
    states = draw.whole(0, 512, n, 512) % torch.where(draw.chance(0.5, n, 1) > 0, draw.whole(2, 5, n, 1), 512)
    state = states.gather(1, change)
    level = draw.heavy(n, 512).clamp(-6, 6).gather(1, state)
    noise = draw.log(0.003, 0.5, n, 1) * torch.exp(draw.chance(0.5, n, 1) * draw.normal(n, 512)).gather(1, state)
    x = level + noise * coloured(draw, n, length)
    lag = draw.log(0.5, 60.0, n, 1)
    soft = filtered(x, lambda z: (1 - torch.exp(-1 / lag)) / (1 - torch.exp(-1 / lag) / z))
    return torch.where(draw.chance(0.5, n, 1) > 0, x, soft + 0.2 * noise * draw.normal(n, length))


def pulses(draw: Draw, n: int, length: int) -> Tensor:
    """Machine cycles: trains of blocks, ramps and loads whose period, height and duty vary from cycle to cycle."""
    base = draw.log(6.0, 400.0, n, 1)
    wobble = draw.log(0.003, 0.5, n, 1) * draw.chance(0.7, n, 1)
    pace = torch.exp(wobble * coloured(draw, n, length).clamp(-3, 3)) / base
    phase = pace.cumsum(-1) + draw.uniform(0, 1, n, 1)
    count = phase.floor().long().clamp(0, 4095)
    phase = phase - phase.floor()
    duty = (draw.uniform(0.05, 0.95, n, 1) * (1 + 0.3 * draw.chance(0.3, n, 1) * draw.normal(n, 4096))).gather(1, count)
    height = 1 + draw.chance(0.5, n, 1) * draw.log(0.02, 0.8, n, 1) * draw.normal(n, 4096)
    edge = draw.log(0.01, 0.5, n, 1)
    block = torch.sigmoid((duty - phase) / (0.1 * edge)) * torch.sigmoid(phase / (0.1 * edge) - 2)
    kinds = torch.stack(
        [block, (phase < duty).float(), phase, 1 - torch.exp(-phase / edge), (duty - phase).abs(), phase < 0.08 * edge]
    )
    x = kinds[draw.whole(0, len(kinds), n), torch.arange(n, device=draw.device)] * height.gather(1, count)
    x = x * (draw.uniform(0, 1, n, 4096) > draw.chance(0.2, n, 1) * 0.3).float().gather(
        1, count
    )  # some cycles left out
    return x + draw.log(0.003, 0.3, n, 1) * coloured(draw, n, length) + draw.chance(0.3, n, 1) * trend(draw, n, length)


def shots(draw: Draw, n: int, length: int) -> Tensor:
    """Events at random times that decay: rainfall and rivers, alarms, bursts of load; often non-negative."""
    wave = torch.sigmoid(draw.uniform(0, 3, n, 1) * unit(cycle(draw, n, length, periods(draw, n))))
    rate = draw.log(0.003, 0.3, n, 1) * torch.where(draw.chance(0.6, n, 1) > 0, wave * 2, 1.0)
    size = torch.exp(draw.uniform(0.1, 1.2, n, 1) * draw.normal(n, length))
    hit = (draw.uniform(0, 1, n, length) < rate).float() * size
    fast, late = torch.exp(-1 / draw.log(0.2, 100.0, n, 1)), torch.exp(-1 / draw.log(0.2, 30.0, n, 1))
    x = filtered(hit, lambda z: 1 / ((1 - fast / z) * torch.where(late > 0.5, 1 - late / z, 1.0)))
    x = x / (x.std(-1, keepdim=True) + 1e-6)
    return x + draw.chance(0.6, n, 1) * draw.log(0.01, 0.5, n, 1) * coloured(draw, n, length)


def counts(draw: Draw, n: int, length: int) -> Tensor:
    """Counted things: patients, parts sold, vehicles. Often zero, seasonal, over-dispersed."""
    drive = unit(seasons(draw, n, length)) * draw.uniform(0.0, 0.8, n, 1)
    rate = draw.log(0.05, 200.0, n, 1) * torch.exp(drive.clamp(-4, 4))
    rate = rate * torch.exp(draw.uniform(0.0, 0.4, n, 1) * draw.normal(n, length))
    return torch.poisson(rate.clamp(max=1e5), generator=draw.source)


def inputs(draw: Draw, n: int, length: int) -> Tensor:
    """What drives a plant: switching setpoints, schedules, disturbances."""
    return mixture(draw, (regimes, pulses, processes, seasons), n, length)


def bend(draw: Draw, x: Tensor) -> Tensor:
    """A random static curve: straight, saturating, dead zone, square, root, exponential."""
    n = len(x)
    a = draw.uniform(0.3, 1.5, n, 1)
    kinds = torch.stack(
        [x, x, torch.tanh(2 * a * x), torch.sign(x) * torch.relu(x.abs() - 0.5 * a), x + a * x**2,
         torch.sqrt(torch.relu(x + 3) + 0.01), torch.exp(0.7 * x.clamp(-4, 4)), torch.relu(x + a)]
    )  # fmt: skip
    return unit(kinds[draw.whole(0, len(kinds), n), torch.arange(n, device=x.device)])


def systems(draw: Draw, n: int, length: int) -> Tensor:
    """Plants with inputs (Hammerstein-Wiener): curve, lags in series, a resonance or not, dead time, curve, sensor."""
    u = inputs(draw, n, length) + draw.chance(0.6, n, 1) * draw.uniform(0.2, 1.5, n, 1) * inputs(draw, n, length)
    lags = torch.exp(-1 / draw.log(0.5, 300.0, n, 3)) * draw.chance(0.7, n, 3)
    damping, tone = torch.exp(-1 / draw.log(2.0, 200.0, n, 1)), 2 * math.pi / draw.log(4.0, 300.0, n, 1)
    rings, dead = draw.chance(0.35, n, 1), draw.whole(0, 40, n, 1)

    def plant(z: Tensor) -> Tensor:
        h = torch.polar(torch.ones(1, device=z.device), -dead * z.angle())
        for i in range(3):
            h = h * (1 - lags[:, i : i + 1]) / (1 - lags[:, i : i + 1] / z)
        ring = 1 - 2 * damping * torch.cos(tone) / z + damping**2 / z**2
        return h / torch.where(rings > 0, ring, torch.ones_like(ring))

    y = bend(draw, unit(filtered(bend(draw, u), plant)))
    return y + draw.log(0.001, 0.3, n, 1) * coloured(draw, n, length)


def loops(draw: Draw, n: int, length: int) -> Tensor:
    """A heated room or tank under control, relay or PI with limits, in changing weather: level, actuator or effort."""
    weather = mixture(draw, (seasons, slow, walks), n, length) * draw.uniform(0.2, 1.5, n, 1)
    goal = draw.uniform(-1, 1, n, 1) + draw.chance(0.5, n, 1) * draw.uniform(0.1, 1, n, 1) * unit(
        pulses(draw, n, length)
    )
    shake = draw.log(0.001, 0.1, n, 1) * draw.normal(n, length)
    pace, gain = 1 / draw.log(5.0, 400.0, n), draw.uniform(1.0, 8.0, n)
    band, relay = draw.log(0.02, 0.4, n), draw.chance(0.5, n) > 0
    strong, eager = draw.log(0.2, 10.0, n), draw.log(0.001, 0.3, n)
    level, hold, total = goal[:, 0].clone(), torch.zeros_like(pace), torch.zeros_like(pace)
    levels, acts = torch.empty(2, length, n, device=draw.device)
    for i, (outside, want, push) in enumerate(zip(weather.T, goal.T, shake.T, strict=True)):
        error = want - level
        hold = torch.where(error > band, 1.0, torch.where(error < -band, 0.0, hold))
        total = (total + eager * error).clamp(0, 1)
        act = torch.where(relay, hold, (strong * error + total).clamp(0, 1))
        level = level + pace * (outside - 1 - level + gain * act) + push
        levels[i], acts[i] = level, act
    effort = unit(filtered(acts.T.contiguous(), lambda z: (1 - 0.95) / (1 - 0.95 / z)))
    kind = draw.uniform(0, 1, n, 1)
    return torch.where(kind < 0.6, unit(levels.T), torch.where(kind < 0.8, effort, acts.T))


def oscillators(draw: Draw, n: int, length: int) -> Tensor:
    """Relaxation and excitable oscillators (FitzHugh-Nagumo) driven by slow inputs and noise."""
    drive = draw.uniform(-0.2, 1.2, n, 1) + draw.uniform(0, 0.6, n, 1) * mixture(draw, (slow, regimes), n, length)
    drive = drive + draw.log(0.003, 0.5, n, 1) * draw.normal(n, length)
    pace, ratio, lean = draw.log(0.03, 0.6, n), draw.log(0.03, 0.5, n), draw.uniform(0.3, 0.9, n)
    fast, late = draw.normal(2, n)
    out = torch.empty(length, n, device=draw.device)
    for i, push in enumerate(drive.T):
        fast = (fast + pace * (fast - fast**3 / 3 - late + push)).clamp(-3, 3)
        late = late + pace * ratio * (fast + lean - 0.8 * late)
        out[i] = fast
    return out.T + draw.log(0.001, 0.2, n, 1) * draw.normal(n, length)


FAMILIES: dict[str, tuple[Family, float]] = {
    "seasons": (seasons, 3.0),
    "structural": (structural, 1.5),
    "processes": (processes, 2.0),
    "walks": (walks, 1.0),
    "regimes": (regimes, 0.7),
    "pulses": (pulses, 0.8),
    "shots": (shots, 0.7),
    "counts": (counts, 0.7),
    "systems": (systems, 1.5),
    "loops": (loops, 0.6),
    "oscillators": (oscillators, 0.3),
}
"""Family -> (generator, share)."""
