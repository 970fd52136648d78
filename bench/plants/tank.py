"""A tank with a valve at its foot."""

import numpy as np


class Tank:
    """What leaves is `capacity * valve^curve * sqrt(level)`, and a leak that grows with the level like it."""

    states = {"level": {"unit": "m", "mean": 1.5, "sd": 0.4, "low": 0, "high": 4}}  # noqa: RUF012
    inputs = {"inflow": "m3/h", "valve": ""}  # noqa: RUF012
    outputs = {"level": "m", "outflow": "m3/h"}  # noqa: RUF012
    parameters = {  # noqa: RUF012
        "area": {"unit": "m2", "mean": 4.0, "sd": 1.0, "low": 1.0},
        "capacity": {"unit": "m3/h", "mean": 20.0, "sd": 5.0, "low": 2.0},
        "curve": {"mean": 1.5, "sd": 0.4, "low": 0.5, "high": 3.0},
        "leak": {"unit": "m3/h", "mean": 0.5, "sd": 0.5, "low": 0.0},
    }

    def derivative(self, t, x, u, p):
        inflow, valve = u
        area, capacity, curve, leak = p
        return [(inflow - (capacity * valve**curve + leak) * np.sqrt(np.maximum(x[0], 0))) / area / 3600]

    def output(self, t, x, u, p):
        return [x[0], p[1] * u[1] ** p[2] * np.sqrt(np.maximum(x[0], 0))]
