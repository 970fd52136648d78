"""The wing of simulators: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "thermal": "gemel.simulators.thermal:Thermal",
}
