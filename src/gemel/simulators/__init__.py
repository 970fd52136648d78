"""The wing of simulators: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "candidates": "gemel.simulators.candidates:Candidates",
    "fmu": "gemel.simulators.fmu.simulator:Fmu",
    "line": "gemel.simulators.line.simulator:Line",
    "network": "gemel.simulators.network.simulator:Network",
    "ode": "gemel.simulators.ode.simulator:Ode",
    "residual": "gemel.simulators.residual.simulator:Residual",
    "thermal": "gemel.simulators.thermal:Thermal",
    "wired": "gemel.simulators.wired:Wired",
}
