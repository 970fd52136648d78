"""The wing of simulators: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "ode": "gemel.simulators.ode.simulator:Ode",
    "thermal": "gemel.simulators.thermal:Thermal",
}
