"""An ensemble rollout of equations of a user's own: 10 states, 100 members, 24 h at 5 min with steps of a minute.

    python3 dev.py bench simulate [--json]

Ours is `kind = "ode"`, compiled; beside it the same Runge-Kutta steps in plain NumPy over all members, in C (one member
after the other, as one writes it; cc -O2, and -O3 -march=native), and a loop of SciPy's solve_ivp over members at the
loosest tolerance whose error is not above ours (against rtol 1e-10), on a few members, with a call for every
5 minutes because the input changes then.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Bench
from gemel.core.values import Floats
from gemel.loop.simulate import rollout
from gemel.simulators.ode.simulator import Ode

STATES, MEMBERS, TIMES, DT, STEPS = 10, 100, 288, 300.0, 5
FEW = 2
"""Members of the solve_ivp loop."""


class Chain:
    """Ten nodes in a ring that pull each other, and lose to what is around them."""

    states = {f"x{i}": {"mean": 0.3 * i, "sd": 1.0} for i in range(STATES)}  # noqa: RUF012
    outputs = tuple(states)
    inputs = ("push",)
    parameters = {"pull": {"mean": 4e-3, "sd": 5e-4}, "loss": {"mean": 2e-3, "sd": 2e-4}}  # noqa: RUF012

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Floats:
        pull, loss = p
        return pull * np.tanh(np.roll(x, 1, 0) - 0.5 * x * np.roll(x, -1, 0)) - loss * x + 1e-3 * u[0]


_C = """
#include <math.h>
#define K 10
static void rate(const double *x, double u, double pull, double loss, double *d) {
  for (int i = 0; i < K; i++)
    d[i] = pull * tanh(x[(i + K - 1) % K] - 0.5 * x[i] * x[(i + 1) % K]) - loss * x[i] + 1e-3 * u;
}
void run(double *x, const double *u, const double *p, double *out, int m, int times, double dt, int steps) {
  double h = dt / steps, s[K], y[K], a[K], b[K], c[K], d[K];
  for (int j = 0; j < m; j++) {
    for (int i = 0; i < K; i++) s[i] = x[i * m + j];
    for (int r = 0; r < times; r++) {
      double push = u[r * m + j], pull = p[j], loss = p[m + j];
      for (int n = 0; n < steps; n++) {
        rate(s, push, pull, loss, a);
        for (int i = 0; i < K; i++) y[i] = s[i] + h / 2 * a[i];
        rate(y, push, pull, loss, b);
        for (int i = 0; i < K; i++) y[i] = s[i] + h / 2 * b[i];
        rate(y, push, pull, loss, c);
        for (int i = 0; i < K; i++) y[i] = s[i] + h * c[i];
        rate(y, push, pull, loss, d);
        for (int i = 0; i < K; i++) s[i] += h / 6 * (a[i] + 2 * b[i] + 2 * c[i] + d[i]);
      }
      for (int i = 0; i < K; i++) out[(r * K + i) * m + j] = s[i];
    }
  }
}
"""


def main() -> None:
    ode = Ode(Chain)
    memory = ode.init(None, 1, MEMBERS)
    inputs = np.random.default_rng(0).uniform(0, 2, (TIMES, 1, MEMBERS))
    states = ode.extract(memory)
    x, p = states[:STATES], states[STATES:]
    with Bench("simulate") as bench, tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        print(f"# kernel {ode.kernel}, made in {time.perf_counter() - began:.1f} s", file=sys.stderr)
        work: dict[str, Callable[[], Any]] = {
            "ours": partial(rollout, ode, memory, inputs, DT),
            "NumPy": partial(plain, x, inputs, p),
        }
        if shutil.which("cc"):
            for name, flags in (("C -O2", ["-O2"]), ("C -O3 -march=native", ["-O3", "-march=native"])):
                work[name] = partial(native, built(Path(folder), flags), x, inputs, p)
        expected = work["ours"]()
        for name, call in work.items():
            np.testing.assert_allclose(call(), expected, rtol=1e-8, atol=1e-10, err_msg=name)
        seconds = bench.rounds(5, work)
        rate = {name: MEMBERS * TIMES * STEPS / s / 1e6 for name, s in seconds.items()}
        unit = "M member-steps/s"
        bench.figure("ensemble", rate["ours"], unit, goal=">= 10x", peer=("NumPy", rate["NumPy"]))
        for name in [n for n in rate if n.startswith("C ")]:
            bench.figure(f"ensemble by {name}", rate["ours"], unit, goal=">= 0.5x", peer=(name, rate[name]))
        tolerance, each = loop(x, inputs, p, expected)
        bench.figure(
            "ensembles of 100", 1 / seconds["ours"], "/s", goal=">= 1000x",
            peer=(f"solve_ivp loop, rtol {tolerance:g}", 1 / (each * MEMBERS)),
        )  # fmt: skip


def plain(x: Floats, inputs: Floats, p: Floats) -> Floats:
    """What one writes in NumPy, [t, y, m]."""
    h, out, rate = DT / STEPS, np.empty((TIMES, *x.shape)), Chain().derivative
    t = np.zeros(1)
    for r, u in enumerate(inputs):
        for _ in range(STEPS):
            a = rate(t, x, u, p)
            b = rate(t, x + h / 2 * a, u, p)
            c = rate(t, x + h / 2 * b, u, p)
            d = rate(t, x + h * c, u, p)
            x = x + h / 6 * (a + 2 * b + 2 * c + d)
        out[r] = x
    return out


def built(folder: Path, flags: list[str]) -> Any:
    """The C function."""
    name = folder / f"chain{''.join(flags)}"
    name.with_suffix(".c").write_text(_C)
    subprocess.run(
        ["cc", *flags, "-shared", "-fPIC", "-o", f"{name}.so", str(name.with_suffix(".c")), "-lm"], check=True
    )
    return ctypes.CDLL(f"{name}.so").run


def native(run: Any, x: Floats, inputs: Floats, p: Floats) -> Floats:
    out = np.empty((TIMES, STATES, MEMBERS))
    held = [np.ascontiguousarray(v) for v in (x, inputs, p)]
    places = [v.ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for v in (*held, out)]
    run(*places, MEMBERS, TIMES, ctypes.c_double(DT), STEPS)
    return out


def loop(x: Floats, inputs: Floats, p: Floats, ours: Floats) -> tuple[float, float]:
    """solve_ivp, one member at a time: the tolerance that is as exact as ours, and its seconds a member."""
    from scipy.integrate import solve_ivp

    rate = Chain().derivative

    def solved(rtol: float) -> Floats:
        found = np.empty((TIMES, STATES, FEW))
        for j in range(FEW):
            y = x[:, j]
            for r, u in enumerate(inputs[:, :, j]):
                slope = partial(rate, u=u, p=p[:, j])
                y = found[r, :, j] = solve_ivp(slope, (0.0, DT), y, rtol=rtol, atol=rtol).y[:, -1]
        return found

    exact = solved(1e-10)
    error = float(np.abs(ours[:, :, :FEW] - exact).max())
    for rtol in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
        began = time.perf_counter()
        near = solved(rtol)
        each = (time.perf_counter() - began) / FEW
        if np.abs(near - exact).max() <= error:
            break
    print(f"# error of ours {error:.2g}, of solve_ivp {np.abs(near - exact).max():.2g}", file=sys.stderr)
    return rtol, each


if __name__ == "__main__":
    main()
