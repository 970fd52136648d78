"""The wing of detectors: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "residual": "gemel.detectors.residual:Residual",
}
