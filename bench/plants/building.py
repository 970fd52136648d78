"""Two rooms with a wall between them."""


class Building:
    """Heat balance of the air and what hangs on it in each room, kWh/K; heat flows in kW."""

    states = {  # noqa: RUF012
        "north": {"unit": "degC", "mean": 19, "sd": 2},
        "south": {"unit": "degC", "mean": 20, "sd": 2},
    }
    inputs = {"heat_north": "kW", "heat_south": "kW", "outdoor": "degC", "sun": "kW/m2"}  # noqa: RUF012
    outputs = {"north": "degC", "south": "degC"}  # noqa: RUF012
    parameters = {  # noqa: RUF012
        "capacity_north": {"unit": "kWh/K", "mean": 2.0, "sd": 0.5, "low": 0.3},
        "capacity_south": {"unit": "kWh/K", "mean": 3.0, "sd": 0.8, "low": 0.3},
        "loss_north": {"unit": "kW/K", "mean": 0.10, "sd": 0.03, "low": 0.01},
        "loss_south": {"unit": "kW/K", "mean": 0.12, "sd": 0.04, "low": 0.01},
        "wall": {"unit": "kW/K", "mean": 0.20, "sd": 0.10, "low": 0.0, "high": 1.0},
        "window": {"unit": "m2", "mean": 3.0, "sd": 1.0, "low": 0.0},
    }

    def derivative(self, t, x, u, p):
        north, south = x
        heat_north, heat_south, outdoor, sun = u
        capacity_north, capacity_south, loss_north, loss_south, wall, window = p
        through = wall * (south - north)
        into_north = heat_north + loss_north * (outdoor - north) + through
        into_south = heat_south + loss_south * (outdoor - south) - through + window * sun
        return [into_north / capacity_north / 3600, into_south / capacity_south / 3600]
