"""The wing of detectors: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "champion": "gemel.detectors.champion:Champion",
    "residual": "gemel.detectors.residual:Residual",
    "validity": "gemel.detectors.validity:Validity",
}
