"""The wing of simulators: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "fmu": "gemel.simulators.fmu.simulator:Fmu",
    "candidates": "gemel.simulators.candidates:Candidates",
    "network": "gemel.simulators.network.simulator:Network",
    "ode": "gemel.simulators.ode.simulator:Ode",
    "residual": "gemel.simulators.residual:Residual",
    "thermal": "gemel.simulators.thermal:Thermal",
    "wired": "gemel.simulators.wired:Wired",
}
