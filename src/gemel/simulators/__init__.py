"""The wing of simulators: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "fmu": "gemel.simulators.fmu.simulator:Fmu",
    "candidates": "gemel.simulators.candidates:Candidates",
    "network": "gemel.simulators.network.simulator:Network",
    "ode": "gemel.simulators.ode.simulator:Ode",
    "thermal": "gemel.simulators.thermal:Thermal",
}
